package icontrol

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// target is the path of what a request is about. A POST that makes an object says only in
// its body which; without a partition there it would be made in Common.
func (r *request) target() Path {
	if r.method != http.MethodPost {
		return r.path
	}
	var body struct {
		Name      string `json:"name"`
		Partition string `json:"partition"`
		SubPath   string `json:"subPath"`
	}
	if json.Unmarshal(r.body, &body) != nil || body.Name == "" {
		return r.path
	}
	if strings.HasPrefix(body.Name, "/") {
		name, err := ParseName(body.Name)
		if err != nil {
			return r.path.spoiled(err)
		}
		return r.path.Object(name)
	}
	if body.Partition == "" {
		return r.path
	}
	return r.path.Object(Name{Partition: body.Partition, Folder: body.SubPath, Name: body.Name})
}

// Within is an Options.Allowed: only objects of one partition are asked about and changed.
// What is below an object is part of it, wherever that is: a node of Common may be a member
// of our pool. Collections may be read, by a filter or for their statistics.
func Within(partition string) func(method string, path Path) error {
	return func(method string, path Path) error {
		names := path.Names()
		switch {
		case len(names) > 0 && names[0].Partition != partition:
			return fmt.Errorf("%s is not in partition %s", names[0], partition)
		case len(names) == 0 && method != http.MethodGet:
			return fmt.Errorf("it names no object of partition %s", partition)
		}
		return nil
	}
}

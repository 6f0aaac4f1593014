package state

import (
	"github.com/poise-lb/poise/e2e/bigip/internal/schema"
)

// referrer finds an object that refers to another one; nil: none does.
func (c *Config) referrer(o *Object) *Object {
	for _, path := range schema.Paths() {
		for _, by := range c.kinds[path] {
			if by != o && c.refers(by, o) {
				return by
			}
		}
	}
	return nil
}

func (c *Config) refers(by, o *Object) bool {
	if by.Kind.Path == "ltm/pool/members" && o.Kind.Path == "ltm/node" {
		return nodePath(by) == o.Path()
	}
	if by.Kind.Path == "ltm/virtual" && o.Kind.Path == "ltm/virtual-address" {
		return virtualAddress(by) == o.Path()
	}
	return points(by.Kind.Fields, by.Values, o)
}

// points tells whether a value among some fields is the path of an object.
func points(fields []schema.Field, values map[string]any, o *Object) bool {
	for i := range fields {
		f := &fields[i]
		v, ok := values[f.Name]
		if !ok || f.Type != schema.Group && !o.Kind.Matches(f.To) {
			continue
		}
		switch f.Type {
		case schema.Ref:
			if v == o.Path() {
				return true
			}
		case schema.RefList:
			for _, item := range v.([]any) {
				if item == o.Path() {
					return true
				}
			}
		case schema.RefObjects:
			for _, item := range v.([]any) {
				if EntryPath(item) == o.Path() {
					return true
				}
			}
		case schema.Monitor:
			_, names, _ := ParseMonitor(v.(string))
			for _, name := range names {
				if name == o.Path() {
					return true
				}
			}
		case schema.Group:
			if points(f.Fields, v.(map[string]any), o) {
				return true
			}
		}
	}
	return false
}

// EntryPath is the path that an item of a list of references means.
func EntryPath(item any) string {
	m, _ := item.(map[string]any)
	partition, _ := m["partition"].(string)
	sub, _ := m["subPath"].(string)
	name, _ := m["name"].(string)
	return join(partition, sub, name)
}

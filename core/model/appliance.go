package model

import (
	"encoding/json"
	"slices"
	"strings"
)

// place is where an appliance holds what is ours, as far as its parameters say.
type place struct {
	Addresses []string `json:"addresses"`
	Partition string   `json:"partition"`
	Mark      string   `json:"mark"`
	Instance  string   `json:"instance"`
}

// place of parameters; false if they do not say.
func (f ForwarderInstance) place() (p place, ok bool) {
	p.Mark, p.Instance = "poise", "poise"
	if json.Unmarshal([]byte(f.Parameters), &p) != nil || len(p.Addresses) == 0 {
		return p, false
	}
	for i, a := range p.Addresses {
		p.Addresses[i] = strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(a, ":443"), "."))
	}
	return p, true
}

// SamePlace says that two instances hold the same objects: each takes for its own what the
// other one has made, and removes it. Of parameters that do not say it is false.
func (f ForwarderInstance) SamePlace(other ForwarderInstance) bool {
	a, ok := f.place()
	b, also := other.place()
	return ok && also && f.Type == other.Type && a.Partition == b.Partition && a.Mark == b.Mark && a.Instance == b.Instance &&
		slices.ContainsFunc(a.Addresses, func(x string) bool { return slices.Contains(b.Addresses, x) })
}

// Elsewhere says that the objects of an instance are not those of the one in whose stead it
// comes.
func (f ForwarderInstance) Elsewhere(before ForwarderInstance) bool {
	_, ok := f.place()
	_, also := before.place()
	return ok && also && !f.SamePlace(before)
}

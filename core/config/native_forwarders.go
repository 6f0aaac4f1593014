package config

import (
	"cmp"
	"maps"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/poise-lb/poise/core/model"
)

// forwarderTypes are the types of forwarders that have instances.
var forwarderTypes = []string{"f5"}

// forwarderFiles are the parameters of an instance that name files.
var forwarderFiles = map[string][]string{"f5": {"ca", "credentials_file", "password_file"}}

// forwarderName is what an instance may be called: it is a part of the name of its process.
var forwarderName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// forwarders reads the map `forwarders`: appliances beside the configuration's own
// forwarder.
func (n *native) forwarders(o *object) {
	all, ok := o.object("forwarders")
	if !ok {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(all.values)) {
		v, _ := all.get(name)
		if m, ok := v.object(); ok {
			n.forwarder(m, name)
		}
	}
	slices.SortFunc(n.config.Forwarders, func(a, b model.ForwarderInstance) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
	})
}

// forwarder reads an instance. What is not the daemon's own is left to the plugin, which
// knows its parameters.
func (n *native) forwarder(o *object, name string) {
	f := model.ForwarderInstance{Name: name}
	if !forwarderName.MatchString(name) {
		o.errorf("forwarder %s: a name is lower-case letters, digits and -, at most 32", name)
	}
	o.string("type", &f.Type)
	switch t, typed := o.get("type"); {
	case !typed:
		o.errorf("forwarder %s has no type: write type: f5", name)
	case f.Type == "ipvs" || f.Type == "null":
		t.errorf("forwarder %s: %s is not an appliance: write forwarder: %s at the top of the file", name, f.Type, f.Type)
	case f.Type != "" && !slices.Contains(forwarderTypes, f.Type):
		t.errorf("unknown type of forwarder %s: it is f5", f.Type)
	}
	o.string("group", &f.Group)
	parameters := o.without("type", "group")
	for _, key := range forwarderFiles[f.Type] {
		if file, ok := parameters[key].(string); ok && file != "" {
			parameters[key] = n.absolute(file)
		}
	}
	if !o.hasPassword() {
		f.Parameters = o.json(parameters)
	}
	n.draft.forwarders[f.ID()] = checkPlace{o.place(), o.below()}
	n.config.Forwarders = append(n.config.Forwarders, f)
}

// without is a copy of the map that lacks some keys.
func (o *object) without(keys ...string) map[string]any {
	out := maps.Clone(o.values)
	for _, key := range keys {
		delete(out, key)
	}
	return out
}

// hasPassword refuses a secret that is written into the configuration, which more people
// read and copy than a file of its own.
func (o *object) hasPassword() bool {
	if _, ok := o.values["password"]; !ok {
		return false
	}
	p, _ := o.get("password")
	p.errorf("a password has no place here: write it in a file, and name that as password_file or credentials_file of the forwarder")
	return true
}

// absolute is a file name that is relative to the configuration's own.
func (n *native) absolute(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	name = filepath.Join(filepath.Dir(n.path), name)
	if a, err := filepath.Abs(name); err == nil {
		return a
	}
	return name
}

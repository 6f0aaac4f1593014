package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/poise-lb/poise/core/model"
)

var sha256Pattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// plugins reads the map `plugins`.
func (n *native) plugins(o *object) {
	all, ok := o.object("plugins")
	if !ok {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(all.values)) {
		v, ok := all.get(name)
		if !ok {
			continue
		}
		if m, ok := v.object(); ok {
			n.draft.plugins[name] = checkPlace{v.place(), v.below()}
			n.config.Plugins = append(n.config.Plugins, plugin(m, name))
		}
	}
}

func plugin(o *object, name string) model.Plugin {
	p := model.Plugin{Name: name}
	o.string("path", &p.Path)
	for _, a := range o.list("args") {
		if s, ok := a.text(); ok {
			p.Args = append(p.Args, s)
		}
	}
	if v, ok := o.get("sha256"); ok {
		if s, ok := v.text(); ok {
			if p.SHA256 = strings.ToLower(s); !sha256Pattern.MatchString(p.SHA256) {
				v.errorf("sha256 of plugin %s is not 64 hexadecimal digits: take it from sha256sum", name)
			}
		}
	}
	o.string("user", &p.User)
	if v, ok := o.get("capabilities"); ok {
		p.Capabilities = []string{}
		for _, c := range v.items() {
			if s, ok := c.text(); ok {
				p.Capabilities = append(p.Capabilities, strings.TrimPrefix(strings.ToUpper(s), "CAP_"))
			}
		}
	}
	if v, ok := o.get("parameters"); ok {
		p.Parameters, _ = v.canonical()
	}
	tls := true
	o.boolean("tls", &tls)
	p.PlainText = !tls
	o.done()
	return p
}

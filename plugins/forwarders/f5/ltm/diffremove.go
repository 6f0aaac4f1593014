package ltm

import (
	"fmt"
	"maps"
	"slices"
)

// removals take away what is ours and not wanted.
func (d *differ) removals() {
	names := map[string]bool{}
	gone := map[string]bool{}
	for path, v := range d.virtuals {
		if name := baseName(path); d.ours(path, v.Mark) && d.path(name) == path && !d.wantedNames[name] && d.kept[name] == nil {
			names[name], gone[path] = true, true
		}
	}
	for path, p := range d.pools {
		if name := baseName(path); d.ours(path, p.Mark) && d.path(name) == path && !d.wantedNames[name] && d.kept[name] == nil {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		part := Part{Name: name}
		path := d.path(name)
		if gone[path] {
			part.Commands = append(part.Commands, remove(KindVirtual, path, "removed virtual server "+path))
		}
		if p := d.pools[path]; p != nil && d.ours(path, p.Mark) {
			users := d.users(gone, func(v *Virtual) bool { return v.Pool == path })
			if d.inUse("pool", path, users) {
				d.hold(p)
			} else {
				part.Commands = append(part.Commands, remove(KindPool, path, "removed pool "+path))
			}
		}
		d.add(part)
	}
	for _, path := range slices.Sorted(maps.Keys(d.pools)) {
		if p := d.pools[path]; !d.ours(path, p.Mark) || d.kept[baseName(path)] != nil {
			d.hold(p)
		}
	}
	d.detached(gone)
	d.addressesGone(gone)
}

// hold says that the nodes of a pool stay in use.
func (d *differ) hold(p *Pool) {
	for _, m := range p.Members {
		d.used[m.nodePath()] = true
	}
}

// users are virtual servers that use something and go on doing so: those that are not
// ours, and those that are kept.
func (d *differ) users(gone map[string]bool, uses func(*Virtual) bool) []*Virtual {
	var out []*Virtual
	for _, path := range slices.Sorted(maps.Keys(d.virtuals)) {
		v := d.virtuals[path]
		if !gone[path] && !(d.ours(path, v.Mark) && d.wantedNames[baseName(path)]) && uses(v) {
			out = append(out, v)
		}
	}
	return out
}

// inUse tells whether something has to stay, and says so if that is others' doing.
func (d *differ) inUse(what, path string, users []*Virtual) bool {
	for _, v := range users {
		if !d.ours(v.Path, v.Mark) {
			d.refusals = append(d.refusals, Refusal{Message: fmt.Sprintf("%s %s is not wanted any more, but virtual server %s, which is not ours, uses it: detach it there", what, path, v.Path)})
			break
		}
	}
	return len(users) > 0
}

// detached removes persistence and protocol profiles that nothing uses any more.
func (d *differ) detached(gone map[string]bool) {
	wanted := map[string]bool{}
	for _, v := range d.want {
		if v.Persistence != nil {
			wanted["persist "+v.Persistence.Path] = true
		}
		for _, p := range v.Virtual.Profiles {
			wanted["profile "+p.Path] = true
		}
	}
	one := func(kind Kind, what, space, path string, m Mark, uses func(*Virtual) bool) {
		if !d.ours(path, m) || wanted[space+" "+path] || d.kept[baseName(path)] != nil || d.inUse(what, path, d.users(gone, uses)) {
			return
		}
		part := Part{Name: "without " + string(kind) + " " + path, stage: stageDetached, Commands: []Command{remove(kind, path, "removed "+what+" "+path)}}
		for _, v := range slices.Sorted(maps.Keys(d.virtuals)) {
			if uses(d.virtuals[v]) {
				part.Needs = append(part.Needs, baseName(v))
			}
		}
		d.add(part)
	}
	hasProfile := func(path string) func(*Virtual) bool {
		return func(v *Virtual) bool {
			return slices.ContainsFunc(v.Profiles, func(p ProfileReference) bool { return p.Path == path })
		}
	}
	for _, path := range slices.Sorted(maps.Keys(d.persists)) {
		one(KindPersistence, "persistence profile", "persist", path, d.persists[path].Mark, func(v *Virtual) bool {
			return slices.Contains(v.Persist, path) || v.FallbackPersistence == path
		})
	}
	for _, path := range slices.Sorted(maps.Keys(d.fastL4s)) {
		one(KindFastL4, "fastL4 profile", "profile", path, d.fastL4s[path].Mark, hasProfile(path))
	}
	for _, path := range slices.Sorted(maps.Keys(d.udps)) {
		one(KindUDP, "UDP profile", "profile", path, d.udps[path].Mark, hasProfile(path))
	}
}

// addressesGone removes virtual addresses of ours that stay when the last virtual server
// on them goes, or stayed.
func (d *differ) addressesGone(gone map[string]bool) {
	wanted := map[Address]bool{}
	for _, v := range d.want {
		wanted[v.Address.Address] = true
	}
	for _, path := range slices.Sorted(maps.Keys(d.byPath)) {
		va := d.byPath[path]
		if !d.ours(path, va.Mark) || wanted[va.Address] {
			continue
		}
		stays, was := false, []string{}
		for name, v := range d.virtuals {
			if v.Destination.Address == va.Address {
				stays = stays || !gone[name]
				was = append(was, baseName(name))
			}
		}
		if stays || len(was) > 0 && va.AutoDelete {
			continue
		}
		slices.Sort(was)
		d.add(Part{Name: "without " + path, Needs: was, stage: stageDetached, Commands: []Command{remove(KindVirtualAddress, path, "removed virtual address "+path)}})
	}
}

// nodes removes nodes that came with members of ours and that none is on any more. Before
// the last member goes, its node is marked, so that it is known as ours without it.
func (d *differ) nodes() {
	referenced := map[string]bool{}
	for _, p := range d.pools {
		for _, m := range p.Members {
			referenced[m.nodePath()] = true
		}
	}
	var marks, ends []Part
	for _, path := range slices.Sorted(maps.Keys(d.nodeNamed)) {
		n := d.nodeNamed[path]
		marked := d.ours(path, n.Mark)
		if partitionOf(path) != d.o.Partition || d.used[path] || !marked && !d.madeNodes[path] {
			continue
		}
		part := Part{Name: "without node " + path, Optional: true, stage: stageNodes, Commands: []Command{remove(KindNode, path, "removed node "+path)}}
		if !marked {
			if n.Description != "" {
				continue
			}
			body := map[string]any{"description": d.o.describe()}
			marks = append(marks, Part{Name: "mark node " + path, Commands: []Command{patch(KindNode, path, body, "marked node "+path+" as ours, to be removed")}})
			part.Needs = []string{"mark node " + path}
		}
		if referenced[path] {
			for _, name := range d.poolsOn(path) {
				part.Needs = append(part.Needs, name)
			}
		}
		ends = append(ends, part)
	}
	// Marks come before everything that takes members away.
	before := slices.Clone(marks)
	for _, p := range before {
		d.touched[p.Name] = true
	}
	d.parts = append(before, d.parts...)
	for _, p := range ends {
		d.add(p)
	}
}

// poolsOn are the names of pools with a member on a node.
func (d *differ) poolsOn(node string) []string {
	var out []string
	for path, p := range d.pools {
		if slices.ContainsFunc(p.Members, func(m Member) bool { return m.nodePath() == node }) {
			out = append(out, baseName(path))
		}
	}
	slices.Sort(out)
	return out
}

package ltm

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// services makes and changes virtual servers and what belongs to them. Those on one
// address are next to each other, behind the part that makes the address.
func (d *differ) services() {
	for _, name := range slices.Sorted(maps.Keys(d.kept)) {
		d.keep(name)
	}
	slices.SortStableFunc(d.want, func(a, b WantedVirtual) int {
		return strings.Compare(a.Address.Path, b.Address.Path)
	})
	for i := range d.want {
		v := &d.want[i]
		first := i == 0 || d.want[i-1].Address.Path != v.Address.Path
		last := i+1 == len(d.want) || d.want[i+1].Address.Path != v.Address.Path
		before, after := d.address(v.Address)
		if first && before != nil {
			d.add(Part{Name: v.Address.Path, Commands: before})
		}
		at := len(d.parts)
		d.service(v)
		// Alone an address would be announced without a virtual server on it.
		if first && before != nil && len(d.parts) > at {
			d.parts[at-1].glued = true
		}
		if last && after != nil {
			d.add(Part{Name: v.Address.Path, Commands: after})
		}
	}
}

// address makes or changes a virtual address: before the virtual servers on it, so that it
// is never announced where it must not be, or after them, if it is to be announced from
// now on.
func (d *differ) address(want VirtualAddress) (before, after []Command) {
	body, have := virtualAddressBody(want, want), d.addresses[want.Address]
	if have == nil {
		body["address"], body["mask"] = want.Address.text(d.o.DefaultDomain), want.Mask
		return d.make(KindVirtualAddress, want.Path, "virtual address", nil, body), nil
	}
	if !d.ours(have.Path, have.Mark) {
		return nil, nil
	}
	commands := d.make(KindVirtualAddress, have.Path, "virtual address", virtualAddressBody(*have, want), body)
	if want.ARP {
		return nil, commands
	}
	return commands, nil
}

func (d *differ) service(v *WantedVirtual) {
	part := Part{Name: v.Name, Key: v.Key}
	for _, p := range v.Virtual.Profiles {
		part.Needs = append(part.Needs, p.Path)
	}
	part.Needs = append(part.Needs, v.Address.Path)
	if p := v.Persistence; p != nil {
		var there map[string]any
		if have := d.persists[p.Path]; have != nil {
			there = persistenceBody(*have)
		}
		part.Commands = append(part.Commands, d.make(KindPersistence, p.Path, "persistence profile", there, persistenceBody(*p))...)
	}
	part.Commands = append(part.Commands, d.pool(&v.Pool)...)
	if have := d.virtuals[v.Virtual.Path]; have != nil {
		part.Commands = append(part.Commands, d.make(KindVirtual, have.Path, "virtual server", virtualBody(*have), virtualBody(v.Virtual))...)
	} else {
		body := virtualBody(v.Virtual)
		body["destination"], body["ipProtocol"], body["metadata"] = v.Virtual.DestinationText, v.Virtual.Protocol, d.o.metadata()
		part.Commands = append(part.Commands, d.make(KindVirtual, v.Virtual.Path, "virtual server", nil, body)...)
	}
	d.add(part)
}

// Few changes of members are written one by one.
const (
	fewMembers    = 2
	someMembers   = 20
	someOfMembers = 10
)

// pool makes a pool with its members, or changes what differs.
func (d *differ) pool(want *Pool) []Command {
	have := d.pools[want.Path]
	there := map[Endpoint]*Member{}
	if have != nil {
		for i := range have.Members {
			if m := &have.Members[i]; m.Endpoint.IP.IsValid() {
				there[m.Endpoint] = m
			}
		}
	}
	var single []Command
	added := 0
	members := slices.Clone(want.Members)
	for i := range members {
		m := &members[i]
		old := there[m.Endpoint]
		d.resolve(m, old)
		d.used[m.nodePath()] = true
		if old == nil {
			added++
		} else if difference := memberChange(*old, *m); len(difference) > 0 {
			single = append(single, Command{Verb: http.MethodPatch, Path: memberPath(want.Path, m.Path), Body: difference,
				Why: fmt.Sprintf("changed real server %s of pool %s: %s", netip.AddrPortFrom(m.Endpoint.IP, m.Endpoint.Port), want.Path, d.whyMember(old, m, difference))})
		}
	}
	if have == nil {
		body := poolBody(*want)
		body["metadata"] = d.o.metadata()
		c := d.make(KindPool, want.Path, "pool", nil, body)
		c[0].Why += fmt.Sprintf(" with %d members", len(members))
		if len(members) > 0 {
			c[0].Body["members"] = d.inline(members, there)
		}
		return c
	}
	removed := len(have.Members) + added - len(want.Members)
	difference := change(poolBody(*have), poolBody(*want))
	why := fields(difference)
	if n := len(single); added > 0 || removed > 0 || n > fewMembers && (n > someMembers || n*someOfMembers > len(members)) {
		difference["members"] = d.inline(members, there)
		why = append(why, fmt.Sprintf("%d members added, %d removed, %d changed", added, removed, n))
		single = nil
	}
	if len(difference) == 0 {
		return single
	}
	return append([]Command{patch(KindPool, want.Path, difference, fmt.Sprintf("changed pool %s: %s", want.Path, strings.Join(why, ", ")))}, single...)
}

// inline writes all members of a pool. Each says all that is ours to decide: what a device
// makes of what is left out is not known.
func (d *differ) inline(members []Member, there map[Endpoint]*Member) []any {
	out := make([]any, 0, len(members))
	for _, m := range members {
		body := reference(m.Path)
		maps.Copy(body, memberBody(m))
		if there[m.Endpoint] == nil {
			body["address"] = m.Endpoint.Address.text(d.o.DefaultDomain)
		}
		out = append(out, body)
	}
	return out
}

func (d *differ) whyMember(old, m *Member, difference map[string]any) string {
	if old.Intent != m.Intent {
		return fmt.Sprintf("%s, was %s", m.Intent, old.Intent)
	}
	if was, is := d.o.note(old.Description, "weight"), d.o.note(m.Description, "weight"); was != is && was != "" {
		return fmt.Sprintf("weight %s, was %s", is, was)
	}
	return strings.Join(fields(difference), ", ")
}

// resolve finds the node of a member: the one that it has, or the one with its address, or
// one that comes with it. The description remembers that we made the node.
func (d *differ) resolve(m *Member, old *Member) {
	made := false
	switch n := d.nodeAt[m.Endpoint.Address]; {
	case old != nil:
		m.Path, made = old.Path, d.madeNodes[old.nodePath()]
	case n != nil:
		at := strings.LastIndexByte(n.Path, '/')
		m.Path = n.Path[:at+1] + withPort(n.Path[at+1:], m.Endpoint.Port)
		made = d.madeNodes[n.Path] || d.ours(n.Path, n.Mark)
	default:
		m.Path, made = d.path(m.Endpoint.text(d.o.DefaultDomain)), true
	}
	// Another member of ours may say it already, and one that does must go on.
	if made && d.o.note(m.Description, "node") == "" {
		m.Description += " node made"
	}
}

// keep changes nothing of a refused virtual server but what its members should do: that
// one setting is wrong must not keep a dead real server in use.
func (d *differ) keep(name string) {
	p := d.pools[d.path(name)]
	if p == nil || !d.ours(p.Path, p.Mark) {
		return
	}
	part := Part{Name: name}
	for i := range p.Members {
		m := p.Members[i]
		intent, ok := d.kept[name][m.Endpoint]
		if !ok || intent == m.Intent {
			continue
		}
		was := m
		m.Intent = intent
		part.Commands = append(part.Commands, Command{Verb: http.MethodPatch, Path: memberPath(p.Path, m.Path),
			Body: memberChange(was, m),
			Why:  fmt.Sprintf("changed real server %s of pool %s: %s, was %s", m.Endpoint.text(d.o.DefaultDomain), p.Path, m.Intent, was.Intent)})
	}
	for i, commands := range slices.Collect(slices.Chunk(part.Commands, MaxCommands)) {
		d.add(Part{Name: strings.TrimSuffix(fmt.Sprintf("%s %d", name, i), " 0"), Commands: commands})
	}
}

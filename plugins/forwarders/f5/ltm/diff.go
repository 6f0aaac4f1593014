package ltm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Stages of a plan.
const (
	stageMain = iota
	// stageDetached removes what others were attached to: the device may see it in use until
	// the transaction that detaches it is committed.
	stageDetached
	// stageNodes removes nodes, which is not always possible.
	stageNodes
)

// Diff plans what makes the partition what is wanted. Only objects with our mark are
// changed or removed. The state has to hold every kind.
func Diff(actual State, wanted Wanted) Plan {
	d := newDiffer(&actual, wanted)
	d.conflicts()
	if parts := d.misplaced(); len(parts) > 0 {
		return Plan{Transactions: pack(parts), Refusals: d.refusals, Again: true}
	}
	d.profiles()
	d.services()
	d.removals()
	d.nodes()
	slices.SortStableFunc(d.parts, func(a, b Part) int { return a.stage - b.stage })
	return Plan{Transactions: pack(d.parts), Refusals: d.refusals}
}

type differ struct {
	o    Options
	s    *State
	want []WantedVirtual
	kept map[string]map[Endpoint]Intent

	pools     map[string]*Pool
	virtuals  map[string]*Virtual
	persists  map[string]*Persistence
	fastL4s   map[string]*FastL4
	udps      map[string]*UDP
	addresses map[Address]*VirtualAddress
	byPath    map[string]*VirtualAddress
	nodeAt    map[Address]*Node
	nodeNamed map[string]*Node
	// madeNodes are nodes that a member of ours attests we made.
	madeNodes map[string]bool
	// wantedNames by name.
	wantedNames map[string]bool
	// used are the nodes that members will be on.
	used map[string]bool
	// touched are names of parts.
	touched map[string]bool

	parts    []Part
	refusals []Refusal
}

func newDiffer(s *State, w Wanted) *differ {
	d := &differ{
		o: w.Options, s: s, want: slices.Clone(w.Virtuals), kept: maps.Clone(w.Kept),
		pools: map[string]*Pool{}, virtuals: map[string]*Virtual{}, persists: map[string]*Persistence{},
		fastL4s: map[string]*FastL4{}, udps: map[string]*UDP{}, addresses: map[Address]*VirtualAddress{}, byPath: map[string]*VirtualAddress{},
		nodeAt: map[Address]*Node{}, nodeNamed: map[string]*Node{}, madeNodes: map[string]bool{},
		wantedNames: map[string]bool{}, used: map[string]bool{}, touched: map[string]bool{},
	}
	if d.kept == nil {
		d.kept = map[string]map[Endpoint]Intent{}
	}
	for i := range s.Pools {
		p := &s.Pools[i]
		d.pools[p.Path] = p
		if !d.ours(p.Path, p.Mark) {
			continue
		}
		for _, m := range p.Members {
			if d.o.note(m.Description, "node") != "" {
				d.madeNodes[m.nodePath()] = true
			}
		}
	}
	for i := range s.Virtuals {
		d.virtuals[s.Virtuals[i].Path] = &s.Virtuals[i]
	}
	for i := range s.Persistences {
		d.persists[s.Persistences[i].Path] = &s.Persistences[i]
	}
	for i := range s.FastL4s {
		d.fastL4s[s.FastL4s[i].Path] = &s.FastL4s[i]
	}
	for i := range s.UDPs {
		d.udps[s.UDPs[i].Path] = &s.UDPs[i]
	}
	for i := range s.VirtualAddresses {
		v := &s.VirtualAddresses[i]
		d.byPath[v.Path] = v
		if d.addresses[v.Address] == nil || partitionOf(v.Path) == d.o.Partition {
			d.addresses[v.Address] = v
		}
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		d.nodeNamed[n.Path] = n
		if n.FQDN == "" && (d.nodeAt[n.Address] == nil || partitionOf(n.Path) == d.o.Partition) {
			d.nodeAt[n.Address] = n
		}
	}
	return d
}

// ours tells whether we may change an object.
func (d *differ) ours(path string, m Mark) bool {
	return partitionOf(path) == d.o.Partition && d.o.Owns(m)
}

func (d *differ) path(name string) string { return full(d.o.Partition, name) }

// conflicts turns virtual servers that something foreign is in the way of into kept ones.
func (d *differ) conflicts() {
	d.want = slices.DeleteFunc(d.want, func(v WantedVirtual) bool {
		message := d.conflict(v)
		if message == "" {
			d.wantedNames[v.Name] = true
			return false
		}
		d.refusals = append(d.refusals, Refusal{Key: v.Key, Message: message})
		d.kept[v.Name] = v.intents
		return true
	})
}

func (d *differ) conflict(v WantedVirtual) string {
	foreign := func(what, path string) string {
		return fmt.Sprintf("%s %s is there already and not ours (it has no mark %s of %s): remove or rename it", what, path, d.o.Mark, d.o.Instance)
	}
	if p := d.pools[v.Pool.Path]; p != nil && !d.ours(p.Path, p.Mark) {
		return foreign("pool", p.Path)
	}
	if have := d.virtuals[v.Virtual.Path]; have != nil {
		switch {
		case !d.ours(have.Path, have.Mark):
			return foreign("virtual server", have.Path)
		case !have.Destination.IP.IsValid():
			return fmt.Sprintf("the destination %q of %s cannot be read: give it %s, or remove the virtual server", have.DestinationText, have.Path, v.Virtual.DestinationText)
		}
	}
	if v.Persistence != nil {
		if p := d.persists[v.Persistence.Path]; p != nil && !d.ours(p.Path, p.Mark) {
			return foreign("persistence profile", p.Path)
		}
	}
	if v.FastL4 != nil {
		if p := d.fastL4s[v.FastL4.Path]; p != nil && !d.ours(p.Path, p.Mark) {
			return foreign("fastL4 profile", p.Path)
		}
	}
	if v.UDP != nil {
		if p := d.udps[v.UDP.Path]; p != nil && !d.ours(p.Path, p.Mark) {
			return foreign("UDP profile", p.Path)
		}
	}
	for i := range d.s.Virtuals {
		have := &d.s.Virtuals[i]
		if have.Path == v.Virtual.Path || !d.sameTraffic(have, &v.Virtual) {
			continue
		}
		if !d.ours(have.Path, have.Mark) {
			return fmt.Sprintf("virtual server %s, which is not ours, has the destination %s %s: remove it or give it another", have.Path, have.Protocol, have.DestinationText)
		}
		if d.kept[baseName(have.Path)] != nil {
			return fmt.Sprintf("virtual server %s, which is kept as it is, has the destination %s %s", have.Path, have.Protocol, have.DestinationText)
		}
	}
	if message := d.addressConflict(v.Address); message != "" {
		return message
	}
	return d.nodeConflict(v.Pool)
}

func (d *differ) sameTraffic(a, b *Virtual) bool {
	return a.Destination == b.Destination && a.Destination.IP.IsValid() && a.Protocol == b.Protocol
}

// addressConflict: a virtual address that is not ours is used if it is as it should be,
// and never changed.
func (d *differ) addressConflict(want VirtualAddress) string {
	have := d.addresses[want.Address]
	if have == nil {
		if other := d.byPath[want.Path]; other != nil {
			return fmt.Sprintf("virtual address %s is not %s: remove or rename it", other.Path, want.Address.IP)
		}
		return ""
	}
	if partitionOf(have.Path) != d.o.Partition {
		return fmt.Sprintf("the address is virtual address %s of another partition: remove it there", have.Path)
	}
	if d.ours(have.Path, have.Mark) {
		return ""
	}
	difference := change(virtualAddressBody(*have, want), virtualAddressBody(want, want))
	delete(difference, "description")
	delete(difference, "autoDelete")
	if len(difference) > 0 {
		return fmt.Sprintf("virtual address %s is not ours and differs in %s: set that there, or remove it", have.Path, strings.Join(fields(difference), ", "))
	}
	return ""
}

func (d *differ) nodeConflict(want Pool) string {
	have := d.pools[want.Path]
	for _, m := range want.Members {
		if have != nil && slices.ContainsFunc(have.Members, func(h Member) bool { return h.Endpoint == m.Endpoint }) {
			continue
		}
		n := d.nodeAt[m.Endpoint.Address]
		path := d.path(m.Endpoint.Address.text(d.o.DefaultDomain))
		switch {
		case n != nil && partitionOf(n.Path) != d.o.Partition && partitionOf(n.Path) != "Common":
			return fmt.Sprintf("real server %s is node %s of another partition: remove it there", m.Endpoint.IP, n.Path)
		case n == nil && d.nodeNamed[path] != nil:
			return fmt.Sprintf("node %s does not have the address that it is called after: remove or rename it", path)
		}
	}
	return ""
}

// misplaced removes virtual servers of ours that are where another has to be, or not where
// they should be: nothing of that can be changed in place.
func (d *differ) misplaced() []Part {
	var parts []Part
	for i := range d.s.Virtuals {
		have := &d.s.Virtuals[i]
		if !d.ours(have.Path, have.Mark) {
			continue
		}
		why := ""
		for _, v := range d.want {
			same := d.sameTraffic(have, &v.Virtual)
			switch {
			case have.Path == v.Virtual.Path && !same:
				why = fmt.Sprintf("removed virtual server %s to make it anew: it was %s %s", have.Path, have.Protocol, have.DestinationText)
			case have.Path != v.Virtual.Path && same:
				why = fmt.Sprintf("removed virtual server %s: %s has its destination", have.Path, v.Virtual.Path)
			}
		}
		if why != "" {
			parts = append(parts, Part{Name: "misplaced " + have.Path, Commands: []Command{remove(KindVirtual, have.Path, why)}})
		}
	}
	return parts
}

// add puts a part into the plan, unless it has nothing to do.
func (d *differ) add(p Part) {
	if len(p.Commands) > 0 {
		d.parts = append(d.parts, p)
		d.touched[p.Name] = true
	}
}

func (d *differ) profiles() {
	fast, udp := map[string]FastL4{}, map[string]UDP{}
	for _, v := range d.want {
		if v.FastL4 != nil {
			fast[v.FastL4.Path] = *v.FastL4
		}
		if v.UDP != nil {
			udp[v.UDP.Path] = *v.UDP
		}
	}
	for _, path := range slices.Sorted(maps.Keys(fast)) {
		body, there := fastL4Body(fast[path]), map[string]any(nil)
		if have := d.fastL4s[path]; have != nil {
			there = fastL4Body(*have)
		}
		d.add(Part{Name: path, Commands: d.make(KindFastL4, path, "fastL4 profile", there, body)})
	}
	for _, path := range slices.Sorted(maps.Keys(udp)) {
		body, there := udpBody(udp[path]), map[string]any(nil)
		if have := d.udps[path]; have != nil {
			there = udpBody(*have)
		}
		d.add(Part{Name: path, Commands: d.make(KindUDP, path, "UDP profile", there, body)})
	}
}

// make creates an object, or changes what differs; there is nil for one that is absent.
func (d *differ) make(kind Kind, path, what string, there, body map[string]any) []Command {
	if there == nil {
		return []Command{post(kind, path, body, fmt.Sprintf("made %s %s", what, path))}
	}
	difference := change(there, body)
	if len(difference) == 0 {
		return nil
	}
	return []Command{patch(kind, path, difference, fmt.Sprintf("changed %s %s: %s", what, path, strings.Join(fields(difference), ", ")))}
}

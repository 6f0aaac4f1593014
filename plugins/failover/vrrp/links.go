package vrrp

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/poise-lb/poise/plugins/failover/vrrp/fsm"
	"github.com/poise-lb/poise/plugins/failover/vrrp/netio"
)

// view is one look at links and addresses; it asks the kernel once for each.
type view struct {
	net       *netio.Network
	links     map[string]netio.Link
	errors    map[string]error
	addresses map[int][]netip.Prefix
	// virtual are the addresses of all groups, none of which is an interface's own.
	virtual map[netip.Addr]bool
}

func (r *router) look() *view {
	v := &view{
		net: r.net, links: map[string]netio.Link{}, errors: map[string]error{},
		addresses: map[int][]netip.Prefix{}, virtual: map[netip.Addr]bool{},
	}
	for _, g := range r.groups {
		for _, in := range g.instances {
			for _, a := range in.config.addresses {
				v.virtual[a.Prefix.Addr()] = true
			}
		}
	}
	return v
}

func (v *view) link(name string) (netio.Link, error) {
	link, known := v.links[name]
	if !known {
		link, v.errors[name] = v.net.Link(name)
		v.links[name] = link
	}
	return link, v.errors[name]
}

func (v *view) on(link netio.Link) ([]netip.Prefix, error) {
	if list, known := v.addresses[link.Index]; known {
		return list, nil
	}
	list, err := v.net.Addresses(link)
	if err == nil {
		v.addresses[link.Index] = list
	}
	return list, err
}

// holds says whether an address is where it belongs.
func (v *view) holds(a address) bool {
	link, err := v.link(a.intf)
	if err != nil {
		return false
	}
	list, err := v.on(link)
	return err == nil && slices.Contains(list, a.Prefix)
}

// fault says why nothing can be done on an interface; empty: it can.
func (v *view) fault(name string) string {
	link, err := v.link(name)
	switch {
	case errors.Is(err, netio.ErrMissing):
		return "interface " + name + " is missing"
	case err != nil:
		return err.Error()
	case !link.Enabled:
		return "interface " + name + " is down"
	case !link.Running:
		return "interface " + name + " has no carrier"
	}
	return ""
}

// source is the address an instance sends from, and a fault if there is none.
func (v *view) source(c instanceConfig) (netip.Addr, string) {
	if c.source.IsValid() {
		return c.source, ""
	}
	link, err := v.link(c.intf)
	if err != nil {
		return netip.Addr{}, err.Error()
	}
	list, err := v.on(link)
	if err != nil {
		return netip.Addr{}, err.Error()
	}
	for _, p := range list {
		if p.Addr().Is4() && !v.virtual[p.Addr()] {
			return p.Addr(), ""
		}
	}
	if c.settings.Priority == 255 && len(c.expect.Addresses) > 0 {
		return c.expect.Addresses[0], "" // The owner's own address is a virtual one.
	}
	return netip.Addr{}, "interface " + c.intf + " has no IPv4 address of its own"
}

// inspect finds out whether an instance can work, and opens its socket.
func (r *router) inspect(v *view, g *group, i int) fsm.Link {
	in := g.instances[i]
	link, _ := v.link(in.config.intf)
	in.link = link
	result := fsm.Link{Instance: i, Fault: v.fault(in.config.intf)}
	if link.Index != 0 && r.sockets[link.Index] == nil {
		socket, err := netio.Listen(link.Index, link.Name, r.packets)
		if err != nil {
			result.Fault = err.Error()
		} else {
			r.sockets[link.Index] = socket
		}
	}
	for _, a := range in.config.addresses {
		if result.Fault == "" {
			result.Fault = v.fault(a.intf)
		}
	}
	source, fault := v.source(in.config)
	if fault == "" {
		in.source = source
	} else if result.Fault == "" {
		result.Fault = fault
	}
	result.Source = in.source
	return result
}

// refresh looks at the instances that a change touches and tells their groups.
func (r *router) refresh(touches func(*instance) bool) {
	v := r.look()
	for _, g := range r.ordered() {
		for i, in := range g.instances {
			if !touches(in) {
				continue
			}
			before := g.machine.Instance(i).Fault
			link := r.inspect(v, g, i)
			if before != "" && link.Fault == "" && !g.machine.Holds(i) {
				r.purge(v, g, in) // Before it speaks again.
			}
			r.step(g, link)
			if g.machine.Holds(i) {
				r.restore(v, g, i)
			}
		}
	}
	r.closeUnused()
}

// restore puts back the addresses of an instance that are not where they belong.
func (r *router) restore(v *view, g *group, i int) {
	in := g.instances[i]
	missing := false
	for _, a := range in.config.addresses {
		if v.holds(a) {
			in.present[a] = true
			continue
		}
		missing = true
		if in.present[a] {
			in.counts.Restored++
			r.notice(g, in, "restored", "address "+a.Prefix.String()+" was removed from "+a.intf+" by somebody else and is put back")
		}
	}
	if missing {
		r.step(g, fsm.AddressLost{Instance: i})
	}
}

// purge removes addresses of an instance that are on their interfaces although it does
// not hold them.
func (r *router) purge(v *view, g *group, in *instance) {
	var stale []address
	for _, a := range in.config.addresses {
		if v.holds(a) {
			stale = append(stale, a)
		}
	}
	if len(stale) > 0 {
		r.logger.Warn("removing virtual addresses that were left on their interfaces", "group", g.config.name, "instance", in.config.settings.Name, "addresses", len(stale))
		r.removeAddresses(g, in, stale)
	}
}

// change takes what happened on the network, together with all that has happened since.
func (r *router) change(first netio.Change) {
	if r.stopped {
		return
	}
	indexes, names, all := map[int]bool{}, map[string]bool{}, false
	for c, more := first, true; more; {
		indexes[c.Index] = true
		names[c.Name] = c.Name != ""
		all = all || c.Index == 0
		select {
		case c = <-r.changes:
		default:
			more = false
		}
	}
	v := r.look()
	touches := func(in *instance) bool {
		if all || names[in.config.intf] || indexes[in.link.Index] {
			return true
		}
		return slices.ContainsFunc(in.config.addresses, func(a address) bool {
			if a.intf == in.config.intf {
				return false
			}
			// The interface of an address elsewhere is not remembered.
			link, err := v.link(a.intf)
			return names[a.intf] || err == nil && indexes[link.Index]
		})
	}
	for _, g := range r.groups {
		if slices.ContainsFunc(g.instances, touches) {
			r.refresh(touches)
			return
		}
	}
}

// closeUnused closes the sockets of interfaces nothing runs on any more.
func (r *router) closeUnused() {
	used := map[int]bool{}
	for _, g := range r.groups {
		for _, in := range g.instances {
			used[in.link.Index] = true
		}
	}
	for index, socket := range r.sockets {
		if !used[index] {
			socket.Close()
			delete(r.sockets, index)
		}
	}
}

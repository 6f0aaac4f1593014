package config

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/poise-lb/poise/core/model"
)

// servicePlaces are the places of the virtual servers by key.
func (d *draft) servicePlaces() map[model.ServiceKey]servicePlace {
	out := make(map[model.ServiceKey]servicePlace, len(d.services))
	for i, v := range d.config.VirtualServers {
		if _, ok := out[v.Key]; !ok {
			out[v.Key] = d.services[i]
		}
	}
	return out
}

// finishForwarders checks that instances are used and who writes to them, and that no
// address has two owners.
func (d *draft) finishForwarders() {
	if len(d.config.Forwarders) == 0 {
		return
	}
	a := d.directors()
	for i := range d.config.VirtualServers {
		for _, c := range d.config.VirtualServers[i].Carriers {
			if _, ok := d.forwarders[c.Forwarder]; ok {
				a.carrier(&d.config.VirtualServers[i], d.services[i], c)
			}
		}
	}
	for i, f := range d.config.Forwarders {
		at := d.forwarders[f.ID()]
		for _, other := range d.config.Forwarders[:i] {
			if f.SamePlace(other) {
				d.errorf(at.place, "forwarders %s and %s are one partition of one appliance with one mark: each would remove what the other one makes; make them one, or give each a partition or an instance of its own", other.ID(), f.ID())
			}
		}
		if f.Group != "" && !slices.Contains(groupNames(d.config), f.Group) {
			d.errorf(d.partOf(at, "/group"), "forwarder %s follows the failover group %s, which does not exist%s", f.ID(), f.Group, meant(f.Group, groupNames(d.config)))
		}
		switch {
		case d.failed():
		case !a.used[f.ID()]:
			d.warnf(at.place, "no virtual server is carried by %s: write forwarders: [%s, %s] into one", f.ID(), quoted(d.config.Forwarder), f.ID())
		case f.Group == "" && len(d.config.FailoverGroups) > 0:
			d.warnf(at.place, "both directors would write to %s: write group: %s, so that only its master does", f.ID(), d.config.FailoverGroups[0].Name)
		}
	}
}

func (d *draft) partOf(at checkPlace, pointer string) place {
	if l, ok := at.parameters[pointer]; ok {
		return place{at.file, l}
	}
	return at.place
}

// addresses tells who answers for an address on the network.
type addresses struct {
	*draft
	// held are the addresses of directors, and by what.
	held map[netip.Addr]string
	// appliances are the addresses of instances.
	appliances map[netip.Addr]applianceAddress
	listening  map[listener]string
	used       map[string]bool
}

// applianceAddress is the instance that answers for an address, and for which virtual server.
type applianceAddress struct{ forwarder, by string }

// listener is a virtual server as an instance has it.
type listener struct {
	forwarder string
	key       model.ServiceKey
}

// directors collects the addresses that directors of this configuration hold.
func (d *draft) directors() *addresses {
	a := &addresses{
		draft: d, held: map[netip.Addr]string{}, appliances: map[netip.Addr]applianceAddress{},
		listening: map[listener]string{}, used: map[string]bool{},
	}
	for i, v := range d.config.VirtualServers {
		if v.OnDirector() && v.Key.FWMark == 0 {
			a.hold(v.Key.Addr, fmt.Sprintf("virtual server %s (%s:%d)", v.Key, d.services[i].file, d.services[i].line))
		}
	}
	for i, g := range d.config.FailoverGroups {
		for j, n := range g.Instances {
			at := d.groups[i].instances[j]
			for _, x := range slices.Concat(n.Addresses, n.Excluded) {
				a.hold(x.Prefix.Addr(), fmt.Sprintf("instance %s (%s:%d)", n.Name, at.file, at.line))
			}
		}
	}
	return a
}

func (a *addresses) hold(addr netip.Addr, by string) {
	if _, ok := a.held[addr]; !ok {
		a.held[addr] = by
	}
}

// carrier checks a virtual server on an instance.
func (a *addresses) carrier(v *model.VirtualServer, at servicePlace, c model.Carrier) {
	a.used[c.Forwarder] = true
	where := at.carriers[c.Forwarder]
	if where.broken {
		return
	}
	if v.Key.FWMark != 0 {
		a.errorf(at.carried, "virtual server %s cannot be carried by %s, which knows no firewall marks: give it an address, or take %s out", v.Key, c.Forwarder, c.Forwarder)
		return
	}
	key := v.Key
	if c.Addr.IsValid() {
		if c.Addr.Is6() != key.IPv6 {
			a.errorf(where.part("/address"), "address %s is not of the family of virtual server %s", c.Addr, v.Key)
			return
		}
		key.Addr = c.Addr
	}
	mine := fmt.Sprintf("virtual server %s (%s:%d)", v.Key, at.file, at.line)
	l := listener{c.Forwarder, key}
	if other, ok := a.listening[l]; ok {
		a.errorf(where.part("/address"), "%s has %s already, of %s: give one of them another address or port", c.Forwarder, key, other)
		return
	}
	a.listening[l] = mine
	if where.shared {
		a.shared(v, where, c, key.Addr)
		return
	}
	if by, ok := a.held[key.Addr]; ok {
		a.twoOwners(v, where, c, by)
		return
	}
	if other, ok := a.appliances[key.Addr]; ok && other.forwarder != c.Forwarder {
		a.errorf(where.part("/address"), "address %s of virtual server %s on %s is on %s too, of %s: an address has one owner; write another (%s: {address: …})",
			key.Addr, v.Key, c.Forwarder, other.forwarder, other.by, c.Forwarder)
		return
	}
	a.appliances[key.Addr] = applianceAddress{c.Forwarder, mine}
}

// shared checks an address that a director answers for.
func (a *addresses) shared(v *model.VirtualServer, where carrierPlace, c model.Carrier, addr netip.Addr) {
	at := where.part("/same_address")
	if !v.OnDirector() {
		a.errorf(at, "same_address is for a virtual server that directors carry too, and %s is on %s alone: add %s to its forwarders, or remove same_address",
			v.Key, c.Forwarder, a.config.Forwarder)
	} else if _, ok := a.held[addr]; !ok {
		a.errorf(at, "nobody would answer for %s: same_address leaves that to directors, which do not have it; remove same_address or address", addr)
	}
}

// twoOwners tells that an instance would answer for an address that directors hold.
func (a *addresses) twoOwners(v *model.VirtualServer, where carrierPlace, c model.Carrier, by string) {
	at, alone := where.part("/address"), !v.OnDirector()
	switch {
	case c.Addr.IsValid():
		a.errorf(at, "address %s of virtual server %s on %s is held by %s: an address has one owner; write another, or same_address: true to leave its ARP and ICMP echo to the directors",
			c.Addr, v.Key, c.Forwarder, by)
	case alone:
		a.errorf(at, "virtual server %s is on %s alone, and its address is held by %s: an address has one owner; remove it there, or write another",
			v.Key, c.Forwarder, by)
	default:
		a.errorf(at, "virtual server %s is on %s and %s with one address: give it one of its own there (f5: {address: …}), or write f5: {same_address: true} to leave ARP and ICMP echo to the directors",
			v.Key, a.config.Forwarder, c.Forwarder)
	}
}

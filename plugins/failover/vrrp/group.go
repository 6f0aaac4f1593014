package vrrp

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/plugins/failover/vrrp/fsm"
	"github.com/poise-lb/poise/plugins/failover/vrrp/netio"
	"github.com/poise-lb/poise/plugins/failover/vrrp/packet"
	"github.com/poise-lb/poise/plugins/failover/vrrp/record"
)

// group is a failover group that runs.
type group struct {
	config    groupConfig
	machine   *fsm.Group
	instances []*instance
	// removed: it is no longer in the set, and is dropped when it has gone.
	removed bool
	// next takes its place when it has gone; nil: nothing does.
	next *groupConfig
	// role, reason and since were reported last.
	role   fsm.Role
	reason string
	since  time.Time
}

// instance is the part of a group that runs on one interface.
type instance struct {
	config instanceConfig
	// link is where it runs; its Index is 0 while the interface is missing.
	link netio.Link
	// source of its adverts, the last one that was known.
	source netip.Addr
	// present are the addresses that were seen on, or put on, their interfaces since the
	// instance holds them.
	present map[address]bool
	// held is what the record says.
	held    bool
	file    *record.File
	counts  counters
	notices map[string]*suppressed
	buf     []byte
}

// counters are what an instance has seen since it began; they survive a hand-over.
type counters struct {
	Sent     uint64
	Received uint64
	Restored uint64
	Errors   map[string]uint64
}

func newGroup(config groupConfig, machine *fsm.Group) *group {
	g := &group{config: config, machine: machine, since: time.Now()}
	for _, c := range config.instances {
		g.instances = append(g.instances, &instance{
			config: c, present: map[address]bool{}, notices: map[string]*suppressed{},
			counts: counters{Errors: map[string]uint64{}},
		})
	}
	return g
}

// step gives an event to a group's state machine and carries out what it wants.
func (r *router) step(g *group, event fsm.Event) {
	actions := g.machine.Step(r.now(), event)
	r.save(g)
	for _, a := range actions {
		in := g.instances[a.Instance]
		switch a.Kind {
		case fsm.SendAdvert:
			r.advertise(g, in, a.Priority)
		case fsm.AddAddresses:
			r.addAddresses(g, in)
		case fsm.RemoveAddresses:
			r.removeAddresses(g, in, in.config.addresses)
			clear(in.present)
		case fsm.Announce:
			r.announce(g, in, in.config.addresses)
		case fsm.ChangeRole:
			r.changeRole(g, a.Role, a.Reason)
		case fsm.Warn:
			r.notice(g, in, "master", a.Reason)
		}
	}
	for i, in := range g.instances {
		in.held = g.machine.Holds(i)
	}
	r.save(g)
}

// header is what the record of an instance should say. Addresses that are about to go
// are still there.
func (r *router) header(g *group, i int) record.Header {
	in := g.instances[i]
	return record.Header{
		Boot: r.boot, Settings: in.config.digest(), Master: g.machine.Role() == fsm.Master,
		Holds: in.held || g.machine.Holds(i), LastAdvert: g.machine.Instance(i).LastAdvert,
	}
}

// save writes the records of a group that have changed.
func (r *router) save(g *group) {
	for i, in := range g.instances {
		if in.file == nil {
			continue
		}
		if err := in.file.Write(r.header(g, i)); err != nil {
			r.notice(g, in, "record", err.Error()+"; a restart will not be able to go on as master")
		}
	}
}

// createRecords makes the records of a group; an instance without one runs all the
// same, but is not adopted.
func (r *router) createRecords(g *group, header func(i int) record.Header) {
	for i, in := range g.instances {
		body := record.Body{Group: g.config.name, Instance: in.config.settings.Name}
		for _, a := range in.config.addresses {
			body.Addresses = append(body.Addresses, record.Address{Interface: a.intf, Prefix: a.Prefix})
		}
		if in.file != nil {
			in.file.Close()
			in.file = nil
		}
		file, err := record.Create(r.dir, body, header(i))
		if err != nil {
			r.notice(g, in, "record", err.Error()+"; a restart will not be able to go on as master")
			continue
		}
		in.file = file
	}
}

func (r *router) advertise(g *group, in *instance, priority uint8) {
	socket := r.sockets[in.link.Index]
	if socket == nil || !in.source.IsValid() {
		return // The interface has gone, which is a fault already.
	}
	in.buf = packet.AppendDatagram(in.buf[:0], in.source, packet.Advert{
		VirtualRouterID: in.config.vrid, Priority: priority, AuthType: in.config.expect.AuthType,
		Password: in.config.expect.Password, Interval: in.config.expect.Interval, Addresses: in.config.expect.Addresses,
	})
	err := socket.Send(in.buf)
	switch {
	case err == nil:
		in.counts.Sent++
	case errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO):
		// The link went down; the watch of links tells, and says more.
	default:
		r.notice(g, in, "send", "cannot send an advert on "+in.config.intf+": "+err.Error())
	}
}

func (r *router) addAddresses(g *group, in *instance) {
	for _, a := range in.config.addresses {
		link, err := r.net.Link(a.intf)
		if err == nil {
			_, err = r.net.Add(link, a.Address)
		}
		if err != nil {
			// It is tried again by retry.
			delete(in.present, a)
			r.notice(g, in, "add", "cannot put "+a.Prefix.String()+" on "+a.intf+": "+err.Error())
			continue
		}
		in.present[a] = true
	}
}

// removeAddresses removes addresses unless another instance holds them too.
func (r *router) removeAddresses(g *group, in *instance, addresses []address) {
	for _, a := range addresses {
		if r.heldElsewhere(a, in) {
			continue
		}
		link, err := r.net.Link(a.intf)
		if err == nil {
			_, err = r.net.Remove(link, a.Prefix)
		}
		if err != nil && !errors.Is(err, netio.ErrMissing) {
			r.notice(g, in, "remove", "cannot remove "+a.Prefix.String()+" from "+a.intf+": "+err.Error())
		}
	}
}

// heldElsewhere says whether an instance other than in holds an address on the same
// interface.
func (r *router) heldElsewhere(a address, in *instance) bool {
	for _, g := range r.groups {
		for i, other := range g.instances {
			if other != in && g.machine.Holds(i) && slices.ContainsFunc(other.config.addresses, a.same) {
				return true
			}
		}
	}
	return false
}

// same says whether both are the same address on the same interface.
func (a address) same(b address) bool { return a.Prefix == b.Prefix && a.intf == b.intf }

// announce announces those of the addresses that are where they belong.
func (r *router) announce(g *group, in *instance, addresses []address) {
	for _, a := range addresses {
		if !in.present[a] {
			continue
		}
		link, err := r.net.Link(a.intf)
		if err == nil {
			err = r.announcer.Announce(link, a.Prefix.Addr())
		}
		if err != nil && !errors.Is(err, netio.ErrMissing) && !errors.Is(err, unix.ENETDOWN) {
			r.notice(g, in, "announce", "cannot announce "+a.Prefix.String()+" on "+a.intf+": "+err.Error())
		}
	}
}

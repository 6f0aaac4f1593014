package vrrp

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poise-lb/poise/plugins/failover/vrrp/fsm"
	"github.com/poise-lb/poise/plugins/failover/vrrp/record"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
)

// apply puts a set of groups in force. An error says that this process cannot work.
func (r *router) apply(set *failoverv1.SetGroups) error {
	if r.stopped || len(r.stops) > 0 || r.lost {
		return nil
	}
	configs, rejected := readSet(set)
	var saved []record.Saved
	if !r.began {
		r.began = true
		var err error
		if saved, err = r.takeOver(configs); err != nil {
			return err
		}
	}
	if grace := set.GetCoreLossGrace().AsDuration(); grace > 0 {
		r.grace = grace
	}
	wanted := map[string]bool{}
	for _, bad := range rejected {
		wanted[bad.GetGroup()] = true // What runs under that name goes on as it was.
		if r.groups[bad.GetGroup()] != nil {
			bad.Message += "; its former settings stay in force"
		}
	}
	for _, c := range configs {
		wanted[c.name] = true
	}
	for _, g := range r.ordered() {
		if !wanted[g.config.name] {
			g.removed, g.next = true, nil
			r.step(g, fsm.Withdraw{Reason: "no longer configured"})
		}
	}
	r.removeLeftovers(configs, saved)
	for _, c := range configs {
		if g := r.groups[c.name]; g != nil {
			r.update(g, c)
		} else {
			r.start(c, saved)
		}
	}
	r.closeUnused()
	r.report(&failoverv1.RunResponse{Message: &failoverv1.RunResponse_Applied{Applied: &failoverv1.Applied{
		Generation: set.GetGeneration(), Rejected: rejected,
	}}})
	for _, g := range r.ordered() {
		if !g.removed {
			r.reportRole(g)
		}
	}
	return nil
}

// readSet separates the groups that can be run from those that cannot.
func readSet(set *failoverv1.SetGroups) (configs []groupConfig, rejected []*failoverv1.Rejected) {
	names := map[string]bool{}
	type router struct {
		intf string
		vrid uint8
	}
	routers := map[router]string{}
	for _, g := range set.GetGroups() {
		c, err := parseGroup(g)
		if err == nil && names[c.name] {
			err = fmt.Errorf("the name of group %q is used twice", c.name)
		}
		names[c.name] = true
		if err == nil {
			for _, in := range c.instances {
				id := router{in.intf, in.vrid}
				if other, used := routers[id]; used {
					err = fmt.Errorf("virtual router id %d on %s is that of instance %q already; give each its own", in.vrid, in.intf, other)
				}
				routers[id] = in.settings.Name
			}
		}
		if err != nil {
			rejected = append(rejected, &failoverv1.Rejected{Group: c.name, Message: err.Error()})
			continue
		}
		configs = append(configs, c)
	}
	return configs, rejected
}

// start starts a group that does not run, from the records of a process that was killed
// if they allow it.
func (r *router) start(c groupConfig, saved []record.Saved) {
	g := newGroup(c, fsm.New(c.settings()))
	r.groups[c.name] = g
	v := r.look()
	former := make([]record.Header, len(g.instances))
	adopt := len(saved) > 0
	for i, in := range g.instances {
		j := slices.IndexFunc(saved, func(s record.Saved) bool {
			return s.Group == c.name && s.Instance == in.config.settings.Name
		})
		if j < 0 {
			adopt = false
			continue
		}
		former[i] = saved[j].Header
		in.held = former[i].Holds
		age := r.now() - former[i].LastAdvert
		adopt = adopt && former[i].Master && former[i].Settings == in.config.digest() &&
			age >= 0 && age < adoptable(in.config.settings)
		if former[i].Holds {
			r.removeAddresses(g, in, dropped(saved[j].Addresses, in.config.addresses))
		}
	}
	if !adopt {
		for _, in := range g.instances {
			r.purge(v, g, in)
			in.held = false
		}
	}
	e := fsm.Start{Adopt: adopt}
	for i := range g.instances {
		e.Links = append(e.Links, r.inspect(v, g, i))
	}
	r.createRecords(g, func(i int) record.Header {
		if adopt {
			return former[i]
		}
		return r.header(g, i)
	})
	r.step(g, e)
	if adopt && g.machine.Role() != fsm.Master {
		for _, in := range g.instances {
			r.purge(v, g, in)
		}
	}
}

// adoptable is how old the last advert of a master may be that is adopted: less than any
// peer waits before it takes over, one with the default settings included.
func adoptable(s fsm.Settings) time.Duration {
	return time.Duration(min(s.DownAdverts, defaultDownAdverts)) * s.Interval
}

// update gives a group that runs other settings, in place where its peers cannot tell.
func (r *router) update(g *group, c groupConfig) {
	if g.machine.Leaving() {
		g.removed, g.next = false, &c
		return
	}
	if !g.config.sameRouters(c) {
		// Other virtual routers: the old ones leave first, make before break.
		g.next = &c
		r.step(g, fsm.Withdraw{Reason: "its settings have changed"})
		return
	}
	if proto.Equal(g.config.wire, c.wire) {
		return
	}
	old := g.config
	g.config = c
	records := false
	for i, in := range g.instances {
		before := in.config.addresses
		in.config = c.instances[i]
		if !reflect.DeepEqual(before, in.config.addresses) {
			records = true
			r.changeAddresses(g, i, before)
		}
	}
	if records {
		r.createRecords(g, func(i int) record.Header { return r.header(g, i) })
	}
	if !reflect.DeepEqual(old.settings(), c.settings()) {
		r.step(g, fsm.Configure{Settings: c.settings()})
	}
	v := r.look()
	for i := range g.instances {
		r.step(g, r.inspect(v, g, i))
	}
}

// changeAddresses removes the addresses an instance no longer has, and adds those that
// are new; the others are not touched.
func (r *router) changeAddresses(g *group, i int, before []address) {
	in := g.instances[i]
	var gone, fresh []address
	for _, a := range before {
		if !slices.ContainsFunc(in.config.addresses, a.same) {
			gone = append(gone, a)
		}
	}
	for _, a := range in.config.addresses {
		if !slices.ContainsFunc(before, a.same) {
			fresh = append(fresh, a)
		}
	}
	if !g.machine.Holds(i) {
		r.purge(r.look(), g, in)
		return
	}
	clear(in.present)
	r.removeAddresses(g, in, gone)
	r.addAddresses(g, in)
	r.announce(g, in, fresh)
}

// dropped are the addresses of a record that are no longer configured.
func dropped(recorded []record.Address, configured []address) (list []address) {
	for _, a := range recorded {
		old := address{intf: a.Interface}
		old.Prefix = a.Prefix
		if !slices.ContainsFunc(configured, old.same) {
			list = append(list, old)
		}
	}
	return list
}

// removeLeftovers removes what a process that was killed held for instances that are no
// longer configured.
func (r *router) removeLeftovers(configs []groupConfig, saved []record.Saved) {
	var configured []address
	names := map[[2]string]bool{}
	for _, c := range configs {
		for _, in := range c.instances {
			configured = append(configured, in.addresses...)
			names[[2]string{c.name, in.settings.Name}] = true
		}
	}
	for _, s := range saved {
		if names[[2]string{s.Group, s.Instance}] {
			continue
		}
		if s.Holds {
			nobody := newGroup(groupConfig{name: s.Group, instances: []instanceConfig{{settings: fsm.Settings{Name: s.Instance}}}}, nil)
			r.removeAddresses(nobody, nobody.instances[0], dropped(s.Addresses, configured))
		}
		s.Remove()
	}
}

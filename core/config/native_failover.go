package config

import (
	"net/netip"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// failoverGroup takes {name, instances}, or an instance that is a group of its own.
func (n *native) failoverGroup(at node) {
	o, ok := at.object()
	if !ok {
		return
	}
	g := model.FailoverGroup{}
	where := groupPlace{place: at.place()}
	if _, ok := o.values["instances"]; !ok {
		i := n.instance(o)
		g.Name, g.Instances, where.instances = i.Name, []model.Instance{i}, []place{at.place()}
		n.addGroup(where, g)
		return
	}
	o.string("name", &g.Name)
	if g.Name == "" {
		o.errorf("the failover group has no name")
	}
	for _, x := range o.list("instances") {
		if m, ok := x.object(); ok {
			g.Instances = append(g.Instances, n.instance(m))
			where.instances = append(where.instances, x.place())
		}
	}
	o.done()
	if len(g.Instances) == 0 {
		o.errorf("failover group %s has no instances", g.Name)
	}
	n.addGroup(where, g)
}

func (n *native) instance(o *object) model.Instance {
	i := model.Instance{Priority: 100, AdvertInterval: time.Second}
	defaults := newVRRPDefaults()
	i.DownTimerAdverts, i.GARPRepeat, i.GARPDelay = defaults.downTimerAdverts, defaults.garpRepeat, defaults.garpDelay
	o.string("name", &i.Name)
	o.string("interface", &i.Interface)
	whole(o, "virtual_router_id", &i.VirtualRouterID, 1, 255)
	whole(o, "priority", &i.Priority, 1, 255)
	if v, ok := o.get("advert_interval"); ok {
		if d, ok := v.duration(time.Second); ok {
			i.AdvertInterval = d
			if d%time.Second != 0 || d > 255*time.Second {
				v.errorf("advert_interval %s: VRRP version 2 has whole seconds, 1s to 255s", d)
			}
		}
	}
	preempt := true
	o.boolean("preempt", &preempt)
	i.NoPreempt = !preempt
	o.duration("preempt_delay", &i.PreemptDelay, 0)
	whole(o, "down_timer_adverts", &i.DownTimerAdverts, 1, 100)
	n.auth(o, &i)
	i.Addresses = n.virtualAddresses(o, "addresses", &i)
	i.Excluded = n.virtualAddresses(o, "excluded", &i)
	if s, ok := o.get("source"); ok {
		a, ok := s.address()
		if i.Source = a; ok && !a.Is4() {
			s.errorf("source %s: VRRP over IPv6 is not built yet", a)
		}
	}
	if g, ok := o.object("garp"); ok {
		whole(g, "repeat", &i.GARPRepeat, 1, 255)
		g.duration("delay", &i.GARPDelay, 0)
		g.duration("refresh", &i.GARPRefresh, 0)
		g.done()
	}
	o.done()
	n.finishInstance(o, &i)
	return i
}

// finishInstance tells what is missing and what does not fit together.
func (n *native) finishInstance(o *object, i *model.Instance) {
	if i.Name == "" {
		o.errorf("the instance has no name")
	}
	if i.Interface == "" {
		o.errorf("instance %s has no interface: write interface: eth0", i.Name)
	}
	if o.values["virtual_router_id"] == nil {
		o.errorf("instance %s has no virtual_router_id: write one, 1..255, the same on both directors", i.Name)
	}
	if i.NoPreempt && i.Priority == 255 {
		o.errorf("instance %s: preempt: false has no effect with priority 255", i.Name)
	}
	if i.NoPreempt && i.PreemptDelay > 0 {
		o.errorf("instance %s: preempt_delay has no effect with preempt: false", i.Name)
	}
	if len(i.Addresses) == 0 {
		n.warnf(o.place(), "instance %s has no addresses: nobody sees its role", i.Name)
	}
	if len(i.Addresses) > 255 {
		o.errorf("instance %s has more than 255 addresses: write the others into excluded", i.Name)
	}
	seen := map[netip.Addr]bool{}
	for _, list := range [][]model.VirtualAddress{i.Addresses, i.Excluded} {
		for _, a := range list {
			if seen[a.Prefix.Addr()] {
				o.errorf("address %s stands twice in instance %s", a.Prefix.Addr(), i.Name)
			}
			seen[a.Prefix.Addr()] = true
		}
	}
}

// auth takes {pass: "secret"}. No message shows it.
func (n *native) auth(o *object, i *model.Instance) {
	a, ok := o.object("auth")
	if !ok {
		return
	}
	if p, ok := a.get("pass"); ok {
		if s, ok := p.text(); ok {
			if len(s) > 8 {
				p.errorf("pass is longer than the 8 characters that VRRP has room for")
			}
			i.AuthPass = s
		}
	}
	a.done()
}

// virtualAddresses reads a list of "192.0.2.1/24" and of maps.
func (n *native) virtualAddresses(o *object, key string, i *model.Instance) []model.VirtualAddress {
	var out []model.VirtualAddress
	for _, v := range o.list(key) {
		if a, ok := virtualAddress(v); ok {
			if a.Interface == i.Interface {
				a.Interface = ""
			}
			out = append(out, a)
		}
	}
	return out
}

func virtualAddress(v node) (model.VirtualAddress, bool) {
	var a model.VirtualAddress
	at := v
	var o *object
	if _, ok := v.value.(string); !ok {
		if o, ok = v.object(); !ok {
			return a, false
		}
		if at, ok = o.get("address"); !ok {
			o.errorf("the virtual address has no address: write address: 192.0.2.1/24")
			return a, false
		}
	}
	s, ok := at.text()
	if !ok {
		return a, false
	}
	p, err := parsePrefix(s)
	switch {
	case err != nil:
		at.errorf("virtual address %s: %v", s, err)
		return a, false
	case p.Addr().Is6():
		at.errorf("virtual address %s: VRRP over IPv6 is not built yet", s)
		return a, false
	}
	if a.Prefix = p; o != nil {
		addressOptions(o, &a)
		o.done()
	}
	return a, true
}

func addressOptions(o *object, a *model.VirtualAddress) {
	o.string("interface", &a.Interface)
	o.string("label", &a.Label)
	if b, ok := o.get("broadcast"); ok {
		if s, ok := b.text(); ok {
			x, err := parseBroadcast(s, a.Prefix)
			if err != nil {
				b.errorf("broadcast %s: %v", s, err)
			}
			a.Broadcast = x
		}
	}
	s, ok := o.get("scope")
	if !ok {
		return
	}
	if name, ok := s.value.(string); ok {
		if a.Scope, ok = parseScope(name); !ok {
			s.errorf("unknown scope %s: it is global, site, link, host or 0..255", name)
		}
		return
	}
	x, _ := s.number(0, 255)
	a.Scope = uint8(x)
}

func (n *native) connectionSync(at node) {
	o, ok := at.object()
	if !ok {
		return
	}
	var s model.ConnectionSync
	o.string("group", &s.Group)
	o.string("interface", &s.Interface)
	if s.Group == "" || s.Interface == "" {
		o.errorf("connection_sync needs a group, whose role it follows, and an interface")
	}
	whole(o, "id", &s.ID, 0, 255)
	whole(o, "max_length", &s.MaxLength, 0, 65507)
	whole(o, "port", &s.Port, 0, 65535)
	whole(o, "ttl", &s.TTL, 0, 255)
	if m, ok := o.get("multicast"); ok {
		a, ok := m.address()
		if s.Multicast = a; ok && !a.IsMulticast() {
			m.errorf("multicast %s: not a multicast address", a)
		}
	}
	o.done()
	if s.Group == "" || s.Interface == "" {
		return
	}
	if n.config.ConnectionSync != nil {
		o.errorf("connection sync is set already (%s:%d): remove one", n.sync.file, n.sync.line)
		return
	}
	n.config.ConnectionSync = normalSync(s)
	n.sync = at.place()
}

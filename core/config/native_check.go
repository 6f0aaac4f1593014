package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// checkDefinition is a check that any number of real servers may have. What its
// target leaves open is each real server's own.
type checkDefinition struct {
	name  string
	at    place
	lines map[string]int
	check model.Check
	addr  netip.Addr
	port  uint16
	used  bool
}

// of gives the check of a real server.
func (d *checkDefinition) of(real netip.AddrPort, servicePort uint16) (model.Check, error) {
	d.used = true
	c := d.check
	rule := checkTypes[c.Type].target
	if rule == hasNoTarget {
		return c, nil
	}
	addr, port := d.addr, d.port
	if !addr.IsValid() {
		addr = real.Addr()
	}
	if rule != hasNoPort {
		port = cmp.Or(port, real.Port(), servicePort)
	}
	if rule == needsPort && port == 0 {
		return c, fmt.Errorf("the check has no port for real server %s: write port: 80 into it", real.Addr())
	}
	c.Target.Addr = netip.AddrPortFrom(addr, port)
	if s := c.Target.Source; s.IsValid() && s.Addr().Is6() != addr.Is6() {
		return c, fmt.Errorf("the check's source %s is not of the family of %s", s.Addr(), addr)
	}
	return c, nil
}

// definitions reads the map `checks`.
func (n *native) definitions(o *object) {
	all, ok := o.object("checks")
	if !ok {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(all.values)) {
		if v, ok := all.get(name); ok {
			if d, ok := n.checkDefinition(v); ok {
				d.name = name
				n.checks[name] = d
			}
		}
	}
}

// unusedChecks tells of definitions without use; beside errors that is noise.
func (n *native) unusedChecks() {
	if n.failed() {
		return
	}
	for name, d := range n.checks {
		if !d.used {
			n.warnf(d.at, "no real server has the check %s", name)
		}
	}
}

// checkList reads a list of names of checks and of checks that stand there
// themselves.
func (n *native) checkList(o *object) []*checkDefinition {
	var out []*checkDefinition
	for _, c := range o.list("checks") {
		name, named := c.value.(string)
		switch d, known := n.checks[name]; {
		case !named:
			if d, ok := n.checkDefinition(c); ok {
				out = append(out, d)
			}
		case known:
			d.used = true
			out = append(out, d)
		default:
			c.errorf("checks at the top of the file has no %s%s", name, meant(name, slices.Sorted(maps.Keys(n.checks))))
		}
	}
	return out
}

func (n *native) checkDefinition(v node) (*checkDefinition, bool) {
	o, ok := v.object()
	if !ok {
		return nil, false
	}
	d := &checkDefinition{at: v.place()}
	c := &d.check
	o.string("type", &c.Type)
	switch {
	case c.Type == "":
		o.errorf("the check has no type: write type: tcp")
	case n.options.Known != nil && !n.options.Known(c.Type):
		t, _ := o.get("type")
		t.errorf("unknown type of check %s: no plugin offers it", c.Type)
	}
	kind := checkTypes[c.Type]
	if kind.watched {
		n.unscheduled(o, c.Type)
		c.Schedule = watchedSchedule
	} else {
		n.schedule(o, &c.Schedule)
	}
	n.target(o, d, kind.target)
	if u, ok := o.get("unknown"); ok {
		u.onUnknown(&c.OnUnknown)
	}
	if p, ok := o.get("parameters"); ok {
		c.Parameters, d.lines = p.canonical()
	}
	o.done()
	return d, true
}

func (n *native) schedule(o *object, s *model.Schedule) {
	s.Interval, s.Timeout, s.Retries, s.RetryDelay = defaultInterval, defaultTimeout, 1, time.Second
	o.duration("interval", &s.Interval, 1)
	o.duration("timeout", &s.Timeout, 1)
	whole(o, "retries", &s.Retries, 0, 1<<32-1)
	o.duration("retry_delay", &s.RetryDelay, 0)
	s.Warmup = s.Interval
	o.duration("warmup", &s.Warmup, 0)
}

// unscheduled warns of a schedule for a check that has none.
func (n *native) unscheduled(o *object, kind string) {
	for _, key := range []string{"interval", "timeout", "retries", "retry_delay", "warmup"} {
		if v, ok := o.get(key); ok {
			n.warnf(v.place(), "%s has no effect in a check of type %s, whose results come by themselves: remove it", key, kind)
		}
	}
}

func (n *native) target(o *object, d *checkDefinition, rule targetRule) {
	t := &d.check.Target
	refuse := map[targetRule][]string{
		hasNoPort:   {"port"},
		hasNoTarget: {"address", "port", "source", "interface", "fwmark"},
	}
	for _, key := range refuse[rule] {
		if v, ok := o.get(key); ok {
			v.errorf("a check of type %s has no %s: remove it", d.check.Type, key)
		}
	}
	if rule == hasNoTarget {
		return
	}
	o.address("address", &d.addr)
	if rule != hasNoPort {
		whole(o, "port", &d.port, 1, 65535)
	}
	if a, ok := o.get("source"); ok {
		t.Source, _ = a.endpoint(false)
	}
	o.string("interface", &t.Interface)
	whole(o, "fwmark", &t.FWMark, 0, 1<<32-1)
}

// onUnknown takes keep, down or up.
func (v node) onUnknown(to *model.OnUnknown) {
	w, _ := v.value.(string)
	for _, o := range []model.OnUnknown{model.KeepVerdict, model.CountDown, model.CountUp} {
		if w == o.String() {
			*to = o
			return
		}
	}
	v.wrong("keep, down or up")
}

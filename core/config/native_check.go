package config

import (
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
	addr, port := d.addr, d.port
	if !addr.IsValid() {
		addr = real.Addr()
	}
	for _, p := range []uint16{real.Port(), servicePort} {
		if port == 0 {
			port = p
		}
	}
	if port == 0 {
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
	if slices.ContainsFunc(n.list, func(p Problem) bool { return p.Severity == Error }) {
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
	s := &c.Schedule
	s.Interval, s.Timeout, s.Retries, s.RetryDelay = defaultInterval, defaultTimeout, 1, time.Second
	o.duration("interval", &s.Interval, 1)
	o.duration("timeout", &s.Timeout, 1)
	whole(o, "retries", &s.Retries, 0, 1<<32-1)
	o.duration("retry_delay", &s.RetryDelay, 0)
	s.Warmup = s.Interval
	o.duration("warmup", &s.Warmup, 0)
	o.address("address", &d.addr)
	whole(o, "port", &d.port, 1, 65535)
	if a, ok := o.get("source"); ok {
		c.Target.Source, _ = a.endpoint(false)
	}
	o.string("interface", &c.Target.Interface)
	whole(o, "fwmark", &c.Target.FWMark, 0, 1<<32-1)
	if p, ok := o.get("parameters"); ok {
		c.Parameters, d.lines = p.canonical()
	}
	o.done()
	return d, true
}

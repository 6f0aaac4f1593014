package config

import (
	"net/netip"
	"strings"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// Defaults of poise's own format where they differ from keepalived's.
const (
	defaultInterval = 6 * time.Second
	defaultTimeout  = 3 * time.Second
)

// nativeServer is a virtual server while it is read, with what it hands down to its
// real servers.
type nativeServer struct {
	*native
	v       model.VirtualServer
	weight  uint32
	alpha   bool
	inhibit bool
	checks  []*checkDefinition
	places  []place
}

func (n *native) virtualServer(at node) {
	o, ok := at.object()
	if !ok {
		return
	}
	s := &nativeServer{native: n, weight: 1}
	s.v.Quorum = 1
	addressed := s.listen(o)
	s.v.Scheduler = "wlc"
	if w, ok := o.get("scheduler"); ok {
		if x, ok := w.text(); ok {
			if err := checkScheduler(x); err != nil {
				w.errorf("%v", err)
			}
			s.v.Scheduler = x
		}
	}
	s.flags(o)
	hasMethod := false
	if f, ok := o.get("forwarding"); ok {
		s.v.Forwarding, hasMethod = f.forwarding()
	} else {
		o.errorf("the virtual server has no forwarding method: write forwarding: DR, NAT or TUN")
	}
	s.persistence(o)
	o.boolean("one_packet", &s.v.OnePacket)
	whole(o, "quorum", &s.v.Quorum, 1, 1<<32-1)
	whole(o, "hysteresis", &s.v.Hysteresis, 0, 1<<32-1)
	whole(o, "weight", &s.weight, 0, maxWeight)
	o.boolean("alpha", &s.alpha)
	o.boolean("inhibit_on_failure", &s.inhibit)
	s.checks = s.checkList(o)
	sorryAt := s.sorry(o)
	for _, r := range o.list("real_servers") {
		s.realServer(r)
	}
	s.family(o)
	carriage := n.carriage(o, false)
	o.done()
	if !addressed || !hasMethod {
		return
	}
	if left, ok := (normaliser{n.draft, Error}).service(o.place(), sorryAt, s.places, &s.v); ok {
		at := servicePlace{place: o.place(), parts: o.parts(), real: left}
		carriage.load(&s.v, &at)
		n.addService(at, s.v)
	}
}

// listen reads what the virtual server listens on.
func (s *nativeServer) listen(o *object) bool {
	key := &s.v.Key
	key.Protocol = model.TCP
	protocol, hasProtocol := o.get("protocol")
	if hasProtocol {
		w, _ := protocol.text()
		switch strings.ToLower(w) {
		case "tcp":
		case "udp":
			key.Protocol = model.UDP
		case "sctp":
			key.Protocol = model.SCTP
		default:
			protocol.wrong("tcp, udp or sctp")
		}
	}
	address, hasAddress := o.get("address")
	mark, hasMark := o.get("fwmark")
	switch {
	case hasAddress == hasMark:
		o.errorf("a virtual server has either an address or a fwmark: write address: 192.0.2.1:80")
		return false
	case hasMark:
		if hasProtocol {
			protocol.errorf("a firewall mark takes packets of any protocol: remove protocol")
		}
		x, ok := mark.number(1, 1<<32-1)
		key.FWMark, key.Protocol = uint32(x), model.NoProtocol
		return ok
	}
	a, ok := address.endpoint(false)
	key.Addr, key.Port, key.IPv6 = a.Addr(), a.Port(), a.Addr().Is6()
	return ok
}

// family settles the family of a firewall mark (as it is written, else that of its
// real servers) and what depends on it.
func (s *nativeServer) family(o *object) {
	key := &s.v.Key
	f, ok := o.get("family")
	switch {
	case ok && key.FWMark == 0:
		f.errorf("only a firewall mark has a family: an address tells its own")
	case ok:
		w, _ := f.text()
		if w != "inet" && w != "inet6" {
			f.wrong("inet or inet6")
		}
		key.IPv6 = w == "inet6"
	case key.FWMark != 0 && len(s.v.RealServers) > 0:
		key.IPv6 = s.v.RealServers[0].Addr.Addr().Is6()
	}
	p := &s.v.Persistence
	all := uint8(32)
	if key.IPv6 {
		all = 128
	}
	if p.Prefix > all {
		o.errorf("the persistence prefix %d is longer than an address, %d bits", p.Prefix, all)
	}
	if p.Prefix == all {
		p.Prefix = 0
	}
}

func (s *nativeServer) flags(o *object) {
	for _, f := range o.list("scheduler_flags") {
		switch w, ok := f.text(); {
		case w == "flag-1" || w == "flag-2" || w == "flag-3":
			s.v.SchedulerFlags = append(s.v.SchedulerFlags, w)
		case ok:
			f.errorf("unknown scheduler flag %s: it is flag-1, flag-2 or flag-3", w)
		}
	}
}

// forwarding takes "DR", or {method: TUN, tunnel: gue, port: 5555, checksum: csum}.
func (v node) forwarding() (model.Forwarding, bool) {
	var f model.Forwarding
	method := ""
	if _, ok := v.value.(string); ok {
		method, _ = v.text()
	} else {
		o, ok := v.object()
		if !ok {
			return f, false
		}
		o.string("method", &method)
		o.string("tunnel", &f.Tunnel.Type)
		whole(o, "port", &f.Tunnel.Port, 1, 65535)
		o.string("checksum", &f.Tunnel.Checksum)
		o.done()
	}
	m, err := parseMethod(method)
	if err != nil {
		v.errorf("%v", err)
		return f, false
	}
	f.Method = m
	if f.Tunnel.Type == "ipip" {
		f.Tunnel.Type = ""
	}
	if m != model.TUN && f.Tunnel != (model.Tunnel{}) {
		v.errorf("only the forwarding method TUN has a tunnel")
		return f, false
	}
	if err := checkTunnel(f.Tunnel); err != nil {
		v.errorf("%v", err)
		return f, false
	}
	return f, true
}

// persistence takes "5m", or {timeout: 5m, prefix: 24, engine: sip}.
func (s *nativeServer) persistence(o *object) {
	at, ok := o.get("persistence")
	if !ok {
		return
	}
	p := &s.v.Persistence
	if _, ok := at.value.(string); ok {
		p.Timeout, _ = at.duration(time.Second)
	} else if m, ok := at.object(); ok {
		p.Timeout = defaultPersistence
		m.duration("timeout", &p.Timeout, 0)
		whole(m, "prefix", &p.Prefix, 1, 128)
		m.string("engine", &p.Engine)
		m.done()
	}
	if p.Timeout%time.Second != 0 || p.Timeout > maxPersistence*time.Second {
		at.errorf("a persistence timeout is whole seconds, at most %ds", maxPersistence)
	}
}

// sorry takes "192.0.2.9:80", or {address, forwarding, inhibit}.
func (s *nativeServer) sorry(o *object) place {
	at, ok := o.get("sorry_server")
	if !ok {
		return o.place()
	}
	server := model.SorryServer{Forwarding: s.v.Forwarding}
	address, good := at, true
	if _, ok := at.value.(string); !ok {
		m, ok := at.object()
		if !ok {
			return at.place()
		}
		if address, ok = m.get("address"); !ok {
			m.errorf("the sorry server has no address: write address: 192.0.2.9:80")
			return at.place()
		}
		if f, ok := m.get("forwarding"); ok {
			server.Forwarding, good = f.forwarding()
		}
		m.boolean("inhibit", &server.Inhibit)
		m.done()
	}
	a, ok := address.endpoint(false)
	if server.Addr = a; ok && good {
		s.v.Sorry = &server
	}
	return at.place()
}

// realServer takes "192.0.2.1:80", or a map.
func (s *nativeServer) realServer(at node) {
	r := model.RealServer{Weight: s.weight, Forwarding: s.v.Forwarding, Alpha: s.alpha, InhibitOnFailure: s.inhibit}
	address, checks, good := at, s.checks, true
	if _, ok := at.value.(string); !ok {
		o, ok := at.object()
		if !ok {
			return
		}
		if address, ok = o.get("address"); !ok {
			o.errorf("the real server has no address: write address: 192.0.2.1:80")
			return
		}
		whole(o, "weight", &r.Weight, 0, maxWeight)
		if f, ok := o.get("forwarding"); ok {
			r.Forwarding, good = f.forwarding()
		}
		whole(o, "upper_threshold", &r.UpperThreshold, 0, 1<<32-1)
		whole(o, "lower_threshold", &r.LowerThreshold, 0, 1<<32-1)
		o.boolean("inhibit_on_failure", &r.InhibitOnFailure)
		o.boolean("alpha", &r.Alpha)
		if _, ok := o.values["checks"]; ok {
			checks = s.checkList(o)
		}
		o.asked = append(o.asked, "checks")
		o.done()
	}
	a, ok := address.endpoint(false)
	if !ok || !good {
		return
	}
	r.Addr = a
	r.Checks = s.checksOf(checks, a)
	s.v.RealServers = append(s.v.RealServers, r)
	s.places = append(s.places, at.place())
}

// checksOf gives the checks of a real server.
func (s *nativeServer) checksOf(definitions []*checkDefinition, real netip.AddrPort) []model.Check {
	var out []model.Check
	for _, d := range definitions {
		c, err := d.of(real, s.v.Key.Port)
		if err != nil {
			s.errorf(d.at, "%v", err)
			continue
		}
		s.addCheck(checkPlace{d.at, d.lines}, c)
		out = append(out, c)
	}
	return out
}

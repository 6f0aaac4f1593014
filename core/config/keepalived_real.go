package config

import (
	"net/netip"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// realServer is a real_server while it is read.
type realServer struct {
	*keepalived
	at     place
	addr   netip.AddrPort
	r      model.RealServer
	weight *uint32
	// method is its own, methodThen the virtual server's where it began.
	method, methodThen *model.Forwarding
	down               inherited
	checks             []*tcpCheck
}

// tcpCheck is a TCP_CHECK while it is read.
type tcpCheck struct {
	*keepalived
	at     place
	target model.Target
	source netip.Addr
	port   uint16
	down   inherited
}

func (v *virtualServer) realServer(t *statement) {
	r := &realServer{keepalived: v.keepalived, at: t.place, methodThen: v.method}
	var ok bool
	if r.addr, ok = v.endpoint(t); !ok {
		t.next = len(t.words)
	}
	v.each(inRealServer, t.body, r.keyword)
	if !ok {
		v.broken = true
		return
	}
	v.real = append(v.real, r)
}

func (r *realServer) keyword(t *statement) {
	switch t.keyword() {
	case "weight":
		give(&r.weight, r.keepalived, t, 0, maxWeight)
	case "lvs_method":
		r.method = r.forwarding(t)
	case "uthreshold":
		set(&r.r.UpperThreshold, r.keepalived, t, 0, 1<<32-1)
	case "lthreshold":
		set(&r.r.LowerThreshold, r.keepalived, t, 0, 1<<32-1)
	case "virtualhost":
		r.word(t)
	case "TCP_CHECK":
		c := &tcpCheck{keepalived: r.keepalived, at: t.place}
		r.each(inTCPCheck, t.body, c.keyword)
		r.checks = append(r.checks, c)
	default:
		r.down.keyword(r.keepalived, t, 1)
	}
}

func (c *tcpCheck) keyword(t *statement) {
	switch t.keyword() {
	case "connect_ip":
		a, _ := c.endpoint(t)
		c.target.Addr = netip.AddrPortFrom(a.Addr(), c.target.Addr.Port())
		if a.Port() != 0 {
			c.target.Addr = a
		}
	case "connect_port":
		port := c.target.Addr.Port()
		set(&port, c.keepalived, t, 1, 65535)
		c.target.Addr = netip.AddrPortFrom(c.target.Addr.Addr(), port)
	case "bindto":
		c.source, _ = c.address(t)
	case "bind_if":
		c.target.Interface, _ = c.word(t)
	case "bind_port":
		set(&c.port, c.keepalived, t, 1, 65535)
	case "fwmark":
		set(&c.target.FWMark, c.keepalived, t, 0, 1<<32-1)
	case "nb_get_retry":
		c.warnf(t.place, "nb_get_retry is the old spelling of retry, and keepalived 2 ignores it in a TCP_CHECK: write retry")
		give(&c.down.retry, c.keepalived, t, 0, 1<<32-1)
	default:
		c.down.keyword(c.keepalived, t, 0)
	}
}

// finish makes the virtual server of what was read.
func (v *virtualServer) finish() {
	v.v.Key = v.key
	v.v.Key.IPv6 = v.isIPv6()
	v.setDefaults()
	v.v.Forwarding = *v.method
	if v.v.Sorry != nil {
		v.v.Sorry.Forwarding = value(v.sorryMethod, *v.method)
	}
	if v.granularity != 0 {
		v.setGranularity()
	}
	var places []place
	for _, r := range v.real {
		v.v.RealServers = append(v.v.RealServers, v.finishReal(r))
		places = append(places, r.at)
	}
	if v.broken && len(v.real) == 0 {
		return
	}
	if (normaliser{v.draft, Warning}).service(v.at, v.sorryAt, places, &v.v) {
		v.addService(v.at, v.v)
	}
}

func (v *virtualServer) setDefaults() {
	switch {
	case v.key.FWMark != 0:
		if v.protocol != nil {
			v.warnf(v.at, "the protocol of virtual server %s has no effect: a firewall mark takes packets of any", v.v.Key)
		}
	case v.protocol == nil:
		v.v.Key.Protocol = model.UDP
		v.warnf(v.at, "virtual server %s has no protocol: it is UDP; write protocol TCP if that is meant", v.v.Key)
	default:
		v.v.Key.Protocol = *v.protocol
	}
	if v.v.Scheduler == "" {
		v.v.Scheduler = "wlc"
		v.warnf(v.at, "virtual server %s has no scheduler: it is wlc; write lb_algo wlc", v.v.Key)
	}
	if v.method == nil {
		v.method = &model.Forwarding{}
		v.warnf(v.at, "virtual server %s has no forwarding method: it is NAT; write lb_kind NAT", v.v.Key)
	}
}

func (v *virtualServer) setGranularity() {
	all := uint8(32)
	if v.v.Key.IPv6 {
		all = 128
	}
	if v.granularity > all {
		v.errorf(v.at, "persistence_granularity %d is more than the %d bits of an address of virtual server %s", v.granularity, all, v.v.Key)
	}
	if v.granularity < all {
		v.v.Persistence.Prefix = v.granularity
	}
	if v.v.Persistence.Timeout == 0 {
		v.v.Persistence.Timeout = defaultPersistence
	}
}

func (v *virtualServer) finishReal(r *realServer) model.RealServer {
	m := r.r
	m.Addr = r.addr
	m.Weight = value(either(r.weight, v.weight), 1)
	m.Forwarding = *either(either(r.method, r.methodThen), v.method)
	down := r.down.orElse(v.down)
	m.InhibitOnFailure = value(down.inhibit, false)
	for _, c := range r.checks {
		check, ok := v.finishCheck(c, r.addr, down)
		if !ok {
			continue
		}
		m.Checks = append(m.Checks, check)
		m.Alpha = m.Alpha || value(c.down.orElse(down).alpha, false)
	}
	return m
}

// finishCheck gives a check what it does not set itself. A check without a port goes
// to the real server's as it is written, which for DR and TUN may be another than
// the one in the table.
func (v *virtualServer) finishCheck(c *tcpCheck, real netip.AddrPort, above inherited) (model.Check, bool) {
	down := c.down.orElse(above)
	interval := value(down.delayLoop, defaultDelayLoop)
	check := model.Check{Type: "tcp", Target: c.target, Schedule: model.Schedule{
		Interval:   interval,
		Timeout:    value(down.timeout, 5*time.Second),
		Retries:    value(down.retry, 1),
		RetryDelay: value(down.retryDelay, time.Second),
		Warmup:     value(down.warmup, interval),
	}}
	addr, port := c.target.Addr.Addr(), c.target.Addr.Port()
	if !addr.IsValid() {
		addr = real.Addr()
	}
	for _, p := range []uint16{real.Port(), v.key.Port} {
		if port == 0 {
			port = p
		}
	}
	check.Target.Addr = netip.AddrPortFrom(addr, port)
	if port == 0 {
		v.errorf(c.at, "the check of real server %s has no port to connect to: write connect_port", real.Addr())
		return check, false
	}
	if c.source.IsValid() || c.port != 0 {
		check.Target.Source = netip.AddrPortFrom(source(c.source, addr), c.port)
	}
	if check.Target.Source.IsValid() && check.Target.Source.Addr().Is6() != addr.Is6() {
		v.errorf(c.at, "bindto %s is not of the family of %s, which is checked", c.source, addr)
		return check, false
	}
	v.addCheck(checkPlace{place: c.at}, check)
	return check, true
}

// source is the local address of a check; if only its port is set, the unspecified
// one of the target's family.
func source(a, target netip.Addr) netip.Addr {
	switch {
	case a.IsValid():
		return a
	case target.Is6():
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

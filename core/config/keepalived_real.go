package config

import (
	"net/netip"
	"strconv"

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
	virtualHost        string
	checks             []*checker
}

func (v *virtualServer) realServer(t *statement) {
	r := &realServer{keepalived: v.keepalived, at: t.place, methodThen: v.method}
	var ok bool
	if r.addr, ok = v.endpoint(t); !ok {
		t.next = len(t.words)
	}
	at := "/real_servers/" + strconv.Itoa(len(v.real))
	v.parts[at] = t.place
	v.each(inRealServer, t.body, func(t *statement) {
		v.parts.note(at, realServerKeys, t)
		r.keyword(t)
	})
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
		r.virtualHost, _ = r.word(t)
	default:
		if kind, ok := checkKinds[t.keyword()]; ok {
			r.check(kind, t)
			return
		}
		r.down.keyword(r.keepalived, t, 1)
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
	if left, ok := (normaliser{v.draft, Warning}).service(v.at, v.sorryAt, places, &v.v); ok {
		v.addService(servicePlace{place: v.at, parts: v.parts.find, real: left}, v.v)
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
		check, ok := v.finishCheck(c, r, down)
		if !ok {
			continue
		}
		m.Checks = append(m.Checks, check)
		m.Alpha = m.Alpha || value(c.down.orElse(down).alpha, false)
	}
	return m
}

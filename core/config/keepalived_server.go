package config

import (
	"strings"
	"time"

	"github.com/poise-lb/poise/core/model"
)

const (
	defaultDelayLoop = 60 * time.Second
	maxWeight        = 1<<31 - 1
	maxPersistence   = 2678400 // 31 days in seconds
)

// inherited are the settings that a virtual server hands down to its real servers
// and those to their checks; nil: not set here.
type inherited struct {
	delayLoop, retryDelay, warmup, timeout *time.Duration
	retry                                  *uint32
	alpha, inhibit                         *bool
}

// orElse takes what is not set from above.
func (i inherited) orElse(above inherited) inherited {
	return inherited{
		delayLoop:  either(i.delayLoop, above.delayLoop),
		retryDelay: either(i.retryDelay, above.retryDelay),
		warmup:     either(i.warmup, above.warmup),
		timeout:    either(i.timeout, above.timeout),
		retry:      either(i.retry, above.retry),
		alpha:      either(i.alpha, above.alpha),
		inhibit:    either(i.inhibit, above.inhibit),
	}
}

func either[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

func value[T any](p *T, otherwise T) T {
	if p != nil {
		return *p
	}
	return otherwise
}

// keyword takes a setting that is handed down; false: it is none.
func (i *inherited) keyword(k *keepalived, t *statement, leastRetry uint64) bool {
	switch t.keyword() {
	case "delay_loop":
		k.giveTimer(&i.delayLoop, t, time.Microsecond)
	case "delay_before_retry":
		k.giveTimer(&i.retryDelay, t, 0)
	case "warmup":
		k.giveTimer(&i.warmup, t, 0)
	case "connect_timeout":
		k.giveTimer(&i.timeout, t, time.Microsecond)
	case "retry":
		give(&i.retry, k, t, leastRetry, 1<<32-1)
	case "alpha":
		b := k.boolean(t)
		i.alpha = &b
	case "inhibit_on_failure":
		b := k.boolean(t)
		i.inhibit = &b
	default:
		return false
	}
	return true
}

// virtualServer is a virtual_server while it is read.
type virtualServer struct {
	*keepalived
	at          place
	parts       directives
	key         model.ServiceKey
	v           model.VirtualServer
	protocol    *model.Protocol
	family      string
	method      *model.Forwarding
	sorryMethod *model.Forwarding
	sorryAt     place
	weight      *uint32
	granularity uint8
	virtualHost string
	down        inherited
	real        []*realServer
	// broken: a real server could not be read, which is told already.
	broken bool
}

func (k *keepalived) virtualServer(t *statement) {
	v := &virtualServer{keepalived: k, at: t.place, parts: directives{}}
	addressed := v.listen(t)
	v.v.Quorum = 1
	k.each(inVirtualServer, t.body, v.keyword)
	if addressed {
		v.finish()
	}
}

// listen reads what the virtual server listens on.
func (v *virtualServer) listen(t *statement) bool {
	if !t.more() {
		v.errorf(t.place, "virtual_server has no address: write virtual_server IP PORT or virtual_server fwmark N")
		return false
	}
	switch t.words[1] {
	case "fwmark":
		t.next = 2
		n, ok := v.number(t, 1, 1<<32-1)
		v.key.FWMark = uint32(n)
		return ok
	case "group":
		v.errorf(t.place, "virtual_server group is not built yet: write a virtual_server for each address of the group")
		t.next = len(t.words)
		return false
	}
	a, ok := v.endpoint(t)
	if !ok {
		t.next = len(t.words)
		return false
	}
	v.key.Addr, v.key.Port, v.key.IPv6 = a.Addr(), a.Port(), a.Addr().Is6()
	return true
}

func (v *virtualServer) keyword(t *statement) {
	v.parts.note("", virtualServerKeys, t)
	switch w := t.keyword(); w {
	case "lb_algo", "lvs_sched":
		v.scheduler(t)
	case "lb_kind", "lvs_method":
		v.method = v.forwarding(t)
	case "ops":
		v.v.OnePacket = true
	case "flag-1", "flag-2", "flag-3":
		v.v.SchedulerFlags = append(v.v.SchedulerFlags, w)
	case "sh-port", "sh-fallback", "mh-port", "mh-fallback":
		v.namedFlag(t)
	case "persistence_timeout":
		v.persistence(t)
	case "persistence_granularity":
		v.granular(t)
	case "persistence_engine":
		v.v.Persistence.Engine, _ = v.word(t)
	case "protocol":
		v.setProtocol(t)
	case "ip_family":
		v.setFamily(t)
	case "omega":
		// It only says when scripts run, and scripts are refused where they stand.
		v.boolean(t)
	case "quorum":
		v.quorum(t)
	case "hysteresis":
		set(&v.v.Hysteresis, v.keepalived, t, 0, 1<<32-1)
	case "weight":
		give(&v.weight, v.keepalived, t, 1, maxWeight)
	case "virtualhost":
		v.virtualHost, _ = v.word(t)
	case "sorry_server":
		v.sorry(t)
	case "sorry_server_inhibit":
		if v.v.Sorry == nil {
			v.warnf(t.place, "sorry_server_inhibit has to stand after sorry_server: it has no effect here")
			return
		}
		v.v.Sorry.Inhibit = true
	case "sorry_server_lvs_method":
		v.sorryMethod = v.forwarding(t)
	case "real_server":
		v.realServer(t)
	default:
		v.down.keyword(v.keepalived, t, 1)
	}
}

func (v *virtualServer) scheduler(t *statement) {
	w, ok := v.word(t)
	if !ok {
		w = "wlc" // told: do not tell that there is none
	} else if err := checkScheduler(w); err != nil {
		v.errorf(t.place, "%v", err)
	}
	v.v.Scheduler = w
}

// forwarding reads a forwarding method with the options of its tunnel.
func (k *keepalived) forwarding(t *statement) *model.Forwarding {
	f := &model.Forwarding{}
	w, ok := k.word(t)
	if !ok {
		return f
	}
	m, err := parseMethod(w)
	if err != nil {
		k.errorf(t.place, "%v", err)
		return f
	}
	f.Method = m
	for m == model.TUN && t.more() {
		switch w, _ := k.word(t); w {
		case "type":
			f.Tunnel.Type, _ = k.word(t)
		case "port":
			set(&f.Tunnel.Port, k, t, 1, 65535)
		case "csum", "remcsum", "nocsum":
			f.Tunnel.Checksum = w
		default:
			k.errorf(t.place, "unknown option %s of the method TUN: they are type, port, nocsum, csum and remcsum", w)
		}
	}
	if f.Tunnel.Type == "ipip" {
		f.Tunnel.Type = ""
	}
	if f.Tunnel.Checksum == "nocsum" {
		f.Tunnel.Checksum = ""
	}
	if err := checkTunnel(f.Tunnel); err != nil {
		k.errorf(t.place, "%s: %v", t.sofar(), err)
	}
	return f
}

// namedFlag reads sh-port and the like, which are flags of that scheduler only.
func (v *virtualServer) namedFlag(t *statement) {
	scheduler, what, _ := strings.Cut(t.keyword(), "-")
	if v.v.Scheduler != scheduler {
		v.warnf(t.place, "%s has no effect here: it has to stand after lb_algo %s", t.keyword(), scheduler)
		return
	}
	flag := "flag-1"
	if what == "port" {
		flag = "flag-2"
	}
	v.v.SchedulerFlags = append(v.v.SchedulerFlags, flag)
}

func (v *virtualServer) persistence(t *statement) {
	if !t.more() {
		v.v.Persistence.Timeout = defaultPersistence
		return
	}
	if t.words[1] == "0" {
		t.next++
		v.warnf(t.place, "persistence_timeout 0 means no persistence: remove the line")
		return
	}
	if n, ok := v.number(t, 1, maxPersistence); ok {
		v.v.Persistence.Timeout = time.Duration(n) * time.Second
	}
}

// granular reads a dotted netmask for IPv4, a prefix length for IPv6.
func (v *virtualServer) granular(t *statement) {
	if t.more() && strings.Contains(t.words[1], ".") {
		a, ok := v.address(t)
		bits, contiguous := netmaskBits(a)
		if ok && (!contiguous || bits == 0) {
			v.errorf(t.place, "persistence_granularity %s: not a netmask", a)
		}
		if v.key.IPv6 {
			v.errorf(t.place, "persistence_granularity of an IPv6 virtual server is a prefix length, 1..128")
		}
		v.granularity = bits
		return
	}
	n, ok := v.number(t, 1, 128)
	if ok && v.key.Addr.Is4() {
		v.errorf(t.place, "persistence_granularity of an IPv4 virtual server is a netmask: write 255.255.255.0 for 24 bits")
	}
	v.granularity = uint8(n)
}

func (v *virtualServer) setProtocol(t *statement) {
	v.protocol = new(model.Protocol)
	w, ok := v.word(t)
	if !ok {
		return
	}
	for _, p := range []model.Protocol{model.TCP, model.UDP, model.SCTP} {
		if strings.EqualFold(w, p.String()) {
			v.protocol = &p
			return
		}
	}
	v.errorf(t.place, "unknown protocol %s: it is TCP, UDP or SCTP", w)
}

func (v *virtualServer) setFamily(t *statement) {
	w, ok := v.word(t)
	if ok && w != "inet" && w != "inet6" {
		v.errorf(t.place, "ip_family %s: it is inet or inet6", w)
		return
	}
	v.family = w
}

func (v *virtualServer) quorum(t *statement) {
	if t.more() && t.words[1] == "0" {
		t.next++
		v.warnf(t.place, "quorum 0 is not possible: it is set to 1")
		v.v.Quorum = 1
		return
	}
	set(&v.v.Quorum, v.keepalived, t, 1, 1<<32-1)
}

func (v *virtualServer) sorry(t *statement) {
	a, ok := v.endpoint(t)
	if !ok {
		return
	}
	if v.v.Sorry != nil {
		v.warnf(t.place, "there is a second sorry_server: this one counts")
	}
	v.v.Sorry, v.sorryAt = &model.SorryServer{Addr: a}, t.place
}

// isIPv6 tells the family of a firewall mark: as it is written, else that of its
// real servers.
func (v *virtualServer) isIPv6() bool {
	if v.key.Addr.IsValid() {
		return v.key.IPv6
	}
	if v.family != "" || len(v.real) == 0 {
		return v.family == "inet6"
	}
	return v.real[0].addr.Addr().Is6()
}

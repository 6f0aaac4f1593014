package config

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/poise-lb/poise/core/model"
)

// checker is a check of a real_server while it is read.
type checker struct {
	*keepalived
	at     place
	kind   *checkKind
	own    ownKeywords
	target model.Target
	source netip.Addr
	port   uint16
	// connects: it says itself how to connect.
	connects bool
	// timeout is its own where connect_timeout is not what bounds a probe.
	timeout    *time.Duration
	down       inherited
	parameters map[string]any
	lines      map[string]int
}

// ownKeywords reads what only one kind of check has.
type ownKeywords interface {
	// keyword reads a statement of the check's block.
	keyword(c *checker, t *statement)
	// finish makes parameters of what was read; false: the check is left out, which is
	// told.
	finish(c *checker, of surroundings) bool
}

// surroundings are what a check stands in.
type surroundings struct {
	server *virtualServer
	real   *realServer
}

// checkKind is a block of a real_server that is a check.
type checkKind struct {
	context context
	// kind is the type of the check.
	kind string
	// retries and retryDelay are its defaults, as keepalived 2.2.7 has them. A delay of 0 is
	// the interval.
	retries    uint32
	retryDelay time.Duration
	own        func() ownKeywords
}

var checkKinds = map[string]*checkKind{
	"TCP_CHECK":  {inTCPCheck, "tcp", 1, time.Second, func() ownKeywords { return nothing{} }},
	"HTTP_GET":   {inHTTPGet, "http", 1, 3 * time.Second, func() ownKeywords { return &httpGet{} }},
	"SSL_GET":    {inSSLGet, "ssl", 1, 3 * time.Second, func() ownKeywords { return &httpGet{tls: true} }},
	"SMTP_CHECK": {inSMTPCheck, "smtp", 1, time.Second, func() ownKeywords { return &smtpCheck{} }},
	"DNS_CHECK":  {inDNSCheck, "dns", 3, 0, func() ownKeywords { return &dnsCheck{} }},
	"UDP_CHECK":  {inUDPCheck, "udp", 1, time.Second, newUDPCheck},
	"PING_CHECK": {inPingCheck, "ping", 1, time.Second, func() ownKeywords { return pingCheck{} }},
	"FILE_CHECK": {inFileCheck, "file", 0, time.Second, func() ownKeywords { return &fileCheck{} }},
	"BFD_CHECK":  {inBFDCheck, "bfd", 0, time.Second, func() ownKeywords { return &bfdCheck{} }},
	"MISC_CHECK": {inMiscCheck, "misc", 0, time.Second, func() ownKeywords { return &miscCheck{} }},
}

// nothing is of a check that has only what all have.
type nothing struct{}

func (nothing) keyword(*checker, *statement)       {}
func (nothing) finish(*checker, surroundings) bool { return true }

func (k *keepalived) newChecker(kind *checkKind, at place) *checker {
	return &checker{keepalived: k, at: at, kind: kind, own: kind.own(), parameters: map[string]any{}, lines: map[string]int{}}
}

// check reads a check's block.
func (r *realServer) check(kind *checkKind, t *statement) {
	c := r.newChecker(kind, t.place)
	r.checks = append(r.checks, c)
	r.each(kind.context, t.body, c.keyword)
	if s, ok := c.own.(*smtpCheck); ok {
		r.checks = s.hosts(c, r.checks)
	}
}

// keyword reads what checks have in common, and leaves the rest to its kind.
func (c *checker) keyword(t *statement) {
	if c.connecting(t) {
		c.connects = true
		return
	}
	if t.keyword() == "nb_get_retry" {
		c.oldRetry(t)
		return
	}
	if !c.down.keyword(c.keepalived, t, 0) {
		c.own.keyword(c, t)
	}
}

// connecting reads how to connect.
func (c *checker) connecting(t *statement) bool {
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
	case "connect_timeout":
		c.giveTimer(&c.down.timeout, t, time.Microsecond)
	default:
		return false
	}
	return true
}

// oldRetry reads the old spelling of retry, which keepalived 2 knows in HTTP_GET and
// SSL_GET only.
func (c *checker) oldRetry(t *statement) {
	switch c.kind.context {
	case inHTTPGet, inSSLGet:
		c.warnf(t.place, "nb_get_retry is the old spelling of retry: write retry")
	default:
		c.warnf(t.place, "nb_get_retry is the old spelling of retry: keepalived 2 ignores it in a %s, here it counts; write retry", string(c.kind.context))
	}
	give(&c.down.retry, c.keepalived, t, 0, 1<<32-1)
}

// set gives the check a parameter, which stands at t.
func (c *checker) set(t *statement, name string, v any) {
	c.parameters[name] = v
	c.mark(t, "/"+name)
}

// mark remembers where the parameter at a JSON pointer stands.
func (c *checker) mark(t *statement, pointer string) {
	if t.file == c.at.file {
		c.lines[pointer] = t.line
	}
}

// text is word for what goes into a parameter, which is UTF-8.
func (k *keepalived) text(t *statement) (string, bool) {
	w, ok := k.word(t)
	if ok && !utf8.ValidString(w) {
		k.errorf(t.place, "%s holds bytes that are no UTF-8, which a plugin cannot be given: write it in UTF-8", t.keyword())
		return "", false
	}
	return w, ok
}

// finishCheck gives a check what it does not set itself; false: there is none.
func (v *virtualServer) finishCheck(c *checker, r *realServer, above inherited) (model.Check, bool) {
	down := c.down.orElse(above)
	check := model.Check{Type: c.kind.kind, Schedule: c.schedule(down, v.down)}
	if !c.own.finish(c, surroundings{v, r}) {
		return check, false
	}
	if check.Target = c.target; !v.finishTarget(c, r.addr, &check.Target) {
		return check, false
	}
	if checkTypes[check.Type].watched {
		check.Schedule = watchedSchedule
	}
	if len(c.parameters) > 0 {
		b, err := json.Marshal(c.parameters)
		if err != nil {
			v.errorf(c.at, "the parameters of the check cannot be given to a plugin as JSON: %v", err)
			return check, false
		}
		check.Parameters = string(b)
	}
	v.addCheck(checkPlace{c.at, c.lines}, check)
	return check, true
}

func (c *checker) schedule(down, server inherited) model.Schedule {
	interval := value(down.delayLoop, defaultDelayLoop)
	delay := c.kind.retryDelay
	if delay == 0 {
		delay = interval
	}
	timeout := value(down.timeout, 5*time.Second)
	if c.kind.context == inMiscCheck {
		// The virtual server's, whatever the check's own is.
		timeout = value(server.delayLoop, defaultDelayLoop)
	}
	return model.Schedule{
		Interval:   interval,
		Timeout:    value(c.timeout, timeout),
		Retries:    value(down.retry, c.kind.retries),
		RetryDelay: value(down.retryDelay, delay),
		Warmup:     value(down.warmup, interval),
	}
}

// finishTarget gives a target what it leaves open. A check without a port goes to the
// real server's as it is written, which for DR and TUN may be another than the one in
// the table.
func (v *virtualServer) finishTarget(c *checker, real netip.AddrPort, target *model.Target) bool {
	rule := checkTypes[c.kind.kind].target
	if rule == hasNoTarget {
		*target = model.Target{}
		return true
	}
	addr, port := target.Addr.Addr(), target.Addr.Port()
	if !addr.IsValid() {
		addr = real.Addr()
	}
	if rule == hasNoPort {
		port = 0
	} else {
		for _, p := range []uint16{real.Port(), v.key.Port} {
			if port == 0 {
				port = p
			}
		}
	}
	if rule == needsPort && port == 0 {
		v.errorf(c.at, "the check of real server %s has no port to connect to: write connect_port", real.Addr())
		return false
	}
	target.Addr = netip.AddrPortFrom(addr, port)
	if c.source.IsValid() || c.port != 0 {
		target.Source = netip.AddrPortFrom(source(c.source, addr), c.port)
	}
	if target.Source.IsValid() && target.Source.Addr().Is6() != addr.Is6() {
		v.errorf(c.at, "bindto %s is not of the family of %s, which is checked", c.source, addr)
		return false
	}
	return true
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

// index is a pointer's part for an element of a list.
func index(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }

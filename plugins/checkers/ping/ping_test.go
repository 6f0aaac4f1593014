package ping

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

func target(address string) sdk.Target {
	return sdk.Target{Addr: netip.AddrPortFrom(netip.MustParseAddr(address), 0)}
}

// open a raw socket, or skip.
func needRaw(t testing.TB) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	privileged(t, err)
	unix.Close(fd)
}

func newProber(t testing.TB, c sdk.Checker) *prober {
	t.Helper()
	p, err := c.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.(sdk.Closer).Close)
	return p.(*prober)
}

func probe(t testing.TB, target sdk.Target, timeout time.Duration) sdk.Result {
	t.Helper()
	target.Trace = t.Logf
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return steady(newProber(t, New()).Probe(ctx, target))
}

// steady replaces the time in a reason, which a slow machine makes shorter than the
// timeout.
func steady(r sdk.Result) sdk.Result {
	r.Reason = timeouts.ReplaceAllString(r.Reason, "timeout")
	return r
}

var timeouts = regexp.MustCompile(`timeout after [0-9.]+m?s`)

func TestLoopback(t *testing.T) {
	needRaw(t)
	for _, address := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
		if got := probe(t, target(address), 20*time.Second); got.Outcome != sdk.Up {
			t.Errorf("%s: got %v, want up", address, got)
		}
	}
}

// TestTarget: source, interface and mark, on both families.
func TestTarget(t *testing.T) {
	needRaw(t)
	with := func(address string, change func(*sdk.Target)) sdk.Target {
		out := target(address)
		change(&out)
		return out
	}
	source := func(address string) func(*sdk.Target) {
		return func(t *sdk.Target) { t.Source = netip.AddrPortFrom(netip.MustParseAddr(address), 0) }
	}
	tests := []struct {
		name    string
		target  sdk.Target
		outcome sdk.Outcome
		reason  string
	}{
		{"source", with("127.0.0.1", source("127.0.0.3")), sdk.Up, ""},
		{"source of IPv6", with("::1", source("::1")), sdk.Up, ""},
		{"foreign source", with("127.0.0.1", source("192.0.2.77")), sdk.Unknown, "send: from 192.0.2.77: cannot assign requested address"},
		{"foreign source of IPv6", with("::1", source("2001:db8::77")), sdk.Unknown, "send: from 2001:db8::77: cannot assign requested address"},
		{"interface", with("127.0.0.1", func(t *sdk.Target) { t.Interface = "lo" }), sdk.Up, ""},
		{"interface of IPv6", with("::1", func(t *sdk.Target) { t.Interface = "lo" }), sdk.Up, ""},
		{"no such interface", with("127.0.0.1", func(t *sdk.Target) { t.Interface = "none-such0" }), sdk.Unknown, "bind to interface none-such0: no such device"},
		{"mark", with("127.0.0.1", func(t *sdk.Target) { t.FWMark = 7 }), sdk.Up, ""},
		{"broadcast", target("255.255.255.255"), sdk.Unknown, "send: permission denied"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			enter(t)
			if test.name == "broadcast" {
				privileged(t, route("add", "default", "dev", "lo"))
			}
			if got := probe(t, test.target, 20*time.Second); got.Outcome != test.outcome || got.Reason != test.reason {
				t.Errorf("got %v, want %v %q", got, test.outcome, test.reason)
			}
		})
	}
}

// route runs ip(8) in this thread's namespace.
func route(args ...string) error { return ip(append([]string{"route"}, args...)...) }

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// TestAnswers is what is made of what comes back.
func TestAnswers(t *testing.T) {
	t.Parallel()
	flip := func(at int) func([]byte, net.IP, net.IP) [][]byte {
		return func(r []byte, _, _ net.IP) [][]byte {
			b := echo(r)
			b[at] ^= 1
			return [][]byte{b}
		}
	}
	const timeout = "wait for the reply: timeout"
	tests := []struct {
		name   string
		answer func(request []byte, from, to net.IP) [][]byte
		up     bool
		reason string
	}{
		{"echo", func(r []byte, _, _ net.IP) [][]byte { return [][]byte{echo(r)} }, true, ""},
		{"echo twice", func(r []byte, _, _ net.IP) [][]byte { return [][]byte{echo(r), echo(r)} }, true, ""},
		{"silence", func([]byte, net.IP, net.IP) [][]byte { return nil }, false, timeout},
		{"another identifier", flip(5), false, timeout},
		{"another sequence number", flip(7), false, timeout},
		{"another's data", flip(9), false, timeout},
		{"header alone", func(r []byte, _, _ net.IP) [][]byte { return [][]byte{echo(r)[:headerSize]} }, false, timeout},
		{"cut short", func(r []byte, _, _ net.IP) [][]byte { return [][]byte{echo(r)[:7]} }, false, timeout},
		{"garbage, then right", func(r []byte, _, _ net.IP) [][]byte { return [][]byte{flip(9)(r, nil, nil)[0], echo(r)} }, true, ""},
		{"64 KiB less the headers", func(r []byte, _, _ net.IP) [][]byte { return [][]byte{append(echo(r), make([]byte, 60000)...)} }, true, ""},
		{"unreachable", func(r []byte, from, to net.IP) [][]byte { return [][]byte{unreachable(r, 0, from, to)} }, false, "unreachable (said by "},
		{"prohibited", func(r []byte, from, to net.IP) [][]byte {
			code := 13
			if to.To4() == nil {
				code = 1
			}
			return [][]byte{unreachable(r, code, from, to)}
		}, false, "administratively prohibited (said by "},
		{"unreachable of another target", func(r []byte, from, to net.IP) [][]byte {
			other := append(net.IP{}, to...)
			other[len(other)-1] ^= 8
			return [][]byte{unreachable(r, 1, from, other)}
		}, false, timeout},
		{"unreachable of another request", func(r []byte, from, to net.IP) [][]byte {
			r[7] ^= 1
			return [][]byte{unreachable(r, 1, from, to)}
		}, false, timeout},
		{"unreachable that quotes too little", func(r []byte, from, to net.IP) [][]byte { return [][]byte{unreachable(r[:4], 1, from, to)[:32]} }, false, timeout},
	}
	for _, six := range []bool{false, true} {
		for _, test := range tests {
			t.Run(fmt.Sprintf("%s six=%t", test.name, six), func(t *testing.T) {
				t.Parallel()
				enter(t)
				respond(t, six, test.answer)
				address, limit := "127.0.0.1", 500*time.Millisecond
				if six {
					address = "::1"
				}
				if test.reason != timeout {
					limit = 20 * time.Second
				}
				want := test.reason
				if want == "unreachable (said by " {
					want = "network unreachable (said by 127.0.0.1)"
					if six {
						want = "no route to the target (said by ::1)"
					}
				}
				got := probe(t, target(address), limit)
				if (got.Outcome == sdk.Up) != test.up || got.Outcome == sdk.Unknown || !strings.HasPrefix(got.Reason, want) {
					t.Errorf("got %v, want up: %t %q", got, test.up, want)
				}
			})
		}
	}
}

// TestNoRoute: nothing is sent.
func TestNoRoute(t *testing.T) {
	enter(t)
	for _, address := range []string{"192.0.2.1", "2001:db8::1"} {
		if got := probe(t, target(address), 20*time.Second); got.Outcome != sdk.Down || got.Reason != "send: network is unreachable" {
			t.Errorf("%s: got %v, want down: network is unreachable", address, got)
		}
	}
}

// TestHostUnreachable: this machine's own word that address resolution got no answer.
func TestHostUnreachable(t *testing.T) {
	t.Parallel()
	enter(t)
	for _, c := range [][]string{
		{"link", "add", "va", "type", "veth", "peer", "name", "vb"}, {"link", "set", "va", "up"}, {"link", "set", "vb", "up"},
		{"addr", "add", "10.9.9.1/24", "dev", "va"}, {"addr", "add", "fd00:9::1/64", "dev", "va", "nodad"},
	} {
		privileged(t, ip(c...))
	}
	for address, want := range map[string]string{
		"10.9.9.9": "host unreachable (said by 10.9.9.1)", "fd00:9::9": "address unreachable (said by fd00:9::1)",
	} {
		if got := probe(t, target(address), 30*time.Second); got.Outcome != sdk.Down || got.Reason != want {
			t.Errorf("%s: got %v, want down: %s", address, got, want)
		}
	}
}

// TestInterfaceComesBack: a socket that is bound to an interface which is gone is not
// used again.
func TestInterfaceComesBack(t *testing.T) {
	enter(t)
	up := func() {
		t.Helper()
		for _, c := range [][]string{{"link", "add", "va", "type", "veth", "peer", "name", "vb"}, {"link", "set", "va", "up"}, {"link", "set", "vb", "up"}, {"addr", "add", "10.9.9.1/24", "dev", "va"}} {
			privileged(t, ip(c...))
		}
	}
	p := newProber(t, New())
	to := target("10.9.9.9")
	to.Interface, to.Trace = "va", t.Logf
	once := func(timeout time.Duration) sdk.Result {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		return p.Probe(ctx, to)
	}
	up()
	if got := once(200 * time.Millisecond); got.Outcome != sdk.Down {
		t.Fatalf("got %v, want down: nobody is there", got)
	}
	privileged(t, ip("link", "del", "va"))
	if got := once(20 * time.Second); got.Outcome != sdk.Unknown || !strings.Contains(got.Reason, "no such device") {
		t.Errorf("got %v, want unknown: no such device", got)
	}
	if got := once(20 * time.Second); got.Outcome != sdk.Unknown || !strings.Contains(got.Reason, "no such device") {
		t.Errorf("got %v once more, want unknown: no such device", got)
	}
	up()
	if got := once(200 * time.Millisecond); got.Outcome != sdk.Down {
		t.Errorf("got %v, want the probe to be made again", got)
	}
}

// TestMany: thousands of probes at one moment share a socket and no goroutine waits;
// each gets its own reply, and nothing is left behind.
func TestMany(t *testing.T) {
	enter(t)
	c := New().(*checker)
	const count = 3000
	probers := make([]*prober, count)
	for i := range probers {
		probers[i] = newProber(t, c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	before := runtime.NumGoroutine()
	results := make(chan sdk.Result, count)
	for i, p := range probers {
		to := target(fmt.Sprintf("127.%d.%d.%d", 1+i%5, i/250, 1+i%250))
		if i%3 == 0 {
			to = target("::1")
		}
		to.Trace = func(string, ...any) {}
		p.Start(ctx, to, func(r sdk.Result) { results <- r })
	}
	if now := runtime.NumGoroutine(); now > before+10 {
		t.Errorf("%d goroutines while %d probes wait, %d before", now, count, before)
	}
	for range probers {
		if r := <-results; r.Outcome != sdk.Up {
			t.Fatalf("got %v, want up", r)
		}
	}
	if len(c.pool.sockets) != 2 {
		t.Errorf("%d sockets, want one of each family", len(c.pool.sockets))
	}
	for k, s := range c.pool.sockets {
		if s.mu.Lock(); len(s.pending) != 0 {
			t.Errorf("%v: %d probes still wait", k, len(s.pending))
		}
		s.mu.Unlock()
	}
	for _, p := range probers {
		p.Close()
	}
	if len(c.pool.sockets) != 0 {
		t.Errorf("%d sockets are open after the last prober was closed", len(c.pool.sockets))
	}
}

// TestTimeouts: probes that get no reply end by their deadline, and leave nothing.
func TestTimeouts(t *testing.T) {
	enter(t)
	respond(t, false, func([]byte, net.IP, net.IP) [][]byte { return nil })
	c := New().(*checker)
	p := newProber(t, c)
	const count = 1000
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var ended sync.WaitGroup
	for i := range count {
		to := target(fmt.Sprintf("127.0.%d.%d", i/250, 1+i%250))
		to.Trace = func(string, ...any) {}
		ended.Add(1)
		p.Start(ctx, to, func(r sdk.Result) {
			defer ended.Done()
			if r.Outcome == sdk.Unknown && strings.Contains(r.Reason, "too slow") {
				return
			}
			if r = steady(r); r.Outcome != sdk.Down || r.Reason != "wait for the reply: timeout" {
				t.Errorf("got %v, want a timeout", r)
			}
		})
	}
	ended.Wait()
	for _, s := range c.pool.sockets {
		if s.mu.Lock(); len(s.pending) != 0 {
			t.Errorf("%d probes still wait", len(s.pending))
		}
		s.mu.Unlock()
	}
}

// TestClosedWhileWaiting: a probe whose socket goes has not been made.
func TestClosedWhileWaiting(t *testing.T) {
	enter(t)
	respond(t, false, func([]byte, net.IP, net.IP) [][]byte { return nil })
	p := newProber(t, New())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	result := make(chan sdk.Result, 1)
	to := target("127.0.0.1")
	to.Trace = t.Logf
	p.Start(ctx, to, func(r sdk.Result) { result <- r })
	p.Close()
	if r := <-result; r.Outcome != sdk.Unknown {
		t.Errorf("got %v, want unknown", r)
	}
}

func TestCanceled(t *testing.T) {
	enter(t)
	respond(t, false, func([]byte, net.IP, net.IP) [][]byte { return nil })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	time.AfterFunc(50*time.Millisecond, cancel)
	to := target("127.0.0.1")
	to.Trace = t.Logf
	if got := newProber(t, New()).Probe(ctx, to); got.Outcome != sdk.Unknown {
		t.Errorf("got %v, want unknown", got)
	}
}

// TestTooLate: a probe that begins after its deadline was not made.
func TestTooLate(t *testing.T) {
	needRaw(t)
	if got := probe(t, target("127.0.0.1"), -time.Second); got.Outcome != sdk.Unknown {
		t.Errorf("got %v, want unknown", got)
	}
}

func TestConform(t *testing.T) {
	c := plugintest.Serve(t, sdk.Plugin{Name: "checkers-net", Version: "test", Checkers: map[string]sdk.Checker{Type: New()}})
	c.Configure(t, "")
	plugintest.Conform(t, c, nil)
}

// FuzzParse: no packet makes the reader panic, and what is taken for a reply was one.
func FuzzParse(f *testing.F) {
	for _, six := range []bool{false, true} {
		r, err := request(six, 1, 2, cookie{3})
		if err != nil {
			f.Fatal(err)
		}
		from, to := net.ParseIP("192.0.2.1"), net.ParseIP("192.0.2.2")
		if six {
			from, to = net.ParseIP("2001:db8::1"), net.ParseIP("2001:db8::2")
		}
		ip4 := append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0}, make([]byte, 8)...)
		for _, b := range [][]byte{echo(r), unreachable(r, 1, from, to)} {
			if !six {
				b = append(append([]byte{}, ip4...), b...)
			}
			f.Add(b, six)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, six bool) {
		m := parse4(b)
		if six {
			m = parse6(b)
		}
		switch {
		case m.kind == echoed && len(b) < headerSize+cookieSize:
			t.Fatalf("%x was taken for a reply", b)
		case m.kind == failed && (!m.target.IsValid() || m.what == ""):
			t.Fatalf("%x is an error of nothing: %v", b, m)
		}
	})
}

// BenchmarkProbe is one probe of this machine.
func BenchmarkProbe(b *testing.B) {
	needRaw(b)
	p := newProber(b, New())
	to := target("127.0.0.1")
	to.Trace = func(string, ...any) {}
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if r := p.Probe(ctx, to); r.Outcome != sdk.Up {
			b.Fatal(r)
		}
		cancel()
	}
}

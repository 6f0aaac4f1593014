package tcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

// probe runs one probe as the sdk does.
func probe(t *testing.T, target sdk.Target, timeout time.Duration) sdk.Result {
	t.Helper()
	p, err := New().Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	target.Trace = t.Logf
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return p.Probe(ctx, target)
}

// listen gives an address that somebody listens on, and the listener.
func listen(t *testing.T, address string) (netip.AddrPort, *net.TCPListener) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("this machine cannot listen on %s: %s", address, err)
	}
	t.Cleanup(func() { l.Close() })
	return netip.MustParseAddrPort(l.Addr().String()), l.(*net.TCPListener)
}

// refused gives an address that nobody listens on.
func refused(t *testing.T) netip.AddrPort {
	addr, l := listen(t, "127.0.0.1:0")
	l.Close()
	return addr
}

func TestProbe(t *testing.T) {
	open, _ := listen(t, "127.0.0.1:0")
	closed := refused(t)
	any4 := netip.MustParseAddr("127.0.0.1")
	tests := []struct {
		name    string
		target  sdk.Target
		outcome sdk.Outcome
		reason  string
	}{
		{"open", sdk.Target{Addr: open}, sdk.Up, ""},
		{"closed", sdk.Target{Addr: closed}, sdk.Down, "connect: connection refused"},
		{"source address", sdk.Target{Addr: open, Source: netip.AddrPortFrom(any4, 0)}, sdk.Up, ""},
		{"source address and port", sdk.Target{Addr: open, Source: refused(t)}, sdk.Up, ""},
		{"source port", sdk.Target{Addr: open, Source: netip.AddrPortFrom(netip.Addr{}, refused(t).Port())}, sdk.Up, ""},
		{"source port in use", sdk.Target{Addr: open, Source: open}, sdk.Unknown, "bind to 127.0.0.1:"},
		{"foreign source address", sdk.Target{Addr: open, Source: netip.MustParseAddrPort("192.0.2.77:0")}, sdk.Unknown, "bind to 192.0.2.77:0: cannot assign requested address"},
		{"interface", sdk.Target{Addr: open, Interface: "lo"}, sdk.Up, ""},
		{"no such interface", sdk.Target{Addr: open, Interface: "none-such0"}, sdk.Unknown, "bind to interface none-such0: no such device"},
		{"unreachable", sdk.Target{Addr: netip.MustParseAddrPort("[100::1]:80")}, sdk.Down, "connect: network is unreachable"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "unreachable" && reachable(test.target.Addr) {
				t.Skip("this machine has a route to everywhere")
			}
			got := probe(t, test.target, 2*time.Second)
			if got.Outcome != test.outcome || !strings.HasPrefix(got.Reason, test.reason) || test.outcome == sdk.Down && got.Reason != test.reason {
				t.Errorf("got %v, want %v %q", got, test.outcome, test.reason)
			}
		})
	}
}

// reachable says that there is a route to an address.
func reachable(addr netip.AddrPort) bool {
	conn, err := net.Dial("udp", addr.String())
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func TestProbeIPv6(t *testing.T) {
	open, _ := listen(t, "[::1]:0")
	if got := probe(t, sdk.Target{Addr: open, Source: netip.AddrPortFrom(open.Addr(), 0)}, time.Second); got.Outcome != sdk.Up {
		t.Errorf("got %v, want up", got)
	}
}

// TestMark: setting a mark takes a capability; without it the probe could not be made.
func TestMark(t *testing.T) {
	open, _ := listen(t, "127.0.0.1:0")
	got := probe(t, sdk.Target{Addr: open, FWMark: 7}, time.Second)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 7) == nil {
		if got.Outcome != sdk.Up {
			t.Errorf("got %v, want up", got)
		}
	} else if got.Outcome != sdk.Unknown || !strings.Contains(got.Reason, "CAP_NET_ADMIN") {
		t.Errorf("got %v, want unknown, and which capability it takes", got)
	}
}

// deaf gives a listener whose queue is full, so that it answers nobody any more until
// somebody accepts.
func deaf(t *testing.T) (fd int, addr netip.AddrPort) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
	for range 3 {
		if conn, err := net.DialTimeout("tcp", addr.String(), 200*time.Millisecond); err == nil {
			t.Cleanup(func() { conn.Close() })
		}
	}
	return fd, addr
}

// TestAnsweredLater: the target answers when the first packet is sent again, a second
// later.
func TestAnsweredLater(t *testing.T) {
	fd, addr := deaf(t)
	time.AfterFunc(300*time.Millisecond, func() {
		for range 3 {
			if conn, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK); err == nil {
				defer unix.Close(conn)
			}
		}
	})
	start := time.Now()
	got := probe(t, sdk.Target{Addr: addr}, 20*time.Second)
	if took := time.Since(start); got.Outcome != sdk.Up || took < 300*time.Millisecond {
		t.Errorf("got %v after %s, want up once there is room in the queue", got, took)
	}
}

func TestTimeout(t *testing.T) {
	_, addr := deaf(t)
	start := time.Now()
	got := probe(t, sdk.Target{Addr: addr}, 300*time.Millisecond)
	took := time.Since(start)
	if got.Outcome != sdk.Down || got.Reason != "connect: timeout after 300ms" {
		t.Errorf("got %v, want down after 300ms", got)
	}
	if took < 290*time.Millisecond || took > 2*time.Second {
		t.Errorf("took %s, want 300ms", took)
	}
}

// TestCanceled: a probe that is not wanted any more ends at once, and says nothing of
// the target.
func TestCanceled(t *testing.T) {
	_, addr := deaf(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	got := prober{}.Probe(ctx, sdk.Target{Addr: addr, Trace: t.Logf})
	if took := time.Since(start); got.Outcome != sdk.Unknown || took > 10*time.Second {
		t.Errorf("got %v after %s, want unknown at once", got, took)
	}
}

// TestDescriptors: the process has no descriptor left, which says nothing of the target.
func TestDescriptors(t *testing.T) {
	open, _ := listen(t, "127.0.0.1:0")
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := before
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	got := probe(t, sdk.Target{Addr: open}, time.Second)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if got.Outcome != sdk.Unknown || got.Reason != "socket: too many open files" {
		t.Errorf("got %v, want unknown: too many open files", got)
	}
}

// TestUnnoticed: the server's application sees no connection, no descriptor stays
// open, and no socket is left in TIME_WAIT.
func TestUnnoticed(t *testing.T) {
	open, l := listen(t, "127.0.0.1:0")
	files := descriptors(t)
	for range 200 {
		if got := probe(t, sdk.Target{Addr: open}, time.Second); got.Outcome != sdk.Up {
			t.Fatalf("got %v, want up", got)
		}
	}
	for end := time.Now().Add(30 * time.Second); descriptors(t) > files; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors are open long after 200 probes, %d before", descriptors(t), files)
		}
	}
	if err := l.SetDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if conn, err := l.Accept(); err == nil {
		t.Errorf("the server accepted a connection from %s", conn.RemoteAddr())
	}
	sockets, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Skip(err)
	}
	port := fmt.Sprintf("%04X", open.Port())
	for line := range strings.Lines(string(sockets)) {
		fields := strings.Fields(line)
		if len(fields) > 3 && strings.HasSuffix(fields[2], ":"+port) {
			t.Errorf("a socket is left in state %s", fields[3])
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestConform(t *testing.T) {
	c := plugintest.Serve(t, sdk.Plugin{Name: "checkers", Version: "test", Checkers: map[string]sdk.Checker{Type: New()}})
	c.Configure(t, "")
	plugintest.Conform(t, c, nil)
}

// BenchmarkProbe is one probe of a port that is open, on this machine.
func BenchmarkProbe(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	target := sdk.Target{Addr: netip.MustParseAddrPort(l.Addr().String()), Trace: func(string, ...any) {}}
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if r := (prober{}).Probe(ctx, target); r.Outcome != sdk.Up {
			b.Fatal(r)
		}
		cancel()
	}
}

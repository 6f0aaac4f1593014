package grpc

import (
	"context"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

// answers is a health service that does what a function says.
type answers struct {
	healthv1.UnimplementedHealthServer
	check func(context.Context, string) (healthv1.HealthCheckResponse_ServingStatus, error)
}

func (a answers) Check(ctx context.Context, r *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	s, err := a.check(ctx, r.GetService())
	return &healthv1.HealthCheckResponse{Status: s}, err
}

// serve runs a gRPC server; a nil service is none.
func serve(t testing.TB, address string, service healthv1.HealthServer, options ...grpc.ServerOption) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("this machine cannot listen on %s: %s", address, err)
	}
	s := grpc.NewServer(options...)
	if service != nil {
		healthv1.RegisterHealthServer(s, service)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() { s.Stop(); <-done })
	return netip.MustParseAddrPort(l.Addr().String())
}

// raw is a server that is none of gRPC's.
func raw(t testing.TB, do func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				do(conn.(*net.TCPConn))
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// hang waits until the other side has gone.
func hang(c *net.TCPConn) {
	buf := make([]byte, 4096)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

func probe(t testing.TB, parameters string, target sdk.Target, timeout time.Duration) sdk.Result {
	t.Helper()
	p, err := New().Parse([]byte(parameters))
	if err != nil {
		t.Fatal(err)
	}
	if target.Trace == nil {
		target.Trace = t.Logf
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	r := p.Probe(ctx, target)
	r.Reason = timeouts.ReplaceAllString(r.Reason, "timeout")
	return r
}

// timeouts differ on a slow machine.
var timeouts = regexp.MustCompile(`timeout after [0-9.]+m?s`)

// TestHealth is what each answer of a health service means.
func TestHealth(t *testing.T) {
	t.Parallel()
	known := health.NewServer()
	known.SetServingStatus("a", healthv1.HealthCheckResponse_SERVING)
	known.SetServingStatus("b", healthv1.HealthCheckResponse_NOT_SERVING)
	is := func(s healthv1.HealthCheckResponse_ServingStatus) healthv1.HealthServer {
		return answers{check: func(context.Context, string) (healthv1.HealthCheckResponse_ServingStatus, error) { return s, nil }}
	}
	fails := func(err error) healthv1.HealthServer {
		return answers{check: func(context.Context, string) (healthv1.HealthCheckResponse_ServingStatus, error) { return 0, err }}
	}
	tests := []struct {
		name       string
		service    healthv1.HealthServer
		parameters string
		reason     string
	}{
		{"the server", known, ``, ""},
		{"a service", known, `{"service":"a"}`, ""},
		{"not serving", known, `{"service":"b"}`, `service "b" is NOT_SERVING`},
		{"not known", known, `{"service":"c"}`, `health check: NOT_FOUND: the server does not know service "c": unknown service`},
		{"no health service", nil, ``, "health check: UNIMPLEMENTED: the server has no health service (grpc.health.v1): unknown service grpc.health.v1.Health"},
		{"unknown", is(healthv1.HealthCheckResponse_UNKNOWN), ``, `service "" is UNKNOWN`},
		{"service unknown", is(healthv1.HealthCheckResponse_SERVICE_UNKNOWN), ``, `service "" is SERVICE_UNKNOWN`},
		{"a number of tomorrow", is(77), ``, `service "" is 77`},
		{"internal", fails(status.Error(codes.Internal, "no database")), ``, "health check: Internal: no database"},
		{"denied", fails(status.Error(codes.PermissionDenied, "who are you")), ``, "health check: PermissionDenied: who are you"},
		{"unavailable", fails(status.Error(codes.Unavailable, "busy")), ``, "health check: Unavailable: busy"},
		{"too late by its own word", fails(status.Error(codes.DeadlineExceeded, "slow")), ``, "health check: timeout"},
		{"a long message", fails(status.Error(codes.Internal, strings.Repeat("x", 5000))), ``, "health check: Internal: " + strings.Repeat("x", quoted) + "..."},
		{"huge headers", answers{check: func(ctx context.Context, _ string) (healthv1.HealthCheckResponse_ServingStatus, error) {
			return 1, grpc.SetHeader(ctx, metadata.Pairs("x", strings.Repeat("x", 2*mostHeaders)))
		}}, ``, "health check: Internal: "},
		{"never", answers{check: func(ctx context.Context, _ string) (healthv1.HealthCheckResponse_ServingStatus, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}}, ``, "health check: timeout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			timeout := 20 * time.Second
			if test.name == "never" {
				timeout = 500 * time.Millisecond
			}
			got := probe(t, test.parameters, sdk.Target{Addr: serve(t, "127.0.0.1:0", test.service)}, timeout)
			switch {
			case test.reason == "":
				if got.Outcome != sdk.Up {
					t.Errorf("got %v, want up", got)
				}
			case got.Outcome != sdk.Down || !strings.HasPrefix(got.Reason, test.reason):
				t.Errorf("got %v, want down: %q", got, test.reason)
			}
		})
	}
}

// TestTarget: from where the target says, on IPv6, and what the server sees.
func TestTarget(t *testing.T) {
	saw := make(chan metadata.MD, 1)
	addr := serve(t, "[::1]:0", answers{check: func(ctx context.Context, _ string) (healthv1.HealthCheckResponse_ServingStatus, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		saw <- md
		return healthv1.HealthCheckResponse_SERVING, nil
	}})
	// The zone of an address is for this machine, and nothing that a server is told.
	zoned := netip.AddrPortFrom(addr.Addr().WithZone("lo"), addr.Port())
	target := sdk.Target{Addr: zoned, Source: netip.AddrPortFrom(addr.Addr(), 0), Interface: "lo"}
	if got := probe(t, ``, target, 20*time.Second); got.Outcome != sdk.Up {
		t.Fatalf("got %v, want up", got)
	}
	md := <-saw
	if got := md.Get(":authority"); len(got) != 1 || got[0] != addr.String() {
		t.Errorf("authority %q, want %s", got, addr)
	}
	if got := md.Get("user-agent"); len(got) != 1 || !strings.HasPrefix(got[0], "poise ") {
		t.Errorf("user agent %q", got)
	}
}

// TestMisbehaving are servers that are no good gRPC servers.
func TestMisbehaving(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	write := func(text string) func(*net.TCPConn) {
		return func(c *net.TCPConn) { _, _ = c.Write([]byte(text)); hang(c) }
	}
	tests := []struct {
		name    string
		target  sdk.Target
		outcome sdk.Outcome
		reason  string
	}{
		{"refused", sdk.Target{Addr: closed}, sdk.Down, "connect: connection refused"},
		{"foreign source", sdk.Target{Addr: closed, Source: netip.MustParseAddrPort("192.0.2.77:0")}, sdk.Unknown, "connect: cannot assign requested address"},
		{"no such interface", sdk.Target{Addr: closed, Interface: "none-such0"}, sdk.Unknown, "connect: bind to interface none-such0: no such device"},
		{"closed", sdk.Target{Addr: raw(t, func(*net.TCPConn) {})}, sdk.Down, "health check: Unavailable: "},
		{"reset", sdk.Target{Addr: raw(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)); _ = c.SetLinger(0) })}, sdk.Down, "health check: Unavailable: "},
		{"garbage", sdk.Target{Addr: raw(t, write(strings.Repeat("garbage", 100)))}, sdk.Down, "health check: Unavailable: "},
		{"HTTP/1.1", sdk.Target{Addr: raw(t, write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))}, sdk.Down, "health check: Unavailable: "},
		{"silence", sdk.Target{Addr: raw(t, hang)}, sdk.Down, "health check: timeout"},
		{"settings, then silence", sdk.Target{Addr: raw(t, write("\x00\x00\x00\x04\x00\x00\x00\x00\x00"))}, sdk.Down, "health check: timeout"},
		{"goes away", sdk.Target{Addr: raw(t, write("\x00\x00\x00\x04\x00\x00\x00\x00\x00"+"\x00\x00\x08\x07\x00\x00\x00\x00\x00"+"\x00\x00\x00\x00\x00\x00\x00\x0b"))}, sdk.Down, "health check: Unavailable: "},
		{"a byte at a time", sdk.Target{Addr: raw(t, func(c *net.TCPConn) {
			for _, b := range []byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00") {
				time.Sleep(200 * time.Millisecond)
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
			}
			hang(c)
		})}, sdk.Down, "health check: timeout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			timeout := 20 * time.Second
			if strings.HasSuffix(test.reason, "timeout") {
				timeout = 700 * time.Millisecond
			}
			got := probe(t, ``, test.target, timeout)
			if got.Outcome != test.outcome || !strings.HasPrefix(got.Reason, test.reason) {
				t.Errorf("got %v, want %v: %q", got, test.outcome, test.reason)
			}
		})
	}
}

// TestFlood: a server that sends pings and reads none of the answers holds the probe up no
// longer than its deadline.
func TestFlood(t *testing.T) {
	t.Parallel()
	addr := raw(t, func(c *net.TCPConn) {
		_ = c.SetReadBuffer(4096)
		_, _ = c.Write([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
		pings := []byte(strings.Repeat("\x00\x00\x08\x06\x00\x00\x00\x00\x00"+"12345678", 1000))
		for {
			if _, err := c.Write(pings); err != nil {
				return
			}
		}
	})
	const timeout = time.Second
	start := time.Now()
	got := probe(t, ``, sdk.Target{Addr: addr}, timeout)
	// The library waits for 5 s to say goodbye.
	if took := time.Since(start); got.Outcome != sdk.Down || took > timeout+3*time.Second {
		t.Errorf("got %v after %s, want down after %s", got, took, timeout)
	}
}

func TestCanceled(t *testing.T) {
	addr := raw(t, hang)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	time.AfterFunc(100*time.Millisecond, cancel)
	p, err := New().Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	got := p.Probe(ctx, sdk.Target{Addr: addr, Trace: t.Logf})
	if took := time.Since(start); got.Outcome != sdk.Unknown || took > 20*time.Second {
		t.Errorf("got %v after %s, want unknown at once", got, took)
	}
}

// TestLeak: nothing stays of probes that succeed, fail or time out.
func TestLeak(t *testing.T) {
	good := serve(t, "127.0.0.1:0", health.NewServer())
	silent := raw(t, hang)
	broken := raw(t, func(*net.TCPConn) {})
	for _, addr := range []netip.AddrPort{good, silent, broken} {
		probe(t, ``, sdk.Target{Addr: addr}, 200*time.Millisecond)
	}
	settled := goleak.IgnoreCurrent()
	files := descriptors(t)
	for range 20 {
		for addr, timeout := range map[netip.AddrPort]time.Duration{good: 20 * time.Second, silent: 20 * time.Millisecond, broken: 20 * time.Second} {
			probe(t, ``, sdk.Target{Addr: addr, Trace: func(string, ...any) {}}, timeout)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := goleak.Find(settled)
		now := descriptors(t)
		if err == nil && now <= files+3 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors, %d before; %v", now, files, err)
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
	plugintest.Conform(t, c, map[string]string{Type: `{"service":"a","tls":true,"verify":false}`})
}

// BenchmarkProbe is one probe of a server on this machine.
func BenchmarkProbe(b *testing.B) {
	addr := serve(b, "127.0.0.1:0", health.NewServer())
	p, err := New().Parse(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if r := p.Probe(ctx, sdk.Target{Addr: addr, Trace: func(string, ...any) {}}); r.Outcome != sdk.Up {
			b.Fatal(r)
		}
		cancel()
	}
}

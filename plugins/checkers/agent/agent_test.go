package agent

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

func scale(percent int64) sdk.Weight { return sdk.Weight{Mode: sdk.ScaleWeight, Value: percent} }

// serve is an agent that does with each connection what a function says.
func serve(t testing.TB, address string, do func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("this machine cannot listen on %s: %s", address, err)
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

func write(text string) func(*net.TCPConn) {
	return func(c *net.TCPConn) { _, _ = c.Write([]byte(text)) }
}

// hang waits until the other side has gone.
func hang(c *net.TCPConn) {
	buf := make([]byte, 64)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

func newProber(t testing.TB, parameters string) sdk.Prober {
	t.Helper()
	p, err := New().Parse([]byte(parameters))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func probe(t testing.TB, p sdk.Prober, target sdk.Target, timeout time.Duration) sdk.Result {
	t.Helper()
	if target.Trace == nil {
		target.Trace = t.Logf
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return p.Probe(ctx, target)
}

// TestLines is what a first line makes of a real server of which nothing is known.
func TestLines(t *testing.T) {
	up := func(w sdk.Weight, a sdk.Admin) sdk.Result { return sdk.Result{Outcome: sdk.Up, Weight: w, Admin: a} }
	down := func(reason string) sdk.Result { return sdk.Result{Outcome: sdk.Down, Reason: reason} }
	none := sdk.Weight{}
	tests := []struct {
		line string
		want sdk.Result
	}{
		{"up\n", up(none, sdk.Ready)},
		{"UP\r\n", up(none, sdk.Ready)},
		{"up", up(none, sdk.Ready)},
		{"\n", up(none, sdk.Ready)},
		{"# only words\n", up(none, sdk.Ready)},
		{"75%\n", up(scale(75), sdk.Ready)},
		{"0%\n", up(scale(0), sdk.Ready)},
		{"150%\n", up(scale(150), sdk.Ready)},
		{"99999999999999999999%\n", up(scale(25600), sdk.Ready)},
		{"50% 75%\n", up(scale(75), sdk.Ready)},
		{"drain\n", up(none, sdk.Drain)},
		{"maint\n", up(none, sdk.Maintenance)},
		{"drain ready\n", up(none, sdk.Ready)},
		{"up,\tready, 50%,maxconn:30\n", up(scale(50), sdk.Ready)},
		{"maxconn:30\n", up(none, sdk.Ready)},
		{"up 75% nonsense\n", up(scale(75), sdk.Ready)},
		{"75%,maxconn:30,maint,down\n", sdk.Result{Outcome: sdk.Down, Reason: "the agent says down", Weight: scale(75), Admin: sdk.Maintenance}},
		{"down\n", down("the agent says down")},
		{"down # disk full\r\n", down("the agent says down: disk full")},
		{"stopped #by hand\n", down("the agent says stopped: by hand")},
		{"fail\n", down("the agent says fail")},
		{"failed\n", down("the agent says failed")},
		{"up down\n", down("the agent says down")},
		{"down up # again\n", up(none, sdk.Ready)},
		{"down # up\n", down("the agent says down: up")},
		{"down\nup\n", down("the agent says down")},
		{"down # \x01\xff\n", down("the agent says down: ??")},
		{"7 5%%\n", sdk.Result{Reason: `the agent said "7 5%%": no word of it is known`}},
		{"-5%\n", sdk.Result{Reason: `the agent said "-5%": no word of it is known`}},
		{"down#x\n", sdk.Result{Reason: `the agent said "down#x": no word of it is known`}},
		{"HTTP/1.1 400 Bad Request\r\n", sdk.Result{Reason: `the agent said "HTTP/1.1 400 Bad Request": no word of it is known`}},
	}
	for _, test := range tests {
		t.Run(test.line, func(t *testing.T) {
			addr := serve(t, "127.0.0.1:0", write(test.line))
			if got := probe(t, newProber(t, ""), sdk.Target{Addr: addr}, 20*time.Second); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestSticks: what a line does not mention stays as it was.
func TestSticks(t *testing.T) {
	lines := make(chan string, 1)
	addr := serve(t, "127.0.0.1:0", func(c *net.TCPConn) { write(<-lines)(c) })
	p := newProber(t, "")
	for i, step := range []struct {
		line string
		want sdk.Result
	}{
		{"75%\n", sdk.Result{Outcome: sdk.Up, Weight: scale(75)}},
		{"drain\n", sdk.Result{Outcome: sdk.Up, Weight: scale(75), Admin: sdk.Drain}},
		{"down # why\n", sdk.Result{Outcome: sdk.Down, Reason: "the agent says down: why", Weight: scale(75), Admin: sdk.Drain}},
		{"50%\n", sdk.Result{Outcome: sdk.Down, Reason: "the agent says down: why", Weight: scale(50), Admin: sdk.Drain}},
		{"nonsense\n", sdk.Result{Reason: `the agent said "nonsense": no word of it is known`}},
		{"", sdk.Result{Reason: "read the agent's line: the agent closed the connection without a word"}},
		{"\n", sdk.Result{Outcome: sdk.Down, Reason: "the agent says down: why", Weight: scale(50), Admin: sdk.Drain}},
		{"up\n", sdk.Result{Outcome: sdk.Up, Weight: scale(50), Admin: sdk.Drain}},
		{"maint\n", sdk.Result{Outcome: sdk.Up, Weight: scale(50), Admin: sdk.Maintenance}},
		{"ready 100%\n", sdk.Result{Outcome: sdk.Up, Weight: scale(100)}},
	} {
		lines <- step.line
		// The verdict that the daemon knows lags behind, and does not count.
		target := sdk.Target{Addr: addr, Known: sdk.Known{Outcome: sdk.Up}}
		if got := probe(t, p, target, 20*time.Second); !reflect.DeepEqual(got, step.want) {
			t.Errorf("step %d, %q: got %+v, want %+v", i, step.line, got, step.want)
		}
	}
}

// TestKnown: a new process goes on with what the daemon knows.
func TestKnown(t *testing.T) {
	tests := []struct {
		name  string
		known sdk.Known
		line  string
		want  sdk.Result
	}{
		{"nothing", sdk.Known{}, "\n", sdk.Result{Outcome: sdk.Up}},
		{"weight and wish", sdk.Known{Outcome: sdk.Up, Weight: scale(30), Admin: sdk.Drain}, "up\n", sdk.Result{Outcome: sdk.Up, Weight: scale(30), Admin: sdk.Drain}},
		{"down with a weight", sdk.Known{Outcome: sdk.Down, Weight: scale(30)}, "40%\n", sdk.Result{Outcome: sdk.Down, Reason: "the agent said down before, and has not said up since", Weight: scale(40)}},
		{"down and up again", sdk.Known{Outcome: sdk.Down, Weight: scale(30)}, "up\n", sdk.Result{Outcome: sdk.Up, Weight: scale(30)}},
		{"down alone", sdk.Known{Outcome: sdk.Down}, "40%\n", sdk.Result{Outcome: sdk.Down, Reason: "the agent said down before, and has not said up since", Weight: scale(40)}},
		{"down, which the table has said", sdk.Known{Outcome: sdk.Down, Inferred: true}, "40%\n", sdk.Result{Outcome: sdk.Up, Weight: scale(40)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			addr := serve(t, "127.0.0.1:0", write(test.line))
			if got := probe(t, newProber(t, ""), sdk.Target{Addr: addr, Known: test.known}, 20*time.Second); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestSend: what the agent is sent, on IPv6 and from a source.
func TestSend(t *testing.T) {
	heard := make(chan string, 1)
	addr := serve(t, "[::1]:0", func(c *net.TCPConn) {
		buf := make([]byte, 100)
		n, _ := c.Read(buf)
		heard <- string(buf[:n])
		write("up\n")(c)
	})
	target := sdk.Target{Addr: addr, Source: netip.AddrPortFrom(addr.Addr(), 0), Interface: "lo"}
	if got := probe(t, newProber(t, `{"send":"state\n"}`), target, 20*time.Second); got.Outcome != sdk.Up {
		t.Errorf("got %v, want up", got)
	}
	if got := <-heard; got != "state\n" {
		t.Errorf("the agent got %q", got)
	}
}

// TestNoAnswer: an agent that cannot be asked says nothing of its real server.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	drip := func(c *net.TCPConn) {
		for range 100 {
			if _, err := c.Write([]byte("u")); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	tests := []struct {
		name    string
		target  sdk.Target
		timeout time.Duration
		reason  string
	}{
		{"refused", sdk.Target{Addr: closed}, 20 * time.Second, "connect to the agent: connection refused"},
		{"no port", sdk.Target{Addr: netip.AddrPortFrom(closed.Addr(), 0)}, 20 * time.Second, "there is no port to connect to"},
		{"foreign source", sdk.Target{Addr: closed, Source: netip.MustParseAddrPort("192.0.2.77:0")}, 20 * time.Second, "connect to the agent: cannot assign requested address"},
		{"closed", sdk.Target{Addr: serve(t, "127.0.0.1:0", func(*net.TCPConn) {})}, 20 * time.Second, "read the agent's line: the agent closed the connection without a word"},
		{"reset", sdk.Target{Addr: serve(t, "127.0.0.1:0", func(c *net.TCPConn) { time.Sleep(100 * time.Millisecond); _ = c.SetLinger(0) })}, 20 * time.Second, "read the agent's line: connection reset by peer"},
		{"silent", sdk.Target{Addr: serve(t, "127.0.0.1:0", hang)}, 300 * time.Millisecond, "read the agent's line: timeout after "},
		{"a byte at a time", sdk.Target{Addr: serve(t, "127.0.0.1:0", drip)}, 500 * time.Millisecond, "read the agent's line: timeout after "},
		{"flood", sdk.Target{Addr: serve(t, "127.0.0.1:0", func(c *net.TCPConn) {
			for {
				if _, err := c.Write([]byte(strings.Repeat("x", 4096))); err != nil {
					return
				}
			}
		})}, 20 * time.Second, "read the agent's line: more than 4096 bytes without an end"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := probe(t, newProber(t, ""), test.target, test.timeout)
			if got.Outcome != sdk.Unknown || !strings.HasPrefix(got.Reason, test.reason) {
				t.Errorf("got %v, want unknown: %q", got, test.reason)
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	addr := serve(t, "127.0.0.1:0", hang)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	got := newProber(t, "").Probe(ctx, sdk.Target{Addr: addr, Trace: t.Logf})
	if took := time.Since(start); got.Outcome != sdk.Unknown || took > 20*time.Second {
		t.Errorf("got %v after %s, want unknown at once", got, took)
	}
}

func TestParse(t *testing.T) {
	for parameters, want := range map[string]string{
		`{}`:             "",
		`{"send":"a\n"}`: "",
		`{"send":1}`:     "/send: must be text",
		`{"port":1}`:     "/port: unknown key",
		`{"send":"` + strings.Repeat("a", 4097) + `"}`: "/send: has 4097 bytes",
	} {
		_, err := New().Parse([]byte(parameters))
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40s: got %v, want %q", parameters, err, want)
		}
	}
}

func TestConform(t *testing.T) {
	c := plugintest.Serve(t, sdk.Plugin{Name: "checkers", Version: "test", Checkers: map[string]sdk.Checker{Type: New()}})
	c.Configure(t, "")
	plugintest.Conform(t, c, map[string]string{Type: `{"send":"state\n"}`})
}

// FuzzLine: any line leaves a state that makes sense, and the same line again the same.
func FuzzLine(f *testing.F) {
	for _, seed := range []string{"75%,maxconn:30,maint,down", "up ready # x", "\x00#", "100%%", strings.Repeat("up ", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		var s state
		s.take(parse(line))
		r := s.result()
		if r.Outcome == sdk.Unknown || r.Outcome == sdk.Down && r.Reason == "" || r.Weight.Value < 0 || r.Weight.Value > mostPercent || len(r.Reason) > 300 {
			t.Fatalf("%q makes %+v", line, r)
		}
		before := s
		s.take(parse(line))
		if s != before {
			t.Fatalf("%q once makes %+v, twice %+v", line, before, s)
		}
		// Upper case says the same; letters of other alphabets may turn into ASCII.
		if strings.ContainsFunc(line, func(r rune) bool { return r > 0x7f }) {
			return
		}
		var upper state
		upper.take(parse(strings.ToUpper(line)))
		if upper.result().Outcome != r.Outcome || upper.admin != before.admin || upper.weight != before.weight {
			t.Fatalf("%q makes %+v, in upper case %+v", line, before, upper)
		}
	})
}

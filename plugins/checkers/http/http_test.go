package http

import (
	"context"
	"crypto/md5" //nolint:gosec // what keepalived's digests are
	"encoding/hex"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/poise-lb/poise/plugins/checkers/http/faulty"
	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

func digestOf(body string) string {
	sum := md5.Sum([]byte(body)) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}

// parsed makes a prober of parameters that are good.
func parsed(t testing.TB, parameters string) *prober {
	t.Helper()
	p, err := New().Parse(json.RawMessage(parameters))
	if err != nil {
		t.Fatalf("parse %s: %s", parameters, err)
	}
	return p.(*prober)
}

// probe runs one probe as the sdk does.
func probe(t testing.TB, parameters string, addr netip.AddrPort, timeout time.Duration) sdk.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return parsed(t, parameters).Probe(ctx, sdk.Target{Addr: addr, Trace: t.Logf})
}

// start runs one probe as the scheduler does.
func start(t testing.TB, p sdk.Prober, target sdk.Target, timeout time.Duration) sdk.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	results := make(chan sdk.Result, 2)
	p.(sdk.Starter).Start(ctx, target, func(r sdk.Result) { results <- r })
	select {
	case r := <-results:
		return r
	case <-time.After(timeout + 20*time.Second):
		t.Fatal("the probe did not end at its deadline")
		return sdk.Result{}
	}
}

// TestFaults: what each fault is to a check made as keepalived makes it, and to one made
// by HTTP/1.1. The first was found by running keepalived 2.2.7 against the same servers,
// and is the same but where README.md says so.
func TestFaults(t *testing.T) {
	tests := []struct {
		name string
		// raw and framed are how the reasons begin, "" for up.
		raw, framed string
		// body: digest of the body, and the word in it, in raw and framed.
		rawBody, framedBody bool
	}{
		{name: "right", rawBody: true, framedBody: true},
		{name: "right with length", rawBody: true, framedBody: true},
		{name: "chunked", framedBody: true},
		{name: "length and stays open", raw: "read the body, of which 12 bytes have come: timeout", framedBody: true},
		{name: "chunked and stays open", raw: "read the body, of which 27 bytes have come: timeout", framedBody: true},
		{name: "not found", raw: "reply: status 404, not in 200-299", framed: "reply: status 404, not in 200-299"},
		{name: "redirect loop", raw: "reply: status 302, not in 200-299", framed: "reply: status 302, not in 200-299"},
		{name: "empty reply", raw: "reply: empty reply", framed: "reply: empty reply"},
		{name: "reset", raw: "wait for the reply: connection reset by peer", framed: "wait for the reply: connection reset by peer"},
		{name: "reset after the headers", raw: "read the body, of which 0 bytes have come: connection reset", framed: "read the body, of which 0 bytes have come: connection reset"},
		{name: "reset in the body", raw: "read the body, of which 5 bytes have come: connection reset", framed: "read the body, of which 5 bytes have come: connection reset"},
		{name: "answer before the request", rawBody: true, framedBody: true},
		{name: "closed in the status line", raw: "reply: connection closed in the headers", framed: "reply: connection closed in the headers"},
		{name: "closed after the status line", raw: "reply: connection closed in the headers", framed: "reply: connection closed in the headers"},
		{name: "closed in the headers", raw: "reply: connection closed in the headers", framed: "reply: connection closed in the headers"},
		{name: "closed after the headers"},
		{name: "never answers", raw: "wait for the reply: timeout after ", framed: "wait for the reply: timeout after "},
		{name: "stops in the headers", raw: "read the headers: timeout after ", framed: "read the headers: timeout after "},
		{name: "never closes", raw: "read the body, of which 12 bytes have come: timeout", framed: "read the body, of which 12 bytes have come: timeout"},
		{name: "a byte a second", raw: "read the headers: timeout after ", framed: "read the headers: timeout after "},
		{name: "a body of a byte a second", raw: "read the body, of which", framed: "read the body, of which"},
		{name: "headers of 2 kB", rawBody: true, framedBody: true},
		{name: "headers of 8 kB", raw: "reply: headers longer than 4095 bytes", framedBody: true},
		{name: "headers of 60 kB", raw: "reply: headers longer than 4095 bytes", framedBody: true},
		{name: "headers of 1 MB", raw: "reply: headers longer than 4095 bytes", framed: "reply: headers longer than 65536 bytes"},
		{name: "one header of 1 MB", raw: "reply: headers longer than 4095 bytes", framed: "reply: headers longer than 65536 bytes"},
		{name: "headers without end", raw: "reply: headers longer than 4095 bytes", framed: "reply: headers longer than 65536 bytes"},
		{name: "garbage", raw: "reply: not HTTP", framed: "reply: connection closed in the headers"},
		{name: "text without headers", raw: "reply: connection closed in the headers", framed: "reply: connection closed in the headers"},
		{name: "a line of 1 MB", raw: "reply: not HTTP", framed: "reply: not HTTP"},
		{name: "lines end with LF", raw: "reply: connection closed in the headers", framed: "reply: connection closed in the headers"},
		{name: "no reason", raw: `reply: not HTTP: status line "HTTP/1.0 200"`, framedBody: true},
		{name: "no blank before the reason", raw: "reply: not HTTP", framed: "reply: not HTTP"},
		{name: "no version", rawBody: true, framedBody: true},
		{name: "version 9.9", rawBody: true, framedBody: true},
		{name: "another protocol", rawBody: true, framedBody: true},
		{name: "status of letters", raw: "reply: not HTTP", framed: "reply: not HTTP"},
		{name: "status of 2 digits", raw: "reply: not HTTP", framed: "reply: not HTTP"},
		{name: "status of 4 digits", raw: "reply: not HTTP", framed: "reply: not HTTP"},
		{name: "status 0200", raw: "reply: not HTTP", framed: "reply: not HTTP"},
		{name: "negative status", raw: "reply: not HTTP", framed: "reply: not HTTP"},
		{name: "blanks before the status", raw: "reply: not HTTP", framed: "reply: not HTTP"},
		{name: "interim 100", raw: "reply: status 100, not in 200-299", framedBody: true},
		{name: "header without colon", rawBody: true, framedBody: true},
		{name: "NUL in the headers", rawBody: true, framedBody: true},
		{name: "NUL in the body"},
		{name: "length too small"},
		{name: "length too great", rawBody: true, framed: "reply: connection closed after 12 of 50 bytes"},
		{name: "length negative", rawBody: true, framed: `reply: malformed Content-Length "-1"`},
		{name: "length of letters", rawBody: true, framed: `reply: malformed Content-Length "many"`},
		{name: "two lengths", rawBody: true, framed: "reply: two Content-Lengths, 12 and 5"},
		{name: "length of no bound", rawBody: true, framed: "reply: malformed Content-Length"},
		{name: "chunk of letters", framed: `reply: malformed chunk: 'z' in its size`},
		{name: "chunk of no bound", framed: "reply: malformed chunk: its size is beyond all bounds"},
		{name: "chunk without its end", framed: "reply: malformed chunk: 'w' where its end should be"},
		{name: "chunks closed early", framed: "reply: connection closed after 9 bytes, before the last chunk"},
		{name: "chunk line without end", raw: "read the body, of which", framed: "reply: malformed chunk: its size takes more than 4096 bytes"},
		{name: "trailer without end", raw: "read the body, of which", framed: "reply: trailer longer than 65536 bytes"},
		{name: "no content"},
	}
	known := map[string]bool{"closed at once": true, "slow but whole": true, "100 MB": true}
	for _, test := range tests {
		known[test.name] = true
		for _, way := range []struct {
			protocol, reason string
			body             bool
		}{{Version10, test.raw, test.rawBody}, {Version11, test.framed, test.framedBody}} {
			t.Run(test.name+"/"+way.protocol, func(t *testing.T) {
				t.Parallel()
				addr := faulty.Start(t, faulty.Find(t, test.name), nil)
				// What does not wait for the deadline may take its time on a slow machine.
				timeout := 20 * time.Second
				if strings.Contains(way.reason, "timeout") || strings.HasSuffix(way.reason, "of which") {
					timeout = 1500 * time.Millisecond
				}
				if test.name == "a byte a second" {
					timeout = 2500 * time.Millisecond
				}
				plain := `{"http_protocol":"` + way.protocol + `"}`
				verify(t, probe(t, plain, addr, timeout), way.reason)
				verify(t, start(t, parsed(t, plain), sdk.Target{Addr: addr, Trace: t.Logf}, timeout), way.reason)
				if way.reason != "" {
					return
				}
				digest := `{"http_protocol":"` + way.protocol + `","urls":[{"path":"/","digest":"` + digestOf(faulty.Body) + `"}]}`
				if got := start(t, parsed(t, digest), sdk.Target{Addr: addr, Trace: t.Logf}, 10*time.Second); (got.Outcome == sdk.Up) != way.body {
					t.Errorf("started with a digest: %v, want up: %t", got, way.body)
				}
				got := probe(t, digest, addr, 10*time.Second)
				if (got.Outcome == sdk.Up) != way.body || !way.body && !strings.HasPrefix(got.Reason, "reply: digest ") {
					t.Errorf("with a digest: %v, want up: %t", got, way.body)
				}
			})
		}
	}
	for _, f := range faulty.Faults() {
		if !known[f.Name] {
			t.Errorf("nothing is said of the fault %q", f.Name)
		}
	}
}

func verify(t *testing.T, got sdk.Result, reason string) {
	t.Helper()
	if reason == "" {
		if got.Outcome != sdk.Up || got.Reason != "" {
			t.Errorf("got %v, want up", got)
		}
		return
	}
	if got.Outcome != sdk.Down || !strings.HasPrefix(got.Reason, reason) {
		t.Errorf("got %v, want down: %s", got, reason)
	}
}

// TestClosedAtOnce: whether the request or the reply fails is a matter of time.
func TestClosedAtOnce(t *testing.T) {
	addr := faulty.Start(t, faulty.Find(t, "closed at once"), nil)
	if got := probe(t, "", addr, 5*time.Second); got.Outcome != sdk.Down {
		t.Errorf("got %v, want down", got)
	}
}

// TestWholeInTime: neither a slow body nor a long one is a fault.
func TestWholeInTime(t *testing.T) {
	for _, test := range []struct{ name, url string }{
		{"slow but whole", `"digest":"` + digestOf(faulty.Body) + `","regex":"^hello w.rld$"`},
		{"100 MB", `"digest":"` + digestOf(strings.Repeat("x", 100<<20)) + `"`},
		{"100 MB", `"regex":"xyz","regex_no_match":true`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			addr := faulty.Start(t, faulty.Find(t, test.name), nil)
			verify(t, probe(t, `{"urls":[{"path":"/",`+test.url+`}]}`, addr, 2*time.Minute), "")
		})
	}
}

// TestLocal: what is wrong with this machine says nothing of the target.
func TestLocal(t *testing.T) {
	addr := faulty.Start(t, faulty.Find(t, "right"), nil)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	target := sdk.Target{Addr: addr, Source: netip.MustParseAddrPort("192.0.2.77:0"), Trace: t.Logf}
	if got := parsed(t, "").Probe(ctx, target); got.Outcome != sdk.Unknown || got.Reason == "" {
		t.Errorf("from an address that is not here: %v, want unknown", got)
	}
}

// TestRefused: nobody listens.
func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	verify(t, probe(t, "", addr, 5*time.Second), "connect: connection refused")
}

// TestCanceled: a probe that is not wanted any more ends at once, and says nothing.
func TestCanceled(t *testing.T) {
	addr := faulty.Start(t, faulty.Find(t, "never answers"), nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	got := parsed(t, "").Probe(ctx, sdk.Target{Addr: addr, Trace: t.Logf})
	if took := time.Since(start); got.Outcome != sdk.Unknown || took > 20*time.Second {
		t.Errorf("got %v after %s, want unknown at once", got, took)
	}
}

func TestConform(t *testing.T) {
	c := plugintest.Serve(t, sdk.Plugin{Name: "checkers", Version: "test", Checkers: map[string]sdk.Checker{Type: New()}})
	c.Configure(t, "")
	plugintest.Conform(t, c, map[string]string{Type: `{"urls":[{"path":"/a","status":["200-299","404"],"regex":"x","regex_options":["caseless"]}]}`})
}

// TestNothingLeft: no descriptor and no goroutine stays after probes of every kind.
func TestNothingLeft(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	before := descriptors(t)
	t.Cleanup(func() {
		goleak.VerifyNone(t, ignore)
		for end := time.Now().Add(5 * time.Second); descriptors(t) > before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d descriptors are open, %d before", descriptors(t), before)
			}
		}
	})
	for _, name := range []string{"right", "reset in the body", "never answers", "garbage", "headers without end"} {
		addr := faulty.Start(t, faulty.Find(t, name), nil)
		for _, parameters := range []string{"", `{"http_protocol":"2"}`, `{"urls":[{"path":"/","regex":"a+"}]}`} {
			for range 5 {
				probe(t, parameters, addr, 50*time.Millisecond)
				start(t, parsed(t, parameters), sdk.Target{Addr: addr, Trace: t.Logf}, 50*time.Millisecond)
			}
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

// BenchmarkReply judges a reply of the usual size.
func BenchmarkReply(b *testing.B) {
	in := []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 28 Nov 2026 20:00:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 612\r\nConnection: close\r\n\r\n" + strings.Repeat("x", 612))
	c := parsed(b, "").check
	b.ReportAllocs()
	for b.Loop() {
		c.reply.begin(&c.urls[0], false, false, time.Time{})
		if done, err := c.reply.feed(in); !done || err != nil {
			b.Fatal(done, err)
		}
		c.reply.release()
	}
}

// BenchmarkStart is one probe on the engine, of a server in the same process.
func BenchmarkStart(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		answer, request := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), make([]byte, 4096)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := conn.Read(request); err == nil {
				_, _ = conn.Write(answer)
			}
			conn.Close()
		}
	}()
	target := sdk.Target{Addr: l.Addr().(*net.TCPAddr).AddrPort(), Trace: func(string, ...any) {}}
	p := parsed(b, "")
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	results := make(chan sdk.Result)
	done := func(r sdk.Result) { results <- r }
	b.ReportAllocs()
	for b.Loop() {
		go p.Start(ctx, target, done)
		if r := <-results; r.Outcome != sdk.Up {
			b.Fatal(r)
		}
	}
}

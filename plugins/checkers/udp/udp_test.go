package udp

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

// server answers each datagram with those that a function makes of it.
func server(t testing.TB, address string, answer func(b []byte) []string) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Skipf("this machine cannot listen on %s: %s", address, err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 65536)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, a := range answer(buf[:n]) {
				_, _ = conn.WriteTo([]byte(a), from)
			}
		}
	}()
	return netip.MustParseAddrPort(conn.LocalAddr().String())
}

func says(answers ...string) func([]byte) []string {
	return func([]byte) []string { return answers }
}

// closed gives an address that nobody listens on.
func closed(t testing.TB, address string) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Skipf("this machine cannot listen on %s: %s", address, err)
	}
	defer conn.Close()
	return netip.MustParseAddrPort(conn.LocalAddr().String())
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
	return steady(p.Probe(ctx, target))
}

// steady replaces the time in a reason, which a slow machine makes shorter than the
// timeout.
func steady(r sdk.Result) sdk.Result {
	r.Reason = timeouts.ReplaceAllString(r.Reason, "timeout")
	return r
}

var timeouts = regexp.MustCompile(`timeout after [0-9.]+m?s`)

// TestAsKeepalived is what keepalived 2.2.7 was seen to make of each server, with its
// configuration written as its importer writes it.
func TestAsKeepalived(t *testing.T) {
	t.Parallel()
	const silent = 300 * time.Millisecond
	long := strings.Repeat("a", 300)
	tests := []struct {
		name, parameters string
		answer           func([]byte) []string
		up               bool
		reason           string
	}{
		{"silence", ``, says(), true, ""},
		{"any reply", ``, says("x"), true, ""},
		{"long reply", ``, says(long), true, ""},
		{"empty reply", ``, says(""), true, ""},
		{"required, silence", `{"require_reply":true}`, says(), false, "wait for the reply: timeout"},
		{"required, any reply", `{"require_reply":true}`, says("x"), true, ""},
		{"required, empty reply", `{"require_reply":true}`, says(""), true, ""},
		{"required, long reply", `{"require_reply":true}`, says(long), true, ""},
		{"right", `{"reply":"6162"}`, says("ab"), true, ""},
		{"longer", `{"reply":"6162"}`, says("abc"), true, ""},
		{"shorter", `{"reply":"616263"}`, says("ab"), true, ""},
		{"empty", `{"reply":"616263"}`, says(""), true, ""},
		{"silence for a pattern", `{"reply":"6162"}`, says(), false, "wait for the reply: timeout"},
		{"wrong", `{"reply":"6162"}`, says("ac"), false, "the reply is wrong: byte 1 is 63, want 62: 2 bytes 6163"},
		{"wrong, then right", `{"reply":"6162"}`, says("ac", "ab"), false, "the reply is wrong: byte 1 is 63, want 62: 2 bytes 6163"},
		{"wildcard", `{"reply":"6X62"}`, says("ob"), true, ""},
		{"wildcards", `{"reply":"X1x2"}`, says("qr"), true, ""},
		{"wrong beside a wildcard", `{"reply":"6X62"}`, says("7b"), false, "the reply is wrong: byte 0 is 37, want 6X: 2 bytes 3762"},
		{"too short", `{"reply":"6162","min_reply_length":3}`, says("ab"), false, "the reply is wrong: 2 bytes, want at least 3: 2 bytes 6162"},
		{"long enough", `{"reply":"6162","min_reply_length":3}`, says("abc"), true, ""},
		{"too long", `{"reply":"6162","max_reply_length":2}`, says("abc"), false, "the reply is wrong: more than 2 bytes: 3 bytes 616263"},
		{"255 bytes", `{"reply":"61"}`, says(long[:255]), true, ""},
		{"256 bytes", `{"reply":"61"}`, says(long[:256]), false, "the reply is wrong: more than 255 bytes: "},
		{"900 of 1,000 bytes", `{"reply":"61","max_reply_length":1000}`, says(strings.Repeat("a", 900)), true, ""},
		{"limits that cross", `{"reply":"61","min_reply_length":10,"max_reply_length":5}`, says("aaaaaaa"), false, "the reply is wrong: 7 bytes, want at least 10"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			timeout := silent
			if test.up && !strings.HasPrefix(test.name, "silence") {
				timeout = 20 * time.Second
			}
			got := probe(t, test.parameters, sdk.Target{Addr: server(t, "127.0.0.1:0", test.answer)}, timeout)
			if (got.Outcome == sdk.Up) != test.up || got.Outcome == sdk.Unknown || !strings.HasPrefix(got.Reason, test.reason) || (got.Reason == "") != test.up {
				t.Errorf("got %v, want up: %t %q", got, test.up, test.reason)
			}
		})
	}
}

// TestOwnLimits are lengths where nothing is compared, which keepalived does not look at.
func TestOwnLimits(t *testing.T) {
	for parameters, want := range map[string]sdk.Outcome{
		`{"min_reply_length":10}`: sdk.Down,
		`{"max_reply_length":3}`:  sdk.Down,
		`{"require_reply":true,"min_reply_length":5,"max_reply_length":5}`: sdk.Up,
		`{"require_reply":true,"min_reply_length":3}`:                      sdk.Up,
	} {
		if got := probe(t, parameters, sdk.Target{Addr: server(t, "127.0.0.1:0", says("12345"))}, 20*time.Second); got.Outcome != want {
			t.Errorf("%s: got %v, want %v", parameters, got, want)
		}
	}
}

// TestClosed: the kernel's word that nobody listens.
func TestClosed(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		for _, parameters := range []string{``, `{"payload":"01"}`, `{"require_reply":true}`} {
			got := probe(t, parameters, sdk.Target{Addr: closed(t, address)}, 20*time.Second)
			if got.Outcome != sdk.Down || got.Reason != "wait for the reply: connection refused" {
				t.Errorf("%s %s: got %v, want down: connection refused", address, parameters, got)
			}
		}
	}
}

// TestPayload: what the server gets, on both families.
func TestPayload(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		heard := make(chan []byte, 1)
		addr := server(t, address, func(b []byte) []string {
			heard <- bytes.Clone(b)
			return []string{"x"}
		})
		for parameters, want := range map[string]string{
			``:                      hex.EncodeToString([]byte(defaultPayload)),
			`{"payload":""}`:        hex.EncodeToString([]byte(defaultPayload)),
			`{"payload":"01 02fF"}`: "0102ff",
			`{"payload":"` + strings.Repeat("ab", 600) + `"}`: strings.Repeat("ab", 600),
		} {
			target := sdk.Target{Addr: addr, Source: netip.AddrPortFrom(addr.Addr(), 0), Interface: "lo"}
			if got := probe(t, parameters, target, 20*time.Second); got.Outcome != sdk.Up {
				t.Errorf("%s: got %v, want up", parameters, got)
			}
			if got := hex.EncodeToString(<-heard); got != want {
				t.Errorf("%s: the server got %s, want %s", parameters, got, want)
			}
		}
	}
	if len(defaultPayload) != 32 {
		t.Errorf("the payload has %d bytes, want 32", len(defaultPayload))
	}
}

// TestSilenceInTime: silence is a result before the deadline, not after it.
func TestSilenceInTime(t *testing.T) {
	addr := server(t, "127.0.0.1:0", says())
	p, err := New().Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	ok := false
	for range 5 {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		got := p.Probe(ctx, sdk.Target{Addr: addr, Trace: t.Logf})
		ok = ok || ctx.Err() == nil && got.Outcome == sdk.Up
		cancel()
	}
	if !ok {
		t.Error("no probe of five was back before its deadline")
	}
}

func TestTrouble(t *testing.T) {
	addr := server(t, "127.0.0.1:0", says("x"))
	tests := []struct {
		name    string
		target  sdk.Target
		outcome sdk.Outcome
		reason  string
	}{
		{"foreign source", sdk.Target{Addr: addr, Source: netip.MustParseAddrPort("192.0.2.77:0")}, sdk.Unknown, "connect: cannot assign requested address"},
		{"no such interface", sdk.Target{Addr: addr, Interface: "none-such0"}, sdk.Unknown, "connect: bind to interface none-such0: no such device"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := probe(t, "", test.target, 5*time.Second); got.Outcome != test.outcome || got.Reason != test.reason {
				t.Errorf("got %v, want %v %q", got, test.outcome, test.reason)
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	addr := server(t, "127.0.0.1:0", says())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	time.AfterFunc(50*time.Millisecond, cancel)
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

func TestParse(t *testing.T) {
	for parameters, want := range map[string]string{
		`{}`: "",
		`{"payload":"00FF","reply":"0X","max_reply_length":9}`:      "",
		`{"reply":"61","min_reply_length":10,"max_reply_length":5}`: "",
		`{"payload":"zz"}`:   `/payload: "zz" is not hexadecimal`,
		`{"payload":"0"}`:    `/payload: "0" has an odd number of digits`,
		`{"payload":"0x01"}`: `/payload: X stands for any digit`,
		`{"payload":" "}`:    `/payload: has no digits`,
		`{"reply":""}`:       `/reply: has no digits`,
		`{"reply":"é1"}`:     `/reply: "é1" has an odd`,
		`{"payload":"` + strings.Repeat("00", 65508) + `"}`: "/payload: has 65508 bytes",
		`{"min_reply_length":-1}`:                           "/min_reply_length: must be a whole number, not negative",
		`{"max_reply_length":65536}`:                        "/max_reply_length: must be a whole number",
		`{"answer":"00"}`:                                   `/answer: unknown key`,
	} {
		_, err := New().Parse([]byte(parameters))
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.80s: got %v, want %q", parameters, err, want)
		}
	}
}

func TestValidate(t *testing.T) {
	v := New().(sdk.Validator)
	if got := v.Validate([]byte(`{"reply":"61"}`)); len(got) != 0 {
		t.Errorf("got %v, want no problems", got)
	}
	if got := v.Validate([]byte(`{"min_reply_length":10,"max_reply_length":5}`)); len(got) != 1 || !got[0].Warning || got[0].Path != "/min_reply_length" {
		t.Errorf("got %v, want a warning", got)
	}
	if got := v.Validate([]byte(`{"payload":"x"}`)); len(got) != 1 || got[0].Warning || got[0].Path != "/payload" {
		t.Errorf("got %v, want an error", got)
	}
}

func TestConform(t *testing.T) {
	c := plugintest.Serve(t, sdk.Plugin{Name: "checkers", Version: "test", Checkers: map[string]sdk.Checker{Type: New()}})
	c.Configure(t, "")
	plugintest.Conform(t, c, map[string]string{Type: `{"payload":"0102","reply":"0X","min_reply_length":1}`})
}

// FuzzPattern: what is read can be written, matches itself, and judges any reply.
func FuzzPattern(f *testing.F) {
	f.Add("6162", []byte("ab"))
	f.Add("6X x1", []byte{})
	f.Add("0", []byte("x"))
	f.Fuzz(func(t *testing.T, text string, reply []byte) {
		p, err := parsePattern(text)
		if err != nil {
			return
		}
		var written strings.Builder
		for i := range p.value {
			written.WriteString(p.digits(i))
		}
		again, err := parsePattern(written.String())
		if err != nil || !bytes.Equal(again.value, p.value) || !bytes.Equal(again.mask, p.mask) {
			t.Fatalf("%q was written as %q: %v", text, written.String(), err)
		}
		e := expected{pattern: p, most: len(p.value)}
		if err := e.judge(p.value); err != nil {
			t.Fatalf("%q does not match itself: %s", text, err)
		}
		if err := e.judge(reply); err != nil && len(err.Error()) > 1000 {
			t.Fatal(fmt.Sprint("an error of ", len(err.Error()), " bytes"))
		}
	})
}

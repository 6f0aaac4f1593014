package smtp

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

const (
	greeting = "220 hi\r\n"
	ok       = "250 ok\r\n"
	bye      = "221 bye\r\n"
)

// server is a mail server that does in each conversation what a function says.
func server(t testing.TB, address string, serve func(*client)) netip.AddrPort {
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
				serve(&client{t: t, TCPConn: conn.(*net.TCPConn)})
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// client is the server's side of a conversation.
type client struct {
	t testing.TB
	*net.TCPConn
	heard []string
}

// send writes, a moment apart so that each is a segment of its own.
func (c *client) send(parts ...string) {
	for i, p := range parts {
		if i > 0 {
			time.Sleep(30 * time.Millisecond)
		}
		_, _ = c.Write([]byte(p))
	}
}

// drip writes a byte at a time.
func (c *client) drip(text string, gap time.Duration) {
	for i := range text {
		time.Sleep(gap)
		if _, err := c.Write([]byte{text[i]}); err != nil {
			return
		}
	}
}

// hear reads a line.
func (c *client) hear() bool {
	var line []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(line, []byte("\n")) {
		if n, err := c.Read(one); n == 0 || err != nil {
			return false
		}
		line = append(line, one[0])
	}
	c.heard = append(c.heard, string(line))
	return true
}

// reset ends the conversation with a RST.
func (c *client) reset() { _ = c.SetLinger(0) }

// hang waits until the other side has gone.
func (c *client) hang() {
	for c.hear() {
	}
}

// says is a server that sends three replies, and what it was asked comes between them.
func says(replies ...string) func(*client) {
	return func(c *client) {
		for i, r := range replies {
			if i > 0 && !c.hear() {
				return
			}
			c.send(r)
		}
		c.hang()
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
	return steady(p.Probe(ctx, target))
}

// steady replaces the time in a reason, which a slow machine makes shorter than the
// timeout.
func steady(r sdk.Result) sdk.Result {
	r.Reason = timeouts.ReplaceAllString(r.Reason, "timeout")
	return r
}

var timeouts = regexp.MustCompile(`timeout after [0-9.]+m?s`)

// TestAsKeepalived is what keepalived 2.2.7 was seen to make of each server.
func TestAsKeepalived(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		serve  func(*client)
		up     bool
		reason string
	}{
		{"normal", says(greeting, ok, bye), true, ""},
		{"line feeds alone", says("220 hi\n", "250 ok\n", "221\n"), true, ""},
		{"greeting is the code and a line feed", says("220\n", ok, bye), true, ""},
		{"greeting is the code, CR and LF", says("220\r\n", ok, bye), false, `read the greeting: "220", want 220 and a space`},
		{"greeting is the code and a space", says("220 \r\n", ok, bye), true, ""},
		{"greeting without a space", says("220hi\r\n", ok, bye), false, `read the greeting: "220hi", want 220 and a space`},
		{"greeting with a tab", says("220\thi\r\n", ok, bye), false, `read the greeting: "220\thi", want 220 and a space`},
		{"greeting of four digits", says("2200 hi\r\n", ok, bye), false, `read the greeting: "2200 hi", want 220 and a space`},
		{"greeting after a space", says(" 220 hi\r\n", ok, bye), false, `read the greeting: " 220 hi", want 220`},
		{"greeting after an empty line", says("\r\n220 hi\r\n", ok, bye), false, `read the greeting: "", want 220`},
		{"greeting of two lines", says("220-hi\r\n220 there\r\n", ok, bye), false, `read the greeting: "220-hi", want a reply of one line (multiline: true takes several)`},
		{"greeting without an end", says("220 hi", ok, bye), false, "read the greeting: timeout"},
		{"greeting ends with a CR", says("220 hi\r", ok, bye), false, "read the greeting: timeout"},
		{"busy", says("421 busy\r\n", ok, bye), false, `read the greeting: "421 busy", want 220`},
		{"in pieces", func(c *client) { c.send("2", "2", "0 hi", "\r\n"); says("", ok, bye)(c) }, true, ""},
		{"two greetings at once", says("220 a\r\n220 b\r\n", ok, bye), true, ""},
		{"junk after the greeting", says("220 a\r\njunk", ok, bye), true, ""},
		{"two greetings one after the other", func(c *client) { c.send("220 a\r\n", "220 b\r\n"); c.hang() }, false, `read the reply to HELO: "220 b", want 250`},
		{"replies before the questions", says(greeting + ok + bye), false, "read the reply to HELO: timeout"},
		{"511 bytes", says("220 "+strings.Repeat("x", 505)+"\r\n", ok, bye), true, ""},
		{"512 bytes", says("220 "+strings.Repeat("x", 506)+"\r\n", ok, bye), false, "read the greeting: more than 511 bytes without an end"},
		{"560 bytes of short lines", says(strings.Repeat("220 a\r\n", 80), ok, bye), false, "read the greeting: more than 511 bytes without an end"},
		{"NUL in the greeting", says("220 a\x00b\r\n", ok, bye), false, `read the greeting: "220 a\x00b" has a NUL byte`},
		{"NUL after the greeting", says("220 a\r\n\x00\x00", ok, bye), true, ""},
		{"HELO refused", says(greeting, "500 what\r\n", bye), false, `read the reply to HELO: "500 what", want 250`},
		{"HELO answered with 251", says(greeting, "251 x\r\n", bye), false, `read the reply to HELO: "251 x", want 250`},
		{"HELO answered with the code, CR and LF", says(greeting, "250\r\n", bye), false, `read the reply to HELO: "250", want 250 and a space`},
		{"HELO answered with the code and a line feed", says(greeting, "250\n", bye), true, ""},
		{"HELO answered in two lines", says(greeting, "250-a\r\n250 b\r\n", bye), false, `read the reply to HELO: "250-a", want a reply of one line (multiline: true takes several)`},
		{"HELO answered twice", says(greeting, "250 a\r\n250 b\r\n", bye), true, ""},
		{"HELO answered without an end", func(c *client) { c.send(greeting); c.hear(); c.send("250 ok") }, false, `read the reply to HELO: the server closed the connection within a line, after "250 ok"`},
		{"QUIT refused", says(greeting, ok, "500 what\r\n"), true, ""},
		{"QUIT answered with an empty line", says(greeting, ok, "\n"), true, ""},
		{"QUIT answered with 600 bytes", says(greeting, ok, strings.Repeat("x", 600)+"\n"), true, ""},
		{"QUIT answered with a NUL", says(greeting, ok, "\x00\n"), false, `read the reply to QUIT: "\x00" has a NUL byte`},
		{"QUIT not answered", says(greeting, ok), false, "read the reply to QUIT: timeout"},
		{"closed at once", func(*client) {}, false, "read the greeting: the server closed the connection"},
		{"closed after HELO", func(c *client) { c.send(greeting); c.hear() }, false, "read the reply to HELO: the server closed the connection"},
		{"closed after QUIT", func(c *client) { c.send(greeting); c.hear(); c.send(ok); c.hear() }, false, "read the reply to QUIT: the server closed the connection"},
		{"reset after HELO", func(c *client) { c.send(greeting); c.hear(); c.reset() }, false, "read the reply to HELO: connection reset by peer"},
		{"reset after QUIT", func(c *client) { c.send(greeting); c.hear(); c.send(ok); c.hear(); c.reset() }, false, "read the reply to QUIT: connection reset by peer"},
		{"never a greeting", (*client).hang, false, "read the greeting: timeout"},
		{"never a reply to HELO", says(greeting), false, "read the reply to HELO: timeout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Second
			if test.up {
				timeout = 20 * time.Second
			}
			got := probe(t, "", sdk.Target{Addr: server(t, "127.0.0.1:0", test.serve)}, timeout)
			if (got.Outcome == sdk.Up) != test.up || got.Outcome == sdk.Unknown || got.Reason != test.reason {
				t.Errorf("got %v, want up: %t %q", got, test.up, test.reason)
			}
		})
	}
}

// TestOtherThanKeepalived is what keepalived 2.2.7 never ends with: it reads on as long
// as there is something to read.
func TestOtherThanKeepalived(t *testing.T) {
	t.Parallel()
	t.Run("flood", func(t *testing.T) {
		t.Parallel()
		addr := server(t, "127.0.0.1:0", func(c *client) {
			junk := bytes.Repeat([]byte("x"), 4096)
			for {
				if _, err := c.Write(junk); err != nil {
					return
				}
			}
		})
		got := probe(t, "", sdk.Target{Addr: addr}, 20*time.Second)
		if got.Outcome != sdk.Down || got.Reason != "read the greeting: more than 511 bytes without an end" {
			t.Errorf("got %v, want down at once", got)
		}
	})
	t.Run("a byte at a time", func(t *testing.T) {
		t.Parallel()
		addr := server(t, "127.0.0.1:0", func(c *client) { c.drip(greeting, 200*time.Millisecond); c.hang() })
		start := time.Now()
		got := probe(t, "", sdk.Target{Addr: addr}, 700*time.Millisecond)
		if got.Outcome != sdk.Down || got.Reason != "read the greeting: timeout" {
			t.Errorf("got %v after %s, want a timeout of the whole probe", got, time.Since(start))
		}
	})
}

func TestMultiline(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("220-"+strings.Repeat("x", 100)+"\r\n", 20)
	tests := []struct {
		name   string
		serve  func(*client)
		reason string
	}{
		{"one line", says(greeting, ok, bye), ""},
		{"no text", says("220\r\n", "250\r\n", bye), ""},
		{"two lines at once", says("220-hi\r\n220 there\r\n", "250-a\r\n250-b\r\n250 c\r\n", "221-a\r\n221 b\r\n"), ""},
		{"two lines apart", func(c *client) { c.send("220-hi\r\n", "220 there\r\n"); says("", ok, bye)(c) }, ""},
		{"2000 bytes", says(many+greeting, ok, bye), ""},
		{"one of another code", says("220-hi\r\n554 no\r\n", ok, bye), `read the greeting: "554 no", want 220`},
		{"never the last", says("220-hi\r\n", ok, bye), "read the greeting: timeout"},
		{"too many", says(strings.Repeat("220-hi\r\n", maxLines+1), ok, bye), "read the greeting: more than 100 lines"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Second
			if test.reason == "" {
				timeout = 20 * time.Second
			}
			got := probe(t, `{"multiline":true}`, sdk.Target{Addr: server(t, "127.0.0.1:0", test.serve)}, timeout)
			if (got.Outcome == sdk.Up) != (test.reason == "") || got.Reason != test.reason {
				t.Errorf("got %v, want %q", got, test.reason)
			}
		})
	}
}

// TestDialogue: what the server hears, and what an operator sees of it.
func TestDialogue(t *testing.T) {
	heard := make(chan []string, 1)
	addr := server(t, "[::1]:0", func(c *client) {
		says(greeting, ok, bye)(c)
		heard <- c.heard
	})
	var trace []string
	got := probe(t, `{"helo_name":"probe.example"}`, sdk.Target{
		Addr: addr, Source: netip.AddrPortFrom(addr.Addr(), 0), Interface: "lo",
		Trace: func(format string, _ ...any) { trace = append(trace, format) },
	}, 20*time.Second)
	if got.Outcome != sdk.Up {
		t.Fatalf("got %v, want up", got)
	}
	if lines := <-heard; strings.Join(lines, "") != "HELO probe.example\r\nQUIT\r\n" {
		t.Errorf("the server heard %q", lines)
	}
	if strings.Join(trace, "|") != "connected to %s from %s|< %q|> %q|< %q|> %q|< %q" {
		t.Errorf("trace %q", trace)
	}
}

func TestTrouble(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	tests := []struct {
		name    string
		target  sdk.Target
		outcome sdk.Outcome
		reason  string
	}{
		{"refused", sdk.Target{Addr: closed}, sdk.Down, "connect: connection refused"},
		{"foreign source", sdk.Target{Addr: closed, Source: netip.MustParseAddrPort("192.0.2.77:0")}, sdk.Unknown, "connect: cannot assign requested address"},
		{"no such interface", sdk.Target{Addr: closed, Interface: "none-such0"}, sdk.Unknown, "connect: bind to interface none-such0: no such device"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := probe(t, "", test.target, 5*time.Second); got.Outcome != test.outcome || got.Reason != test.reason {
				t.Errorf("got %v, want %v %q", got, test.outcome, test.reason)
			}
		})
	}
}

// TestCanceled: a probe that is not wanted any more ends at once and says nothing of the
// target.
func TestCanceled(t *testing.T) {
	addr := server(t, "127.0.0.1:0", (*client).hang)
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
		`{}`:                        "",
		`{"helo_name":"a.example"}`: "",
		`{"helo_name":""}`:          "/helo_name: is empty",
		`{"helo_name":"a\nQUIT"}`:   "/helo_name: \"a\\nQUIT\" has a control character",
		`{"helo_name":"` + strings.Repeat("a", 256) + `"}`: "/helo_name: has 256 bytes",
		`{"helo":"a"}`:      `/helo: unknown key "helo"`,
		`{"multiline":1}`:   "/multiline: must be true or false",
		`{"helo_name":[1]}`: "/helo_name: must be text",
	} {
		_, err := New().Parse([]byte(parameters))
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", parameters, err, want)
		}
	}
}

func TestConform(t *testing.T) {
	c := plugintest.Serve(t, sdk.Plugin{Name: "checkers", Version: "test", Checkers: map[string]sdk.Checker{Type: New()}})
	c.Configure(t, "")
	plugintest.Conform(t, c, map[string]string{Type: `{"helo_name":"a.example","multiline":true}`})
}

// FuzzReply: no reply makes the reader panic, and what it takes as one has the code, in
// however many pieces it came.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{greeting, "220\n", "220-a\r\n220 b\r\n", "", "220 a\x00\r\n", strings.Repeat("2", 600), "220-\n220\r\n"} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, several bool) {
		read := func(r *reader) (lines []string, err error) {
			err = r.reply("220", several, func(line string) { lines = append(lines, line) })
			return lines, err
		}
		lines, err := read(&reader{conn: bytes.NewReader(data)})
		if err == nil && (len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], "220") || len(lines) > 1 && !several) {
			t.Fatalf("%q was taken as %q", data, lines)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
		// Without bytes to spare, pieces make no difference.
		if len(data) < room {
			_, slow := read(&reader{conn: iotest.OneByteReader(bytes.NewReader(data))})
			if (err == nil) != (slow == nil) {
				t.Fatalf("%q: at once %v, byte by byte %v", data, err, slow)
			}
		}
	})
}

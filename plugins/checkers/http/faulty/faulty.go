package faulty

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Fault is one way to answer.
type Fault struct {
	// Name says what is wrong.
	Name string
	// answer is called when the request has been read, and the connection closed when it
	// returns. stop is closed when the server ends.
	answer func(c net.Conn, stop <-chan struct{})
	// deaf: the request is not read before the answer.
	deaf bool
}

const ok = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"

// Body is what the faults that have a whole body answer with.
const Body = "hello world\n"

// Faults are all there are, with two servers that do it right to compare with.
func Faults() []Fault {
	return []Fault{
		text("right", ok+Body),
		text("right with length", "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"+Body),
		text("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n6;x=y\r\nworld\n\r\n0\r\nX-Trailer: 1\r\n\r\n"),
		stays("length and stays open", "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"+Body),
		stays("chunked and stays open", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n6\r\nworld\n\r\n0\r\n\r\n"),
		text("not found", "HTTP/1.0 404 Not Found\r\n\r\nno\n"),
		text("redirect loop", "HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n"),
		text("empty reply", ""),
		{Name: "closed at once", deaf: true, answer: func(net.Conn, <-chan struct{}) {}},
		{Name: "answer before the request", deaf: true, answer: func(c net.Conn, stop <-chan struct{}) {
			write(c, ok+Body)
			request(c)
		}},
		{Name: "reset", answer: func(c net.Conn, _ <-chan struct{}) { reset(c) }},
		{Name: "reset after the headers", answer: func(c net.Conn, stop <-chan struct{}) {
			write(c, ok)
			wait(stop, 200*time.Millisecond)
			reset(c)
		}},
		{Name: "reset in the body", answer: func(c net.Conn, stop <-chan struct{}) {
			write(c, ok+"hello")
			wait(stop, 200*time.Millisecond)
			reset(c)
		}},
		text("closed in the status line", "HTTP/1.0 20"),
		text("closed after the status line", "HTTP/1.0 200 OK\r\n"),
		text("closed in the headers", "HTTP/1.0 200 OK\r\nContent-Type: te"),
		text("closed after the headers", ok),
		stays("never answers", ""),
		stays("stops in the headers", "HTTP/1.0 200 OK\r\nContent-"),
		stays("never closes", ok+Body),
		{Name: "a byte a second", answer: drip(0, ok+Body, time.Second)},
		{Name: "a body of a byte a second", answer: drip(len(ok), ok+strings.Repeat("x", 3600), time.Second)},
		{Name: "slow but whole", answer: drip(len(ok)-2, ok+Body, 300*time.Millisecond)},
		{Name: "100 MB", answer: flood(ok, 100<<20)},
		text("headers of 2 kB", "HTTP/1.0 200 OK\r\n"+filler(2<<10)+"\r\n"+Body),
		text("headers of 8 kB", "HTTP/1.0 200 OK\r\n"+filler(8<<10)+"\r\n"+Body),
		text("headers of 60 kB", "HTTP/1.0 200 OK\r\n"+filler(60<<10)+"\r\n"+Body),
		text("headers of 1 MB", "HTTP/1.0 200 OK\r\n"+filler(1<<20)+"\r\n"+Body),
		text("one header of 1 MB", "HTTP/1.0 200 OK\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n"+Body),
		{Name: "headers without end", answer: endless("HTTP/1.0 200 OK\r\n", "X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n")},
		{Name: "garbage", answer: garbage},
		text("text without headers", Body),
		text("a line of 1 MB", strings.Repeat("x", 1<<20)+"\n"),
		text("lines end with LF", "HTTP/1.0 200 OK\nContent-Type: text/plain\n\n"+Body),
		text("no reason", "HTTP/1.0 200\r\n\r\n"+Body),
		text("no blank before the reason", "HTTP/1.0 200OK\r\n\r\n"+Body),
		text("no version", "HTTP 200 OK\r\n\r\n"+Body),
		text("version 9.9", "HTTP/9.9 200 OK\r\n\r\n"+Body),
		text("another protocol", "ICY 200 OK\r\n\r\n"+Body),
		text("status of letters", "HTTP/1.0 abc OK\r\n\r\n"+Body),
		text("status of 2 digits", "HTTP/1.0 99 OK\r\n\r\n"+Body),
		text("status of 4 digits", "HTTP/1.0 2000 OK\r\n\r\n"+Body),
		text("status 0200", "HTTP/1.0 0200 OK\r\n\r\n"+Body),
		text("negative status", "HTTP/1.0 -200 OK\r\n\r\n"+Body),
		text("blanks before the status", "HTTP/1.0   200 OK\r\n\r\n"+Body),
		text("interim 100", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"+Body),
		text("header without colon", "HTTP/1.0 200 OK\r\nnonsense\r\n\r\n"+Body),
		text("NUL in the headers", "HTTP/1.0 200 OK\r\nX: a\x00b\r\n\r\n"+Body),
		text("NUL in the body", ok+"hello\x00world\n"),
		text("length too small", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"+Body),
		text("length too great", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"+Body),
		text("length negative", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"+Body),
		text("length of letters", "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"+Body),
		text("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Length: 5\r\n\r\n"+Body),
		text("length of no bound", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"+Body),
		text("chunk of letters", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"),
		text("chunk of no bound", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
		text("chunk without its end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n"),
		text("chunks closed early", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n6\r\nwor"),
		{Name: "chunk line without end", answer: endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0000000000000000000000")},
		{Name: "trailer without end", answer: endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X-Trailer: xxxxxxxxxxxxxxxx\r\n")},
		text("no content", "HTTP/1.1 204 No Content\r\n\r\n"),
	}
}

func text(name, s string) Fault {
	return Fault{Name: name, answer: func(c net.Conn, _ <-chan struct{}) { write(c, s) }}
}

func stays(name, s string) Fault {
	return Fault{Name: name, answer: func(c net.Conn, stop <-chan struct{}) {
		write(c, s)
		gone := make(chan struct{})
		go func() {
			drain(c)
			close(gone)
		}()
		select {
		case <-stop:
			c.Close()
			<-gone
		case <-gone:
		}
	}}
}

// write gives up in silence: who probes may have left.
func write(c net.Conn, s string) bool {
	_, err := io.WriteString(c, s)
	return err == nil
}

// drain reads until the other side closes, so that closing sends no reset.
func drain(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// wait is false when the server has ended.
func wait(stop <-chan struct{}, d time.Duration) bool {
	select {
	case <-stop:
		return false
	case <-time.After(d):
		return true
	}
}

// reset closes with a RST.
func reset(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}

// drip sends what comes after the first bytes one byte at a time.
func drip(at int, s string, every time.Duration) func(net.Conn, <-chan struct{}) {
	return func(c net.Conn, stop <-chan struct{}) {
		if !write(c, s[:at]) {
			return
		}
		for i := at; i < len(s); i++ {
			if !wait(stop, every) || !write(c, s[i:i+1]) {
				return
			}
		}
	}
}

// flood sends a body of n bytes.
func flood(head string, n int) func(net.Conn, <-chan struct{}) {
	return func(c net.Conn, _ <-chan struct{}) {
		block := string(bytes.Repeat([]byte{'x'}, 1<<16))
		for more := write(c, head); more && n > 0; n -= len(block) {
			more = write(c, block)
		}
	}
}

// endless repeats a text until the other side has had enough.
func endless(head, again string) func(net.Conn, <-chan struct{}) {
	return func(c net.Conn, stop <-chan struct{}) {
		block := strings.Repeat(again, 100)
		for more := write(c, head); more; more = write(c, block) {
			select {
			case <-stop:
				return
			default:
			}
		}
	}
}

func garbage(c net.Conn, _ <-chan struct{}) {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, 5000)
	_, _ = r.Read(b)
	_, _ = c.Write(b)
}

func filler(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "X-Filler-%d: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", i)
	}
	return b.String()
}

// Find gives the fault of a name.
func Find(t testing.TB, name string) Fault {
	t.Helper()
	all := Faults()
	i := slices.IndexFunc(all, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("there is no fault %q", name)
	}
	return all[i]
}

// Start serves a fault on a port of its own until the test ends; config is nil for
// plain text.
func Start(t testing.TB, f Fault, config *tls.Config) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	stop := make(chan struct{})
	served := make(chan struct{})
	go func() {
		Serve(l, f, stop)
		close(served)
	}()
	t.Cleanup(func() {
		close(stop)
		l.Close()
		<-served
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// Serve answers connections until the listener is closed, and returns when all of them
// have ended; those that run end when stop is closed.
func Serve(l net.Listener, f Fault, stop <-chan struct{}) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		running.Go(func() {
			defer c.Close()
			ended := make(chan struct{})
			defer close(ended)
			go func() {
				select {
				case <-stop:
					_ = c.SetDeadline(time.Unix(1, 0))
				case <-ended:
				}
			}()
			if f.deaf || request(c) {
				f.answer(c, stop)
			}
		})
	}
}

// request reads up to the blank line.
func request(c net.Conn) bool {
	var have []byte
	b := make([]byte, 4096)
	for !bytes.Contains(have, []byte("\r\n\r\n")) {
		n, err := c.Read(b)
		if err != nil {
			return false
		}
		have = append(have, b[:n]...)
	}
	return true
}

package poll

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

// TestTalk: what is written arrives whole, what comes back too, however much it is and
// whenever it comes.
func TestTalk(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	tests := []struct {
		name    string
		request []byte
		pause   time.Duration
		quiet   bool
	}{
		{"small", []byte("hello"), 0, false},
		{"small and quiet", []byte("hello"), 0, true},
		{"answered later", []byte("hello"), 100 * time.Millisecond, true},
		{"more than fits", big, 0, false},
		{"more than fits, read later", big, 100 * time.Millisecond, true},
	}
	for _, test := range tests {
		for _, how := range []string{"request", "write"} {
			t.Run(test.name+" by "+how, func(t *testing.T) {
				to := serve(t, func(conn net.Conn) {
					got := make([]byte, len(test.request))
					time.Sleep(test.pause)
					if _, err := io.ReadFull(conn, got); err != nil {
						t.Errorf("the server read: %s", err)
					}
					time.Sleep(test.pause)
					_, _ = conn.Write(got)
				})
				var got []byte
				e := &Engine{}
				s := &script{
					connected: func(c *Conn) {
						half := len(test.request) / 2
						c.Write(test.request[:half])
						c.Write(test.request[half:])
					},
					received: func(_ *Conn, b []byte) { got = append(got, b...) },
				}
				o := Options{Quiet: test.quiet}
				if how == "request" {
					o.Request, s.connected = test.request, nil
				}
				if err := run(t, e, patient, to, o, s); err != io.EOF {
					t.Errorf("ended with %v, want EOF", err)
				}
				if !bytes.Equal(got, test.request) {
					t.Errorf("%d bytes came back, want the %d that were sent", len(got), len(test.request))
				}
				idle(t, e)
			})
		}
	}
}

// TestEnds: how a connection ends is told, with whose doing it was.
func TestEnds(t *testing.T) {
	foreign := sdk.Target{Addr: refused(t).Addr, Source: netip.MustParseAddrPort("192.0.2.77:0"), Trace: t.Logf}
	silent := serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	resetting := serve(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.(*net.TCPConn).SetLinger(0)
	})
	tests := []struct {
		name     string
		to       sdk.Target
		want     error
		outcome  sdk.Outcome
		reason   string
		complete bool
	}{
		{"refused", refused(t), unix.ECONNREFUSED, sdk.Down, "connect: connection refused", false},
		{"no answer", deaf(t), context.DeadlineExceeded, sdk.Down, "connect: timeout after ", false},
		{"no reply", silent, context.DeadlineExceeded, sdk.Down, "read: timeout after ", true},
		{"reset", resetting, unix.ECONNRESET, sdk.Down, "read: connection reset by peer", true},
		{"closed", serve(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 9)) }), io.EOF, sdk.Down, "read: the server closed the connection", true},
		{"foreign source", foreign, unix.EADDRNOTAVAIL, sdk.Unknown, "bind to 192.0.2.77:0: cannot assign requested address", false},
		{"no interface", sdk.Target{Addr: silent.Addr, Interface: "none-such0", Trace: t.Logf}, unix.ENODEV, sdk.Unknown, "bind to interface none-such0: no such device", false},
		{"no address", sdk.Target{Trace: t.Logf}, nil, sdk.Unknown, "there is no address to connect to", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := &Engine{}
			var result sdk.Result
			complete := false
			timeout := patient
			if test.want == context.DeadlineExceeded {
				timeout = 200 * time.Millisecond
			}
			err := run(t, e, timeout, test.to, Options{Request: []byte("x")}, &script{
				closed: func(c *Conn, err error) { result, complete = c.Failed(err), c.Complete() },
			})
			if test.want != nil && !errors.Is(err, test.want) || err == nil {
				t.Errorf("ended with %v, want %v", err, test.want)
			}
			if result.Outcome != test.outcome || !strings.HasPrefix(result.Reason, test.reason) || complete != test.complete {
				t.Errorf("result %v, complete %t; want %v %q, %t", result, complete, test.outcome, test.reason, test.complete)
			}
			idle(t, e)
		})
	}
}

// TestCancel: a context that ends before its deadline ends its connections at once.
func TestCancel(t *testing.T) {
	to := deaf(t)
	e := &Engine{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	ended := make(chan error, 20)
	for range 20 {
		e.Start(ctx, to, Options{}, &script{closed: func(_ *Conn, err error) { ended <- err }})
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	for range 20 {
		select {
		case err := <-ended:
			if err != context.Canceled {
				t.Errorf("ended with %v", err)
			}
		case <-time.After(patient):
			t.Fatal("a connection has not ended")
		}
	}
	idle(t, e)
}

// TestPanic: a handler that panics, wherever it does, harms its own connection only.
func TestPanic(t *testing.T) {
	to := serve(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
	quiet(t)
	for _, where := range []string{"connected", "received", "closed"} {
		t.Run(where, func(t *testing.T) {
			e := &Engine{}
			var told atomic.Pointer[error]
			bad := &script{
				connected: func(c *Conn) {
					if where == "connected" {
						panic("broken")
					}
					c.Write([]byte("x"))
				},
				received: func(*Conn, []byte) { panic("broken") },
				closed: func(_ *Conn, err error) {
					told.Store(&err)
					if where == "closed" {
						panic("again")
					}
				},
			}
			ctx, cancel := context.WithTimeout(t.Context(), patient)
			defer cancel()
			e.Start(ctx, to, Options{}, bad)
			answered := make(chan struct{})
			e.Start(ctx, to, Options{Request: []byte("ok")}, &script{
				received: func(c *Conn, _ []byte) { c.Reset(); close(answered) },
			})
			select {
			case <-answered:
			case <-time.After(patient):
				t.Fatal("the other connection got no answer")
			}
			idle(t, e)
			if err := told.Load(); err == nil || !strings.Contains((*err).Error(), "the checker panicked: broken") || !dial.IsLocal(*err) {
				t.Errorf("the handler was told %v, want the panic as a local error", err)
			}
		})
	}
}

// quiet throws away what is written to standard error.
func quiet(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = null
	t.Cleanup(func() { os.Stderr = before; null.Close() })
}

// TestSilence: after a handler has ended its connection nothing is called, and doing it
// again does nothing.
func TestSilence(t *testing.T) {
	to := serve(t, func(conn net.Conn) { _, _ = conn.Write(bytes.Repeat([]byte("x"), 1<<20)) })
	for _, end := range []func(*Conn){(*Conn).Close, (*Conn).Reset} {
		e := &Engine{}
		var calls atomic.Int32
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		e.Start(ctx, to, Options{Request: []byte("x")}, &script{
			received: func(c *Conn, _ []byte) { calls.Add(1); end(c); end(c); c.Write([]byte("more")) },
			closed:   func(*Conn, error) { calls.Add(100) },
		})
		<-ctx.Done()
		cancel()
		idle(t, e)
		if n := calls.Load(); n != 1 {
			t.Errorf("called %d times, want once", n)
		}
	}
}

// TestReuse: a socket whose connection was reset is used again, for another target of
// another outcome, and nothing of the first shows.
func TestReuse(t *testing.T) {
	e := &Engine{}
	answers := serve(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 16))
		_, _ = conn.Write([]byte("first and then more than is read"))
		_, _ = io.Copy(io.Discard, conn)
	})
	other := serve(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 16))
		_, _ = conn.Write([]byte("other"))
		_, _ = io.Copy(io.Discard, conn)
	})
	ask := func(to sdk.Target) string {
		ctx, cancel := context.WithTimeout(t.Context(), patient)
		defer cancel()
		got := make(chan string, 1)
		e.Start(ctx, to, Options{Request: []byte("x"), Quiet: true}, &script{
			received: func(c *Conn, b []byte) { c.Reset(); got <- string(b) },
			closed:   func(_ *Conn, err error) { got <- err.Error() },
		})
		return <-got
	}
	sockets := map[int]bool{}
	for range 20 {
		for _, step := range []struct {
			to   sdk.Target
			want string
		}{{answers, "first and then more than is read"}, {refused(t), "connection refused"}, {other, "other"}} {
			if got := ask(step.to); got != step.want {
				t.Fatalf("got %q, want %q", got, step.want)
			}
		}
		e.mu.Lock()
		for _, kept := range e.pool.sockets {
			for _, fd := range kept {
				sockets[fd] = true
			}
		}
		e.mu.Unlock()
	}
	if len(sockets) == 0 || len(sockets) > 4 {
		t.Errorf("%d sockets were kept for 60 connections one after the other", len(sockets))
	}
	idle(t, e)
}

// TestNoDescriptors: where descriptors have run out, those of the kept sockets are used,
// and after them the probe could not be made.
func TestNoDescriptors(t *testing.T) {
	e := &Engine{}
	to := serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	connect := func(o Options) error {
		ctx, cancel := context.WithTimeout(t.Context(), patient)
		defer cancel()
		ended := make(chan error, 1)
		e.Start(ctx, to, o, &script{
			connected: func(c *Conn) { c.Reset(); ended <- nil },
			closed:    func(_ *Conn, err error) { ended <- err },
		})
		return <-ended
	}
	poolTrim = time.Hour
	defer func() { poolTrim = 100 * time.Millisecond }()
	if err := connect(Options{Quiet: true}); err != nil {
		t.Fatal(err)
	}
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	kept := e.pool.sockets[kind(unix.AF_INET, true)][0]
	e.mu.Unlock()
	limit := before
	limit.Cur = uint64(kept + 1)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
	}()
	// Descriptors below the limit are taken, so that the kept socket's is the only one.
	var fill []int
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		fill = append(fill, fd)
	}
	defer func() {
		for _, fd := range fill {
			unix.Close(fd)
		}
	}()
	if err := connect(Options{}); err != nil {
		t.Errorf("with a socket kept: %v", err)
	}
	e.emptyPool()
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	fill = append(fill, fd)
	if err := connect(Options{}); !errors.Is(err, unix.EMFILE) || !dial.IsLocal(err) {
		t.Errorf("without a descriptor: %v, want too many open files, as this machine's", err)
	}
}

// TestNothingLeft: 100,000 probes, of which a quarter time out while they connect, a
// quarter while they wait for an answer, and the others are answered or refused, leave
// nothing behind: no connection, descriptor or goroutine.
func TestNothingLeft(t *testing.T) {
	total := 100_000
	if testing.Short() || raceEnabled {
		total = 12000
	}
	const atOnce = 4000
	targets := []sdk.Target{
		deaf(t),
		serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }),
		serve(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) }),
		refused(t),
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if files.Cur < 4*atOnce {
		t.Skipf("this process may have %d descriptors open, it takes %d", files.Cur, 4*atOnce)
	}
	e := &Engine{}
	before, goroutines := descriptors(t), runtime.NumGoroutine()
	var outcomes [3]atomic.Int64
	for range total / atOnce {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		var all sync.WaitGroup
		for i := range atOnce {
			all.Add(1)
			e.Start(ctx, targets[i%len(targets)], Options{Request: []byte("x"), Quiet: true}, &script{
				received: func(c *Conn, _ []byte) { c.Reset(); outcomes[0].Add(1); all.Done() },
				closed: func(_ *Conn, err error) {
					if err == context.DeadlineExceeded {
						outcomes[1].Add(1)
					} else {
						outcomes[2].Add(1)
					}
					all.Done()
				},
			})
		}
		all.Wait()
		cancel()
	}
	t.Logf("%d were answered, %d timed out, %d failed", outcomes[0].Load(), outcomes[1].Load(), outcomes[2].Load())
	if n := outcomes[1].Load(); n < int64(total/4) {
		t.Errorf("%d of %d timed out, want half", n, total)
	}
	idle(t, e)
	e.mu.Lock()
	if e.watcher != nil {
		e.watcher.file.Close()
	}
	e.mu.Unlock()
	for end := time.Now().Add(patient); descriptors(t) > before || runtime.NumGoroutine() > goroutines; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors and %d goroutines, before %d and %d", descriptors(t), runtime.NumGoroutine(), before, goroutines)
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

// TestHeldUp: connections that were started together with one whose Start does not return
// are gone over all the same. The context is the scheduler's as a plugin sees it.
func TestHeldUp(t *testing.T) {
	e := &Engine{}
	to := serve(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
	answered := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	e.Start(ctx, to, Options{Request: []byte("x")}, &script{received: func(c *Conn, _ []byte) { c.Reset(); close(answered) }})
	e.mu.Lock()
	// As if AfterStarts had taken the round and its end had not come.
	e.timer.Stop()
	e.due = time.Time{}
	if e.last != nil {
		e.last.together = true
	}
	e.mu.Unlock()
	e.Start(ctx, to, Options{Request: []byte("x")}, &script{received: func(c *Conn, _ []byte) { c.Reset() }})
	select {
	case <-answered:
	case <-time.After(patient):
		t.Fatal("no round came")
	}
	idle(t, e)
}

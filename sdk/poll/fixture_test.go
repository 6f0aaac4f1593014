package poll

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
)

func TestMain(m *testing.M) {
	poolTrim = 100 * time.Millisecond
	goleak.VerifyTestMain(m)
}

// patient is how long a test waits for what has to come.
const patient = 30 * time.Second

// script is a Handler made of functions; what it has not is not expected.
type script struct {
	connected func(c *Conn)
	received  func(c *Conn, b []byte)
	closed    func(c *Conn, err error)
}

func (s *script) Connected(c *Conn)          { s.connected(c) }
func (s *script) Received(c *Conn, b []byte) { s.received(c, b) }
func (s *script) Closed(c *Conn, err error)  { s.closed(c, err) }

// serve has a server handle each connection.
func serve(t testing.TB, handle func(net.Conn)) sdk.Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return target(l.Addr())
}

func target(a net.Addr) sdk.Target {
	return sdk.Target{Addr: netip.MustParseAddrPort(a.String()), Trace: func(string, ...any) {}}
}

// refused is an address that nobody listens on.
func refused(t testing.TB) sdk.Target {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return target(l.Addr())
}

// deaf is a listener whose queue is full: it answers nobody.
func deaf(t testing.TB) sdk.Target {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	to := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}
	for range 3 {
		if conn, err := net.DialTimeout("tcp", to.String(), 200*time.Millisecond); err == nil {
			t.Cleanup(func() { conn.Close() })
		}
	}
	return target(to)
}

// run starts one connection and gives how it ended.
func run(t *testing.T, e *Engine, timeout time.Duration, to sdk.Target, o Options, s *script) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	ended := make(chan error, 10)
	closed := s.closed
	s.closed = func(c *Conn, err error) {
		if closed != nil {
			closed(c, err)
		}
		ended <- err
	}
	e.Start(ctx, to, o, s)
	select {
	case err := <-ended:
		return err
	case <-time.After(patient):
		t.Fatal("the connection has not ended")
		return nil
	}
}

// idle waits until an engine holds nothing: no connection, no goroutine, no socket.
func idle(t testing.TB, e *Engine) {
	t.Helper()
	var open, watched, kept int
	var running bool
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		e.mu.Lock()
		open, kept, running = e.open, 0, e.running
		for _, sockets := range e.pool.sockets {
			kept += len(sockets)
		}
		watched = 0
		if e.watcher != nil {
			watched = len(e.watcher.conns)
			running = running || e.watcher.running
		}
		e.mu.Unlock()
		if open == 0 && watched == 0 && kept == 0 && !running {
			return
		}
	}
	t.Fatalf("%d connections are open, %d watched, %d sockets kept, running: %t", open, watched, kept, running)
}

package main

import (
	"maps"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/plugins/checkers/tcp"
	"github.com/poise-lb/poise/sdk"
)

// leakCases are all types of checks.
var leakCases = map[string]func(*testing.T) leakCase{
	tcp.Type: func(t *testing.T) leakCase { return streams(t, tcp.New(), "", "", accepts) },
}

func leakTypes() []string { return slices.Sorted(maps.Keys(leakCases)) }

func newLeakCase(t *testing.T, kind string) leakCase { return leakCases[kind](t) }

// TestLeakCases: no type of check is left out.
func TestLeakCases(t *testing.T) {
	for _, a := range applets {
		for kind := range a.plugin().Checkers {
			if leakCases[kind] == nil {
				t.Errorf("nobody looks whether check %s of plugin %s leaves something behind", kind, a.name)
			}
		}
	}
}

// streams is the case of a check over TCP: serve answers on a connection. It is down where
// nobody listens, and waits where nobody accepts or answers.
func streams(t *testing.T, c sdk.Checker, good, bad string, serve func(net.Conn)) leakCase {
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
				serve(conn)
			}()
		}
	}()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	return leakCase{
		checker: c,
		good:    []leakTarget{{"127.0.0.1", portOf(l.Addr()), good}},
		bad:     []leakTarget{{"127.0.0.1", portOf(closed.Addr()), bad}},
		silent:  []leakTarget{{"127.0.0.1", deaf(t), good}},
	}
}

func accepts(net.Conn) {}

func portOf(a net.Addr) int {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.Port
	case *net.UDPAddr:
		return a.Port
	}
	return 0
}

// deaf gives the port of a listener whose queue is full: it answers nobody.
func deaf(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}
	for range 3 {
		conn, err := net.DialTimeout("tcp", addr.String(), 200*time.Millisecond)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
	}
	return addr.Port
}

package speaker

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/plugins/checkers/bfd/packet"
	"github.com/poise-lb/poise/plugins/checkers/bfd/session"
)

var timing = session.Config{MinRx: 50 * time.Millisecond, MinTx: 50 * time.Millisecond, IdleTx: time.Second, Multiplier: 3}

// TestFind: by discriminator, and only from its neighbor; else by where it comes from.
func TestFind(t *testing.T) {
	a, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	linkLocal := netip.MustParseAddr("fe80::1")
	s := &Speaker{sessions: map[uint32]*running{}}
	add := func(local uint32, device int, p Peer) {
		if device != 0 {
			p.Interface = "eth"
		}
		s.sessions[local] = &running{local: local, peer: p, sender: &sender{device: device}}
	}
	add(1, 0, Peer{Neighbor: a})
	add(2, 0, Peer{Neighbor: a, Source: c})
	add(3, 5, Peer{Neighbor: b})
	add(4, 6, Peer{Neighbor: b})
	add(5, 5, Peer{Neighbor: linkLocal})
	add(6, 6, Peer{Neighbor: linkLocal})
	tests := []struct {
		from, to netip.Addr
		device   int
		yours    uint32
		want     uint32
	}{
		{a, b, 5, 1, 1},
		{a, b, 5, 2, 2},
		{b, a, 5, 1, 0},
		{a, b, 5, 9, 0},
		{a, b, 5, 0, 1},
		{a, c, 5, 0, 2},
		{b, c, 5, 0, 3},
		{b, c, 6, 0, 4},
		{b, c, 7, 0, 0},
		{b, c, 6, 3, 0},
		{linkLocal, linkLocal, 6, 0, 6},
		{c, a, 5, 0, 0},
	}
	for _, test := range tests {
		got := uint32(0)
		if r := s.find(arrival{from: test.from, to: test.to, device: test.device}, packet.Packet{Yours: test.yours}); r != nil {
			got = r.local
		}
		if got != test.want {
			t.Errorf("%+v: got session %d", test, got)
		}
	}
}

// TestNothingLeft: sessions that come and go leave no descriptor, goroutine or timer, and
// the port is free for the next at once.
func TestNothingLeft(t *testing.T) {
	var s Speaker
	p := Peer{Neighbor: netip.MustParseAddr("127.0.0.9"), TTL: 255, Session: timing}
	first, err := s.Subscribe(p, false)
	if errors.Is(err, unix.EADDRINUSE) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	first.Close()
	ignore := goleak.IgnoreCurrent()
	before := descriptors(t)
	for i := range 300 {
		p.Multihop = i%2 == 0
		if i%3 == 0 {
			p.Neighbor = netip.MustParseAddr("::1")
		} else {
			p.Neighbor = netip.MustParseAddr("127.0.0.9")
		}
		one, err := s.Subscribe(p, false)
		if err != nil {
			t.Fatalf("session %d: %s", i, err)
		}
		two, err := s.Subscribe(p, false)
		if err != nil || two.session != one.session {
			t.Fatalf("session %d is not shared: %v", i, err)
		}
		other := p
		other.Session.Multiplier = 9
		if _, err := s.Subscribe(other, false); !errors.Is(err, ErrBusy) {
			t.Fatalf("got %v, want busy", err)
		}
		if i%10 == 0 {
			time.Sleep(time.Millisecond)
		}
		one.Close()
		two.Close()
	}
	if len(s.sessions) != 0 || len(s.paths) != 0 || len(s.listeners) != 0 {
		t.Errorf("%d sessions, %d paths, %d listeners are left", len(s.sessions), len(s.paths), len(s.listeners))
	}
	goleak.VerifyNone(t, ignore)
	if now := descriptors(t); now > before {
		t.Errorf("%d descriptors are open, %d before", now, before)
	}
}

func TestRefused(t *testing.T) {
	var s Speaker
	for _, p := range []Peer{
		{Neighbor: netip.MustParseAddr("fe80::1"), TTL: 255, Session: timing},
		{Neighbor: netip.MustParseAddr("192.0.2.1"), Interface: "none-such0", TTL: 255, Session: timing},
		{Neighbor: netip.MustParseAddr("192.0.2.1"), Source: netip.MustParseAddr("198.51.100.77"), TTL: 255, Session: timing},
	} {
		if _, err := s.Subscribe(p, false); err == nil {
			t.Errorf("%+v: no error", p)
		}
	}
	if len(s.sessions)+len(s.listeners) != 0 {
		t.Error("something is left")
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

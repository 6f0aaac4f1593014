package session

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/poise-lb/poise/plugins/checkers/bfd/packet"
)

var (
	epoch  = time.Unix(1000, 0)
	config = Config{MinRx: 10 * time.Millisecond, MinTx: 10 * time.Millisecond, IdleTx: time.Second, Multiplier: 5}
)

const (
	local  = 7
	remote = 9
)

// told is a packet of the neighbor's.
func told(state State) packet.Packet {
	return packet.Packet{
		State: state, DetectMult: 3, Mine: remote, Yours: local, DesiredMinTx: 20 * time.Millisecond, RequiredMinRx: 30 * time.Millisecond,
	}
}

// in makes a session that is in a state.
func in(t *testing.T, state State) *Session {
	t.Helper()
	s := New(config, local, epoch, func() float64 { return 1 })
	s.Tick(epoch)
	path := map[State][]State{packet.Down: nil, packet.Init: {packet.Down}, packet.Up: {packet.Init}}
	for _, p := range path[state] {
		if _, err := s.Receive(epoch, told(p)); err != nil {
			t.Fatal(err)
		}
		s.Tick(epoch)
	}
	if state == packet.AdminDown {
		s.Disable()
	}
	if s.Status().State != state {
		t.Fatalf("got %s, want %s", s.Status().State, state)
	}
	return s
}

// TestStates is the table of RFC 5880, section 6.2.
func TestStates(t *testing.T) {
	tests := []struct {
		from, told, to State
		diag           Diag
	}{
		{packet.Down, packet.AdminDown, packet.Down, packet.NoDiagnostic},
		{packet.Down, packet.Down, packet.Init, packet.NoDiagnostic},
		{packet.Down, packet.Init, packet.Up, packet.NoDiagnostic},
		{packet.Down, packet.Up, packet.Down, packet.NoDiagnostic},
		{packet.Init, packet.AdminDown, packet.Down, packet.NeighborSaidDown},
		{packet.Init, packet.Down, packet.Init, packet.NoDiagnostic},
		{packet.Init, packet.Init, packet.Up, packet.NoDiagnostic},
		{packet.Init, packet.Up, packet.Up, packet.NoDiagnostic},
		{packet.Up, packet.AdminDown, packet.Down, packet.NeighborSaidDown},
		{packet.Up, packet.Down, packet.Down, packet.NeighborSaidDown},
		{packet.Up, packet.Init, packet.Up, packet.NoDiagnostic},
		{packet.Up, packet.Up, packet.Up, packet.NoDiagnostic},
		{packet.AdminDown, packet.Down, packet.AdminDown, packet.AdministrativelyDown},
		{packet.AdminDown, packet.Up, packet.AdminDown, packet.AdministrativelyDown},
	}
	for _, test := range tests {
		s := in(t, test.from)
		now := epoch.Add(time.Millisecond)
		if _, err := s.Receive(now, told(test.told)); err != nil {
			t.Errorf("%s, told %s: %s", test.from, test.told, err)
		}
		out := s.Tick(now)
		got := s.Status()
		if got.State != test.to || got.Diag != test.diag {
			t.Errorf("%s, told %s: got %s, %s, want %s, %s", test.from, test.told, got.State, got.Diag, test.to, test.diag)
		}
		if changed := test.from != test.to; changed != (out != nil) {
			t.Errorf("%s, told %s: sent %v, want a packet at once if the state has changed", test.from, test.told, out)
		}
		if out != nil && (out.State != test.to || out.Yours != remote || out.Mine != local) {
			t.Errorf("%s, told %s: sent %+v", test.from, test.told, out)
		}
	}
}

func TestRefused(t *testing.T) {
	s := in(t, packet.Up)
	before := *s
	other, demand, authenticated := told(packet.Down), told(packet.Down), told(packet.Down)
	other.Yours = 8
	demand.Demand = true
	authenticated.Authenticated = true
	for _, test := range []struct {
		p    packet.Packet
		want error
	}{{other, nil}, {demand, ErrDemand}, {authenticated, ErrAuthentication}} {
		_, err := s.Receive(epoch.Add(time.Millisecond), test.p)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%+v: got %v", test.p, err)
		}
	}
	if s.state != before.state || s.lastHeard != before.lastHeard {
		t.Error("a refused packet has changed the session")
	}
}

// TestSilence: the detection time is the neighbor's multiplier times the slower of what it
// sends and what we take.
func TestSilence(t *testing.T) {
	for _, state := range []State{packet.Init, packet.Up} {
		s := in(t, state)
		last := epoch.Add(60*time.Millisecond - 1)
		for now := epoch; now.Before(last); now = s.Next() {
			s.Tick(now)
			if s.Status().State != state {
				t.Fatalf("%s: given up after %s, want 60ms", state, now.Sub(epoch))
			}
		}
		if got := s.Status(); got.State != state && got.Detection != 60*time.Millisecond {
			t.Errorf("%s: got %+v", state, got)
		}
		out := s.Tick(epoch.Add(60 * time.Millisecond))
		if got := s.Status(); got.State != packet.Down || got.Diag != packet.DetectionTimeExpired || got.Heard {
			t.Errorf("%s: got %+v, want down after 60ms", state, got)
		}
		if out == nil || out.State != packet.Down || out.Diag != packet.DetectionTimeExpired || out.Yours != 0 || out.DesiredMinTx != time.Second {
			t.Errorf("%s: sent %+v, want what happened, at once", state, out)
		}
	}
	s := in(t, packet.Down)
	p := told(packet.Up)
	s.Receive(epoch, p)
	s.Tick(epoch)
	s.Tick(epoch.Add(time.Second))
	if got := s.Status(); got.State != packet.Down || got.Diag != packet.NoDiagnostic || got.Heard || s.remote != 0 {
		t.Errorf("got %+v, want a neighbor that is forgotten", got)
	}
}

// TestIntervals: slow while it is not up, and never faster than the neighbor takes.
func TestIntervals(t *testing.T) {
	s := in(t, packet.Down)
	out := s.packet()
	if out.DesiredMinTx != time.Second || s.Next() != epoch.Add(time.Second) {
		t.Fatalf("sent %+v, next after %s; want the idle interval", out, s.Next().Sub(epoch))
	}
	s.Receive(epoch, told(packet.Init))
	if out := s.Tick(epoch); out == nil || out.State != packet.Up || !out.Poll || out.DesiredMinTx != 10*time.Millisecond {
		t.Fatalf("sent %+v, want up, with a poll for the new interval", out)
	}
	if got := s.Status().Interval; got != 30*time.Millisecond {
		t.Errorf("interval %s, want the 30ms that the neighbor takes", got)
	}
	if next := s.Next(); next != epoch.Add(30*time.Millisecond) {
		t.Errorf("next after %s, want 30ms", next.Sub(epoch))
	}
	if out := s.Tick(epoch.Add(30 * time.Millisecond)); out == nil || !out.Poll {
		t.Errorf("sent %+v, want the poll again", out)
	}
	final := told(packet.Up)
	final.Final, final.RequiredMinRx = true, time.Millisecond
	at := epoch.Add(35 * time.Millisecond)
	s.Receive(at, final)
	if next := s.Next(); next != epoch.Add(40*time.Millisecond) {
		t.Errorf("next after %s, want 40ms: the neighbor takes faster ones now", next.Sub(epoch))
	}
	if out := s.Tick(epoch.Add(40 * time.Millisecond)); out == nil || out.Poll {
		t.Errorf("sent %+v, want no more poll", out)
	}
	stop := told(packet.Up)
	stop.RequiredMinRx = 0
	s.Receive(at, stop)
	if out := s.Tick(epoch.Add(50 * time.Millisecond)); out != nil {
		t.Errorf("sent %+v to a neighbor that wants none", out)
	}
}

// TestSlower: an interval that grows counts when the neighbor has confirmed it.
func TestSlower(t *testing.T) {
	slow := config
	slow.MinTx = 3 * time.Second
	s := New(slow, local, epoch, func() float64 { return 1 })
	s.Receive(epoch, told(packet.Init))
	if out := s.Tick(epoch); out.DesiredMinTx != 3*time.Second || !out.Poll || s.Status().Interval != time.Second {
		t.Fatalf("sent %+v every %s, want 1s until it is confirmed", out, s.Status().Interval)
	}
	final := told(packet.Up)
	final.Final = true
	s.Receive(epoch, final)
	if got := s.Status().Interval; got != 3*time.Second {
		t.Errorf("interval %s, want 3s", got)
	}
}

func TestPoll(t *testing.T) {
	s := in(t, packet.Up)
	poll := told(packet.Up)
	poll.Poll = true
	answer, err := s.Receive(epoch, poll)
	if err != nil || answer == nil || !answer.Final || answer.Poll {
		t.Errorf("answered %+v, %v; want final", answer, err)
	}
}

func TestPassive(t *testing.T) {
	passive := config
	passive.Passive = true
	s := New(passive, local, epoch, func() float64 { return 1 })
	if out := s.Tick(epoch.Add(time.Hour)); out != nil || !s.Next().IsZero() {
		t.Errorf("sent %+v, want to wait for the neighbor", out)
	}
	if out := s.Disable(); out != nil {
		t.Errorf("sent %+v, want nothing: there is nobody", out)
	}
	s = New(passive, local, epoch, func() float64 { return 1 })
	first := told(packet.Down)
	first.Yours = 0
	s.Receive(epoch.Add(time.Hour), first)
	if out := s.Tick(epoch.Add(time.Hour)); out == nil || out.State != packet.Init {
		t.Errorf("sent %+v, want init", out)
	}
}

func TestDisable(t *testing.T) {
	s := in(t, packet.Up)
	out := s.Disable()
	if out == nil || out.State != packet.AdminDown || out.Diag != packet.AdministrativelyDown {
		t.Errorf("sent %+v, want administratively down", out)
	}
	if out := s.Tick(epoch.Add(time.Hour)); out != nil || !s.Next().IsZero() {
		t.Errorf("sent %+v after that", out)
	}
}

// TestJitter: 75 to 100 percent, and with multiplier 1 at most 90.
func TestJitter(t *testing.T) {
	for multiplier, most := range map[uint8]time.Duration{1: 900 * time.Millisecond, 2: time.Second} {
		c := config
		c.Multiplier = multiplier
		random := rand.New(rand.NewPCG(1, 2))
		s := New(c, local, epoch, random.Float64)
		now, low, high := epoch, time.Hour, time.Duration(0)
		for range 1000 {
			s.Tick(now)
			gap := s.Next().Sub(now)
			low, high = min(low, gap), max(high, gap)
			now = s.Next()
		}
		if low < 750*time.Millisecond || low > 760*time.Millisecond || high > most || high < most-10*time.Millisecond {
			t.Errorf("multiplier %d: %s to %s", multiplier, low, high)
		}
	}
}

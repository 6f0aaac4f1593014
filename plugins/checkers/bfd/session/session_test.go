package session

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

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

// flight is a packet on its way.
type flight struct {
	at time.Time
	p  packet.Packet
	to int
}

// pair is two sessions and what is between them, in virtual time.
type pair struct {
	now      time.Time
	sessions [2]*Session
	air      []flight
	delay    time.Duration
	// lost says whether a packet to one of them is lost.
	lost func(to int) bool
}

func (w *pair) send(from int, p *packet.Packet) {
	if p == nil {
		return
	}
	b := p.Append(nil)
	parsed, err := packet.Parse(b)
	if err != nil {
		panic(err)
	}
	if !w.lost(1 - from) {
		w.air = append(w.air, flight{w.now.Add(w.delay), parsed, 1 - from})
	}
}

// run goes on for a time; each change of a state is told.
func (w *pair) run(d time.Duration, changed func(who int, s Status)) {
	end := w.now.Add(d)
	for {
		next := end
		for _, s := range w.sessions {
			if at := s.Next(); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		for _, f := range w.air {
			if f.at.Before(next) {
				next = f.at
			}
		}
		if next.After(w.now) {
			w.now = next
		}
		var rest []flight
		arrived := w.air
		w.air = nil
		for _, f := range arrived {
			if f.at.After(w.now) {
				rest = append(rest, f)
				continue
			}
			before := w.sessions[f.to].Status().State
			answer, err := w.sessions[f.to].Receive(w.now, f.p)
			if err != nil {
				panic(err)
			}
			if s := w.sessions[f.to].Status(); s.State != before {
				changed(f.to, s)
			}
			w.send(f.to, answer)
		}
		w.air = append(w.air, rest...)
		for i, s := range w.sessions {
			before := s.Status().State
			out := s.Tick(w.now)
			if after := s.Status(); after.State != before {
				changed(i, after)
			}
			w.send(i, out)
		}
		if !w.now.Before(end) {
			return
		}
	}
}

// TestPair: two sessions with whatever times come up in a few idle intervals, stay up over
// a link that loses nothing, both see a cut within their detection times, in either
// direction, and come up again.
func TestPair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		millis := func(name string, least, most int) time.Duration {
			return time.Duration(rapid.IntRange(least, most).Draw(t, name)) * time.Millisecond
		}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		w := &pair{now: epoch, delay: time.Duration(rapid.IntRange(0, 2000).Draw(t, "delay")) * time.Microsecond, lost: func(int) bool { return false }}
		for i := range w.sessions {
			c := Config{
				MinRx: millis("rx", 5, 300), MinTx: millis("tx", 5, 3000), IdleTx: time.Second,
				Multiplier: uint8(rapid.IntRange(2, 10).Draw(t, "multiplier")),
				Passive:    i == 1 && rapid.Bool().Draw(t, "passive"),
			}
			w.sessions[i] = New(c, uint32(i+1), epoch, random.Float64)
		}
		w.run(4*time.Second, func(int, Status) {})
		settled := func(what string) {
			for i, s := range w.sessions {
				if got := s.Status(); got.State != packet.Up || got.Diag != packet.NoDiagnostic {
					t.Fatalf("%s: session %d is %+v", what, i, got)
				}
			}
		}
		settled("start")
		w.run(20*time.Second, func(who int, s Status) { t.Fatalf("session %d became %+v over a good link", who, s) })
		for _, s := range w.sessions {
			if s.polling {
				t.Fatal("a poll has not ended")
			}
		}
		deaf := rapid.SampledFrom([][]int{{0}, {1}, {0, 1}}).Draw(t, "cut to")
		limit := w.sessions[deaf[0]].Status().Detection + 2*w.delay + time.Millisecond
		if len(deaf) == 2 {
			limit = max(limit, w.sessions[1].Status().Detection+2*w.delay+time.Millisecond)
		}
		w.lost = func(to int) bool {
			for _, d := range deaf {
				if d == to {
					return true
				}
			}
			return false
		}
		diags := map[int]Diag{}
		w.run(limit, func(who int, s Status) {
			if _, ok := diags[who]; !ok && s.State == packet.Down {
				diags[who] = s.Diag
			}
		})
		for _, d := range deaf {
			if diags[d] != packet.DetectionTimeExpired {
				t.Fatalf("cut to %v for %s: %v, want session %d to see the silence", deaf, limit, diags, d)
			}
		}
		if len(deaf) == 1 {
			// A passive session that hears nobody speaks to nobody, so that the other one sees
			// silence.
			want := packet.NeighborSaidDown
			if w.sessions[deaf[0]].config.Passive {
				want = packet.DetectionTimeExpired
				w.run(w.sessions[1-deaf[0]].Status().Detection+time.Millisecond, func(who int, s Status) { diags[who] = s.Diag })
			}
			if diags[1-deaf[0]] != want {
				t.Fatalf("cut to %v: %v, want the other to see it: %s", deaf, diags, want)
			}
			w.run(10*time.Second, func(who int, s Status) {
				if s.State == packet.Up {
					t.Fatalf("session %d is up over a link of one direction", who)
				}
			})
		}
		w.lost = func(int) bool { return false }
		w.run(15*time.Second, func(int, Status) {})
		settled("again")
		w.send(0, w.sessions[0].Disable())
		w.run(100*time.Millisecond, func(int, Status) {})
		if got := w.sessions[1].Status(); got.State != packet.Down || got.Diag != packet.NeighborSaidDown || got.Remote != packet.AdminDown {
			t.Fatalf("told of the end: %+v", got)
		}
	})
}

// TestAnything: whatever is received, and whenever, the session keeps its rules.
func TestAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := epoch
		random := rapid.Float64Range(0, 0.999).Draw(t, "random")
		s := New(config, local, now, func() float64 { return random })
		var last time.Time
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			before := s.Status()
			if rapid.Bool().Draw(t, "packet") {
				p := packet.Packet{
					State: State(rapid.IntRange(0, 3).Draw(t, "state")), DetectMult: uint8(rapid.IntRange(1, 5).Draw(t, "mult")),
					Mine: uint32(rapid.IntRange(1, 2).Draw(t, "mine")), Yours: rapid.SampledFrom([]uint32{0, local, 8}).Draw(t, "yours"),
					Poll: rapid.Bool().Draw(t, "poll"), Final: rapid.Bool().Draw(t, "final"), Demand: rapid.IntRange(0, 9).Draw(t, "demand") == 0,
					DesiredMinTx:  time.Duration(rapid.IntRange(0, 100).Draw(t, "tx")) * time.Millisecond,
					RequiredMinRx: time.Duration(rapid.IntRange(1, 100).Draw(t, "rx")) * time.Millisecond,
				}
				answer, err := s.Receive(now, p)
				if (answer != nil) != (p.Poll && err == nil) {
					t.Fatalf("answered %v to %+v", answer, p)
				}
			}
			out := s.Tick(now)
			after := s.Status()
			if before.State == packet.Up && after.State == packet.Init {
				t.Fatal("from up to init")
			}
			if out != nil {
				if after.State != packet.Up && out.DesiredMinTx < time.Second {
					t.Fatalf("%s and fast: %+v", after.State, out)
				}
				if gap := now.Sub(last); after.State == before.State && gap < time.Duration(float64(min(before.Interval, after.Interval))*0.75) {
					t.Fatalf("sent after %s with interval %s", gap, after.Interval)
				}
				last = now
			}
			if next := s.Next(); !next.IsZero() && next.Before(now) {
				t.Fatalf("next is %s ago", now.Sub(next))
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "wait")) * time.Millisecond)
		}
	})
}

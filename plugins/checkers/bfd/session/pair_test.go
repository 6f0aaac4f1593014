package session

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/poise-lb/poise/plugins/checkers/bfd/packet"
)

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

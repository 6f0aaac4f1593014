package sdk

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// simulation runs a schedule in virtual time.
type simulation struct {
	*schedule
	now time.Time
	// probe gives how long an attempt of a check takes, and its result.
	probe   func(id string, n int) (time.Duration, Result)
	flights []flight
	starts  map[string][]time.Duration
	told    []string
	most    int
}

type flight struct {
	a      *attempt
	end    time.Time
	result Result
}

func simulate(limit int, probe func(id string, n int) (time.Duration, Result)) *simulation {
	return &simulation{schedule: newSchedule(epoch, limit), now: epoch, probe: probe, starts: map[string][]time.Duration{}}
}

// until runs all that happens up to a time.
func (s *simulation) until(end time.Duration) {
	for {
		next, ok := s.next()
		if len(s.waiting) > 0 && s.running < s.limit {
			next, ok = s.now, true
		}
		var first *flight
		for i := range s.flights {
			if f := &s.flights[i]; first == nil || f.end.Before(first.end) {
				first = f
			}
		}
		if first != nil && (!ok || !next.Before(first.end)) {
			next, ok = first.end, true
		} else {
			first = nil
		}
		if !ok || next.Sub(epoch) > end {
			s.now = epoch.Add(end)
			return
		}
		s.now = next
		if first != nil {
			f := *first
			s.flights = slices.DeleteFunc(s.flights, func(g flight) bool { return g.a == f.a })
			s.finish(s.now, f.a, f.result)
		} else {
			s.expire(s.now)
			for _, b := range s.due(s.now) {
				b.release = func() {}
				for i := range b.attempts {
					s.started(s.now, &b.attempts[i])
					id := b.attempts[i].check.id
					took, result := s.probe(id, len(s.starts[id]))
					s.starts[id] = append(s.starts[id], s.now.Sub(epoch))
					s.flights = append(s.flights, flight{&b.attempts[i], s.now.Add(took), result})
				}
			}
			s.most = max(s.most, s.running)
		}
		for _, v := range s.verdicts() {
			s.told = append(s.told, fmt.Sprintf("%s %s %s", s.now.Sub(epoch), v.id, v.state))
		}
	}
}

func always(took time.Duration, o Outcome) func(string, int) (time.Duration, Result) {
	return func(string, int) (time.Duration, Result) { return took, Result{Outcome: o, Reason: "test"} }
}

func oneCheck(id string, interval time.Duration) *check {
	return &check{id: id, interval: interval, timeout: time.Second, delay: time.Second, retries: 1}
}

// TestRetryTimes: a retry comes its delay after the failed probe ended; after the
// verdict probes are back on the grid.
func TestRetryTimes(t *testing.T) {
	s := simulate(10, func(_ string, n int) (time.Duration, Result) {
		if n == 0 {
			return 100 * time.Millisecond, Result{Outcome: Up}
		}
		return 100 * time.Millisecond, Result{Outcome: Down, Reason: "test"}
	})
	c := oneCheck("a", 6*time.Second)
	c.retries, c.delay = 3, 3*time.Second
	s.set(s.now, nil, []*check{c})
	s.until(25 * time.Second)
	want := []time.Duration{0, 6000, 9100, 12200, 15300, 18000, 24000}
	for i := range want {
		want[i] = ceil(want[i]*time.Millisecond, narrowSlot)
	}
	if !slices.Equal(s.starts["a"], want) {
		t.Errorf("probes started at %v, want %v", s.starts["a"], want)
	}
	told := []string{"100ms a VERDICT_STATE_UP", "15.4s a VERDICT_STATE_DOWN"}
	if !slices.Equal(s.told, told) {
		t.Errorf("told %q, want %q", s.told, told)
	}
}

// TestStuck: a probe that does not return says nothing of the target; its check is not
// probed again before it returns, and that the target is up is not heard then.
func TestStuck(t *testing.T) {
	s := simulate(10, func(_ string, n int) (time.Duration, Result) {
		if n == 0 {
			return 4500 * time.Millisecond, Result{Outcome: Up}
		}
		return 0, Result{Outcome: Up}
	})
	s.set(s.now, nil, []*check{oneCheck("a", 2*time.Second)})
	s.until(7 * time.Second)
	if want := []time.Duration{0, 6 * time.Second}; !slices.Equal(s.starts["a"], want) {
		t.Errorf("probes started at %v, want %v", s.starts["a"], want)
	}
	told := []string{"6s a VERDICT_STATE_UP"}
	if !slices.Equal(s.told, told) {
		t.Errorf("told %q, want %q", s.told, told)
	}
	if s.counts.overdue != 2 || s.counts.probes != 2 || s.counts.failures != 1 {
		t.Errorf("counted %+v, want 2 overdue, 2 probes, 1 failure", s.counts)
	}
}

// TestSpread: a thousand first probes over a second leave no slot crowded.
func TestSpread(t *testing.T) {
	s := simulate(10000, always(0, Up))
	var fresh []*check
	for i := range 1000 {
		c := oneCheck(fmt.Sprintf("tcp 10.0.%d.%d:80", i/250, i%250), time.Second)
		c.warmup = time.Second
		fresh = append(fresh, c)
	}
	s.set(s.now, nil, fresh)
	s.until(time.Second + 999*time.Millisecond)
	slots := map[time.Duration]int{}
	for _, starts := range s.starts {
		slots[starts[0]]++
		if starts[0] > time.Second {
			t.Errorf("a first probe at %s is after the warm-up", starts[0])
		}
	}
	for at, n := range slots {
		if n > 2*50 || at%plainSlot != 0 {
			t.Errorf("%d first probes start at %s; even would be 50 in each slot of 50ms", n, at)
		}
	}
	if len(slots) < 20 {
		t.Errorf("first probes start in %d slots of 21", len(slots))
	}
}

// TestLimit: more checks than may run at once all get their turn.
func TestLimit(t *testing.T) {
	s := simulate(3, always(30*time.Millisecond, Up))
	var fresh []*check
	for i := range 30 {
		fresh = append(fresh, oneCheck(fmt.Sprint(i), time.Second))
	}
	s.set(s.now, nil, fresh)
	s.until(1900 * time.Millisecond)
	if s.most != 3 {
		t.Errorf("%d probes ran at once, want 3", s.most)
	}
	for id, starts := range s.starts {
		if len(starts) != 2 {
			t.Errorf("check %s started %d times, want 2", id, len(starts))
		}
	}
	if len(s.starts) != 30 || s.counts.overdue != 0 {
		t.Errorf("%d checks were probed and %d overdue, want 30 and 0", len(s.starts), s.counts.overdue)
	}
}

// TestLateWakeup: a loop that slept through starts skips them and counts.
func TestLateWakeup(t *testing.T) {
	s := simulate(3, always(0, Up))
	s.set(s.now, nil, []*check{oneCheck("a", time.Second)})
	s.until(0)
	late := epoch.Add(3500 * time.Millisecond)
	batches := s.due(late)
	if len(batches) != 1 || len(batches[0].attempts) != 1 {
		t.Fatalf("%d batches, want 1", len(batches))
	}
	s.started(late, &batches[0].attempts[0])
	if s.counts.overdue != 2 || s.counts.lateness.greatest != 2500*time.Millisecond || s.counts.lateness.sum != 2500*time.Millisecond {
		t.Errorf("counted %+v, want 2 overdue and a lateness of 2.5s", s.counts)
	}
	if next, _ := s.next(); next != epoch.Add(4*time.Second) {
		t.Errorf("next start at %s, want 4s: back on the grid", next.Sub(epoch))
	}
}

func drawCheck(t *rapid.T, id string) *check {
	return &check{
		id: id, interval: rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.IntRange(1, 5000).Draw(t, "ms")) * time.Millisecond
		}).Draw(t, "interval"),
		timeout: time.Duration(rapid.IntRange(1, 9000).Draw(t, "timeout")) * time.Millisecond,
		delay:   time.Duration(rapid.IntRange(0, 3000).Draw(t, "delay")) * time.Millisecond,
		warmup:  time.Duration(rapid.IntRange(0, 5000).Draw(t, "warmup")) * time.Millisecond,
		retries: rapid.Uint32Range(0, 3).Draw(t, "retries"),
	}
}

// TestScheduleProperty: whatever the checks and their answers are, probes of one check
// never overlap, regular ones are on the grid, every grid point is a start or counted,
// and the schedule never stands still.
func TestScheduleProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		fails := rapid.Bool().Draw(t, "fails")
		limit := rapid.SampledFrom([]int{1, 2, 1000}).Draw(t, "limit")
		ends := map[string]time.Duration{}
		var s *simulation
		s = simulate(limit, func(id string, n int) (time.Duration, Result) {
			h := uint64(spread(fmt.Sprint(seed, id, n)) * 4000)
			took := time.Duration(h) * time.Millisecond
			now := s.now.Sub(epoch)
			if now < ends[id] {
				t.Fatalf("probe %d of %s started at %s, the one before ends at %s", n, id, now, ends[id])
			}
			ends[id] = now + took
			if fails && h%3 == 0 {
				return took, Result{Outcome: Down, Reason: "test"}
			}
			return took, Result{Outcome: Up}
		})
		var fresh []*check
		for i := range rapid.IntRange(1, 6).Draw(t, "checks") {
			fresh = append(fresh, drawCheck(t, fmt.Sprint("c", i)))
		}
		s.set(s.now, nil, fresh)
		const end = 20 * time.Second
		s.until(end)
		if s.most > limit {
			t.Fatalf("%d probes ran at once, the limit is %d", s.most, limit)
		}
		if s.counts.failures > 0 || limit < 1000 {
			return
		}
		points, starts := uint64(0), uint64(0)
		for _, c := range fresh {
			on := map[time.Duration]bool{}
			for g := c.grid; ceil(g, c.grain) <= end; g += c.interval {
				on[ceil(g, c.grain)] = true
				points++
			}
			for _, at := range s.starts[c.id] {
				if !on[at] {
					t.Fatalf("probe of %s started at %s, which is not on its grid", c.id, at)
				}
			}
			starts += uint64(len(s.starts[c.id]))
		}
		if starts+s.counts.overdue != points {
			t.Fatalf("%d starts and %d overdue, but %d points of the grid", starts, s.counts.overdue, points)
		}
	})
}

// TestReloadProperty: a check that stays in the set is probed at the same times as if
// no set had come.
func TestReloadProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stays := drawCheck(t, "stays")
		copied := *stays
		answer := func(id string, n int) (time.Duration, Result) {
			return time.Duration(spread(fmt.Sprint(id, n))*500) * time.Millisecond, Result{Outcome: Outcome(1 + n%2), Reason: "test"}
		}
		alone, reloaded := simulate(1000, answer), simulate(1000, answer)
		alone.set(alone.now, nil, []*check{stays})
		reloaded.set(reloaded.now, nil, []*check{&copied})
		at := time.Duration(0)
		for i := range rapid.IntRange(1, 8).Draw(t, "reloads") {
			at += time.Duration(rapid.IntRange(0, 3000).Draw(t, "after")) * time.Millisecond
			reloaded.until(at)
			reloaded.set(reloaded.now, map[string]bool{"stays": true}, []*check{drawCheck(t, fmt.Sprint("other", i))})
		}
		alone.until(30 * time.Second)
		reloaded.until(30 * time.Second)
		if !slices.Equal(alone.starts["stays"], reloaded.starts["stays"]) {
			t.Fatalf("started at %v, without reloads at %v", reloaded.starts["stays"], alone.starts["stays"])
		}
		if len(reloaded.checks) != 2 {
			t.Fatalf("%d checks in the set, want 2", len(reloaded.checks))
		}
	})
}

package sdk

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/types/known/durationpb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

// proberFunc is a Prober made of a function.
type proberFunc func(ctx context.Context, t Target) Result

func (f proberFunc) Probe(ctx context.Context, t Target) Result { return f(ctx, t) }

// parseAs makes every wire check one that is probed by f.
func parseAs(f proberFunc) func(*checkv1.Check) (*check, *checkv1.Rejected) {
	return func(w *checkv1.Check) (*check, *checkv1.Rejected) {
		return &check{
			id: w.GetId(), prober: f, interval: w.GetSchedule().GetInterval().AsDuration(),
			timeout: w.GetSchedule().GetTimeout().AsDuration(), warmup: w.GetSchedule().GetWarmup().AsDuration(),
		}, nil
	}
}

func wireChecks(n int, interval, timeout, warmup time.Duration) []*checkv1.Check {
	out := make([]*checkv1.Check, n)
	for i := range out {
		out[i] = &checkv1.Check{Id: fmt.Sprint("check ", i), Type: "test", Target: &checkv1.Target{Address: "192.0.2.1", Port: 80}, Schedule: &checkv1.Schedule{
			Interval: durationpb.New(interval), Timeout: durationpb.New(timeout), Warmup: durationpb.New(warmup),
		}}
	}
	return out
}

// inBubble runs a scheduler in virtual time.
func inBubble(t *testing.T, limit int, test func(t *testing.T, s *scheduler)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		test(t, newScheduler(ctx, hclog.NewNullLogger(), limit))
		cancel()
		synctest.Wait()
	})
}

// TestWakeups: a thousand checks a second cost one wake-up for each slot of 50 ms, and
// each check is probed once a second.
func TestWakeups(t *testing.T) {
	inBubble(t, 1000, func(t *testing.T, s *scheduler) {
		var probes atomic.Int64
		s.set(&checkv1.SetChecks{Generation: 1, Checks: wireChecks(1000, time.Second, time.Second, time.Second)}, parseAs(func(context.Context, Target) Result {
			probes.Add(1)
			time.Sleep(3 * time.Millisecond)
			return Result{Outcome: Up}
		}))
		time.Sleep(60*time.Second + 15*time.Millisecond)
		synctest.Wait()
		s.mu.Lock()
		rounds, counts := s.rounds, s.core.counts
		s.mu.Unlock()
		if n := probes.Load(); n < 59000 || n > 60100 {
			t.Errorf("%d probes in a minute, want 1000 each second", n)
		}
		if rounds > 60*20+60+10 {
			t.Errorf("the loop woke %d times in a minute, want at most 20 times a second and once for each beat", rounds)
		}
		if counts.overdue > 0 || counts.lateness.greatest > 0 {
			t.Errorf("counted %+v, want nothing late", counts)
		}
	})
}

// TestVerdictAtOnce: a verdict is in the outbox when its probe ends, with the time of
// that, and a beat every interval.
func TestVerdictAtOnce(t *testing.T) {
	inBubble(t, 10, func(t *testing.T, s *scheduler) {
		start := time.Now()
		s.set(&checkv1.SetChecks{Generation: 3, Checks: wireChecks(1, 10*time.Second, 5*time.Second, 0)}, parseAs(func(context.Context, Target) Result {
			time.Sleep(4 * time.Second)
			return Result{Outcome: Down, Reason: "connect: connection refused"}
		}))
		synctest.Wait()
		applied, verdicts, beat := s.outbox()
		if len(applied) != 1 || applied[0].GetGeneration() != 3 || len(verdicts) != 0 || beat == nil {
			t.Fatalf("at once: %v, %v, %v, want generation 3 applied and a beat", applied, verdicts, beat)
		}
		for len(verdicts) == 0 && time.Since(start) < time.Minute {
			<-s.news
			_, verdicts, beat = s.outbox()
			if beat != nil && time.Since(start)%time.Second != 0 {
				t.Errorf("a beat after %s, want one each second", time.Since(start))
			}
		}
		if len(verdicts) != 1 || time.Since(start) != 4*time.Second || !verdicts[0].decided.Equal(start.Add(4*time.Second)) || verdicts[0].state != stateDown {
			t.Errorf("after %s: %v, want down decided after 4s", time.Since(start), verdicts)
		}
	})
}

// TestPanic: a probe that panics has not been made; the next one is.
func TestPanic(t *testing.T) {
	inBubble(t, 10, func(t *testing.T, s *scheduler) {
		var n atomic.Int64
		s.set(&checkv1.SetChecks{Generation: 1, Checks: wireChecks(1, time.Second, time.Second, 0)}, parseAs(func(context.Context, Target) Result {
			if n.Add(1) == 1 {
				panic("index out of range")
			}
			return Result{Outcome: Up}
		}))
		synctest.Wait()
		if _, verdicts, _ := s.outbox(); len(verdicts) != 1 || verdicts[0].state != stateUnknown || !strings.Contains(verdicts[0].reason, "index out of range") {
			t.Errorf("got %v, want unknown with the panic as the reason", verdicts)
		}
		time.Sleep(1500 * time.Millisecond)
		if _, verdicts, _ := s.outbox(); len(verdicts) != 1 || verdicts[0].state != stateUp {
			t.Errorf("got %v, want up", verdicts)
		}
	})
}

// TestDeadline: the context ends at the timeout, and a probe that ignores that is given up
// a moment later: it says nothing of the target, unless it says at last that it is down.
func TestDeadline(t *testing.T) {
	for _, late := range []Outcome{Up, Down} {
		testDeadline(t, late)
	}
}

func testDeadline(t *testing.T, late Outcome) {
	inBubble(t, 10, func(t *testing.T, s *scheduler) {
		start := time.Now()
		var ended atomic.Int64
		s.set(&checkv1.SetChecks{Generation: 1, Checks: wireChecks(1, time.Minute, 3*time.Second, 0)}, parseAs(func(ctx context.Context, _ Target) Result {
			<-ctx.Done()
			ended.Store(int64(time.Since(start)))
			time.Sleep(10 * time.Second)
			return Result{Outcome: late, Reason: "late"}
		}))
		time.Sleep(3*time.Second + deadlineSlack + time.Millisecond)
		synctest.Wait()
		if time.Duration(ended.Load()) != 3*time.Second {
			t.Errorf("the context ended after %s, want 3s", time.Duration(ended.Load()))
		}
		_, verdicts, _ := s.outbox()
		if len(verdicts) != 1 || verdicts[0].state != stateUnknown || verdicts[0].reason != "the checker hangs: its probe did not return within 3s" {
			t.Errorf("got %v, want unknown with the reason", verdicts)
		}
		time.Sleep(20 * time.Second)
		_, verdicts, _ = s.outbox()
		if late == Up && len(verdicts) != 0 {
			t.Errorf("what came late was heard: %v", verdicts)
		}
		if late == Down && (len(verdicts) != 1 || verdicts[0].state != stateDown || verdicts[0].reason != "late") {
			t.Errorf("got %v, want down in the end", verdicts)
		}
		if c := s.core.counts; c.probes != 1 || c.failures != 1 {
			t.Errorf("counted %d probes and %d failures, want one", c.probes, c.failures)
		}
	})
}

// TestStarved: a loop that woke late gives running probes another moment, in which
// what they have found can still be heard.
func TestStarved(t *testing.T) {
	inBubble(t, 10, func(t *testing.T, s *scheduler) {
		s.set(&checkv1.SetChecks{Generation: 1, Checks: wireChecks(2, time.Minute, 300*time.Millisecond, 0)}, parseAs(func(_ context.Context, target Target) Result {
			time.Sleep(300*time.Millisecond + deadlineSlack + deadlineSlack/2)
			return Result{Outcome: Up}
		}))
		time.Sleep(300*time.Millisecond + deadlineSlack/2)
		s.mu.Lock()
		s.wake = s.wake.Add(-time.Second)
		s.mu.Unlock()
		time.Sleep(deadlineSlack + deadlineSlack/4)
		synctest.Wait()
		if _, verdicts, _ := s.outbox(); len(verdicts) != 2 || verdicts[0].state != stateUp {
			t.Errorf("got %v, want two that are up", verdicts)
		}
	})
}

// TestStop: stop ends running probes by their context and waits for them; nothing is
// probed after it.
func TestStop(t *testing.T) {
	inBubble(t, 100, func(t *testing.T, s *scheduler) {
		var running, probes atomic.Int64
		s.set(&checkv1.SetChecks{Generation: 1, Checks: wireChecks(20, time.Second, 30*time.Second, 0)}, parseAs(func(ctx context.Context, _ Target) Result {
			probes.Add(1)
			running.Add(1)
			<-ctx.Done()
			time.Sleep(50 * time.Millisecond)
			running.Add(-1)
			return Result{Outcome: Down, Reason: "stopped"}
		}))
		time.Sleep(5 * time.Second)
		if running.Load() != 20 {
			t.Fatalf("%d probes run, want 20", running.Load())
		}
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := s.stop(short); err == nil {
			t.Error("stop returned before the probes did, without an error")
		}
		if err := s.stop(t.Context()); err != nil || running.Load() != 0 {
			t.Errorf("stop: %v with %d probes running", err, running.Load())
		}
		s.set(&checkv1.SetChecks{Generation: 2, Checks: wireChecks(20, time.Second, time.Second, 0)}, parseAs(func(context.Context, Target) Result {
			probes.Add(1)
			return Result{Outcome: Up}
		}))
		time.Sleep(5 * time.Second)
		if _, verdicts, _ := s.outbox(); len(verdicts) != 0 || probes.Load() != 20 {
			t.Errorf("after stop: %v and %d probes", verdicts, probes.Load())
		}
	})
}

// TestGenerations: a set that is older than the one in force changes nothing, and is
// answered with the one in force.
func TestGenerations(t *testing.T) {
	inBubble(t, 100, func(t *testing.T, s *scheduler) {
		parse := parseAs(func(context.Context, Target) Result { return Result{Outcome: Up} })
		s.set(&checkv1.SetChecks{Generation: 7, Checks: wireChecks(5, time.Second, time.Second, 0)}, parse)
		s.set(&checkv1.SetChecks{Generation: 6}, parse)
		twice := append(wireChecks(2, time.Second, time.Second, 0), wireChecks(1, time.Second, time.Second, 0)...)
		synctest.Wait()
		if len(s.core.checks) != 5 {
			t.Errorf("%d checks after an older set, want 5", len(s.core.checks))
		}
		s.set(&checkv1.SetChecks{Generation: 8, Checks: twice}, parse)
		synctest.Wait()
		applied, _, _ := s.outbox()
		if len(applied) != 3 || applied[1].GetGeneration() != 7 || len(applied[2].GetRejected()) != 1 || len(s.core.checks) != 2 {
			t.Errorf("answers %v with %d checks", applied, len(s.core.checks))
		}
	})
}

// TestStandstill: what a probe finds missing while its process stands still says nothing
// of the target, whoever runs first afterwards; what it finds is heard.
func TestStandstill(t *testing.T) {
	for _, test := range []struct {
		name  string
		found Outcome
		loop  bool
		want  checkv1.VerdictState
	}{
		{"down, the probe runs first", Down, false, stateUnknown},
		{"down, the loop runs first", Down, true, stateUnknown},
		{"up", Up, false, stateUp},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, 10, func(t *testing.T, s *scheduler) {
				s.set(&checkv1.SetChecks{Generation: 1, Checks: wireChecks(1, time.Minute, 3*time.Second, 0)}, parseAs(func(context.Context, Target) Result {
					time.Sleep(time.Second + 30*time.Millisecond)
					return Result{Outcome: test.found, Reason: "timeout"}
				}))
				time.Sleep(time.Second + 10*time.Millisecond)
				synctest.Wait()
				s.mu.Lock()
				s.wake = s.wake.Add(-2 * time.Second)
				s.mu.Unlock()
				if test.loop {
					nudge(s.kick)
				}
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				if _, verdicts, _ := s.outbox(); len(verdicts) != 1 || verdicts[0].state != test.want {
					t.Errorf("got %v, want %s", verdicts, test.want)
				}
			})
		})
	}
}

package sdk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

// able is a prober with every optional ability but Watcher.
type able struct {
	start  func(ctx context.Context, t Target, done func(Result))
	closed atomic.Int32
}

func (*able) Probe(context.Context, Target) Result { return Result{Outcome: Up} }

func (a *able) Start(ctx context.Context, t Target, done func(Result)) { a.start(ctx, t, done) }

func (a *able) Close() { a.closed.Add(1) }

// watching is a prober whose results come by themselves.
type watching struct {
	watch  func(ctx context.Context, t Target, report func(Result))
	closed atomic.Int32
}

func (*watching) Probe(context.Context, Target) Result { return Result{Outcome: Up} }

func (w *watching) Watch(ctx context.Context, t Target, report func(Result)) { w.watch(ctx, t, report) }

func (w *watching) Close() { w.closed.Add(1) }

// parseWith makes each wire check one that is probed by what f gives for its id.
func parseWith(f func(id string) Prober) func(*checkv1.Check) (*check, *checkv1.Rejected) {
	as := parseAs(nil)
	return func(w *checkv1.Check) (*check, *checkv1.Rejected) {
		c, rejected := as(w)
		c.prober = f(w.GetId())
		return c, rejected
	}
}

func up(_ context.Context, _ Target, done func(Result)) { done(Result{Outcome: Up}) }

// TestStarter: results that are called back count once each, whether Start calls back
// before it returns or somebody else does later.
func TestStarter(t *testing.T) {
	for _, late := range []time.Duration{0, 30 * time.Millisecond} {
		inBubble(t, 100, func(t *testing.T, s *scheduler) {
			var starts atomic.Int64
			s.set(&checkv1.SetChecks{Generation: 1, Checks: wireChecks(20, time.Second, time.Second, time.Second)}, parseWith(func(string) Prober {
				return &able{start: func(ctx context.Context, _ Target, done func(Result)) {
					starts.Add(1)
					if late == 0 {
						done(Result{Outcome: Up})
						done(Result{Outcome: Down, Reason: "said twice"})
						return
					}
					time.AfterFunc(late, func() {
						done(Result{Outcome: Up})
						done(Result{Outcome: Down, Reason: "said twice"})
					})
				}}
			}))
			time.Sleep(10*time.Second + 580*time.Millisecond)
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if n := starts.Load(); n < 190 || n > 210 || s.core.counts.probes != uint64(n) || s.core.counts.failures != 0 || s.core.counts.overdue != 0 {
				t.Errorf("%d starts, counted %+v, want 20 each second, each once and none failed", n, s.core.counts)
			}
			if s.core.running != 0 || s.core.counts.lateness.counts[0] != uint64(starts.Load()) {
				t.Errorf("%d run, lateness %+v; want none, and none late", s.core.running, s.core.counts.lateness)
			}
			if len(s.core.unsent) != 20 {
				t.Errorf("%d verdicts, want 20", len(s.core.unsent))
			}
		})
	}
}

// TestStartPanics: a Start that panics has made no probe, and those after it are begun.
func TestStartPanics(t *testing.T) {
	inBubble(t, 100, func(t *testing.T, s *scheduler) {
		s.set(&checkv1.SetChecks{Generation: 1, Checks: wireChecks(10, time.Minute, time.Second, 0)}, parseWith(func(id string) Prober {
			if id == "check 3" {
				return &able{start: func(_ context.Context, _ Target, done func(Result)) {
					defer done(Result{Outcome: Up})
					panic("index out of range")
				}}
			}
			if id == "check 5" {
				return &able{start: func(context.Context, Target, func(Result)) { panic("index out of range") }}
			}
			return &able{start: up}
		}))
		time.Sleep(time.Second)
		synctest.Wait()
		_, verdicts, _ := s.outbox()
		states := map[string]checkv1.VerdictState{}
		for _, v := range verdicts {
			states[v.id] = v.state
		}
		if len(states) != 10 || states["check 5"] != stateUnknown || states["check 3"] != stateUp || states["check 9"] != stateUp {
			t.Errorf("verdicts %v, want check 5 unknown and all others up", states)
		}
	})
}

// TestStartForgets: a result that is never given has failed at its deadline; after as long
// again its place is free, the check is probed again, and what comes then is not heard.
func TestStartForgets(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, s *scheduler) {
		begin := time.Now()
		var starts []time.Duration
		var late func(Result)
		prober := &able{}
		prober.start = func(_ context.Context, _ Target, done func(Result)) {
			starts = append(starts, time.Since(begin))
			if len(starts) == 1 {
				late = done
				return
			}
			done(Result{Outcome: Up})
		}
		s.set(&checkv1.SetChecks{Generation: 1, Checks: wireChecks(1, 2*time.Second, 3*time.Second, 0)}, parseWith(func(string) Prober { return prober }))
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if _, verdicts, _ := s.outbox(); len(verdicts) != 1 || verdicts[0].state != stateUnknown || verdicts[0].reason != "the checker hangs: its probe did not return within 3s" {
			t.Errorf("got %v, want unknown by the deadline", verdicts)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(starts) != 2 || starts[1] != 8*time.Second {
			t.Fatalf("started at %v, want at 0 and, on the grid, once it is given up at 6.05s", starts)
		}
		if _, verdicts, _ := s.outbox(); len(verdicts) != 1 || verdicts[0].state != stateUp {
			t.Errorf("got %v, want up", verdicts)
		}
		late(Result{Outcome: Down, Reason: "far too late"})
		if _, verdicts, _ := s.outbox(); len(verdicts) != 0 || s.core.running != 0 {
			t.Errorf("what came late was heard: %v, %d run", verdicts, s.core.running)
		}
		s.set(&checkv1.SetChecks{Generation: 2}, nil)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := prober.closed.Load(); n != 1 {
			t.Errorf("closed %d times, want once", n)
		}
	})
}

// TestStartBlocks: a Start that does not return holds up those of its own moment only.
func TestStartBlocks(t *testing.T) {
	inBubble(t, 100, func(t *testing.T, s *scheduler) {
		var starts atomic.Int64
		free := make(chan struct{})
		s.set(&checkv1.SetChecks{Generation: 1, Checks: wireChecks(1, time.Hour, time.Second, 0)}, parseWith(func(string) Prober {
			return &able{start: func(_ context.Context, _ Target, done func(Result)) { <-free; done(Result{Outcome: Up}) }}
		}))
		time.Sleep(time.Second)
		s.set(&checkv1.SetChecks{Generation: 2, Checks: wireChecks(10, time.Second, time.Second, time.Second)}, parseWith(func(string) Prober {
			return &able{start: func(_ context.Context, _ Target, done func(Result)) { starts.Add(1); done(Result{Outcome: Up}) }}
		}))
		time.Sleep(10 * time.Second)
		close(free)
		synctest.Wait()
		if n := starts.Load(); n < 85 {
			t.Errorf("%d starts in 10 s beside one that hangs, want 9 each second", n)
		}
	})
}

// TestAfterStarts: what is asked for while probes are started is called once, after the
// last of them; a context of another kind refuses.
func TestAfterStarts(t *testing.T) {
	if AfterStarts(t.Context(), func() { t.Error("called") }) {
		t.Error("a plain context took a function")
	}
	inBubble(t, 100, func(t *testing.T, s *scheduler) {
		var order []string
		var ctxs []context.Context
		s.set(&checkv1.SetChecks{Generation: 1, Checks: wireChecks(3, time.Hour, time.Minute, 0)}, parseWith(func(id string) Prober {
			return &able{start: func(ctx context.Context, _ Target, done func(Result)) {
				order = append(order, "start")
				ctxs = append(ctxs, ctx)
				if len(ctxs) == 1 || ctx != ctxs[0] {
					if !AfterStarts(ctx, func() { order = append(order, "after"); panic("harms nobody") }) {
						t.Error("the scheduler's context refused")
					}
				}
				time.AfterFunc(time.Second, func() { done(Result{Outcome: Up}) })
			}}
		}))
		time.Sleep(time.Second / 2)
		synctest.Wait()
		if got := fmt.Sprint(order); got != "[start start start after]" {
			t.Errorf("order %s", got)
		}
		if AfterStarts(ctxs[0], func() {}) {
			t.Error("a function was taken after the starts")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if _, verdicts, _ := s.outbox(); len(verdicts) != 3 {
			t.Errorf("%d verdicts, want 3", len(verdicts))
		}
	})
}

// TestStopStarters: stop ends what is running by its context, waits for the results, and
// closes each prober once.
func TestStopStarters(t *testing.T) {
	inBubble(t, 1000, func(t *testing.T, s *scheduler) {
		var probers []*able
		s.set(&checkv1.SetChecks{Generation: 1, Checks: wireChecks(50, time.Second, time.Minute, 2*time.Second)}, parseWith(func(string) Prober {
			p := &able{start: func(ctx context.Context, _ Target, done func(Result)) {
				context.AfterFunc(ctx, func() { done(Result{Outcome: Unknown, Reason: "ended"}) })
			}}
			probers = append(probers, p)
			return p
		}))
		time.Sleep(time.Second)
		if err := s.stop(t.Context()); err != nil || s.core.running != 0 {
			t.Errorf("stop: %v, %d run", err, s.core.running)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for i, p := range probers {
			if n := p.closed.Load(); n != 1 {
				t.Errorf("prober %d was closed %d times, want once", i, n)
			}
		}
	})
}

// TestWatcher: each report is a verdict at once; a watching that ends or panics is begun
// again a second later with what is known; it ends with its check, and is closed once.
func TestWatcher(t *testing.T) {
	inBubble(t, 10, func(t *testing.T, s *scheduler) {
		begin := time.Now()
		var calls []string
		prober := &watching{}
		prober.watch = func(ctx context.Context, target Target, report func(Result)) {
			calls = append(calls, fmt.Sprint(time.Since(begin), " known ", target.Known.Outcome))
			switch len(calls) {
			case 1:
				report(Result{Outcome: Up})
				report(Result{Outcome: Down, Reason: "gone"})
			case 2:
				panic("broken")
			default:
				report(Result{Outcome: Up, Weight: Weight{Mode: SetWeight, Value: 7}})
				<-ctx.Done()
				time.Sleep(100 * time.Millisecond)
			}
		}
		var told []string
		take := func() {
			synctest.Wait()
			_, verdicts, _ := s.outbox()
			for _, v := range verdicts {
				told = append(told, fmt.Sprint(v.state, " ", v.reason, v.weight.Value))
			}
		}
		checks := wireChecks(1, time.Second, time.Second, 0)
		checks[0].Schedule.Retries = 3
		s.set(&checkv1.SetChecks{Generation: 1, Checks: checks}, parseWith(func(string) Prober { return prober }))
		for range 4 {
			take()
			time.Sleep(time.Second)
		}
		if got, want := fmt.Sprint(calls), "[0s known 0 1s known 2 2s known 2]"; got != want {
			t.Errorf("watched %s, want %s", got, want)
		}
		want := "[VERDICT_STATE_DOWN gone0 VERDICT_STATE_UNKNOWN the checker panicked: broken0 VERDICT_STATE_UP 7]"
		if got := fmt.Sprint(told); got != want {
			t.Errorf("told %s, want %s", got, want)
		}
		s.set(&checkv1.SetChecks{Generation: 2}, nil)
		synctest.Wait()
		if n := prober.closed.Load(); n != 0 {
			t.Errorf("closed %d times while it is watched", n)
		}
		if err := s.stop(t.Context()); err != nil || prober.closed.Load() != 1 {
			t.Errorf("stop: %v, closed %d times, want once, before stop returns", err, prober.closed.Load())
		}
	})
}

// TestRemovedWhileWaiting: a check that is removed while its probe waits for its turn is
// not probed, and closed.
func TestRemovedWhileWaiting(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, s *scheduler) {
		probers := map[string]*able{}
		s.set(&checkv1.SetChecks{Generation: 1, Checks: wireChecks(3, time.Minute, 10*time.Second, 0)}, parseWith(func(id string) Prober {
			probers[id] = &able{start: func(_ context.Context, _ Target, done func(Result)) {
				time.AfterFunc(time.Second, func() { done(Result{Outcome: Up}) })
			}}
			return probers[id]
		}))
		time.Sleep(time.Second / 2)
		s.set(&checkv1.SetChecks{Generation: 2}, nil)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s.core.counts.probes != 1 {
			t.Errorf("%d probes, want the one that ran", s.core.counts.probes)
		}
		for id, p := range probers {
			if n := p.closed.Load(); n != 1 {
				t.Errorf("%s was closed %d times, want once", id, n)
			}
		}
	})
}

// TestLives: whatever probers do and however sets follow each other, no two probes of a
// check overlap, each prober is closed once and never probed after, and a stop leaves
// nothing.
func TestLives(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			random := rand.New(rand.NewPCG(seed, 3))
			s := newScheduler(ctx, hclog.NewNullLogger(), []int{1, 5, 1000}[random.IntN(3)])
			var mu sync.Mutex
			made := map[string]*able{}
			parse := parseWith(func(id string) Prober {
				mu.Lock()
				defer mu.Unlock()
				p, running := &able{}, atomic.Bool{}
				p.start = func(ctx context.Context, _ Target, done func(Result)) {
					if p.closed.Load() > 0 {
						t.Errorf("seed %d: %s was probed after it was closed", seed, id)
					}
					if running.Swap(true) {
						t.Errorf("seed %d: two probes of %s at once", seed, id)
					}
					end := func() { running.Store(false); done(Result{Outcome: Outcome(1 + rand.IntN(2)), Reason: "random"}) }
					mu.Lock()
					defer mu.Unlock()
					switch random.IntN(6) {
					case 0:
						end()
						end()
					case 1:
						running.Store(false)
						panic("random")
					case 2:
						context.AfterFunc(ctx, end)
					case 3:
						// Lost: the scheduler gives it up.
						running.Store(false)
					default:
						time.AfterFunc(time.Duration(random.IntN(900))*time.Millisecond, end)
					}
				}
				made[fmt.Sprint(id, " ", len(made))] = p
				return p
			})
			for generation := range uint64(12) {
				mu.Lock()
				n, after := random.IntN(30), time.Duration(random.IntN(3000))*time.Millisecond
				mu.Unlock()
				s.set(&checkv1.SetChecks{Generation: generation, Checks: wireChecks(n, 700*time.Millisecond, 900*time.Millisecond, time.Second)}, parse)
				time.Sleep(after)
				s.outbox()
			}
			if err := s.stop(ctx); err != nil {
				t.Errorf("seed %d: stop: %v", seed, err)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			for id, p := range made {
				if n := p.closed.Load(); n != 1 {
					t.Errorf("seed %d: %s was closed %d times, want once", seed, id, n)
				}
			}
			if s.core.running != 0 || len(s.core.checks) != 0 || len(s.core.waiting) != 0 {
				t.Errorf("seed %d: %d run, %d checks, %d wait after a stop", seed, s.core.running, len(s.core.checks), len(s.core.waiting))
			}
		})
	}
}

// TestSane: whatever a checker says, it is an outcome with a reason of a bounded length.
func TestSane(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, c := range []struct{ give, want Result }{
		{Result{Outcome: Up}, Result{Outcome: Up}},
		{Result{Outcome: Down, Reason: "refused"}, Result{Outcome: Down, Reason: "refused"}},
		{Result{Outcome: Down}, Result{Outcome: Down, Reason: "the checker gave no reason"}},
		{Result{Outcome: 77, Reason: "x"}, Result{Outcome: Unknown, Reason: "x"}},
		{Result{Outcome: Up, Reason: long}, Result{Outcome: Up, Reason: long[:longestReason] + "..."}},
		{Result{Outcome: Down, Reason: long}, Result{Outcome: Down, Reason: long[:longestReason] + "..."}},
	} {
		if got := sane(c.give); got != c.want {
			t.Errorf("%.100v: got %.100v, want %.100v", c.give, got, c.want)
		}
	}
}

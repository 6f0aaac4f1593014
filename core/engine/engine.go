package engine

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// longestSleep bounds the wait for a deadline: deadlines are wall-clock times, and
// somebody may set the clock meanwhile.
const longestSleep = time.Minute

// Outputs take the sets that should be. They are called on the engine's goroutine, in
// the order of generations, and must not block; a receiver keeps the newest. One that
// is nil is not called.
type Outputs struct {
	// Forward takes the table a forwarder should hold.
	Forward func(model.ForwardSet)
	// Checks says that the set of checks is a new one; CheckSet gives it.
	Checks func()
	// Groups takes the failover groups that should run.
	Groups func(model.GroupSet)
}

// Engine decides. Its methods may be called from any goroutine once Run has been
// started, but see the package's sharp edges.
type Engine struct {
	out      Outputs
	now      func() time.Time
	history  *History
	snapshot atomic.Pointer[model.Snapshot]

	inboxMu sync.Mutex
	inbox   []input
	waiting []chan struct{} // closed when the inputs before them are published
	wake    chan struct{}
	stopped chan struct{}

	coreMu sync.Mutex // a step or a reading of the checks is under way
	core   *core
}

// New makes an engine that publishes to out.
func New(out Outputs) *Engine {
	e := &Engine{
		out: out, now: time.Now, history: newHistory(), core: newCore(),
		wake: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	e.snapshot.Store(&model.Snapshot{})
	return e
}

// Run decides until ctx is done. It is called once.
func (e *Engine) Run(ctx context.Context) {
	defer close(e.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-e.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		next := e.turn()
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(max(0, min(next.Sub(e.now()), longestSleep)))
		}
	}
}

// turn takes in all that is waiting, decides once, and publishes.
func (e *Engine) turn() (next time.Time) {
	e.inboxMu.Lock()
	inputs, waiting := e.inbox, e.waiting
	e.inbox, e.waiting = nil, nil
	e.inboxMu.Unlock()

	e.coreMu.Lock()
	out := e.core.step(inputs, e.now())
	e.coreMu.Unlock()

	if out.forward != nil && e.out.Forward != nil {
		e.out.Forward(*out.forward)
	}
	if out.checks && e.out.Checks != nil {
		e.out.Checks()
	}
	if out.groups != nil && e.out.Groups != nil {
		e.out.Groups(*out.groups)
	}
	if out.snapshot != nil {
		e.snapshot.Store(out.snapshot)
	}
	e.history.record(out.events)
	for _, done := range waiting {
		close(done)
	}
	return out.next
}

// post puts an input in the inbox. It does not block.
func (e *Engine) post(in input) {
	e.inboxMu.Lock()
	e.inbox = append(e.inbox, in)
	e.inboxMu.Unlock()
	e.wakeUp()
}

// do puts an input in the inbox and waits until it has been published.
func (e *Engine) do(in input) {
	done := make(chan struct{})
	e.inboxMu.Lock()
	e.inbox = append(e.inbox, in)
	e.waiting = append(e.waiting, done)
	e.inboxMu.Unlock()
	e.wakeUp()
	select {
	case <-done:
	case <-e.stopped:
	}
}

func (e *Engine) wakeUp() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// SetConfig puts a configuration in force and returns when what follows from it is
// published. The configuration must not change afterwards.
func (e *Engine) SetConfig(config *model.Config) {
	e.do(func(c *core, now time.Time) { c.setConfig(config, now) })
}

// SetOverride lays an operator's wish over a real server (the zero value: none) and
// returns when what follows from it is published. Keeping it over restarts is the
// caller's.
func (e *Engine) SetOverride(key model.RealServerKey, o model.Override) {
	e.do(func(c *core, now time.Time) { c.setOverride(key, o, now) })
}

// SetOverrides replaces all operators' wishes, as they were kept over a restart.
func (e *Engine) SetOverrides(all map[model.RealServerKey]model.Override) {
	all = maps.Clone(all)
	e.do(func(c *core, now time.Time) { c.setOverrides(all, now) })
}

// Adopt takes what was found in the table of a forwarder (empty: the director's own) before
// anything was applied as provisional states, once; it returns when the sets are published that follow from it. configured
// are the real servers of the configuration that was last in force, nil if that is not
// known. It tells a real server that was taken out from one that is new; without it,
// one that is missing from a table that has others counts as taken out.
func (e *Engine) Adopt(forwarder string, services []model.Service, configured []model.RealServerKey) {
	a := &adoption{forwarder: forwarder, services: services}
	if configured != nil {
		a.configured = make(map[model.RealServerKey]bool, len(configured))
		for _, key := range configured {
			a.configured[key] = true
		}
	}
	e.do(func(c *core, now time.Time) { c.adopt(a, now) })
}

// Verdicts takes what checks say; one of a check that is not configured is ignored. It
// does not block. The map must not change afterwards.
func (e *Engine) Verdicts(verdicts map[model.CheckID]model.Verdict) {
	e.post(func(c *core, _ time.Time) { c.takeVerdicts(verdicts) })
}

// Role takes the role of a failover group, also when it is the one that is known. It
// does not block.
func (e *Engine) Role(group string, role model.RoleState) {
	e.post(func(c *core, now time.Time) { c.setRole(group, role, now) })
}

// Record adds an event that happened outside the engine. It does not block.
func (e *Engine) Record(at time.Time, kind, object, message string) {
	e.history.Record(at, kind, object, message)
}

// Snapshot is what is known and was decided, immutable; never nil.
func (e *Engine) Snapshot() *model.Snapshot { return e.snapshot.Load() }

// History holds the last events.
func (e *Engine) History() *History { return e.history }

// CheckSet is the set of checks that should be probed, with what is known of each now.
// A receiver that starts anew asks again: a check that has not changed keeps its
// identity, but more may be known of it.
func (e *Engine) CheckSet() model.CheckSet {
	e.coreMu.Lock()
	defer e.coreMu.Unlock()
	return e.core.checkSet()
}

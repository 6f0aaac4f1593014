package sdk

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// rewatch is when a watching that has ended by itself is begun again.
const rewatch = time.Second

// launch starts the probes of batches: those of a batch share a deadline.
func (s *scheduler) launch(now time.Time, batches []*batch) {
	var starters []*attempt
	for _, b := range batches {
		ctx, cancel := context.WithTimeout(s.ctx, b.timeout)
		b.ctx, b.release = &startContext{Context: ctx}, cancel
		for i := range b.attempts {
			a := &b.attempts[i]
			a.target = a.check.target
			a.target.Known = a.check.fold.known()
			if a.check.starter != nil {
				starters = append(starters, a)
				continue
			}
			s.core.started(now, a)
			go func() { s.finish(a, s.safely(ctx, a.check.prober, a.target, a.check.id)) }()
		}
	}
	if len(starters) == 0 {
		return
	}
	select {
	case s.starts <- starters:
	default:
		// Somebody's Start has not returned; the others do not wait for it.
		go s.begin(starters)
	}
}

// starter begins probes in a goroutine that stays: one of its own for each handful would
// have to grow its stack every time.
func (s *scheduler) starter(ctx context.Context) {
	for {
		select {
		case attempts := <-s.starts:
			s.begin(attempts)
		case <-ctx.Done():
			return
		}
	}
}

// begin begins probes that call back.
func (s *scheduler) begin(attempts []*attempt) {
	times := make([]time.Time, len(attempts))
	for i, a := range attempts {
		times[i] = time.Now()
		s.beginOne(a)
	}
	s.mu.Lock()
	for i, a := range attempts {
		s.core.started(times[i], a)
	}
	s.mu.Unlock()
	for i, a := range attempts {
		if i == 0 || a.batch != attempts[i-1].batch {
			s.begun(a.batch.ctx)
		}
	}
}

func (s *scheduler) beginOne(a *attempt) {
	defer func() {
		if p := recover(); p != nil {
			s.finish(a, s.panicked(a.check.id, p))
		}
	}()
	a.check.starter.Start(a.batch.ctx, a.target, func(r Result) { s.finish(a, sane(r)) })
}

// begun calls what waits for the end of the starts.
func (s *scheduler) begun(ctx *startContext) {
	defer func() {
		if p := recover(); p != nil {
			s.panicked("of the last start", p)
		}
	}()
	for _, f := range ctx.end() {
		f()
	}
}

// startContext is the context of probes that are started together.
type startContext struct {
	context.Context
	mu    sync.Mutex
	ended bool
	after []func()
}

func (c *startContext) end() []func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	return c.after
}

// AfterStarts is for a Starter's Start to call, with the context it was given: f is called
// when the probes of this moment have all been started, so that what many probes wait for
// can be looked at in one go. It says whether f will be called; it will not where probes
// are not started together. f must not block.
func AfterStarts(ctx context.Context, f func()) bool {
	c, ok := ctx.(*startContext)
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.after = append(c.after, f)
	}
	return !c.ended
}

// expire gives up probes whose time is over, and gives the checks that have ended by it.
func (s *scheduler) expire(now time.Time) (ended []*check) {
	for _, a := range s.core.expire(now) {
		s.logger.Error("a probe was started and its result never given", "check", a.check.id, "timeout", a.batch.timeout)
		if a.check.removed {
			ended = append(ended, a.check)
		}
	}
	return ended
}

// finish takes the result of a probe; only the first counts.
func (s *scheduler) finish(a *attempt, result Result) {
	s.mu.Lock()
	now := time.Now()
	s.noticeStall(now)
	if !s.core.finish(now, a, result) {
		s.mu.Unlock()
		return
	}
	next, ok := s.core.next()
	if len(s.core.waiting) > 0 || ok && next.Before(s.wake) {
		nudge(s.kick)
	}
	s.announce()
	s.checkIdle()
	ended := a.check.removed
	s.mu.Unlock()
	if ended {
		s.close(a.check)
	}
}

// safely runs a probe; what panics has not been made.
func (s *scheduler) safely(ctx context.Context, prober Prober, target Target, id string) (result Result) {
	defer func() {
		if p := recover(); p != nil {
			result = s.panicked(id, p)
		}
	}()
	return sane(prober.Probe(ctx, target))
}

func (s *scheduler) panicked(id string, p any) Result {
	s.logger.Error("probe panicked", "check", id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return Result{Outcome: Unknown, Reason: fmt.Sprintf("the checker panicked: %v", p)}
}

// longestReason bounds a reason, which may quote what a server sent.
const longestReason = 1000

// sane gives a result an outcome and, unless up, a reason that is no novel.
func sane(r Result) Result {
	if len(r.Reason) > longestReason {
		r.Reason = r.Reason[:longestReason] + "..."
	}
	if r.Outcome > Down {
		r.Outcome = Unknown
	}
	if r.Outcome != Up && r.Reason == "" {
		r.Reason = "the checker gave no reason"
	}
	return r
}

// watch runs a check whose results come by themselves until it ends. One that ends
// before is started again, a second later.
func (s *scheduler) watch(ctx context.Context, c *check) {
	for ctx.Err() == nil {
		s.mu.Lock()
		target := c.target
		target.Known = c.fold.known()
		s.mu.Unlock()
		s.watchOnce(ctx, c, target)
		select {
		case <-ctx.Done():
		case <-time.After(rewatch):
		}
	}
	s.close(c)
	s.mu.Lock()
	s.watching--
	s.checkIdle()
	s.mu.Unlock()
}

func (s *scheduler) watchOnce(ctx context.Context, c *check, target Target) {
	defer func() {
		if p := recover(); p != nil {
			s.report(c, s.panicked(c.id, p))
		}
	}()
	c.prober.(Watcher).Watch(ctx, target, func(r Result) { s.report(c, sane(r)) })
}

// report takes a result that came by itself.
func (s *scheduler) report(c *check, r Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.take(time.Now(), c, r)
	s.announce()
}

func (s *scheduler) closeAll(checks []*check) {
	for _, c := range checks {
		s.close(c)
	}
}

// close has a prober give up what it holds.
func (s *scheduler) close(c *check) {
	closer, ok := c.prober.(Closer)
	if !ok {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			s.panicked(c.id, p)
		}
	}()
	closer.Close()
}

package f5

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

const (
	// firstRetry and lastRetry bound the time between passes while something is wrong.
	firstRetry, lastRetry = time.Second, 30 * time.Second
	// afterApply is how soon after a change it is read what is there.
	afterApply = time.Second
	// settleLook is how often a pair is asked whether it is in sync.
	settleLook = time.Second
)

// Watch reports beats, what is there, and what was repaired, until ctx is done. A second
// goroutine speaks to the units, which may take its time.
func (f *Forwarder) Watch(ctx context.Context, interval time.Duration, report func(*forwardv1.WatchResponse) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages := make(chan *forwardv1.WatchResponse)
	go f.keep(ctx, interval, func(m *forwardv1.WatchResponse) {
		select {
		case messages <- m:
		case <-ctx.Done():
		}
	})
	f.mu.Lock()
	beat := time.NewTicker(f.beat)
	f.mu.Unlock()
	defer beat.Stop()
	for progress := uint64(1); ; progress++ {
		var m *forwardv1.WatchResponse
		select {
		case m = <-messages:
		case <-beat.C:
			m = &forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Beat{Beat: &pluginv1.Beat{Progress: progress}}}
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := report(m); err != nil {
			return err
		}
	}
}

// keep looks for drift, tries again what failed, has a pair synced and saved, and reads
// counters, each in its time.
func (f *Forwarder) keep(ctx context.Context, interval time.Duration, send func(*forwardv1.WatchResponse)) {
	f.mu.Lock()
	drift, counters := time.Duration(f.settings.DriftInterval), max(interval, time.Duration(f.settings.StatsInterval))
	f.mu.Unlock()
	now := f.now()
	nextDrift, nextStats, nextSettle, nextRetry := now.Add(drift), now.Add(counters), now, now.Add(firstRetry)
	wait, settleWait, statsWait := firstRetry, settleLook, firstRetry
	for {
		f.mu.Lock()
		failing, pending := f.failing && f.want != nil, f.syncing || f.unsaved || f.want != nil && f.unsure()
		f.mu.Unlock()
		next := earliest(nextDrift, nextStats)
		if failing {
			next = earliest(next, nextRetry)
		}
		if pending {
			next = earliest(next, nextSettle)
		}
		select {
		case <-ctx.Done():
			return
		case <-f.applied:
			now := f.now()
			nextDrift, nextSettle, nextRetry = now.Add(drift), now, now.Add(firstRetry)
			wait, settleWait = firstRetry, settleLook
			// What a burst has led to is read when it is over.
			nextStats = now.Add(min(afterApply, counters))
			continue
		case <-time.After(max(0, next.Sub(f.now()))):
		}
		now := f.now()
		if pending && !now.Before(nextSettle) {
			var ok bool
			if nextSettle, ok = f.settle(ctx, send); ok {
				settleWait = settleLook
			} else {
				// A device that is in trouble, or refuses a password, is not asked every second.
				settleWait = min(2*settleWait, lastRetry)
				nextSettle = f.now().Add(settleWait)
			}
		}
		if !now.Before(nextDrift) || failing && !now.Before(nextRetry) {
			f.repair(ctx, failing, send)
			nextDrift, wait = f.now().Add(drift), min(2*wait, lastRetry)
			nextRetry = f.now().Add(wait)
			if f.done() {
				nextSettle, settleWait = f.now(), settleLook
			}
		}
		if !now.Before(nextStats) {
			if f.count(ctx) {
				statsWait = firstRetry
			} else {
				statsWait = min(2*statsWait, lastRetry)
			}
			send(&forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Observed{Observed: f.observed()}})
			nextStats = f.now().Add(counters)
			if statsWait > firstRetry {
				nextStats = f.now().Add(max(counters, statsWait))
			}
		}
	}
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// repair makes a pass without a new request.
func (f *Forwarder) repair(ctx context.Context, failed bool, send func(*forwardv1.WatchResponse)) {
	ctx, cancel := f.bounded(ctx, roundTime)
	defer cancel()
	if f.acquire(ctx) != nil {
		return
	}
	f.mu.Lock()
	want := f.want
	f.mu.Unlock()
	if want == nil {
		f.release()
		return
	}
	f.forget() // drift may be anywhere
	o := f.round(ctx, want)
	f.release()
	f.mu.Lock()
	before := f.told
	f.mu.Unlock()
	list := f.take(o)
	if o.operations == 0 && tell(list) == before {
		return
	}
	repairs := o.did
	if failed && o.operations > 0 {
		repairs = append([]string{fmt.Sprintf("what could not be done before has been done: %d changes", o.operations)}, repairs...)
	}
	send(&forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Drift{Drift: &forwardv1.Drift{
		FoundAt: timestamppb.New(f.now()), Repairs: repairs, Errors: list,
	}}})
}

// done says that the last pass came to its end.
func (f *Forwarder) done() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.failing
}

// settle has the pair synced and the configuration saved, and says when to look again; ok:
// nothing was in the way.
func (f *Forwarder) settle(ctx context.Context, send func(*forwardv1.WatchResponse)) (next time.Time, ok bool) {
	ctx, cancel := f.bounded(ctx, roundTime)
	defer cancel()
	if f.acquire(ctx) != nil {
		return f.now().Add(settleLook), false
	}
	err := f.finish(ctx)
	f.release()
	f.mu.Lock()
	f.alarm = ""
	if err != nil {
		f.alarm = err.Error()
	}
	list, text := f.problems(), tell(f.problems())
	changed := text != f.told
	f.told = text
	next = f.now().Add(settleLook)
	if due := f.savedAt.Add(time.Duration(f.settings.SaveInterval)); err == nil && !f.syncing && due.After(next) {
		next = due
	}
	f.mu.Unlock()
	if changed {
		send(&forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Drift{Drift: &forwardv1.Drift{FoundAt: timestamppb.New(f.now()), Errors: list}}})
	}
	return next, err == nil
}

// count reads counters, and says whether it could.
func (f *Forwarder) count(ctx context.Context) bool {
	ctx, cancel := f.bounded(ctx, roundTime)
	defer cancel()
	if f.acquire(ctx) != nil {
		return false
	}
	defer f.release()
	if err := f.look(ctx, true); err != nil {
		f.logger.Debug("counters could not be read", "error", err)
		return false
	}
	return true
}

package ipvs

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// Watch compares the table with the last request every reconcile interval, repairs and
// tells it, and reports counters and beats. All of it is one loop.
func (f *Forwarder) Watch(ctx context.Context, interval time.Duration, report func(*forwardv1.WatchResponse) error) error {
	if interval <= 0 {
		return fmt.Errorf("watch the table: counters_interval %v is not positive", interval)
	}
	beat, every := f.intervals()
	beats, counters, repairs := time.NewTicker(beat), time.NewTicker(interval), time.NewTicker(every)
	defer beats.Stop()
	defer counters.Stop()
	defer repairs.Stop()
	if err := f.reportBeat(report); err != nil {
		return err
	}
	for {
		f.progress.Add(1)
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beats.C:
			err = f.reportBeat(report)
		case <-counters.C:
			err = f.reportCounters(ctx, report)
		case <-repairs.C:
			err = f.reportRepairs(report)
		case <-f.applied:
			if _, wanted := f.intervals(); wanted != every {
				every = wanted
				repairs.Reset(every)
			}
		}
		if err != nil {
			return err
		}
	}
}

// untilApplied is the reconcile interval before the first Apply, when there is nothing to
// compare with.
const untilApplied = time.Hour

func (f *Forwarder) intervals() (beat, reconcile time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reconcile == 0 {
		return f.beat, untilApplied
	}
	return f.beat, f.reconcile
}

func (f *Forwarder) reportBeat(report func(*forwardv1.WatchResponse) error) error {
	beat := &pluginv1.Beat{Progress: f.progress.Add(1)}
	return report(&forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Beat{Beat: beat}})
}

func (f *Forwarder) reportCounters(ctx context.Context, report func(*forwardv1.WatchResponse) error) error {
	observed, err := f.Observe(ctx)
	f.logFailing(err)
	if err != nil {
		return nil
	}
	return report(&forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Observed{Observed: observed}})
}

func (f *Forwarder) reportRepairs(report func(*forwardv1.WatchResponse) error) error {
	drift, err := f.repair()
	f.logFailing(err)
	if drift == nil {
		return nil
	}
	return report(&forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Drift{Drift: drift}})
}

// repair compares with the last request; nil if there is nothing to tell.
func (f *Forwarder) repair() (*forwardv1.Drift, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.want == nil {
		return nil, nil
	}
	if err := f.connect(); err != nil {
		return nil, err
	}
	found := f.now()
	done, errs, err := f.converge()
	if err != nil {
		return nil, err
	}
	told := describe(errs)
	if len(done) == 0 && told == f.told {
		return nil, nil
	}
	f.told = told
	drift := &forwardv1.Drift{FoundAt: timestamppb.New(found), Errors: errs}
	for _, op := range done {
		drift.Repairs = append(drift.Repairs, op.Repair())
	}
	return drift, nil
}

// logFailing logs an error of the kernel as a whole when it begins, changes and ends.
func (f *Forwarder) logFailing(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case text == f.failing || f.stopped:
		return
	case text == "":
		f.logger.Info("the kernel's table can be read again")
	default:
		f.logger.Error("the kernel's table cannot be read", "error", text)
	}
	f.failing = text
}

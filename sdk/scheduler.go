package sdk

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

const (
	// defaultBeat holds until Configure gives an interval.
	defaultBeat = time.Second
	// maxProbes bounds probes that run at once, where descriptors do not.
	maxProbes = 16384
	// standstill is how late the loop has to be to know that this process was stopped or
	// starved, and with it its probes: a down that is found then says nothing.
	standstill = 500 * time.Millisecond
	// spareDescriptors are kept for everything that is not a probe.
	spareDescriptors = 64
)

// scheduler carries out a schedule: one loop for the starts, a goroutine for each probe
// that runs unless it is a Starter's, and an outbox that a stream empties when it can.
type scheduler struct {
	logger hclog.Logger
	// kick wakes the loop, news says that the outbox has something.
	kick chan struct{}
	news chan struct{}

	// starts hands batches to the starter.
	starts chan []*attempt

	mu    sync.Mutex
	core  *schedule
	ctx   context.Context
	abort context.CancelFunc
	// wake is when the loop wakes next.
	wake time.Time
	// idle is closed when nothing runs after a stop; nil before stop.
	idle chan struct{}
	// watching is how many checks are watched.
	watching int

	generation uint64
	rounds     uint64
	beatEvery  time.Duration
	nextBeat   time.Time
	beat       *checkv1.Beat
	applied    []*checkv1.Applied
}

// newScheduler makes a scheduler and starts its loop, which ends with ctx.
func newScheduler(ctx context.Context, logger hclog.Logger, limit int) *scheduler {
	now := time.Now()
	s := &scheduler{
		logger: logger, kick: make(chan struct{}, 1), news: make(chan struct{}, 1),
		starts: make(chan []*attempt), core: newSchedule(now, limit), beatEvery: defaultBeat, nextBeat: now, wake: now,
	}
	s.ctx, s.abort = context.WithCancel(ctx)
	go s.loop(ctx)
	go s.starter(ctx)
	return s
}

// probeLimit is how many probes this process can run at once.
func probeLimit() int {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil || files.Cur >= maxProbes+spareDescriptors {
		return maxProbes
	}
	return max(1, int(files.Cur)-spareDescriptors)
}

func (s *scheduler) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.kick:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		s.mu.Lock()
		s.rounds++
		s.noticeStall(now)
		// Who woke late was stopped or starved, and so were the probes: they get a moment
		// to return before they are given up.
		late := now.Sub(s.wake) > deadlineSlack
		var ended []*check
		if !late {
			ended = s.expire(now)
		}
		s.launch(now, s.core.due(now))
		s.takeBeat(now)
		s.wake = s.nextBeat
		if next, ok := s.core.next(); ok && next.Before(s.wake) {
			s.wake = next
		}
		if moment := now.Add(deadlineSlack); late && s.wake.Before(moment) {
			s.wake = moment
		}
		s.announce()
		s.checkIdle()
		timer.Reset(time.Until(s.wake))
		s.mu.Unlock()
		s.closeAll(ended)
	}
}

// noticeStall looks whether the loop should have been awake long ago. Both it and a probe
// that ends look, because either may be the first to run again. mu is held.
func (s *scheduler) noticeStall(now time.Time) {
	if now.Sub(s.wake) >= standstill {
		s.core.stall()
	}
}

// takeBeat makes a beat when one is due.
func (s *scheduler) takeBeat(now time.Time) {
	if now.Before(s.nextBeat) {
		return
	}
	s.nextBeat = now.Add(s.beatEvery)
	c := &s.core.counts
	s.beat = &checkv1.Beat{
		Beat: &pluginv1.Beat{Progress: s.rounds}, Probes: c.probes, Failures: c.failures, Overdue: c.overdue,
		Lateness: durationpb.New(c.lateness.greatest), LatenessHistogram: c.lateness.encode(),
	}
	c.lateness.greatest = 0
}

// announce says that the outbox has something, if it has.
func (s *scheduler) announce() {
	if s.beat != nil || len(s.applied) > 0 || len(s.core.unsent) > 0 {
		nudge(s.news)
	}
}

// outbox takes what the daemon has to be told.
func (s *scheduler) outbox() ([]*checkv1.Applied, []verdict, *checkv1.Beat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	applied, beat := s.applied, s.beat
	s.applied, s.beat = nil, nil
	return applied, s.core.verdicts(), beat
}

// attach empties the outbox of what was meant for an earlier stream, and has every
// verdict told again.
func (s *scheduler) attach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = nil
	s.core.resend()
	s.nextBeat = time.Time{}
	nudge(s.kick)
}

// setBeat changes how often beats are due.
func (s *scheduler) setBeat(every time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beatEvery = every
	s.nextBeat = time.Time{}
	nudge(s.kick)
}

// set carries out a SetChecks; parse makes the check of one that is new. Calls must
// not overlap.
func (s *scheduler) set(m *checkv1.SetChecks, parse func(*checkv1.Check) (*check, *checkv1.Rejected)) {
	s.mu.Lock()
	if m.GetGeneration() < s.generation || s.idle != nil {
		s.applied = append(s.applied, &checkv1.Applied{Generation: s.generation})
		s.announce()
		s.mu.Unlock()
		return
	}
	keep := make(map[string]bool, len(m.GetChecks()))
	var wanted []*checkv1.Check
	applied := &checkv1.Applied{Generation: m.GetGeneration()}
	for _, c := range m.GetChecks() {
		switch _, running := s.core.checks[c.GetId()]; {
		case c.GetId() == "" || keep[c.GetId()]:
			applied.Rejected = append(applied.Rejected, &checkv1.Rejected{CheckId: c.GetId(), Message: "the id is empty or used twice in the set"})
			continue
		case !running:
			wanted = append(wanted, c)
		}
		keep[c.GetId()] = true
	}
	s.mu.Unlock()

	fresh := make([]*check, 0, len(wanted))
	for _, w := range wanted {
		c, rejected := parse(w)
		if rejected != nil {
			applied.Rejected = append(applied.Rejected, rejected)
			continue
		}
		fresh = append(fresh, c)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle != nil {
		fresh, keep = nil, nil
	}
	s.generation = m.GetGeneration()
	for _, c := range fresh {
		if _, ok := c.prober.(Watcher); ok {
			var ctx context.Context
			ctx, c.end = context.WithCancel(s.ctx)
			c.retries = 0
			s.watching++
			go s.watch(ctx, c)
		} else {
			c.starter, _ = c.prober.(Starter)
		}
	}
	s.end(s.core.set(time.Now(), keep, fresh))
	s.applied = append(s.applied, applied)
	s.announce()
	nudge(s.kick)
}

// end ends checks that are no longer in the set; what a probe still holds is given up
// when it returns.
func (s *scheduler) end(checks []*check) {
	for _, c := range checks {
		switch {
		case c.end != nil:
			c.end()
		case !c.running:
			go s.close(c)
		}
	}
}

// stop ends all checks for good, and returns when no probe runs any more.
func (s *scheduler) stop(ctx context.Context) error {
	s.mu.Lock()
	s.end(s.core.set(time.Now(), nil, nil))
	s.abort()
	if s.idle == nil {
		s.idle = make(chan struct{})
		s.checkIdle()
	}
	idle, running := s.idle, s.core.running+s.watching
	s.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop checks: %d probes had not returned: %w", running, ctx.Err())
	}
}

// checkIdle closes idle once.
func (s *scheduler) checkIdle() {
	if s.idle == nil || s.core.running > 0 || s.watching > 0 {
		return
	}
	select {
	case <-s.idle:
	default:
		close(s.idle)
	}
}

// nudge wakes who listens, if it is not awake already.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

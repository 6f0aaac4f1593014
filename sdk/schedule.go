package sdk

import (
	"container/heap"
	"context"
	"fmt"
	"time"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

// deadlineSlack is how long after its timeout a probe may still answer, for the time
// that a wake-up takes.
const deadlineSlack = 50 * time.Millisecond

// leastLost is the least time after its deadline that a probe which calls back is waited
// for.
const leastLost = time.Second

// check is one configured probe and what is known of it.
type check struct {
	id       string
	prober   Prober
	target   Target
	interval time.Duration
	timeout  time.Duration
	delay    time.Duration
	warmup   time.Duration
	retries  uint32

	// grid is the time of the first start; regular starts are whole intervals later.
	grid time.Duration
	// due is the slot of the next start; entries in other slots are stale.
	due time.Duration
	// started is the slot of the start that waits or runs.
	started time.Duration
	// grain is the width of the slots of its starts.
	grain time.Duration
	// busy from the moment that a probe is due until it has returned, running from the
	// moment that it is started.
	busy, running bool
	removed       bool
	// starter is the prober if it is one, and not watched.
	starter Starter
	// end ends the watching of a check that is watched; nil for the others.
	end context.CancelFunc

	fold    fold
	reason  string
	decided time.Time
	// unsent: the daemon has not been told the latest.
	unsent bool
}

// attempt is one run of a probe.
type attempt struct {
	check  *check
	batch  *batch
	target Target
	// due is when it should have been started.
	due time.Duration
	// over: it has returned. late: its deadline passed before that.
	over, late bool
	// stood: the process stood still meanwhile.
	stood bool
}

// batch is the probes with one timeout that were started at one moment.
type batch struct {
	timeout  time.Duration
	expires  time.Duration
	attempts []attempt
	// open is how many have not returned.
	open int
	// expired: the deadline has passed; what is open now is waited for, once more.
	expired bool
	ctx     *startContext
	// release frees what the scheduler holds for the batch, when all have returned.
	release func()
}

// counts are totals since the process started.
type counts struct {
	probes, failures, overdue uint64
	lateness                  lateness
}

// schedule says which probe starts when, and what its result means. It is pure: time
// comes in, starts and verdicts go out; the scheduler runs it.
type schedule struct {
	epoch time.Time
	// limit is how many probes may run at once; what is due above it waits.
	limit   int
	running int

	checks  map[string]*check
	slots   slots
	waiting []*check
	batches batches
	unsent  []*check
	counts  counts
}

func newSchedule(epoch time.Time, limit int) *schedule {
	return &schedule{epoch: epoch, limit: limit, checks: map[string]*check{}, slots: slots{checks: map[time.Duration][]*check{}}}
}

// set replaces the set of checks: those of fresh are added, those of keep go on
// undisturbed, all others end and are given back. Those that are watched have no starts.
func (s *schedule) set(now time.Time, keep map[string]bool, fresh []*check) (ended []*check) {
	at := now.Sub(s.epoch)
	for id, c := range s.checks {
		if !keep[id] {
			c.removed = true
			delete(s.checks, id)
			ended = append(ended, c)
		}
	}
	for _, c := range fresh {
		s.checks[c.id] = c
	}
	rate := 0.0
	for _, c := range s.checks {
		if c.end == nil {
			rate += 1 / c.interval.Seconds()
		}
	}
	for _, c := range fresh {
		if c.end != nil {
			continue
		}
		c.grain = slotWidth(c.interval, rate)
		c.grid = ceil(at+time.Duration(spread(c.id)*float64(c.warmup)), c.grain)
		s.plan(c, c.grid)
	}
	return ended
}

// regular gives the first regular start after a time.
func (c *check) regular(after time.Duration) time.Duration {
	if after < c.grid {
		return c.grid
	}
	return c.grid + ((after-c.grid)/c.interval+1)*c.interval
}

// plan puts the next start of a check into its slot.
func (s *schedule) plan(c *check, at time.Duration) {
	c.due = ceil(at, c.grain)
	s.slots.add(c.due, c)
}

// again puts a retry into a slot, which need not be one of the check's.
func (s *schedule) again(c *check, at time.Duration) {
	c.due = ceil(at, min(c.grain, narrowSlot))
	s.slots.add(c.due, c)
}

// due gives the probes that start now, in batches. A check whose last probe still runs
// or waits is left out, and counted.
func (s *schedule) due(now time.Time) []*batch {
	at := now.Sub(s.epoch)
	for {
		first, ok := s.slots.first()
		if !ok || first > at {
			break
		}
		list := s.slots.pop()
		for _, c := range list {
			if c.removed || c.due != first {
				continue
			}
			s.counts.overdue += uint64((at - first) / c.interval)
			s.plan(c, c.regular(at))
			if c.busy {
				s.counts.overdue++
				continue
			}
			c.busy = true
			c.started = first
			s.waiting = append(s.waiting, c)
		}
		s.slots.reuse(list)
	}
	return s.start(at)
}

// start takes from those that wait what the limit allows.
func (s *schedule) start(at time.Duration) []*batch {
	var started []*batch
	for len(s.waiting) > 0 && s.running < s.limit {
		c := s.waiting[0]
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		if c.removed {
			continue
		}
		var b *batch
		for _, other := range started {
			if other.timeout == c.timeout {
				b = other
			}
		}
		if b == nil {
			b = &batch{timeout: c.timeout, expires: at + c.timeout + deadlineSlack}
			started = append(started, b)
			heap.Push(&s.batches, b)
		}
		b.attempts = append(b.attempts, attempt{check: c, batch: b, due: c.started})
		b.open++
		c.running = true
		s.running++
	}
	if len(s.waiting) == 0 {
		s.waiting = nil
	}
	return started
}

// started counts how late an attempt is started.
func (s *schedule) started(now time.Time, a *attempt) {
	s.counts.lateness.add(now.Sub(s.epoch) - a.due)
}

// finish takes the result of an attempt, and says whether it was the first.
func (s *schedule) finish(now time.Time, a *attempt, r Result) bool {
	if a.over {
		return false
	}
	s.end(a)
	if a.stood && r.Outcome == Down {
		r = Result{Outcome: Unknown, Reason: "the checker's process stood still while it probed: " + r.Reason}
	}
	switch {
	case !a.late:
		s.take(now, a.check, r)
	case r.Outcome == Down:
		// The target's fault is one however long it took to say so; that it is up was said
		// too late.
		s.fold(now, a.check, r)
	}
	return true
}

// end makes room for another attempt.
func (s *schedule) end(a *attempt) {
	a.over = true
	if a.batch.open--; a.batch.open == 0 {
		a.batch.release()
	}
	a.check.busy, a.check.running = false, false
	s.running--
}

// expire gives up on attempts whose deadline has passed: each has failed, and its check is
// not probed again until it returns. What a Starter has begun and not ended as long again
// after that, it has lost: such an attempt ends, and is given back.
func (s *schedule) expire(now time.Time) (lost []*attempt) {
	at := now.Sub(s.epoch)
	for len(s.batches) > 0 && (s.batches[0].open == 0 || s.batches[0].expires <= at) {
		b := heap.Pop(&s.batches).(*batch)
		starters := false
		for i := range b.attempts {
			a := &b.attempts[i]
			if a.over {
				continue
			}
			starter := a.check.starter != nil
			switch {
			case !b.expired:
				a.late = true
				s.take(now, a.check, hung(b.timeout))
				starters = starters || starter
			case starter:
				s.end(a)
				lost = append(lost, a)
			}
		}
		if starters {
			b.expired, b.expires = true, at+max(b.timeout, leastLost)
			heap.Push(&s.batches, b)
		}
	}
	return lost
}

// take folds a result into the check's verdict.
func (s *schedule) take(now time.Time, c *check, r Result) {
	s.counts.probes++
	if r.Outcome != Up {
		s.counts.failures++
	}
	s.fold(now, c, r)
}

// hung is the result of a probe that is given up: probers keep the deadline themselves and
// say what the target did not do by then; one that does not return is the checker's fault,
// which takes no real server out.
func hung(timeout time.Duration) Result {
	return Result{Outcome: Unknown, Reason: fmt.Sprintf("the checker hangs: its probe did not return within %s", timeout)}
}

// stall marks the probes that run: the process stood still, so what they found missing may
// have been there.
func (s *schedule) stall() {
	for _, b := range s.batches {
		for i := range b.attempts {
			if a := &b.attempts[i]; !a.over {
				a.stood = true
			}
		}
	}
}

// fold makes of a result what it means for the verdict.
func (s *schedule) fold(now time.Time, c *check, r Result) {
	if c.removed {
		return
	}
	tell, retry := c.fold.step(r, c.retries)
	if retry {
		s.again(c, now.Sub(s.epoch)+c.delay)
	}
	if tell != stateNone {
		c.reason, c.decided = r.Reason, now
		s.send(c)
	}
}

func (s *schedule) send(c *check) {
	if !c.unsent {
		c.unsent = true
		s.unsent = append(s.unsent, c)
	}
}

// resend makes every verdict unsent, for a stream that has not had them.
func (s *schedule) resend() {
	for _, c := range s.checks {
		if c.fold.told != stateNone {
			s.send(c)
		}
	}
}

// verdict is what the daemon is told of a check.
type verdict struct {
	id      string
	state   checkv1.VerdictState
	reason  string
	decided time.Time
	weight  Weight
	admin   Admin
}

// verdicts takes what is unsent; of each check only the latest.
func (s *schedule) verdicts() []verdict {
	if len(s.unsent) == 0 {
		return nil
	}
	out := make([]verdict, 0, len(s.unsent))
	for _, c := range s.unsent {
		c.unsent = false
		if !c.removed {
			out = append(out, verdict{id: c.id, state: c.fold.told, reason: c.reason, decided: c.decided, weight: c.fold.weight, admin: c.fold.admin})
		}
	}
	clear(s.unsent)
	s.unsent = s.unsent[:0]
	return out
}

// next gives the time at which due or expire have something to do.
func (s *schedule) next() (time.Time, bool) {
	for len(s.batches) > 0 && s.batches[0].open == 0 {
		heap.Pop(&s.batches)
	}
	at, ok := s.slots.first()
	if len(s.batches) > 0 && (!ok || s.batches[0].expires < at) {
		at, ok = s.batches[0].expires, true
	}
	return s.epoch.Add(at), ok
}

// batches is a heap, the first to expire first.
type batches []*batch

func (b batches) Len() int           { return len(b) }
func (b batches) Less(i, j int) bool { return b[i].expires < b[j].expires }
func (b batches) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *batches) Push(x any)        { *b = append(*b, x.(*batch)) }
func (b *batches) Pop() any {
	last := len(*b) - 1
	x := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	return x
}

// ceil rounds up to a multiple of grain.
func ceil(t, grain time.Duration) time.Duration {
	return (t + grain - 1) / grain * grain
}

// spread gives a number in [0, 1) that is the same for the same id and evenly spread
// over different ids: FNV-1a, with its bits mixed.
func spread(id string) float64 {
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return float64(h>>11) / (1 << 53)
}

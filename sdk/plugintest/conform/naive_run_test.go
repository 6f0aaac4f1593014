package conform

import (
	"context"
	"errors"
	"hash/fnv"
	"net/netip"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

func (n *naive) Run(stream checkv1.CheckService_RunServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	n.mu.Lock()
	if n.cancel != nil && !flaw("keeps both streams") {
		n.cancel()
	}
	n.cancel = cancel
	n.opened, n.brokenAt = true, time.Time{}
	n.queue = nil
	for id, c := range n.checks {
		if c.told != nil && !flaw("does not tell again") {
			n.dirty[id] = true
		}
		if flaw("probes all again") {
			n.begin(c)
		}
	}
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.brokenAt = time.Now()
		n.mu.Unlock()
	}()
	answers := make(chan *checkv1.Applied, 16)
	broken := make(chan error, 1)
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				broken <- err
				return
			}
			answers <- n.set(m.GetSetChecks())
		}
	}()
	nextBeat := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return status.Error(codes.Aborted, "another stream was opened, or this one broke")
		case err := <-broken:
			return err
		case a := <-answers:
			if err := stream.Send(&checkv1.RunResponse{Message: &checkv1.RunResponse_Applied{Applied: a}}); err != nil {
				return err
			}
		case <-tick.C:
			n.mu.Lock()
			verdicts := n.queue
			n.queue = nil
			for id := range n.dirty {
				if c := n.checks[id]; c != nil {
					verdicts = append(verdicts, c.told)
				}
			}
			clear(n.dirty)
			beat := n.beat
			if !flaw("stands still") {
				n.progress++
			}
			b := &checkv1.Beat{Beat: &pluginv1.Beat{Progress: n.progress}, Probes: n.probes}
			n.mu.Unlock()
			if len(verdicts) > 0 {
				if err := stream.Send(&checkv1.RunResponse{Message: &checkv1.RunResponse_Verdicts{Verdicts: &checkv1.Verdicts{Verdicts: verdicts}}}); err != nil {
					return err
				}
			}
			if now := time.Now(); !now.Before(nextBeat) {
				nextBeat = nextBeat.Add(beat)
				if nextBeat.Before(now) {
					nextBeat = now.Add(beat)
				}
				if err := stream.Send(&checkv1.RunResponse{Message: &checkv1.RunResponse_Beat{Beat: b}}); err != nil {
					return err
				}
			}
		}
	}
}

// set carries out a set.
func (n *naive) set(m *checkv1.SetChecks) *checkv1.Applied {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.GetGeneration() < n.generation && !flaw("takes any generation") {
		return &checkv1.Applied{Generation: n.generation}
	}
	n.generation = m.GetGeneration()
	out := &checkv1.Applied{Generation: n.generation}
	keep := map[string]bool{}
	for _, c := range m.GetChecks() {
		if n.checks[c.GetId()] != nil && !flaw("starts all anew") {
			keep[c.GetId()] = true
			continue
		}
		if err := acceptable(c); err != nil {
			if flaw("rejects all") {
				for _, other := range m.GetChecks() {
					out.Rejected = append(out.Rejected, &checkv1.Rejected{CheckId: other.GetId(), Message: err.Error()})
				}
				return out
			}
			out.Rejected = append(out.Rejected, &checkv1.Rejected{CheckId: c.GetId(), Message: err.Error()})
			continue
		}
		keep[c.GetId()] = true
		if old := n.checks[c.GetId()]; old != nil {
			old.end()
		}
		fresh := &naiveCheck{c: c}
		if !flaw("forgets what is known") {
			fresh.verdict = c.GetKnown()
		}
		n.checks[c.GetId()] = fresh
		n.begin(fresh)
	}
	for id, c := range n.checks {
		if !keep[id] && !flaw("keeps what is removed") {
			c.end()
			delete(n.checks, id)
			delete(n.dirty, id)
		}
	}
	return out
}

func acceptable(c *checkv1.Check) error {
	if _, err := parse(c.GetParametersJson()); err != nil {
		return err
	}
	if c.GetType() != "naive" {
		return errors.New("no such type")
	}
	if _, err := netip.ParseAddr(c.GetTarget().GetAddress()); err != nil {
		return err
	}
	if c.GetSchedule().GetInterval().AsDuration() <= 0 || c.GetSchedule().GetTimeout().AsDuration() <= 0 {
		return errors.New("no interval or timeout")
	}
	return nil
}

// begin begins the probing of a check.
func (n *naive) begin(c *naiveCheck) {
	if c.end != nil {
		c.end()
	}
	if n.stopped {
		return
	}
	c.ctx, c.end = context.WithCancel(context.Background())
	go n.loop(c.ctx, c)
}

func (n *naive) loop(ctx context.Context, c *naiveCheck) {
	s := c.c.GetSchedule()
	if w := s.GetWarmup().AsDuration(); w > 0 && !flaw("starts all at once") {
		h := fnv.New64a()
		_, _ = h.Write([]byte(c.c.GetId()))
		sleep(ctx, time.Duration(h.Sum64()%1000)*w/1000)
	}
	next := time.Now()
	for ctx.Err() == nil {
		if flaw("probes side by side") {
			go n.attempt(ctx, c)
			sleep(ctx, s.GetInterval().AsDuration())
			continue
		}
		retry := n.attempt(ctx, c)
		every := s.GetInterval().AsDuration()
		if flaw("probes twice as often") {
			every /= 2
		}
		for next = next.Add(every); next.Before(time.Now()); next = next.Add(every) {
		}
		if retry {
			sleep(ctx, s.GetRetryDelay().AsDuration())
			next = time.Now()
			continue
		}
		sleep(ctx, time.Until(next))
	}
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// attempt probes once and folds the result.
func (n *naive) attempt(ctx context.Context, c *naiveCheck) (retry bool) {
	if flaw("waits for the reader") {
		n.mu.Lock()
		waiting := len(n.queue)+len(n.dirty) > 0
		n.mu.Unlock()
		if waiting {
			return false
		}
	}
	prefix, _ := parse(c.c.GetParametersJson())
	if flaw("beats with the probes") {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.probes++
		f := n.once(ctx, c.c.GetTarget(), prefix, c.c.GetSchedule().GetTimeout().AsDuration())
		return n.fold(c, f)
	}
	f := n.once(ctx, c.c.GetTarget(), prefix, c.c.GetSchedule().GetTimeout().AsDuration())
	if ctx.Err() != nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.probes++; n.stopped {
		return false
	}
	return n.fold(c, f)
}

func (n *naive) fold(c *naiveCheck, f found) (retry bool) {
	limit := c.c.GetSchedule().GetRetries()
	state := f.state
	switch {
	case flaw("one failure is down"):
		limit = 0
	case flaw("retries once more") && limit > 0:
		limit++
	case flaw("retries at first") && c.verdict == 0:
		c.verdict = up
	}
	switch state {
	case up:
		c.failures, c.unknowns, c.verdict = 0, 0, up
		if flaw("success has to last") && c.told == nil {
			c.told = &checkv1.Verdict{}
			return true
		}
	case down:
		if (c.verdict == up || flaw("retries what is down")) && c.failures < limit {
			c.failures++
			return true
		}
		c.failures, c.verdict = 0, down
	default:
		if c.unknowns < limit {
			c.unknowns++
			return true
		}
	}
	if c.told != nil && c.told.GetState() == state && c.told.GetWeight() == f.weight && !flaw("tells every probe") {
		return false
	}
	c.told = &checkv1.Verdict{CheckId: c.c.GetId(), State: state, Reason: f.reason, DecidedAt: timestamppb.Now(), Weight: f.weight, WeightMode: checkv1.WeightMode_WEIGHT_MODE_ADD}
	if flaw("loses the weight") {
		c.told.Weight = 0
	}
	if has("queues everything", "tells every probe") {
		n.queue = append(n.queue, proto.CloneOf(c.told))
		return false
	}
	n.dirty[c.c.GetId()] = true
	return false
}

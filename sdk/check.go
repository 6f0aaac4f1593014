package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

const (
	// verdictGap is the least time between two messages of verdicts: the first goes out
	// at once, and a flood of them in few messages.
	verdictGap = 5 * time.Millisecond
	// settleTime is how long after a set of manyChecks the memory that it took is given back.
	settleTime = 2 * time.Second
	manyChecks = 1000
	// longest bounds what a schedule may say, so that times cannot overflow.
	longest = 365 * 24 * time.Hour
	// transcriptLines bounds the transcript of a probe.
	transcriptLines = 1000
)

// checkService serves poise.check.v1.
type checkService struct {
	checkv1.UnimplementedCheckServiceServer
	checkers  map[string]Checker
	scheduler *scheduler
	lifeline  *lifeline

	mu sync.Mutex
	// replace ends the stream that is open now, and done is closed when it has ended.
	replace context.CancelFunc
	done    chan struct{}
}

// Run serves the stream. A new stream takes the place of one that is open, so that a
// connection that is half dead does not keep the daemon out.
func (c *checkService) Run(stream checkv1.CheckService_RunServer) error {
	defer c.lifeline.open()()
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	c.mu.Lock()
	replace, before := c.replace, c.done
	c.replace, c.done = cancel, done
	c.mu.Unlock()
	if replace != nil {
		replace()
		<-before
	}

	received := make(chan error, 1)
	c.scheduler.attach()
	sets := make(chan *checkv1.SetChecks)
	go func() { received <- receiveSets(ctx, stream, sets) }()
	applied := make(chan struct{})
	go func() {
		defer close(applied)
		for {
			select {
			case set := <-sets:
				c.scheduler.set(set, c.parse)
				if len(set.GetChecks()) >= manyChecks {
					// The message is large, and the next may be long in coming.
					set = nil
					time.AfterFunc(settleTime, debug.FreeOSMemory)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	err := c.send(ctx, stream, received)
	cancel()
	<-applied
	return err
}

// receiveSets passes sets on until the stream breaks.
func receiveSets(ctx context.Context, stream checkv1.CheckService_RunServer, sets chan<- *checkv1.SetChecks) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if set := request.GetSetChecks(); set != nil {
			select {
			case sets <- set:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// send empties the scheduler's outbox into the stream until it breaks. What cannot be
// sent now is kept there, of each check the latest.
func (c *checkService) send(ctx context.Context, stream checkv1.CheckService_RunServer, received <-chan error) error {
	gap := time.NewTimer(0)
	defer gap.Stop()
	<-gap.C
	for {
		select {
		case <-c.scheduler.news:
		case err := <-received:
			return err
		case <-ctx.Done():
			return status.Error(codes.Aborted, "the stream was opened again, or broke")
		}
		applied, verdicts, beat := c.scheduler.outbox()
		for _, a := range applied {
			if err := stream.Send(&checkv1.RunResponse{Message: &checkv1.RunResponse_Applied{Applied: a}}); err != nil {
				return err
			}
		}
		if len(verdicts) > 0 {
			if err := stream.Send(&checkv1.RunResponse{Message: &checkv1.RunResponse_Verdicts{Verdicts: encodeVerdicts(verdicts)}}); err != nil {
				return err
			}
		}
		if beat != nil {
			if err := stream.Send(&checkv1.RunResponse{Message: &checkv1.RunResponse_Beat{Beat: beat}}); err != nil {
				return err
			}
		}
		if len(verdicts) > 0 {
			gap.Reset(verdictGap)
			select {
			case <-gap.C:
			case <-ctx.Done():
			}
		}
	}
}

func encodeVerdicts(verdicts []verdict) *checkv1.Verdicts {
	out := &checkv1.Verdicts{Verdicts: make([]*checkv1.Verdict, len(verdicts))}
	for i, v := range verdicts {
		out.Verdicts[i] = &checkv1.Verdict{
			CheckId: v.id, State: v.state, Reason: text(v.reason), DecidedAt: timestamppb.New(v.decided),
			Weight: v.weight.Value, WeightMode: weightModes[v.weight.Mode], Admin: admins[v.admin],
		}
	}
	return out
}

// text makes a reason fit for the wire, which takes UTF-8 only: a reason may quote
// what a server sent.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// parse makes a check of the wire's, or says why it cannot be carried out.
func (c *checkService) parse(w *checkv1.Check) (*check, *checkv1.Rejected) {
	reject := func(err error) (*check, *checkv1.Rejected) {
		path, message := explain(err)
		return nil, &checkv1.Rejected{CheckId: w.GetId(), Path: path, Message: message}
	}
	prober, err := c.prober(w.GetType(), w.GetParametersJson())
	if err != nil {
		return reject(err)
	}
	target, err := decodeTarget(w.GetTarget())
	if err != nil {
		return reject(err)
	}
	target.Trace = func(string, ...any) {}
	out := &check{id: w.GetId(), prober: prober, target: target, retries: w.GetSchedule().GetRetries()}
	s := w.GetSchedule()
	for _, f := range []struct {
		name string
		from *durationpb.Duration
		to   *time.Duration
		min  time.Duration
	}{
		{"interval", s.GetInterval(), &out.interval, 1},
		{"timeout", s.GetTimeout(), &out.timeout, 1},
		{"retry_delay", s.GetRetryDelay(), &out.delay, 0},
		{"warmup", s.GetWarmup(), &out.warmup, 0},
	} {
		d := f.from.AsDuration()
		if f.from != nil && f.from.CheckValid() != nil || d < f.min || d > longest {
			return reject(Errorf("", "the schedule's %s of %s is not between %s and %s", f.name, d, f.min, longest))
		}
		*f.to = d
	}
	out.target.Timeout = out.timeout
	if k := w.GetKnown(); k == stateUp || k == stateDown {
		out.fold.verdict, out.fold.inferred = k, w.GetKnownInferred()
		out.fold.weight = Weight{Value: w.GetKnownWeight()}
		for mode, wire := range weightModes {
			if wire == w.GetKnownWeightMode() {
				out.fold.weight.Mode = mode
			}
		}
		for admin, wire := range admins {
			if wire == w.GetKnownAdmin() {
				out.fold.admin = admin
			}
		}
	}
	return out, nil
}

// prober has the parameters read by their checker; a checker that panics refuses them.
func (c *checkService) prober(kind string, parameters json.RawMessage) (p Prober, err error) {
	checker, ok := c.checkers[kind]
	if !ok {
		return nil, Errorf("", "no checks of type %q here; there are %s", kind, strings.Join(slices.Sorted(maps.Keys(c.checkers)), ", "))
	}
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("the checker panicked while it read the parameters: %v", r)
		}
	}()
	return checker.Parse(parameters)
}

// explain splits an error into path and message.
func explain(err error) (path, message string) {
	var wrong *ParameterError
	if errors.As(err, &wrong) && wrong.Error() == err.Error() {
		return text(wrong.Path), text(wrong.Message)
	}
	return "", text(err.Error())
}

func decodeTarget(t *checkv1.Target) (Target, error) {
	out := Target{Interface: t.GetInterface(), FWMark: t.GetFwmark()}
	var addr netip.Addr
	var err error
	if t.GetAddress() != "" {
		if addr, err = netip.ParseAddr(t.GetAddress()); err != nil {
			return out, Errorf("", "the target's address %q is not an IP address", t.GetAddress())
		}
	}
	if t.GetPort() > 65535 || t.GetSourcePort() > 65535 {
		return out, Errorf("", "the target's port %d or source port %d is more than 65535", t.GetPort(), t.GetSourcePort())
	}
	out.Addr = netip.AddrPortFrom(addr.Unmap(), uint16(t.GetPort()))
	var source netip.Addr
	if t.GetSourceAddress() != "" {
		if source, err = netip.ParseAddr(t.GetSourceAddress()); err != nil {
			return out, Errorf("", "the source address %q is not an IP address", t.GetSourceAddress())
		}
		source = source.Unmap()
		if addr.IsValid() && source.Is4() != out.Addr.Addr().Is4() {
			return out, Errorf("", "the source address %s and the target %s are not of one family", source, addr)
		}
	}
	out.Source = netip.AddrPortFrom(source, uint16(t.GetSourcePort()))
	return out, nil
}

// Probe runs one probe, outside any schedule.
func (c *checkService) Probe(ctx context.Context, r *checkv1.ProbeRequest) (*checkv1.ProbeResponse, error) {
	prober, err := c.prober(r.GetType(), r.GetParametersJson())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, text(err.Error()))
	}
	target, err := decodeTarget(r.GetTarget())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	timeout := r.GetTimeout().AsDuration()
	if timeout <= 0 || timeout > longest {
		return nil, status.Errorf(codes.InvalidArgument, "a timeout of %s is not more than 0 and at most %s", timeout, longest)
	}
	log := &transcript{start: time.Now()}
	target.Trace, target.Timeout = log.add, timeout
	probing, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	results := make(chan Result, 1)
	go func() {
		one := &check{id: "probe " + target.Addr.String(), prober: prober}
		result := c.scheduler.safely(probing, prober, target, one.id)
		c.scheduler.close(one)
		results <- result
	}()
	var result Result
	select {
	case result = <-results:
	case <-time.After(timeout + deadlineSlack):
		result = hung(timeout)
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	out := &checkv1.ProbeResponse{
		State: outcomes[result.Outcome], Reason: text(result.Reason), Duration: durationpb.New(time.Since(log.start)),
		Weight: result.Weight.Value, WeightMode: weightModes[result.Weight.Mode], Admin: admins[result.Admin],
	}
	out.Transcript = log.take()
	return out, nil
}

var outcomes = map[Outcome]checkv1.VerdictState{Up: stateUp, Down: stateDown, Unknown: stateUnknown}

var weightModes = map[WeightMode]checkv1.WeightMode{
	AddWeight: checkv1.WeightMode_WEIGHT_MODE_ADD, SetWeight: checkv1.WeightMode_WEIGHT_MODE_SET,
	ScaleWeight: checkv1.WeightMode_WEIGHT_MODE_SCALE,
}

var admins = map[Admin]checkv1.Admin{
	Ready: checkv1.Admin_ADMIN_READY, Drain: checkv1.Admin_ADMIN_DRAIN, Maintenance: checkv1.Admin_ADMIN_MAINTENANCE,
}

// transcript collects what a probe tells; a probe that was abandoned may go on telling.
type transcript struct {
	start time.Time
	mu    sync.Mutex
	lines []string
}

func (t *transcript) add(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) < transcriptLines {
		elapsed := time.Since(t.start).Round(time.Microsecond)
		t.lines = append(t.lines, text(fmt.Sprintf("%s %s", elapsed, fmt.Sprintf(format, args...))))
	}
}

func (t *transcript) take() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

package conform

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

const (
	// defaultPatience is how long what has to happen may take on a busy machine.
	defaultPatience = 15 * time.Second
	// shortBeat is the beat interval that requirements run with, unless they are about it.
	shortBeat = 100 * time.Millisecond
	// moment is how long what must not happen is waited for.
	moment = 700 * time.Millisecond
	// hour is an interval that ends after the requirement has.
	hour = time.Hour
)

// run is one requirement that is being checked.
type run struct {
	ctx   context.Context
	o     Options
	kinds []*pluginv1.Kind
	// kind is what it is checked for; nil: the process.
	kind *pluginv1.Kind
	// t is what is known of the type of check, if known.
	t     Type
	known bool

	process *process
	relays  []*relay
	streams []*stream
}

// carryOut checks a requirement and cleans up. A plugin that dies meanwhile has failed,
// whatever the requirement made of it.
func (r *run) carryOut(q requirement) error {
	defer func() {
		for _, s := range r.streams {
			s.close()
		}
		for _, l := range r.relays {
			l.close()
		}
		if r.process != nil {
			r.process.end()
		}
	}()
	err := q.check(r)
	if err != nil && r.process != nil && !r.process.ended && r.process.gone() {
		return fmt.Errorf("%w; the process has ended%s", err, r.process.said())
	}
	return err
}

// start starts the plugin and gives it its settings, with a short beat.
func (r *run) start() error { return r.startWith(startOptions{}) }

func (r *run) startWith(o startOptions) error {
	p, err := startProcess(r.ctx, r.o, o)
	r.process = p
	if err != nil {
		return err
	}
	err = r.configure(r.o.Parameters, shortBeat)
	if s := status.Convert(unwrapped(err)); err != nil && s.Code() == codes.FailedPrecondition && s.Message() != "" {
		return skip{"the plugin cannot work on this machine: " + s.Message()}
	}
	return err
}

// configure gives the plugin settings.
func (r *run) configure(parameters string, beat time.Duration) error {
	ctx, cancel := context.WithTimeout(r.ctx, r.patience())
	defer cancel()
	if _, err := r.process.plugin.Configure(ctx, &pluginv1.ConfigureRequest{
		Name: "test", ParametersJson: []byte(parameters), RuntimeDir: r.process.runtimeDir, BeatInterval: durationpb.New(beat),
	}); err != nil {
		return fmt.Errorf("configure with parameters %q and a beat interval of %s: %w", parameters, beat, err)
	}
	return nil
}

// patience is how long what has to happen may take.
func (r *run) patience() time.Duration {
	if r.o.patience > 0 {
		return r.o.patience
	}
	return defaultPatience
}

// eventually waits until something is so.
func (r *run) eventually(so func() bool) bool { return r.within(r.patience(), so) }

func (r *run) within(limit time.Duration, so func() bool) bool {
	for end := time.Now().Add(limit); ; {
		if so() {
			return true
		}
		if time.Now().After(end) || r.ctx.Err() != nil {
			return false
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// pause waits.
func (r *run) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.ctx.Done():
	}
}

// relay makes a relay to the type's target, or says why there is none.
func (r *run) relay(m mode) (*relay, error) {
	if err := r.scheduled(); err != nil {
		return nil, err
	}
	if !r.t.Target.IsValid() || r.t.Target.Port() == 0 {
		return nil, skip{"the type has no target with a port that could be made to fail"}
	}
	return r.relayTo(m)
}

func (r *run) relayTo(m mode) (*relay, error) {
	l, err := newRelay(r.t.Target, m)
	if err != nil {
		return nil, err
	}
	r.relays = append(r.relays, l)
	return l, nil
}

// probed is needed by what has to probe.
func (r *run) probed() error {
	if !r.known {
		return skip{"nothing is known of the type: give parameters, and a target that it finds up"}
	}
	return nil
}

// scheduled is needed by what has to probe on a schedule.
func (r *run) scheduled() error {
	if err := r.probed(); err != nil {
		return err
	}
	if r.t.Watched {
		return skip{"the type has no schedule"}
	}
	return nil
}

// dead is what a target is that fails.
func (r *run) dead() checkv1.VerdictState {
	if r.t.Advisory {
		return unknown
	}
	return down
}

// target gives the wire's form.
func target(a netip.AddrPort) *checkv1.Target {
	if !a.IsValid() {
		return &checkv1.Target{}
	}
	return &checkv1.Target{Address: a.Addr().String(), Port: uint32(a.Port())}
}

// check makes a check of the type.
func (r *run) check(id string, at netip.AddrPort, interval, timeout time.Duration) *checkv1.Check {
	c := &checkv1.Check{
		Id: id, Type: r.kind.GetType(), Target: target(at),
		Schedule: &checkv1.Schedule{Interval: durationpb.New(interval), Timeout: durationpb.New(timeout), RetryDelay: durationpb.New(100 * time.Millisecond)},
	}
	if r.t.Parameters != "" {
		c.ParametersJson = []byte(r.t.Parameters)
	}
	return c
}

// probe runs one probe outside any schedule, and says how long the call took.
func (r *run) probe(at *checkv1.Target, timeout time.Duration) (*checkv1.ProbeResponse, time.Duration, error) {
	ctx, cancel := context.WithTimeout(r.ctx, timeout+r.patience())
	defer cancel()
	begun := time.Now()
	out, err := r.process.check.Probe(ctx, &checkv1.ProbeRequest{
		Type: r.kind.GetType(), Target: at, ParametersJson: []byte(r.t.Parameters), Timeout: durationpb.New(timeout),
	})
	return out, time.Since(begun), err
}

// open opens the stream of checks.
func (r *run) open() (*stream, error) {
	s, err := openStream(r.ctx, r.process.check)
	if err != nil {
		return nil, fmt.Errorf("open the stream of checks: %w", err)
	}
	r.streams = append(r.streams, s)
	return s, nil
}

// apply sends a set and waits for its answer.
func (r *run) apply(s *stream, generation uint64, checks ...*checkv1.Check) (*checkv1.Applied, error) {
	before := s.answers()
	if err := s.send(generation, checks); err != nil {
		return nil, err
	}
	if !r.eventually(func() bool { return s.answers() > before || s.ended() != nil }) || s.answers() == before {
		if err := s.ended(); err != nil {
			return nil, fmt.Errorf("set %d of %d checks: the stream broke: %w", generation, len(checks), err)
		}
		return nil, fmt.Errorf("set %d of %d checks was not answered with Applied within %s", generation, len(checks), r.patience())
	}
	return s.answer(before), nil
}

// begin starts the plugin, opens the stream and sends a first set, none of which may be
// rejected.
func (r *run) begin(checks ...*checkv1.Check) (*stream, error) {
	if err := r.start(); err != nil {
		return nil, err
	}
	s, err := r.open()
	if err != nil {
		return nil, err
	}
	applied, err := r.apply(s, 1, checks...)
	if err != nil {
		return nil, err
	}
	if applied.GetGeneration() != 1 {
		return nil, fmt.Errorf("set 1 was answered with Applied of generation %d", applied.GetGeneration())
	}
	if len(applied.GetRejected()) > 0 {
		return nil, fmt.Errorf("a good check was rejected: %v", applied.GetRejected()[0])
	}
	return s, nil
}

// settle waits for a verdict.
func (r *run) settle(s *stream, id string, want checkv1.VerdictState) error {
	if r.eventually(func() bool { return s.state(id) == want || s.ended() != nil }) && s.state(id) == want {
		return nil
	}
	if err := s.ended(); err != nil {
		return fmt.Errorf("the stream broke: %w", err)
	}
	return fmt.Errorf("the verdict is %s after %s, want %s: %s", word(s.state(id)), r.patience(), word(want), s.reason(id))
}

// fresh waits for a beat that was made from now on, for its numbers.
func (r *run) fresh(s *stream) (*checkv1.Beat, error) {
	n := s.beats()
	if !r.eventually(func() bool { return s.beats() >= n+2 || s.ended() != nil }) || s.beats() < n+2 {
		return nil, fmt.Errorf("no beats within %s", r.patience())
	}
	return s.beat(), nil
}

// word for a state.
func word(s checkv1.VerdictState) string {
	switch s {
	case up:
		return "up"
	case down:
		return "down"
	case unknown:
		return "unknown"
	}
	return "not told"
}

const (
	up      = checkv1.VerdictState_VERDICT_STATE_UP
	down    = checkv1.VerdictState_VERDICT_STATE_DOWN
	unknown = checkv1.VerdictState_VERDICT_STATE_UNKNOWN
)

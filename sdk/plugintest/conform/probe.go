package conform

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

const isCheck = pluginv1.Interface_INTERFACE_CHECK

var probeRequirements = []requirement{
	{name: "probe", of: isCheck, says: "Probe finds a good target up and a dead one down, and says why", check: probe},
	{name: "probe-refused", of: isCheck, alone: true, says: "Probe refuses what it does not know with InvalidArgument", check: probeRefused},
	{name: "nonsense", of: isCheck, says: "a target that talks nonsense, hangs up or resets is down, with a reason", check: talkNonsense},
	{name: "local-error", of: isCheck, says: "a probe that cannot be made, from a source address that is not there, is unknown", check: localError},
	{name: "deadline", of: isCheck, says: "a probe that gets no answer returns within its timeout and 100 ms", check: deadline},
	{name: "leaks", of: isCheck, says: "probes that succeed, fail and time out leave no descriptor, process, thread or memory behind", check: leaks},
}

// upTarget is the type's own.
func (r *run) upTarget() (*checkv1.Target, error) {
	if err := r.probed(); err != nil {
		return nil, err
	}
	return target(r.t.Target), nil
}

// whole makes sure that an answer is a whole one.
func whole(p *checkv1.ProbeResponse) error {
	switch p.GetState() {
	case up:
	case down, unknown:
		if strings.TrimSpace(p.GetReason()) == "" {
			return fmt.Errorf("a probe that is %s gives no reason", word(p.GetState()))
		}
	default:
		return fmt.Errorf("a probe ended in the state %s", p.GetState())
	}
	return nil
}

func probe(r *run) error {
	at, err := r.upTarget()
	if err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	got, _, err := r.probe(at, callTime)
	if err == nil {
		err = whole(got)
	}
	if err != nil {
		return fmt.Errorf("probe of the target: %w", err)
	}
	if got.GetState() != up {
		return fmt.Errorf("the target %s with the parameters %q is %s: %s", r.t.Target, r.t.Parameters, word(got.GetState()), got.GetReason())
	}
	if !r.t.Target.IsValid() || r.t.Target.Port() == 0 {
		return nil
	}
	dead, err := r.relayTo(refuse)
	if err != nil {
		return err
	}
	if got, _, err = r.probe(target(dead.at), callTime); err == nil {
		err = whole(got)
	}
	if err != nil {
		return fmt.Errorf("probe of a port that nobody listens on: %w: a target that fails is an answer", err)
	}
	if got.GetState() != r.dead() {
		return fmt.Errorf("a port that nobody listens on is %s: %s", word(got.GetState()), got.GetReason())
	}
	return nil
}

func probeRefused(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	good := func() *checkv1.ProbeRequest {
		return &checkv1.ProbeRequest{
			Type: r.kind.GetType(), Target: &checkv1.Target{Address: "127.0.0.1", Port: 9}, Timeout: durationpb.New(time.Second),
			ParametersJson: []byte(r.t.Parameters),
		}
	}
	for what, change := range map[string]func(*checkv1.ProbeRequest){
		"an unknown type":         func(p *checkv1.ProbeRequest) { p.Type += "-unknown" },
		"an unknown parameter":    func(p *checkv1.ProbeRequest) { p.ParametersJson = []byte(withUnknownKey(r.t.Parameters)) },
		"a target that is a name": func(p *checkv1.ProbeRequest) { p.Target.Address = "web1.example.net" },
		"no timeout":              func(p *checkv1.ProbeRequest) { p.Timeout = nil },
	} {
		p := good()
		change(p)
		ctx, cancel := context.WithTimeout(r.ctx, callTime)
		_, err := r.process.check.Probe(ctx, p)
		cancel()
		if status.Code(err) != codes.InvalidArgument {
			return fmt.Errorf("%s: %v, want InvalidArgument", what, err)
		}
	}
	return nil
}

func talkNonsense(r *run) error {
	l, err := r.relay(nonsense)
	if err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	for range 5 {
		got, _, err := r.probe(target(l.at), time.Second)
		if err == nil {
			err = whole(got)
		}
		if err != nil {
			return fmt.Errorf("probe of a target that talks nonsense: %w", err)
		}
		if got.GetState() != r.dead() && (got.GetState() != up || !r.t.AnyAnswer) {
			return fmt.Errorf("a target that talks nonsense is %s, want %s: %s", word(got.GetState()), word(r.dead()), got.GetReason())
		}
	}
	return nil
}

// foreign is an address of nobody (RFC 5737).
const foreign = "192.0.2.77"

func localError(r *run) error {
	if r.t.NoSource {
		return skip{"its probes have no source address"}
	}
	l, err := r.relay(forward)
	if err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	from := target(l.at)
	from.SourceAddress = foreign
	got, _, err := r.probe(from, time.Second)
	if err == nil {
		err = whole(got)
	}
	if err != nil {
		return fmt.Errorf("probe from a source address that is not there: %w", err)
	}
	if got.GetState() != unknown {
		return fmt.Errorf("a probe from %s, which is not this machine's, is %s, want unknown (%s)", foreign, word(got.GetState()), got.GetReason())
	}
	return nil
}

const (
	// tolerance is how long after its timeout a probe may return.
	tolerance = 100 * time.Millisecond
	// scheduling is how much longer a call may take on a busy machine than the probe in it.
	scheduling = time.Second
)

func deadline(r *run) error {
	if _, err := r.relay(hang); err != nil {
		return err
	}
	if _, err := r.relay(silent); err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	times := 5
	if r.o.Full {
		times = 25
	}
	for i, what := range []string{"never lets a connection in", "accepts and never answers"} {
		const timeout = 200 * time.Millisecond
		var own, measured []time.Duration
		for range times {
			got, took, err := r.probe(target(r.relays[i].at), timeout)
			if err == nil {
				err = whole(got)
			}
			if err != nil {
				return fmt.Errorf("probe of a target that %s: %w", what, err)
			}
			own, measured = append(own, got.GetDuration().AsDuration()), append(measured, took)
		}
		if m := median(own); m > timeout+tolerance {
			return fmt.Errorf("a target that %s: probes with a timeout of %s say that they took %s (median of %d)", what, timeout, m, times)
		}
		if m := median(measured); m > timeout+scheduling {
			return fmt.Errorf("a target that %s: probes with a timeout of %s return after %s (median of %d)", what, timeout, m, times)
		}
	}
	return nil
}

func median(d []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}

// leaks probes in every way, by calls and on a schedule, and looks at what is left.
func leaks(r *run) error {
	at, err := r.upTarget()
	if err != nil {
		return err
	}
	probes, rounds := 400, 2
	if r.o.Full {
		probes, rounds = 10000, 40
	}
	targets := []*checkv1.Target{at}
	if r.t.Target.IsValid() && r.t.Target.Port() != 0 && !r.t.Watched {
		for _, m := range []mode{forward, refuse, silent, nonsense, hang} {
			l, err := r.relayTo(m)
			if err != nil {
				return err
			}
			targets = append(targets, target(l.at))
		}
	}
	if err := r.start(); err != nil {
		return err
	}
	s, err := r.open()
	if err != nil {
		return err
	}
	// What is made once, such as workers that stay, is not a leak.
	if err := r.hammer(targets, max(probes/10, 64)); err != nil {
		return err
	}
	if err := r.churn(s, targets, 0, 1); err != nil {
		return err
	}
	before := usageOf(r.process.pid)
	if err := r.hammer(targets, probes); err != nil {
		return err
	}
	if err := r.churn(s, targets, 1, rounds); err != nil {
		return err
	}
	var after usage
	over := func() string {
		after = usageOf(r.process.pid)
		switch {
		case after.children > before.children:
			return fmt.Sprintf("%d processes are left after %d more probes, %d before", after.children, probes, before.children)
		case after.descriptors > before.descriptors+8:
			return fmt.Sprintf("%d descriptors are open after %d more probes, %d before", after.descriptors, probes, before.descriptors)
		case after.threads > before.threads+32:
			return fmt.Sprintf("%d threads after %d more probes, %d before", after.threads, probes, before.threads)
		case after.memory > before.memory+before.memory/2+32<<20:
			return fmt.Sprintf("%d MiB of memory after %d more probes, %d before", after.memory>>20, probes, before.memory>>20)
		}
		return ""
	}
	if !r.eventually(func() bool { return over() == "" }) {
		return fmt.Errorf("%s", over())
	}
	return nil
}

// hammer makes probes, several at a time.
func (r *run) hammer(targets []*checkv1.Target, probes int) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, 16)
	for range cap(failed) {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= probes || r.ctx.Err() != nil {
					return
				}
				if _, _, err := r.probe(targets[n%len(targets)], 50*time.Millisecond); err != nil {
					failed <- fmt.Errorf("probe %d of %d: %w", n, probes, err)
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return r.ctx.Err()
	}
}

// churn runs checks on a schedule for a while, round by round, each with checks of its
// own.
func (r *run) churn(s *stream, targets []*checkv1.Target, first, rounds int) error {
	for n := range rounds {
		var checks []*checkv1.Check
		for i := range 24 {
			c := r.check(fmt.Sprintf("churn %d.%d", first+n, i), r.t.Target, 50*time.Millisecond, 50*time.Millisecond)
			c.Target = targets[i%len(targets)]
			checks = append(checks, c)
		}
		if _, err := r.apply(s, uint64(first+n)*2+1, checks...); err != nil {
			return err
		}
		r.pause(moment)
		if _, err := r.apply(s, uint64(first+n)*2+2); err != nil {
			return err
		}
	}
	return nil
}

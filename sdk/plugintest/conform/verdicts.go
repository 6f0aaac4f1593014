package conform

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

var verdictRequirements = []requirement{
	{name: "first-failure", of: isCheck, says: "without a known verdict the first failure is down, whatever the retries", check: firstFailure},
	{name: "retries", of: isCheck, says: "what is known to be up is down after retries+1 failures in a row, each after the retry delay", check: retries},
	{name: "one-success", of: isCheck, says: "one success is up", check: oneSuccess},
	{name: "known-down", of: isCheck, says: "what is known to be down and fails stays so, without retries", check: knownDown},
	{name: "changes-only", of: isCheck, says: "a verdict is told when it changes, not with every probe", check: changesOnly},
	{name: "weights", of: isCheck, says: "a verdict carries the weight and the wish that the probe gave", check: weights},
	{name: "unknown", of: isCheck, says: "probes that cannot be made are unknown, never down, after retries+1 of them", check: toldUnknown},
	{name: "hanging-target", of: isCheck, says: "a target that hangs is down after the timeout; beats go on meanwhile", check: hangingTarget},
}

// lone begins with one check that is probed once by its schedule; change completes it.
func (r *run) lone(m mode, change func(*checkv1.Check)) (*stream, *relay, error) {
	if m == refuse && r.t.Advisory {
		return nil, nil, skip{"a target that fails says nothing for this type"}
	}
	l, err := r.relay(m)
	if err != nil {
		return nil, nil, err
	}
	c := r.check("a", l.at, hour, callTime)
	change(c)
	s, err := r.begin(c)
	return s, l, err
}

// probes waits for the count of probes to stand still.
func (r *run) probes(s *stream) (uint64, error) {
	r.pause(moment)
	b, err := r.fresh(s)
	return b.GetProbes(), err
}

func firstFailure(r *run) error {
	s, _, err := r.lone(refuse, func(c *checkv1.Check) { c.Schedule.Retries = 3 })
	if err != nil {
		return err
	}
	if err := r.settle(s, "a", down); err != nil {
		return err
	}
	if s.reason("a") == "" {
		return fmt.Errorf("a verdict of down gives no reason")
	}
	n, err := r.probes(s)
	if err == nil && n != 1 {
		err = fmt.Errorf("down was decided by %d probes, want the first alone", n)
	}
	return err
}

func retries(r *run) error {
	const delay = 300 * time.Millisecond
	s, _, err := r.lone(refuse, func(c *checkv1.Check) {
		c.Known, c.Schedule.Retries, c.Schedule.RetryDelay = up, 2, durationpb.New(delay)
	})
	if err != nil {
		return err
	}
	if err := r.settle(s, "a", down); err != nil {
		return err
	}
	if took := s.since("a"); took < 2*delay || took > time.Minute {
		return fmt.Errorf("with 2 retries of %s delay down was decided after %s", delay, took)
	}
	n, err := r.probes(s)
	if err == nil && n != 3 {
		err = fmt.Errorf("down was decided by %d probes, want 3: the first and 2 retries", n)
	}
	return err
}

func oneSuccess(r *run) error {
	s, _, err := r.lone(forward, func(c *checkv1.Check) { c.Known, c.Schedule.Retries = down, 3 })
	if err != nil {
		return err
	}
	if err := r.settle(s, "a", up); err != nil {
		return err
	}
	n, err := r.probes(s)
	if err == nil && n != 1 {
		err = fmt.Errorf("up was decided by %d probes, want 1", n)
	}
	return err
}

func knownDown(r *run) error {
	s, _, err := r.lone(refuse, func(c *checkv1.Check) { c.Known, c.Schedule.Retries = down, 2 })
	if err != nil {
		return err
	}
	if !r.eventually(func() bool { return s.beat().GetProbes() > 0 }) {
		return fmt.Errorf("it was not probed within %s", r.patience())
	}
	n, err := r.probes(s)
	if err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("%d probes were made, want 1: what is down is not retried", n)
	}
	if v := s.state("a"); v != down && v != 0 {
		return fmt.Errorf("the verdict is %s", word(v))
	}
	return nil
}

func changesOnly(r *run) error {
	l, err := r.relay(forward)
	if err != nil {
		return err
	}
	s, err := r.begin(r.check("a", l.at, 50*time.Millisecond, time.Second))
	if err != nil {
		return err
	}
	for _, step := range []struct {
		mode mode
		want checkv1.VerdictState
	}{{forward, up}, {refuse, r.dead()}, {forward, up}} {
		if err := l.set(step.mode); err != nil {
			return err
		}
		if err := r.settle(s, "a", step.want); err != nil {
			return err
		}
		// Whatever broke with the change is over.
		r.pause(moment / 4)
		told, before := len(s.told("a")), s.beat().GetProbes()
		if !r.eventually(func() bool { return s.beat().GetProbes() >= before+5 }) {
			return fmt.Errorf("5 probes with an interval of 50 ms took more than %s", r.patience())
		}
		if n := len(s.told("a")); n > told {
			return fmt.Errorf("%s was told %d times more though nothing had changed", word(step.want), n-told)
		}
	}
	return nil
}

func weights(r *run) error {
	if err := r.probed(); err != nil {
		return err
	}
	c := r.check("a", r.t.Target, hour, callTime)
	s, err := r.begin(c)
	if err != nil {
		return err
	}
	if err := r.settle(s, "a", up); err != nil {
		return err
	}
	p, _, err := r.probe(target(r.t.Target), callTime)
	if err != nil {
		return err
	}
	v := s.verdict("a")
	if v.GetDecidedAt() == nil || v.GetDecidedAt().AsTime().Before(time.Now().Add(-time.Hour)) {
		return fmt.Errorf("a verdict does not say when it was decided: %v", v)
	}
	if v.GetWeight() != p.GetWeight() || v.GetWeight() != 0 && v.GetWeightMode() != p.GetWeightMode() || v.GetAdmin() != p.GetAdmin() {
		return fmt.Errorf("the verdict has weight %d (%s, %s), the probe %d (%s, %s)", v.GetWeight(), v.GetWeightMode(), v.GetAdmin(), p.GetWeight(), p.GetWeightMode(), p.GetAdmin())
	}
	return nil
}

func toldUnknown(r *run) error {
	if r.t.NoSource {
		return skip{"its probes have no source address"}
	}
	s, _, err := r.lone(forward, func(c *checkv1.Check) {
		c.Known, c.Schedule.Retries, c.Target.SourceAddress = up, 1, foreign
	})
	if err != nil {
		return err
	}
	if err := r.settle(s, "a", unknown); err != nil {
		return err
	}
	n, err := r.probes(s)
	if err == nil && n != 2 {
		err = fmt.Errorf("unknown was decided by %d probes, want 2", n)
	}
	for _, v := range s.told("a") {
		if v.GetState() == down {
			err = fmt.Errorf("a probe that could not be made was told as down: %s", v.GetReason())
		}
	}
	return err
}

func hangingTarget(r *run) error {
	m := silent
	if r.t.AnyAnswer {
		m = hang
	}
	l, err := r.relay(m)
	if err != nil {
		return err
	}
	const timeout = time.Second
	var checks []*checkv1.Check
	for i := range 20 {
		checks = append(checks, r.check(fmt.Sprintf("check %d", i), l.at, hour, timeout))
	}
	s, err := r.begin(checks...)
	if err != nil {
		return err
	}
	if n := s.beats(); !r.eventually(func() bool { return s.beats() >= n+5 || s.state("check 0") != 0 }) || s.beats() < n+2 {
		return fmt.Errorf("beats do not go on while probes hang")
	}
	for _, c := range checks {
		if err := r.settle(s, c.GetId(), r.dead()); err != nil {
			return err
		}
		if took := s.since(c.GetId()); took > timeout+2*scheduling {
			return fmt.Errorf("with a timeout of %s it was down after %s", timeout, took)
		}
	}
	return nil
}

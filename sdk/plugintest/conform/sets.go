package conform

import (
	"fmt"
	"strings"
	"time"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

var setRequirements = []requirement{
	{name: "transcript", of: isCheck, says: "sets are answered as in the transcripts of version 1", check: playTranscripts},
	{name: "bad-check", of: isCheck, says: "a check that cannot be carried out is rejected alone, with a message", check: badCheck},
	{name: "many-checks", of: isCheck, says: "a set of 10,000 checks, 6 MB, is taken at once", check: manyChecks},
	{name: "generation", of: isCheck, says: "a set with a lower generation changes nothing", check: lowerGeneration},
	{name: "unchanged", of: isCheck, says: "checks that were in the set before go on undisturbed: no storm of probes", check: unchanged},
	{name: "removal", of: isCheck, says: "a check that is no longer in the set is not probed and not told of any more", check: removal},
	{name: "reconnect", of: isCheck, says: "on a new stream known verdicts are told again, without new probes", check: reconnect},
	{name: "takeover", of: isCheck, says: "a second stream takes the place of one that is still open", check: takeover},
}

func badCheck(r *run) error {
	if err := r.probed(); err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	s, err := r.open()
	if err != nil {
		return err
	}
	bad := r.badChecks()
	checks := []*checkv1.Check{r.check("good", r.t.Target, hour, callTime)}
	for _, c := range bad {
		checks = append(checks, c)
	}
	checks = append(checks, r.check("good too", r.t.Target, hour, callTime))
	applied, err := r.apply(s, 1, checks...)
	if err != nil {
		return err
	}
	for _, rejected := range applied.GetRejected() {
		if bad[rejected.GetCheckId()] == nil {
			return fmt.Errorf("the check %q was rejected: %s", rejected.GetCheckId(), rejected.GetMessage())
		}
		if rejected.GetMessage() == "" {
			return fmt.Errorf("a check with %s was rejected without a message", rejected.GetCheckId())
		}
		delete(bad, rejected.GetCheckId())
	}
	for what := range bad {
		if r.t.Target.IsValid() || what != "no address" {
			return fmt.Errorf("a check with %s was not rejected", what)
		}
	}
	for _, id := range []string{"good", "good too"} {
		if err := r.settle(s, id, up); err != nil {
			return fmt.Errorf("beside checks that are rejected: %w", err)
		}
	}
	return nil
}

func manyChecks(r *run) error {
	if err := r.scheduled(); err != nil {
		return err
	}
	checks := make([]*checkv1.Check, 10000)
	for i := range checks {
		c := r.check(fmt.Sprintf("%d %s", i, strings.Repeat("x", 500)), r.t.Target, hour, time.Second)
		c.Schedule.Warmup = c.Schedule.Interval
		checks[i] = c
	}
	s, err := r.begin(checks...)
	if err != nil {
		return err
	}
	if _, err := r.apply(s, 2, checks[:5000]...); err != nil {
		return err
	}
	_, err = r.fresh(s)
	return err
}

func lowerGeneration(r *run) error {
	if err := r.scheduled(); err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	s, err := r.open()
	if err != nil {
		return err
	}
	if _, err := r.apply(s, 7, r.check("a", r.t.Target, shortBeat, callTime)); err != nil {
		return err
	}
	if err := r.settle(s, "a", up); err != nil {
		return err
	}
	if _, err := r.apply(s, 3); err != nil {
		return err
	}
	before, err := r.fresh(s)
	if err != nil {
		return err
	}
	if !r.within(5*time.Second, func() bool { return s.beat().GetProbes() > before.GetProbes()+1 }) {
		return fmt.Errorf("after an empty set of generation 3 the checks of generation 7 are not probed any more")
	}
	return nil
}

// quiet are checks that are probed once in the requirement.
func (r *run) quiet(n int) []*checkv1.Check {
	checks := make([]*checkv1.Check, n)
	for i := range checks {
		checks[i] = r.check(fmt.Sprintf("check %d", i), r.t.Target, hour, callTime)
	}
	return checks
}

const quietChecks = 30

// settled waits until all checks of quiet are up, and gives the number of probes.
func (r *run) settled(s *stream, n int) (uint64, error) {
	for i := range n {
		if err := r.settle(s, fmt.Sprintf("check %d", i), up); err != nil {
			return 0, err
		}
	}
	b, err := r.fresh(s)
	return b.GetProbes(), err
}

func unchanged(r *run) error {
	l, err := r.relay(forward)
	if err != nil {
		return err
	}
	r.t.Target = l.at
	checks := r.quiet(quietChecks)
	s, err := r.begin(checks...)
	if err != nil {
		return err
	}
	before, err := r.settled(s, quietChecks)
	if err != nil {
		return err
	}
	seen, _ := l.seen()
	more := append(checks[1:len(checks):len(checks)], r.check("new", l.at, hour, callTime))
	if _, err := r.apply(s, 2, more...); err != nil {
		return err
	}
	if err := r.settle(s, "new", up); err != nil {
		return err
	}
	r.pause(moment)
	b, err := r.fresh(s)
	if err != nil {
		return err
	}
	after, _ := l.seen()
	return storm(before, b.GetProbes(), 1, seen, after, "one check of thirty was replaced")
}

// storm says whether there were more probes than there should be, by the plugin's own
// count and by what the relay saw.
func storm(before, after, want uint64, seenBefore, seen int, what string) error {
	if after > before+want {
		return fmt.Errorf("%s: %d probes were made, want %d", what, after-before, want)
	}
	// A probe may take several connections, but a handful do not make thirty.
	if n := seen - seenBefore; n > 10+10*int(want) {
		return fmt.Errorf("%s: %d connections came, though %d probes were told", what, n, after-before)
	}
	return nil
}

func removal(r *run) error {
	l, err := r.relay(forward)
	if err != nil {
		return err
	}
	s, err := r.begin(r.check("a", l.at, shortBeat, callTime), r.check("b", l.at, shortBeat, callTime))
	if err != nil {
		return err
	}
	for _, id := range []string{"a", "b"} {
		if err := r.settle(s, id, up); err != nil {
			return err
		}
	}
	if _, err := r.apply(s, 2); err != nil {
		return err
	}
	if err := l.set(refuse); err != nil {
		return err
	}
	// A probe that was on its way may end.
	last := s.beat().GetProbes()
	var made uint64
	told := 0
	if !r.eventually(func() bool {
		told = len(s.told(""))
		n, err := r.probes(s)
		made, last = n-last, n
		return err != nil || made == 0
	}) {
		return fmt.Errorf("%d probes were made in %s of checks that are not in the set", made, moment)
	}
	if n := len(s.told("")); n > told {
		return fmt.Errorf("a verdict was told of a check that is not in the set: %v", s.told("")[n-1])
	}
	if err := l.set(silent); err != nil {
		return err
	}
	before, _ := l.seen()
	r.pause(moment)
	if n, _ := l.seen(); n > before {
		return fmt.Errorf("%d connections were made for checks that are not in the set", n-before)
	}
	return nil
}

func reconnect(r *run) error { return again(r, true) }

func takeover(r *run) error { return again(r, false) }

// again opens a second stream, after the first was closed or beside it.
func again(r *run, closed bool) error {
	l, err := r.relay(forward)
	if err != nil {
		return err
	}
	r.t.Target = l.at
	checks := r.quiet(quietChecks)
	first, err := r.begin(checks...)
	if err != nil {
		return err
	}
	before, err := r.settled(first, quietChecks)
	if err != nil {
		return err
	}
	seen, _ := l.seen()
	if closed {
		first.close()
		r.pause(200 * time.Millisecond)
	}
	second, err := r.open()
	if err != nil {
		return err
	}
	if _, err := r.apply(second, 1, checks...); err != nil {
		return fmt.Errorf("on the second stream: %w", err)
	}
	after, err := r.settled(second, quietChecks)
	if err != nil {
		return fmt.Errorf("known verdicts on the second stream: %w", err)
	}
	now, _ := l.seen()
	if err := storm(before, after, 0, seen, now, "a second stream was opened"); err != nil {
		return err
	}
	if !closed && !r.eventually(func() bool { return first.ended() != nil }) {
		return fmt.Errorf("the first stream stays open beside the second")
	}
	// The second is in force: what changes is told on it.
	if _, err := r.apply(second, 2, r.check("changing", l.at, shortBeat, time.Second)); err != nil {
		return err
	}
	if err := r.settle(second, "changing", up); err != nil {
		return err
	}
	if err := l.set(refuse); err != nil {
		return err
	}
	return r.settle(second, "changing", r.dead())
}

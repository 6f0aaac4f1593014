package conform

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

var timeRequirements = []requirement{
	{name: "interval", of: isCheck, says: "a check is probed once each interval", check: interval},
	{name: "warmup", of: isCheck, says: "the first probes are spread over the warm-up", check: warmup},
	{name: "overlap", of: isCheck, says: "never two probes of one check at a time", check: overlap},
	{name: "beats", of: isCheck, alone: true, says: "beats come at the interval that Configure says, and progress grows", check: beats},
	{name: "back-pressure", of: isCheck, says: "while nobody reads probing goes on, and afterwards the newest verdict of each check is told", check: backPressure},
}

// attempts of a requirement about time, for a machine that was busy meanwhile.
const attempts = 3

func interval(r *run) error {
	const every, slots = 200 * time.Millisecond, 15
	if err := r.scheduled(); err != nil {
		return err
	}
	s, err := r.begin(r.check("a", r.t.Target, every, time.Second))
	if err != nil {
		return err
	}
	if err := r.settle(s, "a", up); err != nil {
		return err
	}
	var n uint64
	var took time.Duration
	for range attempts {
		before, err := r.fresh(s)
		if err != nil {
			return err
		}
		begun := time.Now()
		r.pause(slots * every)
		n, took = s.beat().GetProbes()-before.GetProbes(), time.Since(begun)
		if most := uint64(took/every) + 2; n > most {
			return fmt.Errorf("%d probes in %s with an interval of %s, want at most %d", n, took, every, most)
		}
		if n >= slots*7/10 {
			return nil
		}
	}
	return fmt.Errorf("%d probes in %s with an interval of %s", n, took, every)
}

func warmup(r *run) error {
	const checks, over = 40, 2 * time.Second
	if err := r.scheduled(); err != nil {
		return err
	}
	var worst int
	for range attempts {
		var set []*checkv1.Check
		for i := range checks {
			c := r.check(fmt.Sprintf("check %d", i), r.t.Target, 2*time.Second, time.Second)
			c.Schedule.Warmup = durationpb.New(over)
			set = append(set, c)
		}
		s, err := r.begin(set...)
		if err != nil {
			return err
		}
		var at []time.Time
		for _, c := range set {
			if err := r.settle(s, c.GetId(), up); err != nil {
				return err
			}
			at = append(at, s.told(c.GetId())[0].GetDecidedAt().AsTime())
		}
		slices.SortFunc(at, time.Time.Compare)
		worst = 0
		for i := range at {
			n := 0
			for _, other := range at[i:] {
				if other.Sub(at[i]) <= over/10 {
					n++
				}
			}
			worst = max(worst, n)
		}
		if worst <= checks/2 {
			return nil
		}
		s.close()
		r.process.end()
	}
	return fmt.Errorf("%d of %d first probes ended within %s, with a warm-up of %s", worst, checks, over/10, over)
}

func overlap(r *run) error {
	m := silent
	if r.t.AnyAnswer {
		m = hang
	}
	l, err := r.relay(m)
	if err != nil {
		return err
	}
	const timeout = time.Second
	s, err := r.begin(r.check("a", l.at, 50*time.Millisecond, timeout))
	if err != nil {
		return err
	}
	begun := time.Now()
	r.pause(3 * timeout)
	b, err := r.fresh(s)
	if err != nil {
		return err
	}
	if n, most := b.GetProbes(), uint64(time.Since(begun)/timeout)+1; n > most {
		return fmt.Errorf("%d probes of a target that hangs ended in %s with a timeout of %s, want at most %d", n, time.Since(begun).Round(time.Millisecond), timeout, most)
	}
	// One may end here while its connection is still there.
	if n := l.together(); n > 2 {
		return fmt.Errorf("%d connections of one check were open at once", n)
	}
	return nil
}

func beats(r *run) error {
	s, err := r.begin()
	if err != nil {
		return err
	}
	for _, every := range []time.Duration{shortBeat, 400 * time.Millisecond} {
		if err := r.configure(r.o.Parameters, every); err != nil {
			return err
		}
		var m time.Duration
		ok := false
		for range attempts {
			r.pause(every)
			n := s.beats()
			if !r.eventually(func() bool { return s.beats() >= n+8 }) {
				return fmt.Errorf("%d beats in %s with an interval of %s", s.beats()-n, r.patience(), every)
			}
			at, progress := s.beatsSince(n)
			var gaps []time.Duration
			for i := 1; i < len(at); i++ {
				gaps = append(gaps, at[i].Sub(at[i-1]))
				if progress[i] < progress[i-1] {
					return fmt.Errorf("progress fell from %d to %d", progress[i-1], progress[i])
				}
			}
			if progress[len(progress)-1] == progress[0] {
				return fmt.Errorf("progress stood still at %d for %d beats", progress[0], len(progress))
			}
			if m = median(gaps); m >= every/2 && m <= every*3/2 {
				ok = true
				break
			}
		}
		if !ok {
			return fmt.Errorf("beats come every %s (median) with an interval of %s", m, every)
		}
	}
	return nil
}

// backPressure does not read for a while, during which the target changes again and
// again, from down to up at last. Long ids fill the stream's window fast.
func backPressure(r *run) error {
	const checks, every = 20, 100 * time.Millisecond
	flips, between := 7, 400*time.Millisecond
	if r.o.Full {
		flips, between = 11, time.Second
	}
	l, err := r.relay(refuse)
	if err != nil {
		return err
	}
	var set []*checkv1.Check
	for i := range checks {
		set = append(set, r.check(fmt.Sprintf("%d %s", i, strings.Repeat("x", window/4)), l.at, every, time.Second))
	}
	s, err := r.begin(set...)
	if err != nil {
		return err
	}
	for _, c := range set {
		if err := r.settle(s, c.GetId(), r.dead()); err != nil {
			return err
		}
	}
	before, err := r.fresh(s)
	if err != nil {
		return err
	}
	told := len(s.told(""))
	release := s.hold()
	held := time.Now()
	goesOn, err := r.flip(l, flips, between)
	if err != nil {
		release()
		return err
	}
	span := time.Since(held)
	release()
	if err := s.ended(); err != nil {
		return fmt.Errorf("the stream broke while nobody read it: %w", err)
	}
	b, err := r.fresh(s)
	if err != nil {
		return err
	}
	n := b.GetProbes() - before.GetProbes()
	// Where connections show, they decide; else what a busy machine may still do.
	if least := uint64(checks) * uint64(span/every) / 4; goesOn == nil && n < least {
		return fmt.Errorf("%d probes were made in the %s that nobody read, want more than %d: probing must not wait for the reader", n, span.Round(time.Millisecond), least)
	}
	if goesOn != nil && !*goesOn {
		return fmt.Errorf("%d probes were made in the %s that nobody read, and no more at the end: probing must not wait for the reader", n, span.Round(time.Millisecond))
	}
	for _, c := range set {
		if err := r.settle(s, c.GetId(), up); err != nil {
			return fmt.Errorf("after nobody had read for %s: %w", span.Round(time.Millisecond), err)
		}
	}
	if n := len(s.told("")) - told; n > checks*(flips/2+1) {
		return fmt.Errorf("%d verdicts were kept for %d checks whose target changed %d times: only the newest of each is wanted", n, checks, flips)
	}
	return nil
}

// flip changes a target between up and down; it is up at last. goesOn says whether it is
// connected to then; nil: this type's connections do not show.
func (r *run) flip(l *relay, flips int, between time.Duration) (goesOn *bool, err error) {
	shows := false
	for n := range flips {
		m := forward
		if n%2 == 1 {
			m = refuse
		}
		seen, _ := l.seen()
		if err := l.set(m); err != nil {
			return nil, err
		}
		r.pause(between)
		more := func() bool {
			now, _ := l.seen()
			return now > seen
		}
		switch {
		case n == 0:
			shows = more()
		case n == flips-1 && shows:
			goes := r.eventually(more)
			return &goes, nil
		}
	}
	return nil, nil
}

package pluginhost

import "time"

// silence measures how long a process has made no progress, in time the watcher lived
// through. A watcher that is woken much later than it asked for was not running, and
// neither, most likely, was the process or what reads its beats: such a gap counts for
// one tick, and two more beats may come after it.
type silence struct {
	interval, timeout time.Duration
	silent            time.Duration
	last              time.Time
}

// tick is how often look has to be called.
func (s *silence) tick() time.Duration {
	return min(max(s.timeout/10, 5*time.Millisecond), 400*time.Millisecond)
}

// reset starts the measurement.
func (s *silence) reset(now time.Time) { s.silent, s.last = 0, now }

// look says whether the process has been silent for too long; beat is when it last made
// progress.
func (s *silence) look(now, beat time.Time) bool {
	elapsed, tick := now.Sub(s.last), s.tick()
	switch {
	case !beat.Before(s.last):
		s.silent = now.Sub(beat)
	case elapsed > 3*tick:
		s.silent = min(s.silent+tick, max(s.timeout-2*s.interval, 0))
	default:
		s.silent += elapsed
	}
	s.last = now
	return s.silent >= s.timeout
}

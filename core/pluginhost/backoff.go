package pluginhost

import "time"

// Backoff is the wait between starts: none before the first restart, Min before the
// second, then twice as long each time up to Max.
type Backoff struct {
	Min, Max time.Duration
}

// healthyAfter is how long a process has to run for its earlier failures to be forgotten.
const healthyAfter = 60 * time.Second

// delay before the start that follows a number of failures in a row. jitter in [0, 1)
// takes up to a tenth off, so that processes that died together do not start together.
func (b Backoff) delay(failures int, jitter float64) time.Duration {
	if failures <= 1 || b.Max <= 0 {
		return 0
	}
	d := max(min(b.Min, b.Max), 0)
	for i := 2; i < failures && d > 0 && d < b.Max; i++ {
		if d > b.Max/2 {
			d = b.Max // twice as long may be more than there are numbers for
			break
		}
		d *= 2
	}
	return d - time.Duration(float64(d)*jitter/10)
}

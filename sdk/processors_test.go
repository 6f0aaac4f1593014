package sdk

import (
	"fmt"
	"testing"
	"time"
)

// TestProcessors: as many processors as the work takes, at once when it needs more and
// after a while when it needs less.
func TestProcessors(t *testing.T) {
	var used time.Duration
	var set []int
	p := &processors{most: 8, now: 8, set: func(n int) { set = append(set, n) }, spent: func() time.Duration { return used }}
	now := epoch
	second := func(share float64, times int) {
		for range times {
			now, used = now.Add(time.Second), used+time.Duration(share*float64(time.Second))
			p.look(now)
		}
	}
	second(0.1, 1) // nothing to compare with
	for _, step := range []struct {
		share float64
		times int
		want  string
	}{
		{0.1, 2, "[]"}, {0.1, 1, "[4]"}, {0.1, 6, "[4 2 1]"}, {0.1, 20, "[4 2 1]"},
		{0.7, 1, "[4 2 1 2]"}, {0.7, 20, "[4 2 1 2]"}, {1.9, 1, "[4 2 1 2 4]"}, {3.9, 2, "[4 2 1 2 4 8]"}, {7.9, 5, "[4 2 1 2 4 8]"},
		{0.5, 2, "[4 2 1 2 4 8]"}, {4.5, 1, "[4 2 1 2 4 8]"}, {0.5, 3, "[4 2 1 2 4 8 4]"},
	} {
		second(step.share, step.times)
		if got := fmt.Sprint(set); got != step.want {
			t.Fatalf("after %d s with %.1f processors of work: set to %s, want %s", step.times, step.share, got, step.want)
		}
	}
}

// TestProcessTime: what the kernel counts grows with work.
func TestProcessTime(t *testing.T) {
	before := processTime()
	for end := time.Now().Add(time.Minute); processTime() == before; {
		if time.Now().After(end) {
			t.Fatalf("the process has used %s and no more after a minute of work", before)
		}
	}
}

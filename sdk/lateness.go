package sdk

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

// latenessBounds are the upper bounds of the histogram's buckets.
var latenessBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second,
}

// lateness counts how late probes were started.
type lateness struct {
	// counts by bucket, each start in one; the last is for what is beyond all bounds.
	counts [len(latenessBounds) + 1]uint64
	sum    time.Duration
	// greatest since it was last set to 0.
	greatest time.Duration
}

func (l *lateness) add(d time.Duration) {
	d = max(d, 0)
	i, _ := slices.BinarySearch(latenessBounds[:], d)
	l.counts[i]++
	l.sum += d
	l.greatest = max(l.greatest, d)
}

// encode gives the wire's form, whose counts are cumulative.
func (l *lateness) encode() *checkv1.Lateness {
	out := &checkv1.Lateness{Sum: durationpb.New(l.sum)}
	total := uint64(0)
	for i, n := range l.counts {
		total += n
		if i < len(latenessBounds) {
			out.Buckets = append(out.Buckets, &checkv1.LatenessBucket{AtMost: durationpb.New(latenessBounds[i]), Starts: total})
		}
	}
	out.Starts = total
	return out
}

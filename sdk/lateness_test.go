package sdk

import (
	"testing"
	"time"
)

// TestLateness: counts are cumulative on the wire, and nothing is lost beyond the bounds.
func TestLateness(t *testing.T) {
	var l lateness
	for _, d := range []time.Duration{-time.Second, 0, time.Millisecond, time.Millisecond + 1, 50 * time.Millisecond, time.Minute} {
		l.add(d)
	}
	got := l.encode()
	if got.GetStarts() != 6 || l.greatest != time.Minute || got.GetSum().AsDuration() != time.Minute+52*time.Millisecond+1 {
		t.Errorf("got %v, greatest %s", got, l.greatest)
	}
	want := map[time.Duration]uint64{time.Millisecond: 3, 2 * time.Millisecond: 4, 20 * time.Millisecond: 4, 50 * time.Millisecond: 5, 5 * time.Second: 5}
	before := uint64(0)
	for _, b := range got.GetBuckets() {
		if n, ok := want[b.GetAtMost().AsDuration()]; ok && n != b.GetStarts() {
			t.Errorf("%d starts were late by %s at most, want %d", b.GetStarts(), b.GetAtMost().AsDuration(), n)
		}
		if b.GetStarts() < before {
			t.Errorf("bucket %v has fewer starts than the one before", b)
		}
		before = b.GetStarts()
	}
}

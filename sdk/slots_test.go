package sdk

import (
	"testing"
	"time"
)

// TestSlotWidth: few probes share wide slots, many have narrow ones, and no interval is
// bent by them.
func TestSlotWidth(t *testing.T) {
	for _, test := range []struct {
		interval time.Duration
		rate     float64
		want     time.Duration
	}{
		{time.Second, 100, 200 * time.Millisecond}, {time.Second, 300, 100 * time.Millisecond},
		{time.Second, 1000, 50 * time.Millisecond}, {time.Second, 10000, 20 * time.Millisecond},
		{6 * time.Second, 10, 200 * time.Millisecond}, {600 * time.Millisecond, 10, 100 * time.Millisecond},
		{1100 * time.Millisecond, 10, 100 * time.Millisecond}, {1050 * time.Millisecond, 10, 50 * time.Millisecond},
		{1030 * time.Millisecond, 10, 20 * time.Millisecond}, {200 * time.Millisecond, 10, 20 * time.Millisecond},
		{199 * time.Millisecond, 10, time.Millisecond}, {time.Millisecond, 1e6, time.Millisecond},
	} {
		if got := slotWidth(test.interval, test.rate); got != test.want {
			t.Errorf("every %s with %.0f a second: slots of %s, want %s", test.interval, test.rate, got, test.want)
		}
	}
}

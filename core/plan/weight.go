package plan

import (
	"time"

	"github.com/poise-lb/poise/core/model"
)

// MaxWeight is the greatest weight that a kernel takes.
const MaxWeight = 1<<31 - 1

// Base is the weight that verdicts change: the configured one, or the operator's, which
// stands in its place.
func Base(configured uint32, override model.Override) uint32 {
	if override.Weight != nil {
		configured = *override.Weight
	}
	return min(configured, MaxWeight)
}

// Weight is the weight of a real server that is up: its base and what its verdicts add.
// A drained one and one in maintenance has 0 whatever the verdicts say.
func Weight(base uint32, admin model.Admin, verdicts int64) uint32 {
	if admin != model.Ready {
		return 0
	}
	// Each part is bounded first: what comes from a plugin may be any number.
	sum := int64(min(base, MaxWeight)) + bound(verdicts)
	return uint32(max(0, min(sum, MaxWeight)))
}

// added is what a verdict adds to a weight.
func added(w model.Weight, base uint32) int64 {
	switch w.Mode {
	case model.SetWeight:
		return bound(w.Value) - int64(base)
	case model.ScaleWeight:
		// At most MaxWeight squared, far from the ends of int64; rounded up, so that a
		// weight does not become 0 unless somebody says 0.
		return (max(0, bound(w.Value))*int64(base)+99)/100 - int64(base)
	}
	return bound(w.Value)
}

// bound keeps sums of weights far from the ends of int64.
func bound(w int64) int64 { return max(-MaxWeight, min(w, MaxWeight)) }

// Removed says that an operator wants the real server out of the table at this time.
func Removed(o model.Override, now time.Time) bool {
	switch o.Admin {
	case model.Maintenance:
		return true
	case model.Drain:
		return !o.Deadline.IsZero() && !now.Before(o.Deadline)
	}
	return false
}

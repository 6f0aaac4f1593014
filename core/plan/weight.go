package plan

import (
	"time"

	"github.com/poise-lb/poise/core/model"
)

// MaxWeight is the greatest weight that a kernel takes.
const MaxWeight = 1<<31 - 1

// Weight is the weight of a real server that is up, of its layers: the configured
// weight, the operator's override, which stands in its place, and what its verdicts
// add. Drain and maintenance are 0 whatever the verdicts say.
func Weight(configured uint32, override model.Override, verdicts int64) uint32 {
	if override.Admin != model.Ready {
		return 0
	}
	base := configured
	if override.Weight != nil {
		base = *override.Weight
	}
	// Each part is bounded first: what comes from a plugin may be any number.
	sum := int64(min(base, MaxWeight)) + bound(verdicts)
	return uint32(max(0, min(sum, MaxWeight)))
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

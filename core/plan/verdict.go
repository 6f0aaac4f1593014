package plan

import "github.com/poise-lb/poise/core/model"

// Known is what is known of a check. The zero value: it has not said anything.
type Known struct {
	// Said is what the check said last.
	Said model.Verdict
	// Held is the last thing it said that was up or down; its state is Unknown before.
	Held model.Verdict
}

// Fold takes a new verdict in. A verdict of unknown is remembered as said and changes
// nothing that is held.
func (k Known) Fold(v model.Verdict) Known {
	k.Said = v
	if v.State != model.Unknown {
		k.Held = v
	}
	return k
}

// notProbed is the reason of a real server that has no verdict.
const notProbed = "no probe has ended yet"

// folded is what the verdicts of a real server come to.
type folded struct {
	// verdict is that of the check that decides; its weight is the sum of all.
	verdict model.Verdict
	checks  []model.CheckStatus
}

// fold brings the verdicts of one real server together. carried stands in for checks
// that have not been up or down yet; with the state Unknown it does not.
func fold(r *RealServer, verdicts map[model.CheckID]Known, carried model.Verdict) folded {
	f := folded{verdict: model.Verdict{State: model.Up}}
	if len(r.Checks) == 0 {
		f.verdict.Reason = "it has no checks"
		return f
	}
	f.checks = make([]model.CheckStatus, len(r.Checks))
	var down, pending *model.Verdict
	up := model.Verdict{State: model.Up}
	weight := int64(0)
	for i, id := range r.Checks {
		known := verdicts[id]
		held, said := known.Held, known.Said
		if held.State == model.Unknown && carried.State != model.Unknown {
			held = carried
			if said == (model.Verdict{}) {
				said = carried
			}
		}
		f.checks[i] = model.CheckStatus{ID: id, Check: &r.Config.Checks[i], Verdict: said}
		weight = bound(weight + bound(held.Weight))
		switch held.State {
		case model.Down:
			// The first that went down decides: what fails later does not change the
			// reason that operators see.
			if down == nil || held.Since.Before(down.Since) {
				down = &held
			}
		case model.Up:
			if !held.Since.Before(up.Since) {
				up = held
			}
		default:
			if pending == nil {
				pending = &said
			}
		}
	}
	switch {
	case down != nil:
		f.verdict = *down
	case pending != nil:
		f.verdict = model.Verdict{State: model.Unknown, Reason: pending.Reason, Since: pending.Since}
		if pending.Reason == "" {
			f.verdict.Reason = notProbed
		}
	default:
		f.verdict = up
	}
	f.verdict.Weight = weight
	return f
}

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
// nothing that is held. One that says the same again, as that of a process that was
// started again does, keeps the time since when it is so.
func (k Known) Fold(v model.Verdict) Known {
	if v.State == k.Held.State && v.State != model.Unknown {
		v.Since = k.Held.Since
	}
	k.Said = v
	if v.State != model.Unknown {
		k.Held = v
	}
	return k
}

// notProbed is the reason of a real server that has no verdict.
const notProbed = "no probe has ended yet"

// fold brings the verdicts of one real server together: the verdict of the check that
// decides, with the weight of all. It fills in checks, which has room for each. carried
// stands in for checks that have not been up or down yet; with the state Unknown it
// does not.
func fold(r *RealServer, verdicts map[model.CheckID]Known, carried model.Verdict, checks []model.CheckStatus) model.Verdict {
	if len(r.Checks) == 0 {
		return model.Verdict{State: model.Up, Reason: "it has no checks"}
	}
	var down, pending, up model.Verdict
	isDown, isPending := false, false
	weight := int64(0)
	for i, id := range r.Checks {
		known := verdicts[id]
		if known.Held.State == model.Unknown && carried.State != model.Unknown {
			known.Held = carried
			if known.Said == (model.Verdict{}) {
				known.Said = carried
			}
		}
		checks[i] = model.CheckStatus{ID: id, Check: &r.Config.Checks[i], Verdict: known.Said}
		weight = bound(weight + bound(known.Held.Weight))
		switch known.Held.State {
		case model.Down:
			// The first that went down decides: what fails later does not change the
			// reason that operators see.
			if !isDown || known.Held.Since.Before(down.Since) {
				isDown, down = true, known.Held
			}
		case model.Up:
			if up.State == model.Unknown || !known.Held.Since.Before(up.Since) {
				up = known.Held
			}
		default:
			if !isPending {
				isPending, pending = true, known.Said
			}
		}
	}
	decides := up
	switch {
	case isDown:
		decides = down
	case isPending:
		decides = pending
		if decides.Reason == "" {
			decides.Reason = notProbed
		}
	}
	decides.Weight = weight
	return decides
}

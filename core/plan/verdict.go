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

// orElse lets what was carried over stand in for a check that has not been up or down yet.
func (k Known) orElse(carried model.Verdict) Known {
	k.Held = carried
	if k.Said == (model.Verdict{}) {
		k.Said = carried
	}
	return k
}

// notProbed is the reason of a real server that has no verdict.
const notProbed = "no probe has ended yet"

// said is what counts of a check: what it holds, or what its policy makes of probes that
// could not be made.
func (k Known) said(policy model.OnUnknown) model.Verdict {
	if k.Said == (model.Verdict{}) || k.Said.State != model.Unknown || policy == model.KeepVerdict {
		return k.Held
	}
	out := k.Said
	out.State = model.Down
	if policy == model.CountUp {
		out.State = model.Up
	}
	out.Weight, out.Admin = k.Held.Weight, k.Held.Admin
	return out
}

// folded is what the checks of one real server say together.
type folded struct {
	// Verdict is that of the check that decides.
	model.Verdict
	// weight is what all of them add.
	weight int64
	// admin is the strongest of what they ask for.
	admin model.Admin
}

// fold brings the verdicts of one real server together. base is the weight that the
// checks change. It fills in checks, which has room for each. memory stands in for
// checks that have not been up or down yet.
func fold(r *RealServer, base uint32, verdicts map[model.CheckID]Known, memory *Memory, checks []model.CheckStatus) folded {
	if len(r.Checks) == 0 {
		return folded{Verdict: model.Verdict{State: model.Up, Reason: "it has no checks"}}
	}
	var out folded
	var down, pending, up model.Verdict
	isDown, isPending := false, false
	for i, id := range r.Checks {
		known := verdicts[id]
		if known.Held.State == model.Unknown {
			known = known.orElse(memory.CarriedFor(r.Config.Addr, id))
		}
		checks[i] = model.CheckStatus{ID: id, Check: &r.Config.Checks[i], Verdict: known.Said}
		counts := known.said(r.Config.Checks[i].OnUnknown)
		out.weight = bound(out.weight + added(counts.Weight, base))
		out.admin = max(out.admin, counts.Admin)
		switch counts.State {
		case model.Down:
			// The first that went down decides: what fails later does not change the
			// reason that operators see.
			if !isDown || counts.Since.Before(down.Since) {
				isDown, down = true, counts
			}
		case model.Up:
			if up.State == model.Unknown || !counts.Since.Before(up.Since) {
				up = counts
			}
		default:
			if !isPending {
				isPending, pending = true, known.Said
			}
		}
	}
	out.Verdict = up
	switch {
	case isDown:
		out.Verdict = down
	case isPending:
		out.Verdict = pending
		if out.Reason == "" {
			out.Reason = notProbed
		}
	}
	return out
}

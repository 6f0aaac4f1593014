package sdk

import checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"

// Short names of the wire's states.
const (
	stateNone    = checkv1.VerdictState_VERDICT_STATE_UNSPECIFIED
	stateUp      = checkv1.VerdictState_VERDICT_STATE_UP
	stateDown    = checkv1.VerdictState_VERDICT_STATE_DOWN
	stateUnknown = checkv1.VerdictState_VERDICT_STATE_UNKNOWN
)

// fold makes verdicts out of the results of one check's probes. Its rules:
//
//   - one success is up;
//   - a success that is partial ends a row of failures and keeps an up verdict up; what
//     is not up yet it leaves as it is;
//   - with no verdict yet, the first failure is down, without retries, even after a
//     partial success, as with keepalived 2.2;
//   - else retries+1 failures in a row are down; one more failure keeps it down;
//   - a probe that could not be made keeps the verdict and the count of failures;
//     retries+1 of those in a row are unknown, and the next success or, if the
//     verdict was down, the next failure brings the verdict back.
type fold struct {
	// verdict is the last one that was up or down.
	verdict checkv1.VerdictState
	// told is what the daemon was told last by this process; stateNone: nothing.
	told     checkv1.VerdictState
	weight   Weight
	admin    Admin
	failures uint32
	unknowns uint32
	// inferred: no probe of the check has said the verdict.
	inferred bool
}

// step takes one result. tell: the state that the daemon should be told now, stateNone
// for nothing new. retry: the next probe is a retry.
func (f *fold) step(r Result, retries uint32) (tell checkv1.VerdictState, retry bool) {
	switch r.Outcome {
	case Up:
		f.failures, f.unknowns = 0, 0
		if r.Partial && f.verdict != stateUp {
			return stateNone, false
		}
		f.verdict, f.inferred = stateUp, false
		if f.told == stateUp && f.weight == r.Weight && f.admin == r.Admin {
			return stateNone, false
		}
	case Down:
		f.unknowns = 0
		if f.verdict == stateUp && f.failures < retries {
			f.failures++
			return stateNone, true
		}
		f.failures = 0
		f.verdict, f.inferred = stateDown, false
		if f.told == stateDown && f.weight == r.Weight && f.admin == r.Admin {
			return stateNone, false
		}
	default:
		if f.unknowns < retries {
			f.unknowns++
			return stateNone, true
		}
		if f.told == stateUnknown {
			return stateNone, false
		}
		f.told = stateUnknown
		return stateUnknown, false
	}
	f.told, f.weight, f.admin = f.verdict, r.Weight, r.Admin
	return f.told, false
}

// known is the verdict for a prober to go by.
func (f *fold) known() Known {
	k := Known{Weight: f.weight, Admin: f.admin, Inferred: f.inferred}
	switch f.verdict {
	case stateUp:
		k.Outcome = Up
	case stateDown:
		k.Outcome = Down
	}
	return k
}

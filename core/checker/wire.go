package checker

import (
	"net/netip"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/core/model"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

// encodeSet leaves out the types the process does not serve.
func encodeSet(set model.CheckSet, types map[string]bool) *checkv1.SetChecks {
	out := &checkv1.SetChecks{Generation: set.Generation, Checks: make([]*checkv1.Check, 0, len(set.Checks))}
	for _, d := range set.Checks {
		if types[d.Check.Type] {
			out.Checks = append(out.Checks, encodeCheck(d))
		}
	}
	return out
}

func encodeCheck(d model.DesiredCheck) *checkv1.Check {
	s := d.Check.Schedule
	out := &checkv1.Check{
		Id: string(d.ID), Type: d.Check.Type, Target: EncodeTarget(d.Check.Target),
		Schedule: &checkv1.Schedule{
			Interval: durationpb.New(s.Interval), Timeout: durationpb.New(s.Timeout), Retries: s.Retries,
			RetryDelay: durationpb.New(s.RetryDelay), Warmup: durationpb.New(s.Warmup),
		},
		Known: encodeState(d.Known),
	}
	if d.Check.Parameters != "" {
		out.ParametersJson = []byte(d.Check.Parameters)
	}
	return out
}

// EncodeTarget gives the wire's form of a target.
func EncodeTarget(t model.Target) *checkv1.Target {
	return &checkv1.Target{
		Address: addressText(t.Addr.Addr()), Port: uint32(t.Addr.Port()),
		SourceAddress: addressText(t.Source.Addr()), SourcePort: uint32(t.Source.Port()),
		Interface: t.Interface, Fwmark: t.FWMark,
	}
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func encodeState(s model.State) checkv1.VerdictState {
	switch s {
	case model.Up:
		return checkv1.VerdictState_VERDICT_STATE_UP
	case model.Down:
		return checkv1.VerdictState_VERDICT_STATE_DOWN
	}
	return checkv1.VerdictState_VERDICT_STATE_UNSPECIFIED
}

func decodeState(s checkv1.VerdictState) (model.State, bool) {
	switch s {
	case checkv1.VerdictState_VERDICT_STATE_UP:
		return model.Up, true
	case checkv1.VerdictState_VERDICT_STATE_DOWN:
		return model.Down, true
	case checkv1.VerdictState_VERDICT_STATE_UNKNOWN:
		return model.Unknown, true
	}
	return model.Unknown, false
}

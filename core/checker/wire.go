package checker

import (
	"net/netip"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/core/model"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

// encodeSet takes the checks that the process is to carry out.
func encodeSet(set model.CheckSet, mine func(*model.DesiredCheck) bool) *checkv1.SetChecks {
	out := &checkv1.SetChecks{Generation: set.Generation, Checks: make([]*checkv1.Check, 0, len(set.Checks))}
	for i := range set.Checks {
		if mine(&set.Checks[i]) {
			out.Checks = append(out.Checks, encodeCheck(set.Checks[i]))
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
		Known: encodeState(d.Known.State), KnownWeight: d.Known.Weight.Value,
		KnownWeightMode: weightModes[d.Known.Weight.Mode], KnownAdmin: admins[d.Known.Admin],
		KnownInferred: d.Inferred,
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

var weightModes = [...]checkv1.WeightMode{
	model.AddWeight: checkv1.WeightMode_WEIGHT_MODE_ADD, model.SetWeight: checkv1.WeightMode_WEIGHT_MODE_SET,
	model.ScaleWeight: checkv1.WeightMode_WEIGHT_MODE_SCALE,
}

var admins = [...]checkv1.Admin{
	model.Ready: checkv1.Admin_ADMIN_READY, model.Drain: checkv1.Admin_ADMIN_DRAIN,
	model.Maintenance: checkv1.Admin_ADMIN_MAINTENANCE,
}

// decodeWeight takes a mode that it does not know for none: the check changes nothing.
func decodeWeight(mode checkv1.WeightMode, value int64) model.Weight {
	switch mode {
	case checkv1.WeightMode_WEIGHT_MODE_UNSPECIFIED, checkv1.WeightMode_WEIGHT_MODE_ADD:
		return model.Weight{Value: value}
	case checkv1.WeightMode_WEIGHT_MODE_SET:
		return model.Weight{Mode: model.SetWeight, Value: value}
	case checkv1.WeightMode_WEIGHT_MODE_SCALE:
		return model.Weight{Mode: model.ScaleWeight, Value: value}
	}
	return model.Weight{}
}

func decodeAdmin(a checkv1.Admin) model.Admin {
	switch a {
	case checkv1.Admin_ADMIN_DRAIN:
		return model.Drain
	case checkv1.Admin_ADMIN_MAINTENANCE:
		return model.Maintenance
	}
	return model.Ready
}

package control

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/core/model"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

func TestChange(t *testing.T) {
	const (
		none   = controlv1.OverrideMode_OVERRIDE_MODE_UNSPECIFIED
		ready  = controlv1.OverrideMode_OVERRIDE_MODE_READY
		drain  = controlv1.OverrideMode_OVERRIDE_MODE_DRAIN
		maint  = controlv1.OverrideMode_OVERRIDE_MODE_MAINT
		weight = controlv1.OverrideMode_OVERRIDE_MODE_WEIGHT
		normal = controlv1.OverrideMode_OVERRIDE_MODE_WEIGHT_DEFAULT
	)
	now, minute := started, durationpb.New(time.Minute)
	w := func(n uint32) *uint32 { return &n }
	drained := model.Override{Admin: model.Drain, Deadline: now.Add(time.Hour), Weight: w(5)}
	for _, c := range []struct {
		name    string
		before  model.Override
		request *controlv1.SetOverrideRequest
		want    model.Override
		code    codes.Code
	}{
		{"drain", model.Override{}, &controlv1.SetOverrideRequest{Mode: drain}, model.Override{Admin: model.Drain}, codes.OK},
		{"drain for a minute", model.Override{Weight: w(5)}, &controlv1.SetOverrideRequest{Mode: drain, DrainDeadline: minute}, model.Override{Admin: model.Drain, Deadline: now.Add(time.Minute), Weight: w(5)}, codes.OK},
		{"drain again without a deadline", drained, &controlv1.SetOverrideRequest{Mode: drain}, model.Override{Admin: model.Drain, Weight: w(5)}, codes.OK},
		{"maintenance after drain", drained, &controlv1.SetOverrideRequest{Mode: maint}, model.Override{Admin: model.Maintenance, Weight: w(5)}, codes.OK},
		{"ready takes all back", drained, &controlv1.SetOverrideRequest{Mode: ready}, model.Override{}, codes.OK},
		{"weight while drained", model.Override{Admin: model.Drain}, &controlv1.SetOverrideRequest{Mode: weight, Weight: 10}, model.Override{Admin: model.Drain, Weight: w(10)}, codes.OK},
		{"weight 0", model.Override{}, &controlv1.SetOverrideRequest{Mode: weight}, model.Override{Weight: w(0)}, codes.OK},
		{"the greatest weight", model.Override{}, &controlv1.SetOverrideRequest{Mode: weight, Weight: maxWeight}, model.Override{Weight: w(maxWeight)}, codes.OK},
		{"default weight while drained", drained, &controlv1.SetOverrideRequest{Mode: normal}, model.Override{Admin: model.Drain, Deadline: now.Add(time.Hour)}, codes.OK},
		{"no mode", drained, &controlv1.SetOverrideRequest{Mode: none}, drained, codes.InvalidArgument},
		{"a mode of tomorrow", drained, &controlv1.SetOverrideRequest{Mode: 77}, drained, codes.InvalidArgument},
		{"too great a weight", model.Override{}, &controlv1.SetOverrideRequest{Mode: weight, Weight: maxWeight + 1}, model.Override{}, codes.InvalidArgument},
		{"maintenance with a deadline", model.Override{}, &controlv1.SetOverrideRequest{Mode: maint, DrainDeadline: minute}, model.Override{}, codes.InvalidArgument},
		{"a deadline that is past", model.Override{}, &controlv1.SetOverrideRequest{Mode: drain, DrainDeadline: durationpb.New(-1)}, model.Override{Admin: model.Drain}, codes.InvalidArgument},
		{"a deadline that is none", model.Override{}, &controlv1.SetOverrideRequest{Mode: drain, DrainDeadline: &durationpb.Duration{Seconds: 1, Nanos: -1}}, model.Override{Admin: model.Drain}, codes.InvalidArgument},
	} {
		got, err := change(c.before, c.request, now)
		if status.Code(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
		if diff := cmp.Diff(c.want, got); diff != "" && c.code == codes.OK {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

package main

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
	"github.com/poise-lb/poise/sdk/plugintest/conform"
)

// TestConform runs the executable as the daemon does, through the conformance kit.
func TestConform(t *testing.T) {
	plugintest.Executable(t, conform.Options{Path: plugintest.Build(t, ".")})
}

// TestRoles: every group of a set has a role, and Stop ends the work.
func TestRoles(t *testing.T) {
	c := plugintest.Serve(t, sdk.Plugin{Name: "alone", Version: "1.0.0", Failover: newProvider(), FailoverType: "alone"})
	c.Configure(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	run, err := c.Failover.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	set := &failoverv1.SetGroups{Generation: 1, CoreLossGrace: durationpb.New(time.Second), Groups: []*failoverv1.Group{{Name: "VG1"}, {Name: "VG2"}}}
	if err := run.Send(&failoverv1.RunRequest{Message: &failoverv1.RunRequest_SetGroups{SetGroups: set}}); err != nil {
		t.Fatal(err)
	}
	masters := map[string]bool{}
	for len(masters) < 2 {
		m, err := run.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if r := m.GetRoleChange(); r.GetRole() == failoverv1.Role_ROLE_MASTER {
			masters[r.GetGroup()] = true
		}
	}
	if _, err := c.Plugin.Stop(ctx, &pluginv1.StopRequest{Mode: pluginv1.StopMode_STOP_MODE_WITHDRAW}); err != nil {
		t.Errorf("stop: %s", err)
	}
}

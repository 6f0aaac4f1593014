package null

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

func serve(t *testing.T) *plugintest.Client {
	c := plugintest.Serve(t, sdk.Plugin{Name: "null", Version: "test", Forwarder: New(), ForwarderType: Type})
	c.Configure(t, "{}")
	return c
}

func serviceKey(address string) *forwardv1.ServiceKey {
	return &forwardv1.ServiceKey{Address: address, Port: 80, Protocol: forwardv1.Protocol_PROTOCOL_TCP, Family: forwardv1.Family_FAMILY_IPV4}
}

func service(address, scheduler string, reals ...*forwardv1.RealServer) *forwardv1.VirtualServer {
	return &forwardv1.VirtualServer{Key: serviceKey(address), Scheduler: scheduler, RealServers: reals}
}

func real(address string, weight uint32) *forwardv1.RealServer {
	return &forwardv1.RealServer{Address: address, Port: 80, Weight: weight, Method: forwardv1.Method_METHOD_DR}
}

func TestApply(t *testing.T) {
	c := serve(t)
	plugintest.Conform(t, c, nil)
	mark := &forwardv1.VirtualServer{Key: &forwardv1.ServiceKey{Fwmark: 3, Family: forwardv1.Family_FAMILY_IPV4}, Scheduler: "rr"}
	sync := &forwardv1.ConnectionSync{Role: forwardv1.SyncRole_SYNC_ROLE_MASTER, Interface: "eth0"}
	full := service("192.0.2.100", "rr", real("192.0.2.1", 1), real("192.0.2.2", 1))
	owned := []*forwardv1.ServiceKey{serviceKey("192.0.2.100"), mark.GetKey()}
	steps := []struct {
		name       string
		generation uint64
		set        []*forwardv1.VirtualServer
		owned      []*forwardv1.ServiceKey
		sync       *forwardv1.ConnectionSync
		operations uint32
		left       int
	}{
		{"new", 1, []*forwardv1.VirtualServer{full, mark}, owned, sync, 5, 2},
		{"the same", 2, []*forwardv1.VirtualServer{full, mark}, owned, sync, 0, 2},
		{"one weight", 3, []*forwardv1.VirtualServer{service("192.0.2.100", "rr", real("192.0.2.1", 1), real("192.0.2.2", 0)), mark}, owned, sync, 1, 2},
		{"scheduler, and one real server less", 4, []*forwardv1.VirtualServer{service("192.0.2.100", "wlc", real("192.0.2.2", 0)), mark}, owned, sync, 2, 2},
		{"not owned", 5, nil, nil, nil, 1, 2},
		{"owned", 6, nil, owned, nil, 2, 0},
	}
	for _, step := range steps {
		got, err := c.Forward.Apply(t.Context(), &forwardv1.ApplyRequest{Generation: step.generation, VirtualServers: step.set, Owned: step.owned, ConnectionSync: step.sync})
		if err != nil || got.GetOperations() != step.operations || got.GetGeneration() != step.generation || (got.GetAppliedAt() != nil) != (step.operations > 0) {
			t.Errorf("%s: %v, %v, want %d operations", step.name, got, err, step.operations)
		}
		seen, err := c.Forward.Observe(t.Context(), &forwardv1.ObserveRequest{})
		if err != nil || len(seen.GetVirtualServers()) != step.left {
			t.Errorf("%s: then %v, %v, want %d services", step.name, seen, err, step.left)
		}
		for _, s := range step.set {
			found := false
			for _, o := range seen.GetVirtualServers() {
				found = found || proto.Equal(o, s)
			}
			if !found {
				t.Errorf("%s: %v is not in the table", step.name, s)
			}
		}
	}
	if _, err := c.Forward.Apply(t.Context(), &forwardv1.ApplyRequest{Generation: 5}); status.Code(err) != codes.Aborted {
		t.Errorf("an older generation gave %v, want Aborted", err)
	}
	bad, err := c.Forward.Apply(t.Context(), &forwardv1.ApplyRequest{Generation: 7, VirtualServers: []*forwardv1.VirtualServer{service("nowhere", "rr"), full}})
	if err != nil || len(bad.GetErrors()) != 1 || bad.GetOperations() != 3 {
		t.Errorf("a bad object beside a good one gave %v, %v", bad, err)
	}
}

func TestStop(t *testing.T) {
	for mode, left := range map[pluginv1.StopMode]int{pluginv1.StopMode_STOP_MODE_LEAVE: 1, pluginv1.StopMode_STOP_MODE_WITHDRAW: 0} {
		c := serve(t)
		if _, err := c.Forward.Apply(t.Context(), &forwardv1.ApplyRequest{Generation: 1, VirtualServers: []*forwardv1.VirtualServer{service("192.0.2.100", "rr")}}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Plugin.Stop(t.Context(), &pluginv1.StopRequest{Mode: mode}); err != nil {
			t.Fatal(err)
		}
		seen, err := c.Forward.Observe(t.Context(), &forwardv1.ObserveRequest{})
		if err != nil || len(seen.GetVirtualServers()) != left {
			t.Errorf("after %s: %v, %v, want %d services", mode, seen, err, left)
		}
	}
}

func TestWatch(t *testing.T) {
	c := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	watch, err := c.Forward.Watch(ctx, &forwardv1.WatchRequest{CountersInterval: durationpb.New(20 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	var progress []uint64
	observed := 0
	for len(progress) < 3 || observed == 0 {
		m, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if b := m.GetBeat(); b != nil {
			progress = append(progress, b.GetProgress())
		}
		if m.GetObserved() != nil {
			observed++
		}
	}
	for i := range progress[1:] {
		if progress[i+1] <= progress[i] {
			t.Errorf("progress of beats %v does not grow", progress)
		}
	}
}

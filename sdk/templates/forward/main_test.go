package main

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	"github.com/poise-lb/poise/sdk/plugintest"
	"github.com/poise-lb/poise/sdk/plugintest/conform"
)

// TestConform runs the executable as the daemon does, through the conformance kit.
//
// TODO: leave Touch out where the table is a real one of a machine that needs it.
func TestConform(t *testing.T) {
	plugintest.Executable(t, conform.Options{Path: plugintest.Build(t, "."), Touch: true})
}

// TestApply: only what is ours is removed, and an old request changes nothing.
func TestApply(t *testing.T) {
	web := &forwardv1.VirtualServer{Key: &forwardv1.ServiceKey{Address: "192.0.2.100", Port: 80, Protocol: forwardv1.Protocol_PROTOCOL_TCP}}
	mail := &forwardv1.VirtualServer{Key: &forwardv1.ServiceKey{Address: "192.0.2.100", Port: 25, Protocol: forwardv1.Protocol_PROTOCOL_TCP}}
	f := newForwarder()
	steps := []struct {
		generation uint64
		want       []*forwardv1.VirtualServer
		owned      []*forwardv1.ServiceKey
		operations uint32
		left       int
	}{
		{1, []*forwardv1.VirtualServer{web, mail}, nil, 2, 2},
		{2, []*forwardv1.VirtualServer{web, mail}, nil, 0, 2},
		{3, nil, []*forwardv1.ServiceKey{web.GetKey()}, 1, 1},
		{3, nil, []*forwardv1.ServiceKey{web.GetKey()}, 0, 1},
	}
	for i, s := range steps {
		got, err := f.Apply(t.Context(), &forwardv1.ApplyRequest{Generation: s.generation, VirtualServers: s.want, Owned: s.owned})
		if err != nil || got.GetOperations() != s.operations || len(f.platform) != s.left {
			t.Errorf("step %d: %v, %v and %d left, want %d operations and %d left", i, got, err, len(f.platform), s.operations, s.left)
		}
	}
	if _, err := f.Apply(t.Context(), &forwardv1.ApplyRequest{Generation: 2}); status.Code(err) != codes.Aborted {
		t.Errorf("an older generation: %v, want Aborted", err)
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

func TestDrainWait(t *testing.T) {
	type state struct {
		active, inactive, weight uint32
		out, behind, gone        bool
		override                 string
	}
	drained := func(active, inactive uint32) state {
		return state{active: active, inactive: inactive, override: "drain"}
	}
	for _, c := range []struct {
		name   string
		states []state // the last one stays
		says   string
		err    string
	}{
		{"connections end", []state{drained(2, 1), drained(2, 1), drained(0, 1), drained(0, 0)}, "waiting: 2 active, 1 inactive\nwaiting: 0 active, 1 inactive\nno connection is left\n", ""},
		{"none at all", []state{drained(0, 0)}, "no connection is left\n", ""},
		{"a count from before", []state{drained(0, 0), drained(1, 0), drained(0, 0)}, "waiting: 1 active, 0 inactive\nno connection is left\n", ""},
		{"the table is behind", []state{{behind: true, override: "drain"}, {weight: 5, override: "drain"}, drained(3, 0), drained(0, 0)}, "waiting: 3 active, 0 inactive\nno connection is left\n", ""},
		{"the deadline passes", []state{drained(2, 0), {out: true, override: "drain, weight 7"}}, "waiting: 2 active, 0 inactive\nit is out of the table; connections that were still open are cut\n", ""},
		{"taken back", []state{drained(2, 0), {active: 2}}, "waiting: 2 active, 0 inactive\n", "the drain was taken back"},
		{"reloaded without it", []state{drained(2, 0), {gone: true}}, "waiting: 2 active, 0 inactive\n", "the configuration has the real server no longer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0
			var said bytes.Buffer
			w := drainWait{say: &said, poll: time.Millisecond, settle: 20 * time.Millisecond, status: func(context.Context) (*controlv1.StatusResponse, error) {
				s := c.states[min(calls, len(c.states)-1)]
				calls++
				r := &controlv1.StatusResponse{Forwarder: &controlv1.Forwarder{AppliedGeneration: 2, DesiredGeneration: 2}}
				if s.behind {
					r.Forwarder.AppliedGeneration = 1
				}
				v := &controlv1.VirtualServer{Name: "VS"}
				if !s.gone {
					v.RealServers = []*controlv1.RealServer{{
						Name: "RS", ActiveConnections: s.active, InactiveConnections: s.inactive, Weight: s.weight, InTable: !s.out, Override: s.override,
					}}
				}
				r.VirtualServers = []*controlv1.VirtualServer{{Name: "other"}, v}
				return r, nil
			}}
			err := w.run(t.Context(), "VS", "RS")
			if (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if said.String() != c.says {
				t.Errorf("said %q, want %q", said.String(), c.says)
			}
			if calls < len(c.states) {
				t.Errorf("ended after %d of %d states", calls, len(c.states))
			}
		})
	}
}

func TestDrainWaitEndsWhenItIsInterruptedOrTheDaemonIsGone(t *testing.T) {
	busy := func(context.Context) (*controlv1.StatusResponse, error) {
		return &controlv1.StatusResponse{VirtualServers: []*controlv1.VirtualServer{{Name: "VS", RealServers: []*controlv1.RealServer{{Name: "RS", InTable: true, Override: "drain", ActiveConnections: 1}}}}}, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := drainWait{status: busy, say: &bytes.Buffer{}, poll: time.Hour}
	if err := w.run(ctx, "VS", "RS"); err == nil || err.Error() != "interrupted; the drain goes on" {
		t.Errorf("interrupted: %v", err)
	}
	gone := errors.New("no poised")
	w.status = func(context.Context) (*controlv1.StatusResponse, error) { return nil, gone }
	if err := w.run(t.Context(), "VS", "RS"); !errors.Is(err, gone) {
		t.Errorf("gone: %v", err)
	}
}

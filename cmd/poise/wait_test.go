package main

import (
	"bytes"
	"cmp"
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
		// on is where appliances carry it too; there are its connections there, and
		// whether the appliance is behind or held.
		on         *controlv1.VirtualServer
		there      uint32
		late, held bool
		// member is its state there; "": drained, unread that the appliance never answered.
		member string
		unread bool
	}
	both, elsewhere := &controlv1.VirtualServer{}, &controlv1.VirtualServer{AppliancesOnly: true}
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
		{"the table is behind", []state{{behind: true, override: "drain"}, {weight: 5, override: "drain"}, drained(3, 0), drained(0, 0)}, "waiting: the kernel's table does not have the drain yet\nwaiting: 3 active, 0 inactive\nno connection is left\n", ""},
		{"the deadline passes", []state{drained(2, 0), {out: true, override: "drain, weight 7"}}, "waiting: 2 active, 0 inactive\nit is out of the table; connections that were still open are cut\n", ""},
		{"on an appliance too", []state{
			{active: 1, there: 4, on: both, override: "drain"}, {there: 2, on: both, override: "drain"}, {late: true, on: both, override: "drain"}, {on: both, override: "drain"},
		}, "waiting: 1 active, 0 inactive, 4 active on f5:lab\nwaiting: 0 active, 0 inactive, 2 active on f5:lab\nwaiting: f5:lab does not have the drain yet\nno connection is left\n", ""},
		{"on an appliance only", []state{{there: 3, on: elsewhere, override: "drain"}, {out: true, there: 3, late: true, on: elsewhere, override: "drain"}, {out: true, there: 3, on: elsewhere, override: "drain"}},
			"waiting: 3 active on f5:lab\nit is offline; connections that are still open go on\n", ""},
		{"an appliance that cannot be reached", []state{{on: both, override: "drain", member: "enabled"}, {out: true, on: both, override: "drain", member: "enabled"}, {on: both, override: "drain", member: "offline"}},
			"waiting: f5:lab does not have the drain yet; appliance: no route\nno connection is left\n", ""},
		{"an appliance that has never answered", []state{{on: both, override: "drain", unread: true}, {on: both, override: "drain"}}, "waiting: f5:lab has not answered yet\nno connection is left\n", ""},
		{"on one that another director writes to", []state{{late: true, held: true, on: both, override: "drain"}}, "no connection is left\n", ""},
		{"the deadline passes, on an appliance too", []state{{out: true, on: both, override: "drain"}}, "it is out of the table; connections that were still open are cut, those on an appliance go on\n", ""},
		{"taken back", []state{drained(2, 0), {active: 2}}, "waiting: 2 active, 0 inactive\n", "the drain was taken back"},
		{"reloaded without it", []state{drained(2, 0), {gone: true}}, "waiting: 2 active, 0 inactive\n", "the configuration has the real server no longer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0
			var said bytes.Buffer
			w := drainWait{say: &said, poll: time.Millisecond, settle: 20 * time.Millisecond, applianceSettle: 30 * time.Millisecond, status: func(context.Context) (*controlv1.StatusResponse, error) {
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
				if s.on != nil {
					v.AppliancesOnly = s.on.GetAppliancesOnly()
					v.Carried = []*controlv1.Carried{{Forwarder: "f5:lab", Present: true, Members: []*controlv1.Member{{Name: "other", State: "enabled", ActiveConnections: 9}, {Name: "RS", State: cmp.Or(s.member, "drained"), ActiveConnections: s.there}}}}
					r.Appliances = []*controlv1.Forwarder{{Name: "f5:other", DesiredGeneration: 9}, {Name: "f5:lab", Platform: "BIG-IP", AppliedGeneration: 2, DesiredGeneration: 2}}
					if s.late {
						r.Appliances[1].AppliedGeneration = 1
					}
					if s.member == "enabled" {
						r.Appliances[1].Errors = []string{"appliance: no route"}
					}
					if s.unread {
						r.Appliances[1].Platform = ""
					}
					if s.held {
						r.Appliances[1].Held = "failover group VGM is not master here"
					}
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

package bfd

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/poise-lb/poise/plugins/checkers/bfd/packet"
	"github.com/poise-lb/poise/plugins/checkers/bfd/session"
	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

func TestParse(t *testing.T) {
	for parameters, path := range map[string]string{
		`{"min_rx":"0s"}`:            "/min_rx",
		`{"min_tx":"2000s"}`:         "/min_tx",
		`{"min_tx":"-1ms"}`:          "/min_tx",
		`{"idle_tx":"1"}`:            "/idle_tx",
		`{"multiplier":0}`:           "/multiplier",
		`{"multiplier":256}`:         "/multiplier",
		`{"ttl":0}`:                  "/ttl",
		`{"ttl":256}`:                "/ttl",
		`{"max_hops":-2}`:            "/max_hops",
		`{"max_hops":256}`:           "/max_hops",
		`{"neighbor_ip":"10.0.0.1"}`: "/neighbor_ip",
	} {
		problems := checker{}.Validate(json.RawMessage(parameters))
		if len(problems) != 1 || problems[0].Path != path || problems[0].Warning {
			t.Errorf("validate %s: %v, want an error at %s", parameters, problems, path)
		}
		if _, err := New().Parse(json.RawMessage(parameters)); err == nil {
			t.Errorf("parse %s: no error", parameters)
		}
	}
	if problems := (checker{}).Validate(json.RawMessage(`{"idle_tx":"500ms"}`)); len(problems) != 1 || !problems[0].Warning {
		t.Errorf("got %v, want a warning", problems)
	}
	for parameters, hops := range map[string]int{`{}`: 0, `{"multihop":true}`: 255, `{"multihop":true,"max_hops":3}`: 3, `{"max_hops":-1}`: 255} {
		p, err := New().Parse(json.RawMessage(parameters))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.(*prober).peer(target("192.0.2.1")); err != nil || got.MaxHops != hops {
			t.Errorf("%s: %d hops, %v; want %d", parameters, got.MaxHops, err, hops)
		}
	}
}

func TestReason(t *testing.T) {
	tests := []struct {
		status   session.Status
		obstacle error
		want     string
	}{
		{session.Status{State: packet.Down, Diag: packet.DetectionTimeExpired}, nil, "BFD session down: control detection time expired"},
		{session.Status{State: packet.Down, Diag: packet.NeighborSaidDown, Heard: true, Remote: packet.Down, RemoteDiag: packet.DetectionTimeExpired}, nil,
			"BFD session down: neighbor signaled session down (down: control detection time expired)"},
		{session.Status{State: packet.Down, Diag: packet.NeighborSaidDown}, nil, "BFD session down: neighbor signaled session down"},
		{session.Status{State: packet.Down}, errors.New("network is unreachable"), "BFD session down: the neighbor has not been heard; network is unreachable"},
		{session.Status{State: packet.Down, Heard: true, Remote: packet.AdminDown}, nil, "BFD session down: the neighbor is administratively down"},
		{session.Status{State: packet.Init, Heard: true, Remote: packet.Down}, nil, "BFD session init"},
	}
	for _, test := range tests {
		if got := reason(test.status, test.obstacle); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

func TestConform(t *testing.T) {
	c := plugintest.Serve(t, sdk.Plugin{Name: "bfd", Version: "test", Checkers: map[string]sdk.Checker{Type: New()}})
	c.Configure(t, "")
	plugintest.Conform(t, c, map[string]string{Type: `{"min_rx":"50ms","passive":true}`})
}

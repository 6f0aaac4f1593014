package forwarder

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/status"

	"github.com/poise-lb/poise/core/model"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// importTimeout bounds the reading of an appliance with thousands of members.
const importTimeout = 2 * time.Minute

// Errors of Import.
var (
	ErrNotRunning = errors.New("its plugin does not run")
	ErrNoImport   = errors.New("it has nothing to import from")
)

// ImportedServer is a virtual server that an appliance has, in poise's words. Its checks
// have no schedule but what was said.
type ImportedServer struct {
	// Origin is its name there.
	Origin string
	Server model.VirtualServer
	// Parameters are the forwarder's own of it, as JSON.
	Parameters string
}

// Import reads what the appliance forwards today; notes say what could not be translated.
// defaults is the schedule of a check of which nothing is said.
func (f *Forwarder) Import(ctx context.Context, scope string, defaults model.Schedule) (servers []ImportedServer, notes []string, err error) {
	f.mu.Lock()
	client, features := f.client, f.features
	f.mu.Unlock()
	switch {
	case client == nil:
		return nil, nil, ErrNotRunning
	case !slices.Contains(features, featureImport):
		return nil, nil, ErrNoImport
	}
	ctx, cancel := context.WithTimeout(ctx, importTimeout)
	defer cancel()
	response, err := client.Import(ctx, &forwardv1.ImportRequest{Scope: scope})
	if err != nil {
		return nil, nil, fmt.Errorf("read what it forwards: %s", status.Convert(err).Message())
	}
	for _, v := range response.GetVirtualServers() {
		s, err := decodeImported(v, defaults)
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: left out: %v", v.GetOrigin(), err))
			continue
		}
		servers = append(servers, s)
	}
	for _, n := range response.GetNotes() {
		notes = append(notes, n.GetObject()+": "+n.GetMessage())
	}
	return servers, notes, nil
}

func decodeImported(v *forwardv1.ImportedVirtualServer, defaults model.Schedule) (ImportedServer, error) {
	list := decodeServices([]*forwardv1.VirtualServer{v.GetVirtualServer()})
	if len(list) != 1 {
		return ImportedServer{}, errors.New("its address is none")
	}
	s := list[0]
	checks, err := decodeChecks(v.GetChecks(), defaults)
	if err != nil {
		return ImportedServer{}, err
	}
	out := ImportedServer{Origin: v.GetOrigin(), Parameters: string(v.GetVirtualServer().GetParametersJson()), Server: model.VirtualServer{
		Key: s.Key, Scheduler: s.Scheduler, SchedulerFlags: s.SchedulerFlags, Persistence: s.Persistence, OnePacket: s.OnePacket, Quorum: 1,
	}}
	for _, d := range s.Destinations {
		if d.Sorry {
			out.Server.Sorry = &model.SorryServer{Addr: d.Addr, Forwarding: d.Forwarding}
			continue
		}
		r := model.RealServer{
			Addr: d.Addr, Weight: d.Weight, Forwarding: d.Forwarding, UpperThreshold: d.UpperThreshold, LowerThreshold: d.LowerThreshold,
			Checks: slices.Clone(checks),
		}
		for i := range r.Checks {
			r.Checks[i].Target.Addr = d.Addr
		}
		out.Server.RealServers = append(out.Server.RealServers, r)
	}
	if len(out.Server.RealServers) > 0 {
		out.Server.Forwarding = out.Server.RealServers[0].Forwarding
	}
	return out, nil
}

func decodeChecks(list []*forwardv1.ImportedCheck, defaults model.Schedule) ([]model.Check, error) {
	var out []model.Check
	for _, c := range list {
		check := model.Check{Type: c.GetType(), Schedule: defaults}
		check.Schedule.Interval = cmp.Or(max(c.GetInterval().AsDuration(), 0), defaults.Interval)
		check.Schedule.Timeout = cmp.Or(max(c.GetTimeout().AsDuration(), 0), defaults.Timeout)
		if len(c.GetParametersJson()) > 0 {
			var err error
			if check.Parameters, err = canonical(c.GetParametersJson()); err != nil {
				return nil, fmt.Errorf("parameters of its check %s: %w", c.GetType(), err)
			}
		}
		out = append(out, check)
	}
	return out, nil
}

// canonical is JSON with its keys sorted; empty for an empty object.
func canonical(text []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value map[string]any
	if err := d.Decode(&value); err != nil {
		return "", err
	}
	if len(value) == 0 {
		return "", nil
	}
	out, err := json.Marshal(value)
	return string(out), err
}

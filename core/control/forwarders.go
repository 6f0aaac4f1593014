package control

import (
	"context"
	"errors"
	"net/netip"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/plan"
	"github.com/poise-lb/poise/internal/printable"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// Diff implements poise.control.v1.
func (s *Server) Diff(ctx context.Context, r *controlv1.DiffRequest) (*controlv1.DiffResponse, error) {
	list, err := s.daemon.Differences(ctx, r.GetForwarder())
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		return nil, status.Error(codes.NotFound, printable.Text(refused.Reason))
	case err != nil:
		return nil, status.Error(codes.Unavailable, printable.Text(err.Error()))
	}
	out := &controlv1.DiffResponse{}
	for _, c := range list {
		one := &controlv1.ForwarderDiff{Forwarder: printable.Text(c.Forwarder), Reason: printable.Text(c.Reason), Compared: c.Compared}
		for _, d := range c.Differences {
			one.Differences = append(one.Differences, &controlv1.Difference{
				Object: printable.Text(d.Object), Kind: string(d.Kind), Desired: printable.Text(d.Desired), Actual: printable.Text(d.Actual),
			})
		}
		out.Forwarders = append(out.Forwarders, one)
	}
	return out, nil
}

// ImportForwarder implements poise.control.v1.
func (s *Server) ImportForwarder(ctx context.Context, r *controlv1.ImportForwarderRequest) (*controlv1.ImportForwarderResponse, error) {
	var found, names []string
	for _, a := range s.daemon.Appliances() {
		names = append(names, a.Instance.ID())
		if a.Instance.ID() == r.GetForwarder() {
			found = append(found, a.Instance.ID())
		}
	}
	if own := s.daemon.Info().Forwarder; own != "" && own == r.GetForwarder() {
		return nil, status.Errorf(codes.FailedPrecondition, "forwarder %s has nothing to import from: it is the director's own", own)
	}
	if err := onlyOne("forwarder to import from", "", r.GetForwarder(), found, names); err != nil {
		return nil, err
	}
	yaml, notes, err := s.daemon.Import(ctx, r.GetForwarder(), r.GetScope())
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		return nil, status.Error(codes.FailedPrecondition, printable.Text(refused.Reason))
	case err != nil:
		return nil, status.Error(codes.Unavailable, printable.Text(err.Error()))
	}
	return &controlv1.ImportForwarderResponse{Yaml: printable.Text(yaml), Notes: printable.Texts(notes)}, nil
}

// tables are what the appliances hold, by their names.
type tables map[string]map[model.ServiceKey]*model.Service

func tablesOf(list []Appliance) tables {
	out := make(tables, len(list))
	for i := range list {
		services := list[i].Status.Services
		held := make(map[model.ServiceKey]*model.Service, len(services))
		for j := range services {
			if !services[j].Foreign {
				held[services[j].Key] = &services[j]
			}
		}
		out[list[i].Instance.ID()] = held
	}
	return out
}

func encodeAppliances(list []Appliance, s *model.Snapshot) []*controlv1.Forwarder {
	var out []*controlv1.Forwarder
	for _, a := range list {
		f := encodeForwarder(a.Instance.Type, &model.Snapshot{}, a.Status)
		f.Name, f.Held = printable.Text(a.Instance.ID()), printable.Text(a.Held)
		f.ForeignServices = foreign(a.Status.Services, carriedKeys(s, a.Instance.ID()))
		out = append(out, f)
	}
	return out
}

// carriedKeys are the virtual servers that an appliance carries, as they are named there.
func carriedKeys(s *model.Snapshot, forwarder string) map[model.ServiceKey]bool {
	out := map[model.ServiceKey]bool{}
	for i := range s.Services {
		for _, c := range s.Services[i].Config.Carriers {
			if c.Forwarder == forwarder {
				out[plan.CarriedKey(s.Services[i].Config.Key, c)] = true
			}
		}
	}
	return out
}

// encodeCarried is what the appliances have of a virtual server.
func encodeCarried(v *model.VirtualServer, actual tables) []*controlv1.Carried {
	var out []*controlv1.Carried
	for _, c := range v.Carriers {
		if !c.OnAppliance() {
			continue
		}
		key := plan.CarriedKey(v.Key, c)
		one := &controlv1.Carried{Forwarder: printable.Text(c.Forwarder), Name: key.String()}
		if s := actual[c.Forwarder][key]; s != nil {
			one.Present, one.Connections, one.Members = true, s.Counters.Connections, encodeMembers(v, s)
		}
		out = append(out, one)
	}
	return out
}

// encodeMembers gives those of the configuration in its order, then the others.
func encodeMembers(v *model.VirtualServer, s *model.Service) []*controlv1.Member {
	rest := make(map[netip.AddrPort]*model.Destination, len(s.Destinations))
	for i := range s.Destinations {
		rest[s.Destinations[i].Addr] = &s.Destinations[i]
	}
	out := make([]*controlv1.Member, 0, len(s.Destinations))
	for i := range v.RealServers {
		if d := rest[v.RealServers[i].Addr]; d != nil {
			out = append(out, encodeMember(d))
			delete(rest, d.Addr)
		}
	}
	for i := range s.Destinations {
		if d := rest[s.Destinations[i].Addr]; d != nil {
			out = append(out, encodeMember(d))
			delete(rest, d.Addr)
		}
	}
	return out
}

func encodeMember(d *model.Destination) *controlv1.Member {
	return &controlv1.Member{
		Name: d.Addr.String(), State: d.MemberState(), Weight: d.Weight,
		ActiveConnections: d.Counters.ActiveConnections, Connections: d.Counters.Connections,
	}
}

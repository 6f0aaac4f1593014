package forwarder

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/status"

	"github.com/poise-lb/poise/core/model"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// importTimeout bounds the reading of an appliance with thousands of members.
const importTimeout = 2 * time.Minute

const (
	maxPort = 1<<16 - 1
	// maxWeight is the most that a real server can weigh.
	maxWeight = 1<<31 - 1
)

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
	seen := map[model.ServiceKey]string{}
	for _, v := range response.GetVirtualServers() {
		s, err := decodeImported(v, defaults)
		if first, again := seen[s.Server.Key]; err == nil && again {
			err = fmt.Errorf("%s is on %s too, and poise has one virtual server of an address and port", first, s.Server.Key)
		}
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: left out: %v", v.GetOrigin(), err))
			continue
		}
		seen[s.Server.Key] = s.Origin
		servers = append(servers, s)
		for _, r := range v.GetVirtualServer().GetRealServers() {
			if r.GetOffline() {
				notes = append(notes, fmt.Sprintf("%s: %s is offline there; here its checks decide", v.GetOrigin(), realServerName(r)))
			}
		}
	}
	for _, n := range response.GetNotes() {
		notes = append(notes, n.GetObject()+": "+n.GetMessage())
	}
	return servers, notes, nil
}

func decodeImported(v *forwardv1.ImportedVirtualServer, defaults model.Schedule) (ImportedServer, error) {
	if err := sensible(v.GetVirtualServer()); err != nil {
		return ImportedServer{}, err
	}
	s := decodeServices([]*forwardv1.VirtualServer{v.GetVirtualServer()})[0]
	checks, err := decodeChecks(v.GetChecks(), defaults)
	if err != nil {
		return ImportedServer{}, err
	}
	parameters, err := canonical(v.GetVirtualServer().GetParametersJson())
	if err != nil {
		return ImportedServer{}, fmt.Errorf("its parameters: %w", err)
	}
	out := ImportedServer{Origin: v.GetOrigin(), Parameters: parameters, Server: model.VirtualServer{
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

// sensible refuses what is no virtual server: the process is not trusted to send one, and
// what is decoded all the same would be another one.
func sensible(v *forwardv1.VirtualServer) error {
	key, err := decodeKey(v.GetKey())
	switch {
	case err != nil:
		return err
	case v.GetKey().GetPort() > maxPort:
		return fmt.Errorf("port %d is none", v.GetKey().GetPort())
	case !key.Addr.IsValid() && key.FWMark == 0:
		return errors.New("it has no address")
	case key.Addr.IsValid() && (key.Addr.Is6() != key.IPv6 || key.Addr.Is4In6() || key.Protocol == model.NoProtocol || key.FWMark != 0):
		return fmt.Errorf("address %s, family, protocol and mark do not go together", key.Addr)
	case v.GetScheduler() == "":
		return errors.New("it has no scheduler")
	case v.GetPersistenceTimeout().AsDuration() < 0 || v.GetPersistencePrefix() > 128:
		return errors.New("its persistence is none")
	}
	seen := map[string]bool{}
	sorry := 0
	for _, r := range v.GetRealServers() {
		name := realServerName(r)
		addr, err := netip.ParseAddr(r.GetAddress())
		switch {
		case err != nil || addr.Is4In6() || r.GetPort() > maxPort:
			return fmt.Errorf("real server %s is no address and port", name)
		case r.GetWeight() > maxWeight:
			return fmt.Errorf("real server %s has weight %d", name, r.GetWeight())
		case !slices.Contains(slices.Collect(maps.Values(methods)), r.GetMethod()):
			return fmt.Errorf("real server %s has no forwarding method", name)
		case seen[name]:
			return fmt.Errorf("real server %s is there twice", name)
		}
		seen[name] = true
		if r.GetSorry() {
			if sorry++; sorry > 1 {
				return fmt.Errorf("real server %s is a second sorry server", name)
			}
		}
	}
	return nil
}

func realServerName(r *forwardv1.RealServer) string {
	return net.JoinHostPort(r.GetAddress(), strconv.FormatUint(uint64(r.GetPort()), 10))
}

func decodeChecks(list []*forwardv1.ImportedCheck, defaults model.Schedule) ([]model.Check, error) {
	var out []model.Check
	for _, c := range list {
		if c.GetType() == "" {
			return nil, errors.New("a check of it has no type")
		}
		check := model.Check{Type: c.GetType(), Schedule: defaults}
		check.Schedule.Interval = cmp.Or(max(c.GetInterval().AsDuration(), 0), defaults.Interval)
		check.Schedule.Timeout = cmp.Or(max(c.GetTimeout().AsDuration(), 0), defaults.Timeout)
		var err error
		if check.Parameters, err = canonical(c.GetParametersJson()); err != nil {
			return nil, fmt.Errorf("parameters of its check %s: %w", c.GetType(), err)
		}
		out = append(out, check)
	}
	return out, nil
}

// canonical is a JSON object with its keys sorted; empty for an empty one, and for none.
func canonical(text []byte) (string, error) {
	if len(text) == 0 {
		return "", nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value map[string]any
	if err := d.Decode(&value); err != nil {
		return "", err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "", errors.New("something follows the object")
	}
	if len(value) == 0 {
		return "", nil
	}
	out, err := json.Marshal(value)
	return string(out), err
}

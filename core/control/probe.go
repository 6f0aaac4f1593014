package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/core/checker"
	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/internal/printable"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

const (
	// defaultTimeout is what a probe of any target has.
	defaultTimeout = 5 * time.Second
	// longestTimeout is what it may be given.
	longestTimeout = 5 * time.Minute
)

// Probe implements poise.control.v1.
func (s *Server) Probe(ctx context.Context, r *controlv1.ProbeRequest) (*controlv1.ProbeResponse, error) {
	switch what := r.GetWhat().(type) {
	case *controlv1.ProbeRequest_RealServer:
		return s.probeRealServer(ctx, what.RealServer)
	case *controlv1.ProbeRequest_Target:
		return s.probeTarget(ctx, what.Target)
	}
	return nil, status.Error(codes.InvalidArgument, "nothing to probe: name a real server, or a type and a target")
}

// probeRealServer probes the configured checks of a real server, all at the same time.
func (s *Server) probeRealServer(ctx context.Context, r *controlv1.ProbeRealServer) (*controlv1.ProbeResponse, error) {
	snapshot := s.daemon.Snapshot()
	if snapshot == nil {
		return nil, status.Error(codes.Unavailable, "poised has not read its configuration yet: try again")
	}
	key, err := resolve(snapshot, r.GetVirtualServer(), r.GetRealServer())
	if err != nil {
		return nil, err
	}
	checks, err := chooseChecks(checksOf(snapshot, key), key, r.GetCheck())
	if err != nil {
		return nil, err
	}
	out := &controlv1.ProbeResponse{RealServer: key.String(), Results: make([]*controlv1.ProbeResult, len(checks))}
	var probing sync.WaitGroup
	for i := range checks {
		probing.Go(func() {
			probed, process, err := s.daemon.Probe(ctx, checks[i].Check)
			if err != nil {
				// The others may say something all the same.
				probed.Verdict = model.Verdict{State: model.Unknown, Reason: err.Error()}
			}
			out.Results[i] = encodeProbed(checks[i].Check, probed, process)
			out.Results[i].CheckId, out.Results[i].Known = string(checks[i].ID), known(checks[i].Verdict)
		})
	}
	probing.Wait()
	return out, nil
}

// checksOf are the checks of a real server.
func checksOf(s *model.Snapshot, key model.RealServerKey) []model.CheckStatus {
	for i := range s.Services {
		if s.Services[i].Config.Key != key.Service {
			continue
		}
		for j := range s.Services[i].RealServers {
			if r := &s.Services[i].RealServers[j]; r.Config.Addr == key.Addr {
				return r.Checks
			}
		}
	}
	return nil
}

// chooseChecks takes those that an operator names: by number, by id or its beginning, by
// type.
func chooseChecks(all []model.CheckStatus, key model.RealServerKey, name string) ([]model.CheckStatus, error) {
	if len(all) == 0 {
		return nil, status.Errorf(codes.FailedPrecondition, "%s has no check: nothing to probe; probe a type and a target instead", key)
	}
	if name == "" {
		return all, nil
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 1 && n <= len(all) {
		return all[n-1 : n], nil
	}
	var out []model.CheckStatus
	var names []string
	for n, c := range all {
		names = append(names, fmt.Sprintf("%d (%s, id %s)", n+1, c.Check, c.ID))
		if strings.EqualFold(c.Check.Type, name) || string(c.ID) == name {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, status.Errorf(codes.NotFound, "%s has no check %q: there is %s", key, name, list(names))
	}
	return out, nil
}

// known is what a check says by its schedule.
func known(v model.Verdict) string {
	if v.Reason == "" {
		return v.State.String()
	}
	return printable.Text(v.State.String() + ": " + v.Reason)
}

// probeTarget probes any target.
func (s *Server) probeTarget(ctx context.Context, r *controlv1.ProbeTarget) (*controlv1.ProbeResponse, error) {
	check, err := decodeProbe(r)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if types := s.daemon.CheckTypes(); !slices.Contains(types, check.Type) {
		return nil, status.Errorf(codes.NotFound, "no type of check %q: there is %s", check.Type, list(nearest(check.Type, slices.Clone(types))))
	}
	probed, process, err := s.daemon.Probe(ctx, &check)
	var wrong *checker.ParameterError
	switch {
	case errors.As(err, &wrong):
		return nil, status.Errorf(codes.InvalidArgument, "check %s: %s", check.Type, printable.Text(wrong.Message))
	case err != nil:
		return nil, status.Error(codes.Unavailable, printable.Text(err.Error()))
	}
	return &controlv1.ProbeResponse{Results: []*controlv1.ProbeResult{encodeProbed(&check, probed, process)}}, nil
}

// decodeProbe makes a check of what an operator asks for.
func decodeProbe(r *controlv1.ProbeTarget) (model.Check, error) {
	check := model.Check{Type: r.GetType(), Target: model.Target{Interface: r.GetInterface(), FWMark: r.GetFwmark()}}
	check.Schedule.Timeout = defaultTimeout
	var err error
	if check.Type == "" {
		return check, errors.New("no type of check: name one")
	}
	if check.Target.Addr, err = decodeEndpoint(r.GetTarget()); err != nil {
		return check, fmt.Errorf("target %w", err)
	}
	if check.Target.Source, err = decodeEndpoint(r.GetSource()); err != nil {
		return check, fmt.Errorf("source %w", err)
	}
	if a, b := check.Target.Addr.Addr(), check.Target.Source.Addr(); a.IsValid() && b.IsValid() && a.Is6() != b.Is6() {
		return check, fmt.Errorf("source %s and target %s are not of one family", b, a)
	}
	if t := r.GetTimeout(); t != nil {
		if check.Schedule.Timeout = t.AsDuration(); check.Schedule.Timeout <= 0 || check.Schedule.Timeout > longestTimeout {
			return check, fmt.Errorf("timeout %s: must be more than 0 and at most %s", check.Schedule.Timeout, longestTimeout)
		}
	}
	if p := r.GetParametersJson(); len(p) > 0 {
		var object map[string]any
		if err := json.Unmarshal(p, &object); err != nil {
			return check, fmt.Errorf("the parameters are no JSON object: %w", err)
		}
		check.Parameters = string(p)
	}
	return check, nil
}

// decodeEndpoint takes an address with or without a port, or nothing.
func decodeEndpoint(text string) (netip.AddrPort, error) {
	if text == "" {
		return netip.AddrPort{}, nil
	}
	if a, err := netip.ParseAddrPort(text); err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q: must be an address like 192.0.2.1:80, [2001:db8::1]:80 or 192.0.2.1; names are not looked up", text)
	}
	return netip.AddrPortFrom(a.Unmap(), 0), nil
}

func encodeProbed(check *model.Check, p checker.Probed, process string) *controlv1.ProbeResult {
	return &controlv1.ProbeResult{
		Type: check.Type, Target: encodeTarget(check.Target.Addr), Verdict: p.Verdict.State.String(), Reason: printable.Text(p.Verdict.Reason),
		Duration: durationpb.New(p.Duration), Transcript: printable.Texts(p.Transcript),
		Weight: p.Verdict.Weight.String(), Admin: adminText(p.Verdict.Admin), Plugin: process,
	}
}

// encodeTarget gives "192.0.2.1:80", "192.0.2.1" where there is no port, and nothing
// where there is no target.
func encodeTarget(a netip.AddrPort) string {
	switch {
	case !a.Addr().IsValid():
		return ""
	case a.Port() == 0:
		return a.Addr().String()
	}
	return a.String()
}

// adminText is empty for nothing special.
func adminText(a model.Admin) string {
	if a == model.Ready {
		return ""
	}
	return a.String()
}

package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poise-lb/poise/core/pluginhost/hosttest"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// The test binary is every plugin of its tests: started by a daemon it serves as poise's
// own ("null", "checkers", "script") or, with "types=a,b", as a third party's.
func TestMain(m *testing.M) {
	if hosttest.Started() {
		serveFixture(os.Args[1:])
	}
	os.Exit(m.Run())
}

// fixture is a plugin whose checks say what their parameters tell them to:
// {"says":"down"}. A check that is known says nothing of its own.
type fixture struct {
	pluginv1.UnimplementedPluginServiceServer
	checkv1.UnimplementedCheckServiceServer
	forwardv1.UnimplementedForwardServiceServer
	name    string
	types   []string
	forward bool
	faults  map[string]bool

	mu         sync.Mutex
	runtimeDir string
}

func serveFixture(args []string) {
	f := &fixture{name: "fixture", faults: map[string]bool{}}
	for _, a := range args {
		switch kinds, ok := strings.CutPrefix(a, "types="); {
		case ok:
			f.types = strings.Split(kinds, ",")
		case strings.HasPrefix(a, "types-in="):
			text, _ := os.ReadFile(strings.TrimPrefix(a, "types-in="))
			f.types = strings.Fields(string(text))
		case a == "null":
			f.name, f.forward = a, true
		case a == "f5":
			serveAppliance()
		case isBuiltin(a):
			f.name = a
			for kind, process := range builtinChecks {
				if process == a || a == privilegedProcess && process == checkersProcess {
					f.types = append(f.types, kind)
				}
			}
		case strings.HasPrefix(a, "needs="):
			if _, err := os.Stat(strings.TrimPrefix(a, "needs=")); err != nil {
				os.Exit(3)
			}
		default:
			f.faults[a] = true
		}
	}
	hosttest.Serve(func(s *grpc.Server) {
		pluginv1.RegisterPluginServiceServer(s, f)
		checkv1.RegisterCheckServiceServer(s, f)
		forwardv1.RegisterForwardServiceServer(s, f)
	}, f.faults["plain"])
	os.Exit(0)
}

func (f *fixture) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	if f.faults["hangs"] {
		select {}
	}
	out := &pluginv1.DescribeResponse{Name: f.name, Version: "1.2.3"}
	for _, kind := range f.types {
		out.Kinds = append(out.Kinds, &pluginv1.Kind{
			Interface: pluginv1.Interface_INTERFACE_CHECK, Type: kind,
			ParametersSchemaJson: []byte(`{"type":"object","properties":{"says":{"type":"string","default":"up","description":"what it says"}}}`),
		})
	}
	if f.forward {
		out.Kinds = append(out.Kinds, &pluginv1.Kind{Interface: pluginv1.Interface_INTERFACE_FORWARD, Type: f.name})
	}
	return out, nil
}

type saying struct{ Says, Reason string }

func read(parameters []byte) (s saying, err error) {
	s.Says = "up"
	if len(parameters) > 0 {
		d := json.NewDecoder(strings.NewReader(string(parameters)))
		d.DisallowUnknownFields()
		err = d.Decode(&s)
	}
	return s, err
}

func (f *fixture) Validate(_ context.Context, r *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	out := &pluginv1.ValidateResponse{}
	for i, item := range r.GetItems() {
		if _, err := read(item.GetParametersJson()); err != nil {
			out.Problems = append(out.Problems, &pluginv1.Problem{Item: uint32(i), Message: err.Error(), Severity: pluginv1.Severity_SEVERITY_ERROR})
		}
	}
	return out, nil
}

func (f *fixture) Configure(_ context.Context, r *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runtimeDir = r.GetRuntimeDir()
	return &pluginv1.ConfigureResponse{}, nil
}

func (f *fixture) Stop(context.Context, *pluginv1.StopRequest) (*pluginv1.StopResponse, error) {
	return &pluginv1.StopResponse{}, nil
}

func (f *fixture) Run(stream checkv1.CheckService_RunServer) error {
	sets := make(chan *checkv1.SetChecks)
	go func() {
		defer close(sets)
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			sets <- r.GetSetChecks()
		}
	}()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	said := map[string]bool{}
	for progress := uint64(1); ; progress++ {
		response := &checkv1.RunResponse{Message: &checkv1.RunResponse_Beat{Beat: &checkv1.Beat{Beat: &pluginv1.Beat{Progress: progress}, Probes: progress}}}
		select {
		case <-ticker.C:
			if f.faults["mute"] && progress > 5 {
				continue
			}
		case set, ok := <-sets:
			if !ok {
				return nil
			}
			if err := f.takeSet(stream, set, said); err != nil {
				return err
			}
			continue
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}

// takeSet says what new checks say, and keeps the set for the test to look at.
func (f *fixture) takeSet(stream checkv1.CheckService_RunServer, set *checkv1.SetChecks, said map[string]bool) error {
	var verdicts []*checkv1.Verdict
	var seen []string
	applied := &checkv1.Applied{Generation: set.GetGeneration()}
	for _, c := range set.GetChecks() {
		seen = append(seen, fmt.Sprintf("%s %s known %s %d %s", c.GetType(), c.GetTarget().GetAddress(), c.GetKnown(), c.GetKnownWeight(), c.GetKnownAdmin()))
		s, err := read(c.GetParametersJson())
		if err != nil || s.Says == "nonsense" {
			applied.Rejected = append(applied.Rejected, &checkv1.Rejected{CheckId: c.GetId(), Path: "/says", Message: "is nonsense"})
			continue
		}
		if said[c.GetId()] || c.GetKnown() != checkv1.VerdictState_VERDICT_STATE_UNSPECIFIED {
			continue
		}
		said[c.GetId()] = true
		v := &checkv1.Verdict{CheckId: c.GetId(), State: checkv1.VerdictState_VERDICT_STATE_UP, DecidedAt: timestamppb.Now()}
		if s.Says == "down" {
			v.State, v.Reason = checkv1.VerdictState_VERDICT_STATE_DOWN, "as told"
		}
		if s.Says == "drain" {
			v.Admin, v.Weight = checkv1.Admin_ADMIN_DRAIN, 7
		}
		verdicts = append(verdicts, v)
	}
	f.mu.Lock()
	_ = os.WriteFile(filepath.Join(f.runtimeDir, "set"), []byte(strings.Join(seen, "\n")), 0o644)
	f.mu.Unlock()
	if err := stream.Send(&checkv1.RunResponse{Message: &checkv1.RunResponse_Applied{Applied: applied}}); err != nil {
		return err
	}
	return stream.Send(&checkv1.RunResponse{Message: &checkv1.RunResponse_Verdicts{Verdicts: &checkv1.Verdicts{Verdicts: verdicts}}})
}

func (f *fixture) Probe(_ context.Context, r *checkv1.ProbeRequest) (*checkv1.ProbeResponse, error) {
	s, err := read(r.GetParametersJson())
	if err != nil || !slices.Contains(f.types, r.GetType()) {
		return nil, status.Errorf(codes.InvalidArgument, "no such check: %v", err)
	}
	out := &checkv1.ProbeResponse{
		State: checkv1.VerdictState_VERDICT_STATE_UP, Duration: durationpb.New(1500 * time.Microsecond),
		Transcript: []string{"0s asked " + r.GetTarget().GetAddress(), fmt.Sprintf("1ms process %d, timeout %s", os.Getpid(), r.GetTimeout().AsDuration())},
	}
	if s.Says == "down" {
		out.State, out.Reason = checkv1.VerdictState_VERDICT_STATE_DOWN, "as told"
	}
	return out, nil
}

// The forwarder is one that makes whatever it is told.
func (f *fixture) Observe(context.Context, *forwardv1.ObserveRequest) (*forwardv1.ObserveResponse, error) {
	return &forwardv1.ObserveResponse{Platform: "fixture"}, nil
}

func (f *fixture) Apply(_ context.Context, r *forwardv1.ApplyRequest) (*forwardv1.ApplyResponse, error) {
	return &forwardv1.ApplyResponse{Generation: r.GetGeneration()}, nil
}

func (f *fixture) Watch(_ *forwardv1.WatchRequest, stream forwardv1.ForwardService_WatchServer) error {
	for progress := uint64(1); ; progress++ {
		if err := stream.Send(&forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Beat{Beat: &pluginv1.Beat{Progress: progress}}}); err != nil {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-stream.Context().Done():
			return nil
		}
	}
}

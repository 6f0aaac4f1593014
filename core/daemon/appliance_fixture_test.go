package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/poise-lb/poise/core/pluginhost/hosttest"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// appliance is a plugin in the place of poise's own for appliances: it holds what it is
// told, writes down each Apply, and refuses the scheduler "sed".
type appliance struct {
	fixture

	state      sync.Mutex
	parameters struct {
		// Holds is a file with what the appliance has from before, as JSON.
		Holds string `json:"holds"`
		// Log is a file that takes what it is told.
		Log string `json:"log"`
	}
}

func serveAppliance() {
	a := &appliance{fixture: fixture{name: "f5", forward: true}}
	hosttest.Serve(func(s *grpc.Server) {
		pluginv1.RegisterPluginServiceServer(s, a)
		forwardv1.RegisterForwardServiceServer(s, a)
	}, false)
	os.Exit(0)
}

func (a *appliance) Describe(ctx context.Context, r *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	out, err := a.fixture.Describe(ctx, r)
	out.Features = []string{"members", "hold", featureValidatePlugin, featureValidateService}
	return out, err
}

func (a *appliance) Validate(_ context.Context, r *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	out := &pluginv1.ValidateResponse{}
	for i, item := range r.GetItems() {
		v := &forwardv1.VirtualServer{}
		switch {
		case item.GetType() == "" && strings.Contains(string(item.GetParametersJson()), "nonsense"):
			out.Problems = append(out.Problems, &pluginv1.Problem{Item: uint32(i), Path: "/partition", Message: "is nonsense", Severity: pluginv1.Severity_SEVERITY_ERROR})
		case item.GetType() == "":
		case protojson.Unmarshal(item.GetParametersJson(), v) != nil || v.GetScheduler() == "sed":
			out.Problems = append(out.Problems, &pluginv1.Problem{Item: uint32(i), Path: "/scheduler", Message: "there is no " + v.GetScheduler(), Severity: pluginv1.Severity_SEVERITY_ERROR})
		}
	}
	return out, nil
}

func (a *appliance) Configure(ctx context.Context, r *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	a.state.Lock()
	defer a.state.Unlock()
	if err := json.Unmarshal(r.GetParametersJson(), &a.parameters); err != nil {
		return nil, err
	}
	return a.fixture.Configure(ctx, r)
}

func (a *appliance) Observe(context.Context, *forwardv1.ObserveRequest) (*forwardv1.ObserveResponse, error) {
	a.state.Lock()
	defer a.state.Unlock()
	out := &forwardv1.ObserveResponse{Platform: "appliance"}
	if a.parameters.Holds == "" {
		return out, nil
	}
	text, err := os.ReadFile(a.parameters.Holds)
	if err != nil {
		return nil, err
	}
	if err := protojson.Unmarshal(text, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Apply writes down what it is told.
func (a *appliance) Apply(_ context.Context, r *forwardv1.ApplyRequest) (*forwardv1.ApplyResponse, error) {
	line := "hold"
	if !r.GetHold() {
		line = describeApplied(r.GetVirtualServers())
	}
	a.state.Lock()
	defer a.state.Unlock()
	file, err := os.OpenFile(a.parameters.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := fmt.Fprintln(file, line); err != nil {
		return nil, err
	}
	return &forwardv1.ApplyResponse{Generation: r.GetGeneration()}, nil
}

// describeApplied is "192.0.2.1:80{PARAMETERS} 192.0.2.9:80=3 192.0.2.8:80=offline; ...".
func describeApplied(list []*forwardv1.VirtualServer) string {
	var out []string
	for _, v := range list {
		words := []string{fmt.Sprintf("%s:%d%s", v.GetKey().GetAddress(), v.GetKey().GetPort(), v.GetParametersJson())}
		for _, r := range v.GetRealServers() {
			state := fmt.Sprint(r.GetWeight())
			switch {
			case r.GetSorry():
				state = "sorry"
			case r.GetOffline():
				state = "offline"
			}
			words = append(words, fmt.Sprintf("%s:%d=%s", r.GetAddress(), r.GetPort(), state))
		}
		slices.Sort(words[1:])
		out = append(out, strings.Join(words, " "))
	}
	return "[" + strings.Join(out, "; ") + "]"
}

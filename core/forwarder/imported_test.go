package forwarder

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/core/model"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

var defaults = model.Schedule{Interval: 10 * time.Second, Timeout: 5 * time.Second, Retries: 1, RetryDelay: time.Second}

// found is what a plugin finds: a virtual server with all there is.
func found() *forwardv1.ImportedVirtualServer {
	return &forwardv1.ImportedVirtualServer{
		Origin: "/Common/web",
		VirtualServer: &forwardv1.VirtualServer{
			Key: encodeKey(key(80)), Scheduler: "wrr", PersistenceTimeout: durationpb.New(time.Minute), ParametersJson: []byte(` {"snat":"automap","mirror":true} `),
			RealServers: []*forwardv1.RealServer{
				{Address: "192.0.2.1", Port: 8080, Weight: 3, Method: forwardv1.Method_METHOD_NAT, UpperThreshold: 100},
				{Address: "192.0.2.2", Port: 8080, Weight: 1, Method: forwardv1.Method_METHOD_NAT, Offline: true},
				{Address: "192.0.2.9", Port: 80, Weight: 1, Method: forwardv1.Method_METHOD_NAT, Sorry: true},
			},
		},
		Checks: []*forwardv1.ImportedCheck{
			{Type: "http", ParametersJson: []byte(`{"urls":[{"path":"/"}],"a":1}`), Interval: durationpb.New(5 * time.Second), Timeout: durationpb.New(-1)},
			{Type: "tcp", ParametersJson: []byte("{}"), Timeout: durationpb.New(2 * time.Second)},
		},
	}
}

func TestImport(t *testing.T) {
	f := newFake()
	f.imported = func(_ context.Context, r *forwardv1.ImportRequest) (*forwardv1.ImportResponse, error) {
		if r.GetScope() != "Common" {
			return nil, status.Errorf(codes.Unavailable, "no partition %q", r.GetScope())
		}
		twice, nowhere, alone := found(), found(), found()
		twice.Origin, nowhere.Origin, alone.Origin = "/Common/web2", "/Common/odd", "/Common/empty"
		nowhere.VirtualServer.Key.Address = ""
		alone.VirtualServer = &forwardv1.VirtualServer{Key: encodeKey(key(81)), Scheduler: "rr"}
		return &forwardv1.ImportResponse{
			VirtualServers: []*forwardv1.ImportedVirtualServer{found(), twice, nowhere, alone},
			Notes:          []*forwardv1.ImportNote{{Object: "/Common/web", Message: "its iRule is left out"}},
		}, nil
	}
	facade, r, _, _ := start(t, f, &memory{}, featureImport)
	receive(t, r.adopted)
	got, notes, err := facade.Import(t.Context(), "Common", defaults)
	if err != nil {
		t.Fatal(err)
	}
	real := func(addr string, weight, limit uint32) model.RealServer {
		at := netip.MustParseAddrPort(addr)
		first, second := defaults, defaults
		first.Interval, second.Timeout = 5*time.Second, 2*time.Second
		return model.RealServer{Addr: at, Weight: weight, UpperThreshold: limit, Checks: []model.Check{
			{Type: "http", Target: model.Target{Addr: at}, Parameters: `{"a":1,"urls":[{"path":"/"}]}`, Schedule: first},
			{Type: "tcp", Target: model.Target{Addr: at}, Schedule: second},
		}}
	}
	want := []ImportedServer{
		{Origin: "/Common/web", Parameters: `{"mirror":true,"snat":"automap"}`, Server: model.VirtualServer{
			Key: key(80), Scheduler: "wrr", Persistence: model.Persistence{Timeout: time.Minute}, Quorum: 1,
			Sorry:       &model.SorryServer{Addr: netip.MustParseAddrPort("192.0.2.9:80")},
			RealServers: []model.RealServer{real("192.0.2.1:8080", 3, 100), real("192.0.2.2:8080", 1, 0)},
		}},
		{Origin: "/Common/empty", Server: model.VirtualServer{Key: key(81), Scheduler: "rr", Quorum: 1}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"/Common/web: 192.0.2.2:8080 is offline there; here its checks decide",
		"/Common/web2: left out: /Common/web is on TCP 192.0.2.100:80 too, and poise has one virtual server of an address and port",
		"/Common/odd: left out: it has no address",
		"/Common/web: its iRule is left out",
	}, notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if _, _, err := facade.Import(t.Context(), "Other", defaults); err == nil || err.Error() != `read what it forwards: no partition "Other"` {
		t.Errorf("a partition that is not there: %v", err)
	}
	// A hang ends with the operator's patience.
	f.imported = func(ctx context.Context, _ *forwardv1.ImportRequest) (*forwardv1.ImportResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := facade.Import(ctx, "Common", defaults); err == nil {
		t.Error("a plugin that hangs was waited for")
	}
}

func TestImportFromNothing(t *testing.T) {
	f := newFake()
	facade, r, done, _ := start(t, f, &memory{}, featureMembers)
	receive(t, r.adopted)
	if _, _, err := facade.Import(t.Context(), "", defaults); !errors.Is(err, ErrNoImport) {
		t.Errorf("without the feature: %v", err)
	}
	close(f.watch)
	receive(t, done)
	if _, _, err := facade.Import(t.Context(), "", defaults); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a process: %v", err)
	}
}

func TestImportRefusesNonsense(t *testing.T) {
	first := func(v *forwardv1.ImportedVirtualServer) *forwardv1.RealServer { return v.VirtualServer.RealServers[0] }
	for want, change := range map[string]func(v *forwardv1.ImportedVirtualServer){
		"it has no address":                   func(v *forwardv1.ImportedVirtualServer) { v.VirtualServer = nil },
		"virtual server's address":            func(v *forwardv1.ImportedVirtualServer) { v.VirtualServer.Key.Address = "any" },
		"port 65536 is none":                  func(v *forwardv1.ImportedVirtualServer) { v.VirtualServer.Key.Port = 65536 },
		"family, protocol and mark":           func(v *forwardv1.ImportedVirtualServer) { v.VirtualServer.Key.Family = forwardv1.Family_FAMILY_IPV6 },
		"protocol and mark":                   func(v *forwardv1.ImportedVirtualServer) { v.VirtualServer.Key.Protocol = 9 },
		"and mark do not":                     func(v *forwardv1.ImportedVirtualServer) { v.VirtualServer.Key.Fwmark = 1 },
		"do not go together":                  func(v *forwardv1.ImportedVirtualServer) { v.VirtualServer.Key.Address = "::ffff:192.0.2.1" },
		"it has no scheduler":                 func(v *forwardv1.ImportedVirtualServer) { v.VirtualServer.Scheduler = "" },
		"its persistence is none":             func(v *forwardv1.ImportedVirtualServer) { v.VirtualServer.PersistencePrefix = 300 },
		"persistence is none":                 func(v *forwardv1.ImportedVirtualServer) { v.VirtualServer.PersistenceTimeout = durationpb.New(-1) },
		"its parameters: ":                    func(v *forwardv1.ImportedVirtualServer) { v.VirtualServer.ParametersJson = []byte("[]") },
		"something follows":                   func(v *forwardv1.ImportedVirtualServer) { v.VirtualServer.ParametersJson = []byte("{} {}") },
		"real server web1:8080 is no address": func(v *forwardv1.ImportedVirtualServer) { first(v).Address = "web1" },
		"real server 192.0.2.1:70000 is no":   func(v *forwardv1.ImportedVirtualServer) { first(v).Port = 70000 },
		"has weight 2147483648":               func(v *forwardv1.ImportedVirtualServer) { first(v).Weight = 1 << 31 },
		"no forwarding method":                func(v *forwardv1.ImportedVirtualServer) { first(v).Method = 4 },
		"192.0.2.2:8080 is there twice":       func(v *forwardv1.ImportedVirtualServer) { first(v).Address = "192.0.2.2" },
		"a second sorry server":               func(v *forwardv1.ImportedVirtualServer) { first(v).Sorry = true },
		"parameters of its check http: ":      func(v *forwardv1.ImportedVirtualServer) { v.Checks[0].ParametersJson = []byte("{") },
		"a check of it has no type":           func(v *forwardv1.ImportedVirtualServer) { v.Checks[1].Type = "" },
	} {
		v := found()
		change(v)
		if got, err := decodeImported(v, defaults); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", want, got, err)
		}
	}
}

// Whatever a plugin sends, it is decoded or refused, and what is decoded can be said.
func FuzzDecodeImported(f *testing.F) {
	good, err := proto.Marshal(found())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, message []byte) {
		var v forwardv1.ImportedVirtualServer
		if proto.Unmarshal(message, &v) != nil {
			return
		}
		s, err := decodeImported(&v, defaults)
		if err != nil {
			return
		}
		if key := s.Server.Key; key.FWMark == 0 && !key.Addr.IsValid() {
			t.Errorf("imported %v", key)
		}
		if n := len(v.GetVirtualServer().GetRealServers()); len(s.Server.RealServers) != n && (s.Server.Sorry == nil || len(s.Server.RealServers) != n-1) {
			t.Errorf("%d of %d real servers", len(s.Server.RealServers), n)
		}
		for _, r := range s.Server.RealServers {
			_ = r.Forwarding.Method.String()
		}
	})
}

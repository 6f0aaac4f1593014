package main

import (
	"bytes"
	"context"
	"flag"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/NAME.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test ./cmd/poise -update writes it anew):\n%s", path, diff)
	}
}

// fakeDaemon answers as poised does.
type fakeDaemon struct {
	controlv1.UnimplementedControlServiceServer
	runtimeDir string
	events     []*controlv1.EventsResponse
	reloaded   func() (*controlv1.ReloadResponse, error)
	override   func(*controlv1.SetOverrideRequest) error

	probe   func(*controlv1.ProbeRequest) (*controlv1.ProbeResponse, error)
	restart func(*controlv1.RestartPluginRequest) (*controlv1.RestartPluginResponse, error)
	diff    func(*controlv1.DiffRequest) (*controlv1.DiffResponse, error)
	imports func(*controlv1.ImportForwarderRequest) (*controlv1.ImportForwarderResponse, error)

	mu       sync.Mutex
	status   func() *controlv1.StatusResponse
	requests []*controlv1.SetOverrideRequest
}

func startFake(t *testing.T) *fakeDaemon {
	t.Helper()
	f := &fakeDaemon{runtimeDir: t.TempDir(), status: exampleStatus}
	l, err := net.Listen("unix", filepath.Join(f.runtimeDir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	controlv1.RegisterControlServiceServer(s, f)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return f
}

func (f *fakeDaemon) Status(context.Context, *controlv1.StatusRequest) (*controlv1.StatusResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status(), nil
}

func (f *fakeDaemon) Events(r *controlv1.EventsRequest, stream grpc.ServerStreamingServer[controlv1.EventsResponse]) error {
	for _, e := range f.events {
		if err := stream.Send(e); err != nil {
			return err
		}
	}
	if r.GetFollow() {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	return nil
}

func (f *fakeDaemon) SetOverride(_ context.Context, r *controlv1.SetOverrideRequest) (*controlv1.SetOverrideResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r)
	if f.override != nil {
		if err := f.override(r); err != nil {
			return nil, err
		}
	}
	return &controlv1.SetOverrideResponse{VirtualServer: "TCP 192.0.2.100:80", RealServer: "192.0.2.1:80"}, nil
}

func (f *fakeDaemon) Reload(context.Context, *controlv1.ReloadRequest) (*controlv1.ReloadResponse, error) {
	return f.reloaded()
}

func (f *fakeDaemon) Probe(_ context.Context, r *controlv1.ProbeRequest) (*controlv1.ProbeResponse, error) {
	return f.probe(r)
}

func (f *fakeDaemon) RestartPlugin(_ context.Context, r *controlv1.RestartPluginRequest) (*controlv1.RestartPluginResponse, error) {
	return f.restart(r)
}

func (f *fakeDaemon) Diff(_ context.Context, r *controlv1.DiffRequest) (*controlv1.DiffResponse, error) {
	return f.diff(r)
}

func (f *fakeDaemon) ImportForwarder(_ context.Context, r *controlv1.ImportForwarderRequest) (*controlv1.ImportForwarderResponse, error) {
	return f.imports(r)
}

func (f *fakeDaemon) DescribePlugin(_ context.Context, r *controlv1.DescribePluginRequest) (*controlv1.DescribePluginResponse, error) {
	const schema = `{"type":"object","required":["path"],"properties":{
		"path":{"type":"string","description":"what is asked for"},
		"urls":{"type":"array","items":{"type":"object","properties":{"status":{"type":"array","items":{"type":"string"},"default":["200-299"],"description":"what is good"}}}},
		"tls":{"type":"boolean","default":false,"description":"over TLS"}, "mode":{"enum":["a","b"]}, "any":{}, "odd":null, "two":{"type":["string","null"]}}}`
	return &controlv1.DescribePluginResponse{OwnName: "redis-check", Plugin: exampleStatus().GetPlugins()[0], Kinds: []*controlv1.PluginKind{
		{Interface: "check", Type: r.GetName(), ParametersSchemaJson: []byte(schema)}, {Interface: "check", Type: "plain", ParametersSchemaJson: []byte(`{"type":"object"}`)},
		{Interface: "check", Type: "odd", ParametersSchemaJson: []byte(`[`)}, {Interface: "forward", Type: "silent"},
	}}, nil
}

// run runs the command as main does.
func run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var out, complaints bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&complaints)
	err = cmd.ExecuteContext(ctx)
	return out.String(), complaints.String(), err
}

// run runs the command with this daemon.
func (f *fakeDaemon) run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	return run(t.Context(), append([]string{"--runtime-dir", f.runtimeDir}, args...)...)
}

var now = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }

func exampleStatus() *controlv1.StatusResponse {
	check := &controlv1.Check{Type: "tcp", Target: "192.168.1.106:80", Verdict: "up", Since: ago(192 * time.Second), Id: "0123456789abcdef", Interval: durationpb.New(6 * time.Second), Plugin: "checkers"}
	agent := &controlv1.Check{Type: "agent", Target: "192.168.1.106:9999", Verdict: "up", Since: ago(192 * time.Second), Id: "1123456789abcdef", Interval: durationpb.New(time.Second), Plugin: "checkers", Weight: "50%", Admin: "drain"}
	script := &controlv1.Check{Type: "misc", Target: "192.168.1.106:80", Verdict: "down", Reason: "exit status 1", Since: ago(192 * time.Second), Id: "2123456789abcdef", Interval: durationpb.New(time.Second), Plugin: "script", StaleSince: ago(12 * time.Second)}
	redis := &controlv1.Check{Type: "redis", Target: "192.168.1.106:6379", Verdict: "up", Since: ago(192 * time.Second), Id: "3123456789abcdef", Interval: durationpb.New(time.Second), Plugin: "cache", Rejected: "/key: is missing"}
	return &controlv1.StatusResponse{
		Daemon: &controlv1.Daemon{
			Version: "1.2.3", Pid: 4242, StartedAt: ago(3*time.Hour + 12*time.Minute), RouterId: "LVS_MASTER",
			ConfigFile: "/etc/poise/poise.yaml", ConfigLoadedAt: ago(61 * time.Minute),
			ReloadErrors: []string{"/etc/poise/poise.yaml:7: error: port 70000: must be 1 to 65535"},
		},
		FailoverGroups: []*controlv1.FailoverGroup{{
			Name: "VGM", Role: "master", Reason: "no advert for 3.609s", Since: ago(192 * time.Second),
			Instances: []*controlv1.Instance{
				{
					Name: "http", Interface: "eth0", VirtualRouterId: 51, Priority: 100, Addresses: []string{"192.168.1.100/32"},
					AdvertsSent: 192, AdvertsReceived: 7, PacketErrors: map[string]uint64{"ttl": 2, "auth": 1, "length": 0}, AddressesRestored: 1,
				},
				{Name: "inside", Interface: "eth1", VirtualRouterId: 52, Priority: 100, MasterAddress: "10.0.0.2", MasterPriority: 80},
			},
		}},
		VirtualServers: []*controlv1.VirtualServer{
			{
				Name: "TCP 192.168.1.100:80", Scheduler: "rr", Method: "DR", QuorumUp: true, Quorum: 1, SorryServer: "192.168.1.9:80", Connections: 12345,
				RealServers: []*controlv1.RealServer{
					{Name: "192.168.1.106:80", Verdict: "up", Since: ago(192 * time.Second), Weight: 100, ConfiguredWeight: 100, InTable: true, Method: "DR", ActiveConnections: 12, InactiveConnections: 40, Connections: 6000, Admin: "drain", Checks: []*controlv1.Check{check, agent, script, redis}},
					{Name: "192.168.1.107:80", Verdict: "down", Reason: "connect: connection refused", Since: ago(12 * time.Second), ConfiguredWeight: 100, Method: "DR"},
					{Name: "192.168.1.108:80", Verdict: "up", Since: ago(50 * time.Hour), ConfiguredWeight: 100, InTable: true, Override: "drain", DrainDeadline: ago(-42 * time.Second), Method: "DR", ActiveConnections: 3},
					{Name: "192.168.1.109:80", Verdict: "unknown", Reason: "no probe yet\x1b[2J", Weight: 10, ConfiguredWeight: 100, InTable: true, Override: "weight 10", Method: "DR"},
				},
				Carried: []*controlv1.Carried{{Forwarder: "f5:lab", Name: "TCP 10.1.1.100:80", Present: true, Connections: 301, Members: []*controlv1.Member{
					{Name: "192.168.1.106:80", State: "enabled", Weight: 100, ActiveConnections: 27, Connections: 270},
					{Name: "192.168.1.107:80", State: "offline", Weight: 100, ActiveConnections: 2, Connections: 20},
					{Name: "192.168.1.108:80", State: "drained", ActiveConnections: 1, Connections: 10},
				}}},
			},
			{
				Name: "TCP 192.168.1.102:443", Scheduler: "wrr", Method: "NAT", QuorumUp: true, Quorum: 1, AppliancesOnly: true,
				RealServers: []*controlv1.RealServer{{Name: "192.168.1.106:443", Verdict: "up", Since: ago(192 * time.Second), Weight: 100, ConfiguredWeight: 100, InTable: true, Method: "NAT"}},
				Carried: []*controlv1.Carried{
					{Forwarder: "f5:lab", Name: "TCP 192.168.1.102:443"}, {Forwarder: "f5:new", Name: "TCP 192.168.1.102:443"},
				},
			},
			{
				Name: "FWM 3", Scheduler: "wlc", Method: "NAT", Quorum: 2, SorryServer: "192.168.1.9:80", SorryActive: true, Connections: 1,
				RealServers: []*controlv1.RealServer{{Name: "[2001:db8::1]:8080", Verdict: "down", Reason: "timeout after 3s", Since: ago(26 * time.Hour), Override: "drain, weight 10", DrainDeadline: ago(time.Second)}},
			},
			{Name: "UDP 192.168.1.100:53", Scheduler: "rr", Method: "DR", Quorum: 1},
		},
		Forwarder: &controlv1.Forwarder{
			Type: "ipvs", Name: "ipvs", Platform: "IPVS 1.2.1, connection table size 4096", AppliedGeneration: 12, DesiredGeneration: 12, AppliedAt: ago(12 * time.Second),
			Repairs: 1, ConnectionSync: "master on eth0, id 51", Errors: []string{"FWM 3: the scheduler mh is not there: modprobe ip_vs_mh"},
		},
		ForeignServices: []string{"TCP 192.168.1.200:443", "FWM 99"},
		Appliances: []*controlv1.Forwarder{
			{
				Name: "f5:lab", Type: "f5", Platform: "BIG-IP 16.1.2 lab1, partition poise", AppliedGeneration: 11, DesiredGeneration: 12, AppliedAt: ago(time.Minute), Repairs: 2,
				Errors:          []string{"appliance: both units say that they are active (192.0.2.10, 192.0.2.11): nothing is written; see why they do not see each other"},
				ForeignServices: []string{"TCP 10.1.1.1:80", "TCP 10.1.1.2:80", "TCP 10.1.1.3:80", "TCP 10.1.1.4:80", "TCP 10.1.1.5:80", "TCP 10.1.1.6:80"},
			},
			{Name: "f5:new", Type: "f5", DesiredGeneration: 12},
			{Name: "f5:other", Type: "f5", Platform: "BIG-IP 17.1.0", Held: "failover group VGM is not master here", ForeignServices: []string{"TCP 10.1.1.1:80"}},
		},
		Plugins: []*controlv1.Plugin{
			{Name: "checkers", State: "running", Pid: 4250, Version: "1.2.3", Restarts: 2, StartedAt: ago(time.Hour), LastFailure: "signal: killed", Kinds: []string{"check/tcp"}, User: "nobody", Path: "/usr/bin/poise-plugin", Checks: 2, Probes: 1234, ProbeFailures: 3, ProbesOverdue: 7, HeardAt: ago(time.Second)},
			{Name: "script", State: "running", Pid: 4252, Version: "1.2.3", StartedAt: ago(3 * time.Hour), Kinds: []string{"check/misc"}, User: "root", Capabilities: []string{"KILL"}, Path: "/usr/bin/poise-plugin", Checks: 1, HeardAt: ago(12 * time.Second), Trouble: "silent for 12s"},
			{Name: "ipvs", State: "running", Pid: 4251, Version: "1.2.3", StartedAt: ago(3 * time.Hour), Kinds: []string{"forward/ipvs"}, User: "nobody", Capabilities: []string{"NET_ADMIN"}, Path: "/usr/bin/poise-plugin"},
			{Name: "vrrp", State: "waiting", User: "nobody", Restarts: 1, LastFailure: "no beat for 1.25s", Capabilities: []string{"NET_ADMIN", "NET_RAW"}, Path: "/usr/bin/poise-plugin"},
		},
	}
}

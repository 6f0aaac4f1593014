package control

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poise-lb/poise/core/model"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// serve runs a server on a real socket and gives a client of it.
func serve(t *testing.T, d Daemon) (controlv1.ControlServiceClient, *Server) {
	t.Helper()
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(d)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient("unix:"+filepath.Join(dir, SocketName), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Stop(ctx)
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return controlv1.NewControlServiceClient(conn), s
}

func TestStatus(t *testing.T) {
	client, _ := serve(t, newFake())
	got, err := client.Status(t.Context(), &controlv1.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	at := timestamppb.New(started)
	real := func(name string) *controlv1.RealServer {
		return &controlv1.RealServer{Name: name, Verdict: "up", Since: at, Weight: 100, ConfiguredWeight: 100, InTable: true, Method: "DR"}
	}
	virtual := func(name string, servers ...*controlv1.RealServer) *controlv1.VirtualServer {
		return &controlv1.VirtualServer{Name: name, Scheduler: "rr", Method: "DR", QuorumUp: true, Quorum: 1, RealServers: servers}
	}
	first := real("192.0.2.1:80")
	first.ActiveConnections, first.InactiveConnections, first.Connections = 5, 7, 60
	first.Admin = "drain"
	second := durationpb.New(time.Second)
	first.Checks = []*controlv1.Check{
		{Type: "tcp", Target: "192.0.2.1:80", Verdict: "up", Since: at, Id: "c1", Interval: durationpb.New(6 * time.Second), Plugin: "checkers"},
		{Type: "http", Target: "192.0.2.1:81", Verdict: "up", Since: at, Id: "c2", Interval: second, Plugin: "checkers", Weight: "+3", Admin: "drain", Rejected: "/path: is missing"},
		{Type: "misc", Verdict: "up", Since: at, Id: "c3", Interval: second, Plugin: "script", StaleSince: timestamppb.New(started.Add(time.Hour))},
		{Type: "redis", Target: "192.0.2.1:81", Verdict: "down", Reason: "was refused", Since: at, Id: "c4", Interval: second, Rejected: "no plugin offers checks of type redis"},
	}
	drained := &controlv1.RealServer{
		Name: "192.0.2.2:80", Verdict: "down", Reason: "connect: connection refused", Since: at, ConfiguredWeight: 100, Method: "DR",
		Override: "drain, weight 10", DrainDeadline: timestamppb.New(started.Add(time.Hour)),
	}
	web := virtual("TCP 192.0.2.100:80", first, drained, real("192.0.2.2:81"))
	web.SorryServer, web.Connections = "192.0.2.9:80", 100
	web.Carried = []*controlv1.Carried{{Forwarder: "f5:lab", Name: "TCP 198.51.100.100:80", Present: true, Connections: 300, Members: []*controlv1.Member{
		{Name: "192.0.2.1:80", State: "enabled", Weight: 100, ActiveConnections: 27, Connections: 270},
		{Name: "192.0.2.2:80", State: "offline", ActiveConnections: 2, Connections: 20},
		{Name: "192.0.2.2:81", State: "drained", ActiveConnections: 1, Connections: 10},
		{Name: "192.0.2.7:80", State: "enabled", Weight: 5},
	}}}
	elsewhere := virtual("TCP [2001:db8::100]:80", real("[2001:db8::1]:80"))
	elsewhere.AppliancesOnly = true
	elsewhere.Carried = []*controlv1.Carried{{Forwarder: "f5:lab", Name: "TCP [2001:db8::100]:80"}, {Forwarder: "f5:other", Name: "TCP [2001:db8::100]:80"}}
	want := &controlv1.StatusResponse{
		Daemon: &controlv1.Daemon{
			Version: "1.2.3", Pid: 42, StartedAt: at, RouterId: "LVS_A", ConfigFile: "/etc/poise/poise.yaml", ConfigLoadedAt: at,
			ReloadErrors: []string{"/etc/poise/poise.yaml:7: error: a port of 70000"},
		},
		VirtualServers: []*controlv1.VirtualServer{
			web, virtual("TCP 192.0.2.101:53", real("192.0.2.3:53")), virtual("UDP 192.0.2.101:53", real("192.0.2.3:53")),
			elsewhere, virtual("FWM 3", real("192.0.2.5:0")), virtual("FWM 3 inet6"),
		},
		FailoverGroups: []*controlv1.FailoverGroup{{
			Name: "VGM", Role: "master", Reason: "no advert for 3.609s", Since: at,
			Instances: []*controlv1.Instance{{
				Name: "http", Interface: "eth0", VirtualRouterId: 51, Priority: 100, Addresses: []string{"192.0.2.100/32", "192.0.2.101/32"},
				AdvertsSent: 10, BecameMaster: 1, PacketErrors: map[string]uint64{"checksum": 4}, AddressesRestored: 1,
			}},
		}},
		Plugins: []*controlv1.Plugin{{
			Name: "checkers", State: "running", Pid: 43, Version: "1.2.3", Restarts: 2, StartedAt: timestamppb.New(started.Add(time.Minute)),
			LastFailure: "signal: killed", Kinds: []string{"check/tcp"}, User: "nobody", Path: "/usr/bin/poise-plugin",
			Sha256: "abcd", Checks: 2, Probes: 21, ProbeFailures: 2, ProbesOverdue: 1, Trouble: "1 check cannot be carried out",
		}},
		ForeignServices: []string{"FWM 99", "TCP [2001:db8::100]:80"},
		Forwarder: &controlv1.Forwarder{
			Type: "ipvs", Name: "ipvs", Platform: "IPVS 1.2.1", AppliedGeneration: 8, DesiredGeneration: 9, AppliedAt: at,
			Errors: []string{"a: one", "b: two"}, Repairs: 3, ConnectionSync: "master on eth0, id 51",
		},
		Appliances: []*controlv1.Forwarder{
			{
				Type: "f5", Name: "f5:lab", Platform: `BIG-IP 16.1.2 \xff`, AppliedGeneration: 7, DesiredGeneration: 9, AppliedAt: at, Repairs: 1,
				Errors: []string{"table: no unit is active"}, ForeignServices: []string{"TCP 192.0.2.101:53", "TCP 192.0.2.100:80"},
			},
			{Type: "f5", Name: "f5:other", Held: "failover group VGM is not master here"},
		},
	}
	if heard := got.GetPlugins()[0].GetHeardAt(); time.Since(heard.AsTime()) > time.Minute {
		t.Errorf("heard at %s", heard.AsTime())
	}
	if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(&controlv1.Plugin{}, "heard_at")); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if strings.Contains(prototext.Format(got), "secret77") {
		t.Error("status tells the password of the adverts")
	}
}

func TestStatusBeforeTheFirstSnapshot(t *testing.T) {
	d := newFake()
	d.snapshot = nil
	client, _ := serve(t, d)
	got, err := client.Status(t.Context(), &controlv1.StatusRequest{})
	if err != nil || got.GetDaemon().GetPid() != 42 || len(got.GetVirtualServers()) != 0 {
		t.Errorf("status: %v, %v", got, err)
	}
	_, err = client.SetOverride(t.Context(), &controlv1.SetOverrideRequest{VirtualServer: "192.0.2.100:80", RealServer: "192.0.2.1:80", Mode: controlv1.OverrideMode_OVERRIDE_MODE_DRAIN})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("override: %v, want unavailable", err)
	}
}

// Names in another encoding than UTF-8 would make the answer one that cannot be sent.
func TestStatusOfNamesInAnotherEncoding(t *testing.T) {
	d := newFake()
	d.snapshot.Groups[0].Config.Name = "\xb2\xe2"
	d.snapshot.Services[0].RealServers[0].Reason = "\xff"
	client, _ := serve(t, d)
	if _, err := client.Status(t.Context(), &controlv1.StatusRequest{}); err != nil {
		t.Error(err)
	}
}

func TestSyncText(t *testing.T) {
	sync := func(r model.SyncRole, id uint8) model.DesiredSync {
		return model.DesiredSync{Role: r, Sync: model.ConnectionSync{Interface: "eth0", ID: id}}
	}
	want := sync(model.SyncMaster, 1)
	for _, c := range []struct {
		want    *model.DesiredSync
		running []model.DesiredSync
		text    string
	}{
		{nil, nil, ""},
		{&want, nil, "master on eth0, id 1 (not running)"},
		{&want, []model.DesiredSync{sync(model.SyncMaster, 1)}, "master on eth0, id 1"},
		{&want, []model.DesiredSync{sync(model.SyncBackup, 1)}, "backup on eth0, id 1; master on eth0, id 1 (not running)"},
		{nil, []model.DesiredSync{sync(model.SyncMaster, 2), sync(model.SyncBackup, 2)}, "master on eth0, id 2; backup on eth0, id 2"},
	} {
		if got := encodeSync(c.want, c.running); got != c.text {
			t.Errorf("wanted %v, running %v: %q, want %q", c.want, c.running, got, c.text)
		}
	}
}

func TestEventsFollowUntilTheServerStops(t *testing.T) {
	d := newFake()
	for range 3 {
		d.addEvent(model.Event{At: started, Kind: "role", Object: "VGM", Message: "master"})
	}
	client, server := serve(t, d)
	stream, err := client.Events(t.Context(), &controlv1.EventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if e, err := stream.Recv(); err != nil || e.GetSequence() != uint64(i+1) {
			t.Fatalf("event %d: %v, %v", i+1, e, err)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last event: %v, want the end", err)
	}
	if stream, err = client.Events(t.Context(), &controlv1.EventsRequest{Follow: true}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	d.addEvent(model.Event{At: started, Kind: "quorum", Object: "TCP 192.0.2.100:80", Message: "lost"})
	want := &controlv1.EventsResponse{Sequence: 4, At: timestamppb.New(started), Kind: "quorum", Object: "TCP 192.0.2.100:80", Message: "lost"}
	if e, err := stream.Recv(); err != nil || !cmp.Equal(want, e, protocmp.Transform()) {
		t.Fatalf("event to come: %v, %v; want %v", e, err, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	server.Stop(ctx)
	if ctx.Err() != nil {
		t.Error("the server waited for one who follows events")
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("after the stop: %v, want unavailable", err)
	}
}

// gapDaemon has events that come faster than anybody takes them.
type gapDaemon struct {
	*fakeDaemon
	calls int
}

func (g *gapDaemon) Events(after uint64) ([]model.Event, uint64, <-chan struct{}) {
	if g.calls++; g.calls == 2 {
		for range held + 3 {
			g.addEvent(model.Event{At: started})
		}
	}
	events, missed, more := g.fakeDaemon.Events(after)
	if g.calls == 1 {
		soon := make(chan struct{})
		close(soon)
		return events, missed, soon
	}
	return events, missed, more
}

func TestEventsTellAGap(t *testing.T) {
	d := &gapDaemon{fakeDaemon: newFake()}
	for range held + 1 {
		d.addEvent(model.Event{At: started})
	}
	client, _ := serve(t, d)
	stream, err := client.Events(t.Context(), &controlv1.EventsRequest{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	gap := ""
	for len(got) < 2*held+1 {
		e, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.GetSequence())
		if e.GetKind() == "notice" {
			gap = e.GetMessage()
		}
	}
	if want := []uint64{2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14}; !cmp.Equal(got, want) {
		t.Errorf("sequences %v, want %v", got, want)
	}
	if want := "3 events were missed: they came faster than they were taken"; gap != want {
		t.Errorf("gap told as %q, want %q", gap, want)
	}
}

func TestReload(t *testing.T) {
	d := newFake()
	client, _ := serve(t, d)
	d.reload = func() ([]string, error) { return []string{"f:1: warning: x"}, nil }
	got, err := client.Reload(t.Context(), &controlv1.ReloadRequest{})
	if err != nil || !cmp.Equal(got.GetWarnings(), []string{"f:1: warning: x"}) {
		t.Errorf("good: %v, %v", got, err)
	}
	d.reload = func() ([]string, error) {
		return nil, &ConfigError{Problems: []string{"f:1: error: x", "f:2: error: \xff"}}
	}
	_, err = client.Reload(t.Context(), &controlv1.ReloadRequest{})
	if s := status.Convert(err); s.Code() != codes.InvalidArgument || s.Message() != "f:1: error: x\nf:2: error: \\xff" {
		t.Errorf("bad: %v", err)
	}
	d.reload = func() ([]string, error) { return nil, errors.New("it stops") }
	_, err = client.Reload(t.Context(), &controlv1.ReloadRequest{})
	if s := status.Convert(err); s.Code() != codes.Internal || s.Message() != "reload: it stops" {
		t.Errorf("failed: %v", err)
	}
}

// Two operators at once lose nobody's wish.
func TestOverridesAtTheSameTime(t *testing.T) {
	d := newFake()
	client, _ := serve(t, d)
	set := func(wg *sync.WaitGroup, mode controlv1.OverrideMode) {
		wg.Go(func() {
			_, err := client.SetOverride(t.Context(), &controlv1.SetOverrideRequest{VirtualServer: "192.0.2.100:80", RealServer: "192.0.2.1:80", Mode: mode, Weight: 7})
			if err != nil {
				t.Error(err)
			}
		})
	}
	key := model.RealServerKey{Service: webKey, Addr: d.snapshot.Services[0].RealServers[0].Config.Addr}
	for range 50 {
		var wg sync.WaitGroup
		set(&wg, controlv1.OverrideMode_OVERRIDE_MODE_DRAIN)
		set(&wg, controlv1.OverrideMode_OVERRIDE_MODE_WEIGHT)
		wg.Wait()
		if o := d.Override(key); o.Admin != model.Drain || o.Weight == nil || *o.Weight != 7 {
			t.Fatalf("override %+v, want drain and weight 7", o)
		}
		set(&wg, controlv1.OverrideMode_OVERRIDE_MODE_READY)
		wg.Wait()
		if o := d.Override(key); o != (model.Override{}) {
			t.Fatalf("override %+v, want none", o)
		}
	}
	d.failing = errors.New("disk full")
	_, err := client.SetOverride(t.Context(), &controlv1.SetOverrideRequest{VirtualServer: "192.0.2.100:80", RealServer: "192.0.2.1:80", Mode: controlv1.OverrideMode_OVERRIDE_MODE_DRAIN})
	if s := status.Convert(err); s.Code() != codes.Internal || s.Message() != "store the override of TCP 192.0.2.100:80 192.0.2.1:80: disk full" {
		t.Errorf("with a full disk: %v", err)
	}
}

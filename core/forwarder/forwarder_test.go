package forwarder

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/internal/grpctest"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// fakePlugin holds a table as a forwarder does, and can be told to fail.
type fakePlugin struct {
	forwardv1.UnimplementedForwardServiceServer
	mu       sync.Mutex
	table    map[string]*forwardv1.VirtualServer
	requests []*forwardv1.ApplyRequest
	refuse   error
	object   []*forwardv1.ObjectError
	watch    chan *forwardv1.WatchResponse
	order    []string
	imported func(context.Context, *forwardv1.ImportRequest) (*forwardv1.ImportResponse, error)
}

func (f *fakePlugin) Observe(context.Context, *forwardv1.ObserveRequest) (*forwardv1.ObserveResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.order = append(f.order, "observe")
	out := &forwardv1.ObserveResponse{Platform: "fake"}
	for _, v := range f.table {
		out.VirtualServers = append(out.VirtualServers, v)
	}
	return out, nil
}

func (f *fakePlugin) Apply(_ context.Context, r *forwardv1.ApplyRequest) (*forwardv1.ApplyResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.order = append(f.order, "apply")
	f.requests = append(f.requests, r)
	if f.refuse != nil {
		return nil, f.refuse
	}
	if r.GetHold() {
		return &forwardv1.ApplyResponse{Generation: r.GetGeneration()}, nil
	}
	operations := uint32(0)
	wanted := map[string]bool{}
	for _, v := range r.GetVirtualServers() {
		name := v.GetKey().String()
		wanted[name] = true
		if f.table[name] == nil {
			operations++
		}
		f.table[name] = v
	}
	for _, k := range r.GetOwned() {
		if name := k.String(); !wanted[name] && f.table[name] != nil {
			delete(f.table, name)
			operations++
		}
	}
	return &forwardv1.ApplyResponse{Generation: r.GetGeneration(), Errors: f.object, Operations: operations, AppliedAt: timestamppb.Now()}, nil
}

func (f *fakePlugin) Watch(_ *forwardv1.WatchRequest, stream grpc.ServerStreamingServer[forwardv1.WatchResponse]) error {
	for {
		select {
		case m, ok := <-f.watch:
			if !ok {
				return errors.New("the fake was told to break")
			}
			if err := stream.Send(m); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (f *fakePlugin) Import(ctx context.Context, r *forwardv1.ImportRequest) (*forwardv1.ImportResponse, error) {
	return f.imported(ctx, r)
}

func (f *fakePlugin) set(change func()) { f.mu.Lock(); defer f.mu.Unlock(); change() }

type session struct {
	conn     *grpc.ClientConn
	beats    chan uint64
	features []string
}

func (s session) Conn() grpc.ClientConnInterface { return s.conn }
func (s session) Info() *pluginv1.DescribeResponse {
	return &pluginv1.DescribeResponse{Features: s.features}
}
func (s session) Beat(progress uint64) {
	select {
	case s.beats <- progress:
	default:
	}
}

func serve(t *testing.T, f *fakePlugin) session {
	t.Helper()
	conn := grpctest.Serve(t, func(s *grpc.Server) { forwardv1.RegisterForwardServiceServer(s, f) })
	return session{conn: conn, beats: make(chan uint64, 10)}
}

// memory is an Ownership that remembers, and can be told to fail.
type memory struct {
	mu     sync.Mutex
	keys   []model.ServiceKey
	refuse error
}

func (m *memory) Owned() ([]model.ServiceKey, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.keys), false
}

func (m *memory) Intend(set model.ForwardSet) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse != nil {
		return m.refuse
	}
	for _, s := range set.Services {
		if !slices.Contains(m.keys, s.Key) {
			m.keys = append(m.keys, s.Key)
		}
	}
	return nil
}

func (m *memory) Settle(set model.ForwardSet) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys = nil
	for _, s := range set.Services {
		m.keys = append(m.keys, s.Key)
	}
	return nil
}

func key(port uint16) model.ServiceKey {
	return model.ServiceKey{Addr: netip.MustParseAddr("192.0.2.100"), Port: port, Protocol: model.TCP}
}

func set(generation uint64, ports ...uint16) model.ForwardSet {
	s := model.ForwardSet{Generation: generation}
	for _, p := range ports {
		s.Services = append(s.Services, model.Service{Key: key(p), Scheduler: "rr", Destinations: []model.Destination{
			{Addr: netip.MustParseAddrPort("192.0.2.1:80"), Weight: 1, Forwarding: model.Forwarding{Method: model.DR}},
		}})
	}
	return s
}

// recorder takes what the facade tells.
type recorder struct {
	adopted chan []model.Service
	applied chan uint64
	failed  chan string
}

func (r recorder) handlers() Handlers {
	return Handlers{
		Adopt:     func(s []model.Service) { r.adopted <- s },
		Applied:   func(a Result) { r.applied <- a.Generation },
		Repaired:  func(repairs []string, _ time.Time) { r.failed <- "repaired " + repairs[0] },
		Failed:    func(object, message string) { r.failed <- object + ": " + message },
		Recovered: func() { r.failed <- "recovered" },
	}
}

func start(t *testing.T, f *fakePlugin, m *memory, features ...string) (*Forwarder, recorder, <-chan error, session) {
	t.Helper()
	r := recorder{make(chan []model.Service, 10), make(chan uint64, 100), make(chan string, 100)}
	facade := New(hclog.NewNullLogger(), m, func() time.Duration { return time.Second }, r.handlers())
	s := serve(t, f)
	s.features = features
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() { done <- facade.Run(ctx, s) }()
	return facade, r, done, s
}

func newFake() *fakePlugin {
	return &fakePlugin{table: map[string]*forwardv1.VirtualServer{}, watch: make(chan *forwardv1.WatchResponse)}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came within 10 s")
		panic("unreachable")
	}
}

func TestAdoptsBeforeItApplies(t *testing.T) {
	f := newFake()
	f.table["foreign"] = encodeService(&model.Service{Key: key(443), Scheduler: "wlc"}, false)
	facade, r, _, _ := start(t, f, &memory{})
	if adopted := receive(t, r.adopted); len(adopted) != 1 || adopted[0].Key != key(443) {
		t.Errorf("adopted %v, want the one service on port 443", adopted)
	}
	facade.Set(set(1, 80))
	if g := receive(t, r.applied); g != 1 {
		t.Errorf("applied generation %d, want 1", g)
	}
	f.set(func() {
		if !slices.Equal(f.order, []string{"observe", "apply"}) {
			t.Errorf("calls were %v, want observe, apply", f.order)
		}
		if f.table["foreign"] == nil {
			t.Error("the foreign service is gone")
		}
	})
}

func TestRemovesWhatItOwnsOnly(t *testing.T) {
	f, m := newFake(), &memory{keys: []model.ServiceKey{key(8080)}}
	f.table[encodeKey(key(8080)).String()] = encodeService(&model.Service{Key: key(8080), Scheduler: "rr"}, false)
	facade, r, _, _ := start(t, f, m)
	facade.Set(set(1, 80, 81))
	receive(t, r.applied)
	facade.Set(set(2, 80))
	for receive(t, r.applied) != 2 {
	}
	f.set(func() {
		if len(f.table) != 1 || f.table[encodeKey(key(80)).String()] == nil {
			t.Errorf("table has %d services, want port 80 alone", len(f.table))
		}
	})
	if keys, _ := m.Owned(); !slices.Equal(keys, []model.ServiceKey{key(80)}) {
		t.Errorf("owned %v, want port 80 alone", keys)
	}
}

func TestNothingIsAppliedThatIsNotWrittenDown(t *testing.T) {
	f, m := newFake(), &memory{refuse: errors.New("disk full")}
	facade, r, _, _ := start(t, f, m)
	facade.Set(set(1, 80))
	if got, want := receive(t, r.failed), "state file: not applied: what is about to be made could not be written down: disk full"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	f.set(func() {
		if len(f.requests) != 0 {
			t.Error("applied though it could not be written down")
		}
	})
	m.mu.Lock()
	m.refuse = nil
	m.mu.Unlock()
	if g := receive(t, r.applied); g != 1 {
		t.Errorf("applied generation %d after the disk came back, want 1", g)
	}
	if got := receive(t, r.failed); got != "recovered" {
		t.Errorf("told %q, want recovered", got)
	}
}

func TestAFailedApplyIsTriedAgain(t *testing.T) {
	f := newFake()
	f.refuse = errors.New("kernel busy")
	facade, r, _, _ := start(t, f, &memory{})
	facade.Set(set(1, 80))
	if got, want := receive(t, r.failed), "table: kernel busy"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	f.set(func() { f.refuse = nil })
	if g := receive(t, r.applied); g != 1 {
		t.Errorf("applied generation %d, want 1", g)
	}
}

func TestObjectErrorsAreToldOnce(t *testing.T) {
	f := newFake()
	f.object = []*forwardv1.ObjectError{{Key: encodeKey(key(80)), Message: "no scheduler xx: modprobe ip_vs_xx"}}
	facade, r, _, s := start(t, f, &memory{})
	facade.Set(set(1, 80))
	receive(t, r.applied)
	if got, want := receive(t, r.failed), "TCP 192.0.2.100:80: no scheduler xx: modprobe ip_vs_xx"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	f.watch <- &forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Drift{Drift: &forwardv1.Drift{Errors: f.object}}}
	f.watch <- &forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Beat{Beat: &pluginv1.Beat{Progress: 7}}}
	if p := receive(t, s.beats); p != 7 {
		t.Errorf("beat %d, want 7", p)
	}
	f.watch <- &forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Drift{Drift: &forwardv1.Drift{Repairs: []string{"x"}, FoundAt: timestamppb.Now()}}}
	if got := receive(t, r.failed); got != "repaired x" {
		t.Errorf("told %q after the same error came again, want only the repair", got)
	}
	if n := facade.Status().Repairs; n != 1 {
		t.Errorf("repairs = %d, want 1", n)
	}
}

// A clean stop empties the table and forgets what was made; a process that fails on the
// way keeps both, and says so.
func TestWithdraw(t *testing.T) {
	f, m := newFake(), &memory{}
	facade, r, _, _ := start(t, f, m)
	facade.Set(set(1, 80, 81))
	receive(t, r.applied)
	f.set(func() { f.refuse = errors.New("kernel busy") })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := facade.Withdraw(ctx); err == nil || !strings.Contains(err.Error(), "kernel busy") {
		t.Errorf("withdrawn from a kernel that refuses: %v", err)
	}
	if keys, _ := m.Owned(); len(keys) != 2 {
		t.Errorf("owned %v, want both: they are still there", keys)
	}
	f.set(func() { f.refuse = nil })
	if err := facade.Withdraw(context.Background()); err != nil {
		t.Error(err)
	}
	f.set(func() {
		if len(f.table) != 0 {
			t.Errorf("%d services are left", len(f.table))
		}
	})
	if keys, _ := m.Owned(); len(keys) != 0 {
		t.Errorf("owned %v after the withdrawal", keys)
	}
}

func TestABrokenWatchEndsTheSession(t *testing.T) {
	f := newFake()
	_, r, done, _ := start(t, f, &memory{})
	receive(t, r.adopted)
	close(f.watch)
	if err := receive(t, done); err == nil {
		t.Error("the session ended without an error")
	}
}

func TestServicesSurviveTheWire(t *testing.T) {
	want := model.Service{
		Key: model.ServiceKey{FWMark: 7, IPv6: true}, Scheduler: "sh", SchedulerFlags: []string{"flag-1"}, OnePacket: true,
		Persistence: model.Persistence{Timeout: time.Minute, Prefix: 64, Engine: "sip"},
		Destinations: []model.Destination{{
			Addr: netip.MustParseAddrPort("[2001:db8::1]:53"), Weight: 9, UpperThreshold: 5, LowerThreshold: 3,
			Forwarding: model.Forwarding{Method: model.TUN, Tunnel: model.Tunnel{Type: "gue", Port: 6080, Checksum: "remcsum"}},
		}},
	}
	got := decodeServices([]*forwardv1.VirtualServer{encodeService(&want, true)})
	if len(got) != 1 || got[0].Key != want.Key || got[0].Persistence != want.Persistence || !slices.Equal(got[0].Destinations, want.Destinations) ||
		got[0].Scheduler != want.Scheduler || !slices.Equal(got[0].SchedulerFlags, want.SchedulerFlags) || !got[0].OnePacket {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

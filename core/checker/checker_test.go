package checker

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/internal/grpctest"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// fakePlugin takes sets and says what the test tells it to.
type fakePlugin struct {
	checkv1.UnimplementedCheckServiceServer
	sets chan *checkv1.SetChecks
	say  chan *checkv1.RunResponse
}

func (f *fakePlugin) Run(stream grpc.BidiStreamingServer[checkv1.RunRequest, checkv1.RunResponse]) error {
	go func() {
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			f.sets <- r.GetSetChecks()
		}
	}()
	for {
		select {
		case m, ok := <-f.say:
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

type session struct {
	conn  *grpc.ClientConn
	beats chan uint64
}

func (s session) Conn() grpc.ClientConnInterface { return s.conn }
func (s session) Beat(progress uint64)           { s.beats <- progress }
func (s session) Info() *pluginv1.DescribeResponse {
	return &pluginv1.DescribeResponse{Kinds: []*pluginv1.Kind{
		{Interface: pluginv1.Interface_INTERFACE_CHECK, Type: "tcp"},
		{Interface: pluginv1.Interface_INTERFACE_FORWARD, Type: "http"},
	}}
}

func check(kind string, port uint16) model.Check {
	return model.Check{
		Type: kind, Target: model.Target{Addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port)},
		Schedule: model.Schedule{Interval: 6 * time.Second, Timeout: 3 * time.Second, Retries: 3, RetryDelay: time.Second, Warmup: time.Second},
	}
}

// world is the engine's side: a set that may change, and the verdicts taken.
type world struct {
	mu       sync.Mutex
	set      model.CheckSet
	verdicts chan map[model.CheckID]model.Verdict
}

func (w *world) checks() model.CheckSet {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.set
}

func start(t *testing.T, w *world) (*Checker, *fakePlugin, session, <-chan error) {
	t.Helper()
	f := &fakePlugin{sets: make(chan *checkv1.SetChecks, 10), say: make(chan *checkv1.RunResponse)}
	conn := grpctest.Serve(t, func(s *grpc.Server) { checkv1.RegisterCheckServiceServer(s, f) })
	c := New(hclog.NewNullLogger(), w.checks, func(c *model.Check) bool { return c.Target.FWMark == 0 }, func(v map[model.CheckID]model.Verdict) { w.verdicts <- v })
	s := session{conn: conn, beats: make(chan uint64, 10)}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, s) }()
	return c, f, s, done
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

func TestSendsTheTypesOfTheProcessOnly(t *testing.T) {
	marked := check("tcp", 81)
	marked.Target.FWMark = 3
	w := &world{verdicts: make(chan map[model.CheckID]model.Verdict, 10), set: model.CheckSet{Generation: 1, Checks: []model.DesiredCheck{
		{ID: "a", Check: check("tcp", 80), Known: model.Verdict{State: model.Down, Weight: model.Weight{Mode: model.SetWeight, Value: 8}, Admin: model.Drain}, Inferred: true}, {ID: "b", Check: check("http", 80)}, {ID: "c", Check: marked},
	}}}
	c, f, _, _ := start(t, w)
	set := receive(t, f.sets)
	if len(set.GetChecks()) != 1 || set.GetChecks()[0].GetId() != "a" {
		t.Fatalf("sent %v, want the tcp check of this process alone", set.GetChecks())
	}
	got := set.GetChecks()[0]
	if got.GetKnown() != checkv1.VerdictState_VERDICT_STATE_DOWN || got.GetKnownWeight() != 8 || !got.GetKnownInferred() ||
		got.GetKnownWeightMode() != checkv1.WeightMode_WEIGHT_MODE_SET || got.GetKnownAdmin() != checkv1.Admin_ADMIN_DRAIN || got.GetSchedule().GetRetries() != 3 ||
		got.GetSchedule().GetInterval().AsDuration() != 6*time.Second || got.GetTarget().GetAddress() != "192.0.2.1" || got.GetTarget().GetPort() != 80 {
		t.Errorf("sent %v, want the check as it is configured and known to be down", got)
	}
	w.mu.Lock()
	w.set = model.CheckSet{Generation: 2}
	w.mu.Unlock()
	c.Changed()
	if set := receive(t, f.sets); set.GetGeneration() != 2 || len(set.GetChecks()) != 0 {
		t.Errorf("sent %v after the change, want the empty set of generation 2", set)
	}
}

func TestTakesVerdictsAndBeats(t *testing.T) {
	w := &world{verdicts: make(chan map[model.CheckID]model.Verdict, 10), set: model.CheckSet{Generation: 1, Checks: []model.DesiredCheck{
		{ID: "a", Check: check("tcp", 80)}, {ID: "b", Check: check("tcp", 81)}, {ID: "other", Check: check("http", 80)},
	}}}
	c, f, s, done := start(t, w)
	receive(t, f.sets)
	at := time.Now().UTC()
	f.say <- &checkv1.RunResponse{Message: &checkv1.RunResponse_Verdicts{Verdicts: &checkv1.Verdicts{Verdicts: []*checkv1.Verdict{
		{CheckId: "a", State: checkv1.VerdictState_VERDICT_STATE_DOWN, Reason: "connection refused", DecidedAt: timestamppb.New(at),
			Weight: 50, WeightMode: checkv1.WeightMode_WEIGHT_MODE_SCALE, Admin: checkv1.Admin_ADMIN_MAINTENANCE},
		{CheckId: "b"}, // without a state: nothing to learn from it
		// Another process's, and nobody's: a plugin has no say in them.
		{CheckId: "other", State: checkv1.VerdictState_VERDICT_STATE_DOWN}, {CheckId: "z", State: checkv1.VerdictState_VERDICT_STATE_UP},
	}}}}
	want := map[model.CheckID]model.Verdict{"a": {State: model.Down, Reason: "connection refused", Since: at,
		Weight: model.Weight{Mode: model.ScaleWeight, Value: 50}, Admin: model.Maintenance}}
	if got := receive(t, w.verdicts); !maps.Equal(got, want) {
		t.Errorf("took %v, want %v", got, want)
	}
	f.say <- &checkv1.RunResponse{Message: &checkv1.RunResponse_Applied{Applied: &checkv1.Applied{Rejected: []*checkv1.Rejected{{CheckId: "c", Path: "/url", Message: "is missing"}}}}}
	f.say <- &checkv1.RunResponse{Message: &checkv1.RunResponse_Beat{Beat: &checkv1.Beat{Beat: &pluginv1.Beat{Progress: 5}, Probes: 9, Failures: 2, Overdue: 1,
		LatenessHistogram: &checkv1.Lateness{Starts: 8, Sum: durationpb.New(time.Second), Buckets: []*checkv1.LatenessBucket{{AtMost: durationpb.New(time.Millisecond), Starts: 7}}}}}}
	if p := receive(t, s.beats); p != 5 {
		t.Errorf("beat %d, want 5", p)
	}
	got := c.Stats()
	if got.Probes != 9 || got.Failures != 2 || got.Overdue != 1 || got.Lateness.Starts != 8 || got.Lateness.Sum != time.Second || got.Lateness.Buckets[time.Millisecond] != 7 || got.Rejected["c"] != "/url: is missing" {
		t.Errorf("stats %+v", got)
	}
	close(f.say)
	if err := receive(t, done); err == nil {
		t.Error("a broken stream ended the session without an error")
	}
}

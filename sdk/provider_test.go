package sdk_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

// provider is a failover provider that is master of every group, tells so, and leaves
// a file when it has withdrawn.
type provider struct {
	settings sdk.Settings
	stop     chan pluginv1.StopMode
	once     sync.Once
	flood    int
}

func newProvider() *provider { return &provider{stop: make(chan pluginv1.StopMode, 1)} }

func (p *provider) Configure(_ context.Context, s sdk.Settings) error {
	p.settings = s
	return nil
}

func (p *provider) Run(ctx context.Context, sets <-chan *failoverv1.SetGroups, coreLost <-chan struct{}, report func(*failoverv1.RunResponse)) error {
	for {
		select {
		case set := <-sets:
			report(&failoverv1.RunResponse{Message: &failoverv1.RunResponse_Applied{Applied: &failoverv1.Applied{Generation: set.GetGeneration()}}})
			for i := range p.flood {
				report(&failoverv1.RunResponse{Message: &failoverv1.RunResponse_Beat{Beat: &failoverv1.Beat{Beat: &pluginv1.Beat{Progress: uint64(i)}}}})
				report(&failoverv1.RunResponse{Message: &failoverv1.RunResponse_Notice{Notice: &failoverv1.Notice{Message: fmt.Sprint(i)}}})
			}
			for _, g := range set.GetGroups() {
				report(&failoverv1.RunResponse{Message: &failoverv1.RunResponse_RoleChange{RoleChange: &failoverv1.RoleChange{Group: g.GetName(), Role: failoverv1.Role_ROLE_MASTER, Reason: "test"}}})
			}
		case <-coreLost:
			// A daemon that is gone reads no log: thousands of lines must not hold this up.
			for i := range 3000 {
				p.settings.Logger.Info("going on without a daemon", "line", i)
			}
			report(&failoverv1.RunResponse{})
			time.Sleep(200 * time.Millisecond)
			return os.WriteFile(filepath.Join(p.settings.RuntimeDir, "withdrawn"), nil, 0o600)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *provider) Stop(_ context.Context, mode pluginv1.StopMode) error {
	p.stop <- mode
	return nil
}

func setGroups(t *testing.T, run failoverv1.FailoverService_RunClient, generation uint64) {
	t.Helper()
	set := &failoverv1.SetGroups{Generation: generation, Groups: []*failoverv1.Group{{Name: "g"}}}
	if err := run.Send(&failoverv1.RunRequest{Message: &failoverv1.RunRequest_SetGroups{SetGroups: set}}); err != nil {
		t.Fatal(err)
	}
}

func TestFailover(t *testing.T) {
	p := newProvider()
	c := plugintest.Serve(t, sdk.Plugin{Name: "test", Version: "1", Failover: p, FailoverType: "test"})
	c.Configure(t, "")
	plugintest.Conform(t, c, nil)
	ctx, cancel := context.WithCancel(within(t))
	run, err := c.Failover.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	setGroups(t, run, 1)
	if m, err := run.Recv(); err != nil || m.GetApplied().GetGeneration() != 1 {
		t.Fatalf("got %v, %v, want generation 1 applied", m, err)
	}
	if m, err := run.Recv(); err != nil || m.GetRoleChange().GetRole() != failoverv1.Role_ROLE_MASTER {
		t.Fatalf("got %v, %v, want master", m, err)
	}
	again, err := c.Failover.Run(within(t))
	if err == nil {
		_, err = again.Recv()
	}
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a second stream gave %v, want FailedPrecondition", err)
	}
	cancel()
	waitFor(t, "the provider withdraws without its daemon", func() bool {
		_, err := os.Stat(filepath.Join(p.settings.RuntimeDir, "withdrawn"))
		return err == nil
	})
}

// TestFailoverStop: Stop reaches the provider, ends its Run, and the stream with it.
func TestFailoverStop(t *testing.T) {
	p := newProvider()
	c := plugintest.Serve(t, sdk.Plugin{Name: "test", Version: "1", Failover: p, FailoverType: "test"})
	c.Configure(t, "")
	run, err := c.Failover.Run(within(t))
	if err != nil {
		t.Fatal(err)
	}
	setGroups(t, run, 1)
	if _, err := run.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Plugin.Stop(within(t), &pluginv1.StopRequest{Mode: pluginv1.StopMode_STOP_MODE_WITHDRAW}); err != nil {
		t.Fatal(err)
	}
	if mode := <-p.stop; mode != pluginv1.StopMode_STOP_MODE_WITHDRAW {
		t.Errorf("stopped with %s", mode)
	}
	for err == nil {
		_, err = run.Recv()
	}
	if status.Code(err) != codes.Canceled {
		t.Errorf("the stream ended with %v", err)
	}
	late, err := c.Failover.Run(within(t))
	if err == nil {
		_, err = late.Recv()
	}
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a stream after stop gave %v, want FailedPrecondition", err)
	}
}

// TestFailoverFlood: a provider that reports more than the daemon reads is not held
// up; roles arrive, of beats the latest.
func TestFailoverFlood(t *testing.T) {
	p := newProvider()
	p.flood = 20000
	c := plugintest.Serve(t, sdk.Plugin{Name: "test", Version: "1", Failover: p, FailoverType: "test"})
	c.Configure(t, "")
	run, err := c.Failover.Run(within(t))
	if err != nil {
		t.Fatal(err)
	}
	setGroups(t, run, 1)
	notices, last, role := 0, uint64(0), false
	for !role || last < uint64(p.flood-1) {
		m, err := run.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetNotice() != nil {
			notices++
		}
		if b := m.GetBeat(); b != nil {
			last = b.GetBeat().GetProgress()
		}
		role = role || m.GetRoleChange() != nil
	}
	if notices == 0 || notices >= p.flood {
		t.Errorf("%d notices of %d arrived, want some", notices, p.flood)
	}
}

// forwarder fails as it is told.
type forwarder struct{ err error }

func (f *forwarder) Configure(context.Context, sdk.Settings) error { return f.err }
func (f *forwarder) Observe(context.Context) (*forwardv1.ObserveResponse, error) {
	return &forwardv1.ObserveResponse{}, f.err
}
func (f *forwarder) Apply(context.Context, *forwardv1.ApplyRequest) (*forwardv1.ApplyResponse, error) {
	return &forwardv1.ApplyResponse{}, f.err
}
func (f *forwarder) Watch(ctx context.Context, _ time.Duration, report func(*forwardv1.WatchResponse) error) error {
	if err := report(&forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Beat{Beat: &pluginv1.Beat{Progress: 1}}}); err != nil {
		return err
	}
	<-ctx.Done()
	return f.err
}
func (f *forwarder) Stop(context.Context, pluginv1.StopMode) error { return f.err }

// TestForwardErrors: what a forwarder gives as an error arrives with a code and its
// text.
func TestForwardErrors(t *testing.T) {
	f := &forwarder{}
	c := plugintest.Serve(t, sdk.Plugin{Name: "test", Version: "1", Forwarder: f, ForwarderType: "test"})
	c.Configure(t, "")
	plugintest.Conform(t, c, nil)
	watch, err := c.Forward.Watch(within(t), &forwardv1.WatchRequest{CountersInterval: durationpb.New(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := watch.Recv(); err != nil || m.GetBeat().GetProgress() != 1 {
		t.Errorf("got %v, %v, want a beat", m, err)
	}
	for _, test := range []struct {
		err              error
		configure, apply codes.Code
	}{
		{errConfigured, codes.FailedPrecondition, codes.Internal},
		{sdk.Errorf("/family", "unknown"), codes.InvalidArgument, codes.Internal},
		{fmt.Errorf("apply: %w", status.Error(codes.Aborted, "old")), codes.Aborted, codes.Aborted},
		{context.DeadlineExceeded, codes.DeadlineExceeded, codes.DeadlineExceeded},
	} {
		f.err = test.err
		_, err := c.Plugin.Configure(within(t), &pluginv1.ConfigureRequest{Name: "x", BeatInterval: durationpb.New(time.Second)})
		if status.Code(err) != test.configure {
			t.Errorf("configure with %q gave %v, want %s", test.err, err, test.configure)
		}
		if _, err := c.Forward.Apply(within(t), &forwardv1.ApplyRequest{}); status.Code(err) != test.apply {
			t.Errorf("apply with %q gave %v, want %s", test.err, err, test.apply)
		}
	}
	if _, err := c.Plugin.Stop(within(t), &pluginv1.StopRequest{Mode: pluginv1.StopMode_STOP_MODE_LEAVE}); err == nil {
		t.Error("a stop that failed gave no error")
	}
	bad, err := c.Forward.Watch(within(t), &forwardv1.WatchRequest{})
	if err == nil {
		_, err = bad.Recv()
	}
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("watch without an interval gave %v", err)
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

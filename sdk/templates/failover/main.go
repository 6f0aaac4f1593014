// Command failover is a template of a failover provider: copy the folder, follow the TODO
// marks, and name it in the daemon's configuration. It knows no peer: this director is
// master of every group, as long as it runs. The contract is in the comments of
// proto/poise/failover/v1/failover.proto.
package main

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

// TODO: your name, version and type.
func main() {
	sdk.Serve(sdk.Plugin{Name: "alone", Version: "1.0.0", Failover: newProvider(), FailoverType: "alone"})
}

// provider decides who serves, and holds the addresses.
type provider struct {
	mu   sync.Mutex
	beat time.Duration
	// changed wakes the loop for new settings; stop asks it to end its work.
	changed chan struct{}
	stop    chan stopRequest
	// started is closed when the loop runs.
	started chan struct{}
}

type stopRequest struct {
	mode pluginv1.StopMode
	done chan struct{}
}

func newProvider() *provider {
	return &provider{beat: time.Second, changed: make(chan struct{}, 1), stop: make(chan stopRequest), started: make(chan struct{})}
}

// Configure takes the settings of the process; it comes again when they change.
//
// TODO: parameters of your own, with a struct as in the checker's template.
func (p *provider) Configure(_ context.Context, s sdk.Settings) error {
	if err := sdk.Decode(s.Parameters, &struct{}{}); err != nil {
		return err
	}
	p.mu.Lock()
	p.beat = s.BeatInterval
	p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
	return nil
}

// Run is the one loop that runs the protocol: it takes sets, reports roles when they
// change, beats, and ends when the daemon is gone and the addresses are not ours any more.
func (p *provider) Run(ctx context.Context, sets <-chan *failoverv1.SetGroups, coreLost <-chan struct{}, report func(*failoverv1.RunResponse)) error {
	close(p.started)
	groups := map[string]*failoverv1.Group{}
	var grace time.Duration
	for progress := uint64(1); ; progress++ {
		p.mu.Lock()
		beat := time.After(p.beat)
		p.mu.Unlock()
		report(&failoverv1.RunResponse{Message: &failoverv1.RunResponse_Beat{Beat: &failoverv1.Beat{Beat: &pluginv1.Beat{Progress: progress}}}})
		// TODO: your protocol's packets and timers are further cases here.
		select {
		case <-beat:
		case <-p.changed:
		case set := <-sets:
			grace = set.GetCoreLossGrace().AsDuration()
			groups = take(groups, set, report)
		case s := <-p.stop:
			withdraw(groups, s.mode)
			clear(groups)
			close(s.done)
		case <-coreLost:
			// TODO: go on with the protocol for the grace time, so that the provider of a new
			// daemon can take over; then tell the peers and withdraw.
			select {
			case <-time.After(grace):
			case <-ctx.Done():
			}
			withdraw(groups, pluginv1.StopMode_STOP_MODE_WITHDRAW)
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// take puts a set in force: what is new begins, what has not changed goes on, what is
// gone is withdrawn.
//
// TODO: refuse what you cannot run, with Applied.rejected, one group by one.
func take(before map[string]*failoverv1.Group, set *failoverv1.SetGroups, report func(*failoverv1.RunResponse)) map[string]*failoverv1.Group {
	after := map[string]*failoverv1.Group{}
	for _, g := range set.GetGroups() {
		after[g.GetName()] = g
		delete(before, g.GetName())
	}
	withdraw(before, pluginv1.StopMode_STOP_MODE_WITHDRAW)
	report(&failoverv1.RunResponse{Message: &failoverv1.RunResponse_Applied{Applied: &failoverv1.Applied{Generation: set.GetGeneration()}}})
	for name := range after {
		report(&failoverv1.RunResponse{Message: &failoverv1.RunResponse_RoleChange{RoleChange: &failoverv1.RoleChange{
			Group: name, Role: failoverv1.Role_ROLE_MASTER, Reason: "there is no other director", At: timestamppb.Now(),
		}}})
	}
	return after
}

// withdraw gives up the addresses of groups; with leave they stay.
//
// TODO: tell the peers first, so that they take over at once; then the addresses.
func withdraw(map[string]*failoverv1.Group, pluginv1.StopMode) {}

// Stop has the loop end its work and returns when it has.
func (p *provider) Stop(ctx context.Context, mode pluginv1.StopMode) error {
	select {
	case <-p.started:
	default:
		return nil // nothing was ever begun
	}
	s := stopRequest{mode, make(chan struct{})}
	select {
	case p.stop <- s:
	case <-ctx.Done():
		return ctx.Err()
	}
	<-s.done
	return nil
}

// Command forward is a template of a forwarder: copy the folder, follow the TODO marks,
// and name it in the daemon's configuration. It holds its table in memory, where a real
// one would have a kernel or an appliance. The contract is in the comments of
// proto/poise/forward/v1/forward.proto.
package main

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

// TODO: your name, version and type.
func main() {
	sdk.Serve(sdk.Plugin{Name: "table", Version: "1.0.0", Forwarder: newForwarder(), ForwarderType: "table"})
}

// key names a virtual server; it is the wire's form as a value.
type key struct {
	address      string
	port, fwmark uint32
	protocol     forwardv1.Protocol
	family       forwardv1.Family
}

func keyOf(k *forwardv1.ServiceKey) key {
	return key{k.GetAddress(), k.GetPort(), k.GetFwmark(), k.GetProtocol(), k.GetFamily()}
}

// forwarder makes its platform hold the table that it was sent last.
type forwarder struct {
	mu         sync.Mutex
	beat       time.Duration
	generation uint64
	// TODO: your platform in the place of the map.
	platform map[key]*forwardv1.VirtualServer
}

func newForwarder() *forwarder {
	return &forwarder{beat: time.Second, platform: map[key]*forwardv1.VirtualServer{}}
}

// Configure takes the settings of the process; it comes again when they change.
//
// TODO: parameters of your own, with a struct as in the checker's template; what the
// machine lacks is status.Error(codes.FailedPrecondition, "... and what to install").
func (f *forwarder) Configure(_ context.Context, s sdk.Settings) error {
	if err := sdk.Decode(s.Parameters, &struct{}{}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beat = s.BeatInterval
	return nil
}

// Observe says what is there, ours or not.
//
// TODO: read your platform, with the counters it has.
func (f *forwarder) Observe(context.Context) (*forwardv1.ObserveResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &forwardv1.ObserveResponse{Platform: "a table in memory"}
	for _, v := range f.platform {
		out.VirtualServers = append(out.VirtualServers, proto.CloneOf(v))
	}
	slices.SortFunc(out.VirtualServers, func(a, b *forwardv1.VirtualServer) int {
		return cmp.Compare(a.GetKey().String(), b.GetKey().String())
	})
	return out, nil
}

// Apply makes the platform what the request says: what is wanted is made or changed, what
// is owned and not wanted is removed, everything else is foreign and stays. What fails for
// one object goes into Errors and does not keep the others from being applied.
//
// TODO: the difference from what is there, as operations of your platform; check what it
// cannot do (methods, protocols) and say so for each object.
func (f *forwarder) Apply(_ context.Context, r *forwardv1.ApplyRequest) (*forwardv1.ApplyResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.GetGeneration() < f.generation {
		return nil, status.Errorf(codes.Aborted, "generation %d came after %d", r.GetGeneration(), f.generation)
	}
	f.generation = r.GetGeneration()
	out := &forwardv1.ApplyResponse{Generation: f.generation}
	wanted := map[key]bool{}
	for _, v := range r.GetVirtualServers() {
		k := keyOf(v.GetKey())
		wanted[k] = true
		if !proto.Equal(f.platform[k], v) {
			f.platform[k] = proto.CloneOf(v)
			out.Operations++
		}
	}
	for _, o := range r.GetOwned() {
		if k := keyOf(o); f.platform[k] != nil && !wanted[k] {
			delete(f.platform, k)
			out.Operations++
		}
	}
	if r.GetConnectionSync() != nil {
		out.Errors = append(out.Errors, &forwardv1.ObjectError{Message: "this forwarder has no connection sync: leave connection_sync out"})
	}
	if out.Operations > 0 {
		out.AppliedAt = timestamppb.Now()
	}
	return out, nil
}

// Watch beats from the loop that does the work, so that a stuck one shows, and reports
// what is there.
//
// TODO: compare with the platform every ApplyRequest.reconcile_interval, repair what
// somebody else changed, and report it as Drift.
func (f *forwarder) Watch(ctx context.Context, interval time.Duration, report func(*forwardv1.WatchResponse) error) error {
	counters := time.NewTicker(interval)
	defer counters.Stop()
	for progress := uint64(1); ; progress++ {
		f.mu.Lock()
		beat := time.NewTimer(f.beat)
		f.mu.Unlock()
		m := &forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Beat{Beat: &pluginv1.Beat{Progress: progress}}}
		if err := report(m); err != nil {
			return err
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return nil
			case <-beat.C:
				waiting = false
			case <-counters.C:
				seen, err := f.Observe(ctx)
				if err != nil {
					return err
				}
				if err := report(&forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Observed{Observed: seen}}); err != nil {
					return err
				}
			}
		}
	}
}

// Stop ends the work. The daemon withdraws by an empty Apply before it; what is left of
// ours after that goes now.
//
// TODO: close what you hold. Leave: the platform goes on forwarding.
func (f *forwarder) Stop(_ context.Context, mode pluginv1.StopMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if mode == pluginv1.StopMode_STOP_MODE_WITHDRAW {
		clear(f.platform)
	}
	return nil
}

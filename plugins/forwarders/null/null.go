package null

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
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

// Type is the forwarder's name in configurations.
const Type = "null"

// platform is what the forwarder says of itself.
const platform = "null: the table is held in memory, nothing is forwarded"

// key is a ServiceKey as a value.
type key struct {
	address  netip.Addr
	port     uint32
	protocol forwardv1.Protocol
	fwmark   uint32
	family   forwardv1.Family
}

// forwarder holds the table.
type forwarder struct {
	mu         sync.Mutex
	beat       time.Duration
	generation uint64
	services   map[key]*forwardv1.VirtualServer
	sync       *forwardv1.ConnectionSync
}

// New makes a forwarder with an empty table.
func New() sdk.Forwarder {
	return &forwarder{beat: time.Second, services: map[key]*forwardv1.VirtualServer{}}
}

// Configure takes the beat interval; there are no parameters.
func (f *forwarder) Configure(_ context.Context, s sdk.Settings) error {
	if err := sdk.Decode(s.Parameters, &struct{}{}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beat = s.BeatInterval
	return nil
}

// Observe reports the table.
func (f *forwarder) Observe(context.Context) (*forwardv1.ObserveResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.observe(), nil
}

func (f *forwarder) observe() *forwardv1.ObserveResponse {
	out := &forwardv1.ObserveResponse{Platform: platform}
	for _, s := range f.services {
		out.VirtualServers = append(out.VirtualServers, proto.CloneOf(s))
	}
	slices.SortFunc(out.VirtualServers, func(a, b *forwardv1.VirtualServer) int {
		return cmp.Compare(describe(a.GetKey()), describe(b.GetKey()))
	})
	if f.sync != nil {
		out.ConnectionSyncs = []*forwardv1.ConnectionSync{proto.CloneOf(f.sync)}
	}
	return out
}

// Apply makes the table what the request says, and counts what that took.
func (f *forwarder) Apply(_ context.Context, r *forwardv1.ApplyRequest) (*forwardv1.ApplyResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.GetGeneration() < f.generation {
		return nil, status.Errorf(codes.Aborted, "generation %d came after %d", r.GetGeneration(), f.generation)
	}
	f.generation = r.GetGeneration()
	out := &forwardv1.ApplyResponse{Generation: f.generation}
	wanted := map[key]bool{}
	for _, s := range r.GetVirtualServers() {
		k, err := decodeKey(s.GetKey())
		if err != nil {
			out.Errors = append(out.Errors, &forwardv1.ObjectError{Key: s.GetKey(), Message: err.Error()})
			continue
		}
		wanted[k] = true
		out.Operations += changes(f.services[k], s)
		f.services[k] = proto.CloneOf(s)
	}
	for _, o := range r.GetOwned() {
		k, err := decodeKey(o)
		if err != nil || wanted[k] || f.services[k] == nil {
			continue
		}
		out.Operations += 1
		delete(f.services, k)
	}
	if !proto.Equal(f.sync, r.GetConnectionSync()) {
		out.Operations++
		f.sync = proto.CloneOf(r.GetConnectionSync())
	}
	if out.Operations > 0 {
		out.AppliedAt = timestamppb.Now()
	}
	return out, nil
}

// changes counts the operations from one service to another: itself, and each real
// server that is new, changed or gone.
func changes(from, to *forwardv1.VirtualServer) (n uint32) {
	before := map[netip.AddrPort]*forwardv1.RealServer{}
	for _, r := range from.GetRealServers() {
		before[addrPort(r)] = r
	}
	for _, r := range to.GetRealServers() {
		if !proto.Equal(before[addrPort(r)], r) {
			n++
		}
		delete(before, addrPort(r))
	}
	n += uint32(len(before))
	if from == nil || !proto.Equal(bare(from), bare(to)) {
		n++
	}
	return n
}

// bare is a service without its real servers and counters.
func bare(s *forwardv1.VirtualServer) *forwardv1.VirtualServer {
	return &forwardv1.VirtualServer{
		Key: s.GetKey(), Scheduler: s.GetScheduler(), SchedulerFlags: s.GetSchedulerFlags(),
		PersistenceTimeout: s.GetPersistenceTimeout(), PersistencePrefix: s.GetPersistencePrefix(),
		PersistenceEngine: s.GetPersistenceEngine(), OnePacket: s.GetOnePacket(),
	}
}

func addrPort(r *forwardv1.RealServer) netip.AddrPort {
	addr, _ := netip.ParseAddr(r.GetAddress())
	return netip.AddrPortFrom(addr, uint16(r.GetPort()))
}

func decodeKey(k *forwardv1.ServiceKey) (key, error) {
	out := key{port: k.GetPort(), protocol: k.GetProtocol(), fwmark: k.GetFwmark(), family: k.GetFamily()}
	if out.fwmark != 0 {
		return out, nil
	}
	addr, err := netip.ParseAddr(k.GetAddress())
	if err != nil {
		return out, fmt.Errorf("virtual server's address %q is not an IP address", k.GetAddress())
	}
	out.address = addr
	return out, nil
}

func describe(k *forwardv1.ServiceKey) string {
	return fmt.Sprintf("%d %s %d %d %d", k.GetProtocol(), k.GetAddress(), k.GetPort(), k.GetFwmark(), k.GetFamily())
}

// Watch reports the table and beats.
func (f *forwarder) Watch(ctx context.Context, interval time.Duration, report func(*forwardv1.WatchResponse) error) error {
	counters := time.NewTicker(interval)
	defer counters.Stop()
	f.mu.Lock()
	beats := time.NewTicker(f.beat)
	f.mu.Unlock()
	defer beats.Stop()
	for progress := uint64(1); ; progress++ {
		var response *forwardv1.WatchResponse
		select {
		case <-ctx.Done():
			return nil
		case <-counters.C:
			f.mu.Lock()
			response = &forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Observed{Observed: f.observe()}}
			f.mu.Unlock()
		case <-beats.C:
			// Taking the lock shows that Apply is not stuck.
			f.mu.Lock()
			response = &forwardv1.WatchResponse{Message: &forwardv1.WatchResponse_Beat{Beat: &pluginv1.Beat{Progress: progress}}}
			f.mu.Unlock()
		}
		if err := report(response); err != nil {
			return fmt.Errorf("report the table: %w", err)
		}
	}
}

// Stop empties the table on withdraw.
func (f *forwarder) Stop(_ context.Context, mode pluginv1.StopMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if mode == pluginv1.StopMode_STOP_MODE_WITHDRAW {
		clear(f.services)
		f.sync = nil
	}
	return nil
}

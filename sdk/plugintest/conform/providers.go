package conform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

const (
	isForward  = pluginv1.Interface_INTERFACE_FORWARD
	isFailover = pluginv1.Interface_INTERFACE_FAILOVER
)

var providerRequirements = []requirement{
	{name: "observe", of: isForward, says: "Observe gives the same table twice, or says with FailedPrecondition what the machine lacks", check: observe},
	{name: "watch", of: isForward, says: "Watch carries beats at the interval, with progress that grows", check: watch},
	{name: "apply", of: isForward, says: "Apply makes the table what it should be, does nothing the second time, leaves what is foreign, refuses an older generation with Aborted", check: apply},
	{name: "groups", of: isFailover, says: "Run answers a set without groups and beats at the interval", check: groups},
}

// observed reads the table; a machine that cannot forward is said so.
func (r *run) observed() (*forwardv1.ObserveResponse, error) {
	ctx, cancel := context.WithTimeout(r.ctx, callTime)
	defer cancel()
	out, err := r.process.forward.Observe(ctx, &forwardv1.ObserveRequest{})
	if status.Code(err) == codes.FailedPrecondition {
		if status.Convert(err).Message() == "" {
			return nil, errors.New("observe: FailedPrecondition without a message: say what to load or install")
		}
		return nil, skip{"this machine cannot forward: " + status.Convert(err).Message()}
	}
	if err != nil {
		return nil, fmt.Errorf("observe: %w", err)
	}
	return out, nil
}

// withoutCounters leaves out what changes by itself.
func withoutCounters(o *forwardv1.ObserveResponse) *forwardv1.ObserveResponse {
	o = proto.CloneOf(o)
	for _, v := range o.GetVirtualServers() {
		v.Counters = nil
		for _, d := range v.GetRealServers() {
			d.Counters = nil
		}
	}
	return o
}

func observe(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	var first *forwardv1.ObserveResponse
	for range attempts {
		got, err := r.observed()
		if err != nil {
			return err
		}
		got = withoutCounters(got)
		if first != nil && proto.Equal(first, got) {
			return nil
		}
		first = got
	}
	return fmt.Errorf("observe: %d answers in a row all differ", attempts)
}

func watch(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	stream, err := r.process.forward.Watch(ctx, &forwardv1.WatchRequest{CountersInterval: durationpb.New(time.Second)})
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	return beatsOf(func() (*pluginv1.Beat, error) {
		m, err := stream.Recv()
		if status.Code(err) == codes.FailedPrecondition {
			return nil, skip{"this machine cannot forward: " + status.Convert(err).Message()}
		}
		return m.GetBeat(), err
	})
}

// beatsOf reads beats, and messages that are none, until enough is known.
func beatsOf(next func() (*pluginv1.Beat, error)) error {
	var m time.Duration
	for range attempts {
		var gaps []time.Duration
		var first, last uint64
		var at time.Time
		for n := 0; n < 10; {
			b, err := next()
			if errors.Is(err, io.EOF) {
				return errors.New("the stream ended by itself")
			}
			if err != nil {
				return fmt.Errorf("the stream broke: %w", err)
			}
			if b == nil {
				continue
			}
			now := time.Now()
			if n == 0 {
				first = b.GetProgress()
			} else {
				gaps = append(gaps, now.Sub(at))
			}
			if b.GetProgress() < last {
				return fmt.Errorf("progress fell from %d to %d", last, b.GetProgress())
			}
			at, last = now, b.GetProgress()
			n++
		}
		if last == first {
			return fmt.Errorf("progress stood still at %d for ten beats", last)
		}
		if m = median(gaps); m >= shortBeat/2 && m <= 2*shortBeat {
			return nil
		}
	}
	return fmt.Errorf("beats come every %s (median) with an interval of %s", m, shortBeat)
}

// table is a virtual server with two real servers, all of nobody (RFC 5737).
func table() *forwardv1.VirtualServer {
	return &forwardv1.VirtualServer{
		Key:       &forwardv1.ServiceKey{Address: "192.0.2.100", Port: 80, Protocol: forwardv1.Protocol_PROTOCOL_TCP, Family: forwardv1.Family_FAMILY_IPV4},
		Scheduler: "rr",
		RealServers: []*forwardv1.RealServer{
			{Address: "192.0.2.1", Port: 80, Weight: 1, Method: forwardv1.Method_METHOD_NAT},
			{Address: "192.0.2.2", Port: 80, Weight: 0, Method: forwardv1.Method_METHOD_NAT},
		},
	}
}

// put applies a table.
func (r *run) put(generation uint64, owned []*forwardv1.ServiceKey, servers ...*forwardv1.VirtualServer) (*forwardv1.ApplyResponse, error) {
	ctx, cancel := context.WithTimeout(r.ctx, callTime)
	defer cancel()
	return r.process.forward.Apply(ctx, &forwardv1.ApplyRequest{
		Generation: generation, VirtualServers: servers, Owned: owned, ReconcileInterval: durationpb.New(time.Minute),
	})
}

// holds says how a table has our virtual server.
func (r *run) holds() (*forwardv1.VirtualServer, error) {
	got, err := r.observed()
	if err != nil {
		return nil, err
	}
	for _, v := range withoutCounters(got).GetVirtualServers() {
		if proto.Equal(v.GetKey(), table().GetKey()) {
			return v, nil
		}
	}
	return nil, nil
}

func apply(r *run) error {
	if !r.o.Touch {
		return skip{"it changes the table: say that it may be touched"}
	}
	if err := r.start(); err != nil {
		return err
	}
	if _, err := r.observed(); err != nil {
		return err
	}
	key := []*forwardv1.ServiceKey{table().GetKey()}
	for n, want := range []string{"changes", "no change"} {
		got, err := r.put(uint64(n)+5, nil, table())
		if err != nil {
			return fmt.Errorf("apply: %w", err)
		}
		if got.GetGeneration() != uint64(n)+5 || len(got.GetErrors()) > 0 {
			return fmt.Errorf("apply of generation %d: answered %v", n+5, got)
		}
		if (got.GetOperations() > 0) != (n == 0) {
			return fmt.Errorf("apply the same table, time %d: %d operations, want %s", n+1, got.GetOperations(), want)
		}
	}
	got, err := r.holds()
	if err != nil {
		return err
	}
	if got == nil || len(got.GetRealServers()) != 2 || got.GetScheduler() != "rr" {
		return fmt.Errorf("observe after apply: %v, want %v", got, table())
	}
	if _, err := r.put(2, key); status.Code(err) != codes.Aborted {
		return fmt.Errorf("apply of generation 2 after 6: %v, want Aborted", err)
	}
	info, err := r.process.plugin.Describe(r.ctx, &pluginv1.DescribeRequest{})
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	marks := slices.Contains(info.GetFeatures(), "marks")
	// Not told that it is ours, the forwarder has to leave it, unless it bears our mark.
	if _, err := r.put(7, nil); err != nil {
		return fmt.Errorf("apply an empty table: %w", err)
	}
	if got, err = r.holds(); err != nil {
		return err
	}
	switch {
	case got == nil && !marks:
		return errors.New("a service that is neither wanted nor owned is gone")
	case got != nil && marks:
		return fmt.Errorf("a service that bears our mark and is not wanted is still there: %v", got)
	}
	if _, err := r.put(8, key); err != nil {
		return fmt.Errorf("apply an empty table: %w", err)
	}
	if got, err = r.holds(); err == nil && got != nil {
		err = fmt.Errorf("a service that is owned and not wanted is still there: %v", got)
	}
	return err
}

func groups(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	stream, err := r.process.failover.Run(ctx)
	if err != nil {
		return fmt.Errorf("open the stream of groups: %w", err)
	}
	err = stream.Send(&failoverv1.RunRequest{Message: &failoverv1.RunRequest_SetGroups{SetGroups: &failoverv1.SetGroups{Generation: 1, CoreLossGrace: durationpb.New(time.Second)}}})
	if err != nil {
		return fmt.Errorf("send a set without groups: %w", err)
	}
	applied := false
	if err := beatsOf(func() (*pluginv1.Beat, error) {
		m, err := stream.Recv()
		applied = applied || m.GetApplied().GetGeneration() == 1
		return m.GetBeat().GetBeat(), err
	}); err != nil {
		return err
	}
	if !applied {
		return errors.New("a set without groups was not answered with Applied")
	}
	return nil
}

package sdk

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// forwardService serves poise.forward.v1. An error of the forwarder that has no code
// goes out as Internal.
type forwardService struct {
	forwardv1.UnimplementedForwardServiceServer
	forwarder Forwarder
	lifeline  *lifeline
}

// Observe passes on.
func (s *forwardService) Observe(ctx context.Context, _ *forwardv1.ObserveRequest) (*forwardv1.ObserveResponse, error) {
	out, err := s.forwarder.Observe(ctx)
	return out, asStatus(err, codes.Internal)
}

// Apply passes on.
func (s *forwardService) Apply(ctx context.Context, r *forwardv1.ApplyRequest) (*forwardv1.ApplyResponse, error) {
	if r.GetHold() {
		holder, ok := s.forwarder.(Holder)
		if !ok {
			return nil, status.Error(codes.InvalidArgument, "this forwarder does not hold: it has not announced it")
		}
		return &forwardv1.ApplyResponse{Generation: r.GetGeneration()}, asStatus(holder.Hold(ctx), codes.Internal)
	}
	out, err := s.forwarder.Apply(ctx, r)
	return out, asStatus(err, codes.Internal)
}

// Import passes on.
func (s *forwardService) Import(ctx context.Context, r *forwardv1.ImportRequest) (*forwardv1.ImportResponse, error) {
	importer, ok := s.forwarder.(Importer)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "this forwarder has nothing to import from")
	}
	out, err := importer.Import(ctx, r)
	return out, asStatus(err, codes.Internal)
}

// Watch passes on, until the stream breaks.
func (s *forwardService) Watch(r *forwardv1.WatchRequest, stream forwardv1.ForwardService_WatchServer) error {
	interval := r.GetCountersInterval().AsDuration()
	if interval < time.Millisecond || interval > longest {
		return status.Errorf(codes.InvalidArgument, "a counters interval of %s is not between 1ms and %s", interval, longest)
	}
	defer s.lifeline.open()()
	return asStatus(s.forwarder.Watch(stream.Context(), interval, stream.Send), codes.Internal)
}

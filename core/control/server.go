package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/internal/printable"
	"github.com/poise-lb/poise/proto/handshake"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// maxWeight is the kernel's.
const maxWeight = 1<<31 - 1

// Server answers operators.
type Server struct {
	controlv1.UnimplementedControlServiceServer
	daemon Daemon
	grpc   *grpc.Server
	// ending is done when those who follow events are to be sent away.
	ending context.Context
	end    context.CancelFunc
	// overrides are changed by one operator at a time: a change starts from what is there.
	overrides sync.Mutex
}

// NewServer makes a server that has no listener yet.
func NewServer(d Daemon) *Server {
	s := &Server{daemon: d, grpc: grpc.NewServer(grpc.MaxSendMsgSize(handshake.MaxMessageSize))}
	s.ending, s.end = context.WithCancel(context.Background())
	controlv1.RegisterControlServiceServer(s.grpc, s)
	return s
}

// Serve answers on l until Stop. It returns nil after Stop.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve operators on %s: %w", l.Addr(), err)
	}
	return nil
}

// Stop sends those who follow events away, lets calls that are being answered end until
// ctx is done, and closes the listener.
func (s *Server) Stop(ctx context.Context) {
	s.end()
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
}

// Status implements poise.control.v1.
func (s *Server) Status(context.Context, *controlv1.StatusRequest) (*controlv1.StatusResponse, error) {
	return encodeStatus(s.daemon), nil
}

// Events implements poise.control.v1.
func (s *Server) Events(r *controlv1.EventsRequest, stream grpc.ServerStreamingServer[controlv1.EventsResponse]) error {
	for last := uint64(0); ; {
		events, missed, more := s.daemon.Events(last)
		// At the beginning nobody has missed what is not held any more.
		if missed > 0 && last > 0 {
			gap := model.Event{Sequence: last + missed, At: time.Now(), Kind: "notice", Object: "events", Message: fmt.Sprintf("%d events were missed: they came faster than they were taken", missed)}
			if err := stream.Send(encodeEvent(gap)); err != nil {
				return err
			}
		}
		for _, e := range events {
			if err := stream.Send(encodeEvent(e)); err != nil {
				return err
			}
			last = e.Sequence
		}
		if !r.GetFollow() {
			return nil
		}
		select {
		case <-more:
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-s.ending.Done():
			return status.Error(codes.Unavailable, "poised stops")
		}
	}
}

// SetOverride implements poise.control.v1.
func (s *Server) SetOverride(ctx context.Context, r *controlv1.SetOverrideRequest) (*controlv1.SetOverrideResponse, error) {
	snapshot := s.daemon.Snapshot()
	if snapshot == nil {
		return nil, status.Error(codes.Unavailable, "poised has not read its configuration yet: try again")
	}
	key, err := resolve(snapshot, r.GetVirtualServer(), r.GetRealServer())
	if err != nil {
		return nil, err
	}
	s.overrides.Lock()
	defer s.overrides.Unlock()
	override, err := change(s.daemon.Override(key), r, time.Now())
	if err != nil {
		return nil, err
	}
	if err := s.daemon.SetOverride(ctx, key, override); err != nil {
		return nil, status.Errorf(codes.Internal, "store the override of %s: %v", key, err)
	}
	return &controlv1.SetOverrideResponse{VirtualServer: key.Service.String(), RealServer: key.Addr.String()}, nil
}

// change is an override after an operator's request.
func change(o model.Override, r *controlv1.SetOverrideRequest, now time.Time) (model.Override, error) {
	deadline := r.GetDrainDeadline()
	if deadline != nil && r.GetMode() != controlv1.OverrideMode_OVERRIDE_MODE_DRAIN {
		return o, status.Errorf(codes.InvalidArgument, "a deadline goes with drain only, not with %s", r.GetMode())
	}
	switch r.GetMode() {
	case controlv1.OverrideMode_OVERRIDE_MODE_READY:
		return model.Override{}, nil
	case controlv1.OverrideMode_OVERRIDE_MODE_DRAIN:
		o.Admin, o.Deadline = model.Drain, time.Time{}
		if deadline != nil {
			if !deadline.IsValid() || deadline.AsDuration() <= 0 {
				return o, status.Errorf(codes.InvalidArgument, "drain deadline %s: must be more than 0", deadline.AsDuration())
			}
			o.Deadline = now.Add(deadline.AsDuration())
		}
	case controlv1.OverrideMode_OVERRIDE_MODE_MAINT:
		o.Admin, o.Deadline = model.Maintenance, time.Time{}
	case controlv1.OverrideMode_OVERRIDE_MODE_WEIGHT:
		if r.GetWeight() > maxWeight {
			return o, status.Errorf(codes.InvalidArgument, "weight %d: must be 0 to %d", r.GetWeight(), maxWeight)
		}
		weight := r.GetWeight()
		o.Weight = &weight
	case controlv1.OverrideMode_OVERRIDE_MODE_WEIGHT_DEFAULT:
		o.Weight = nil
	default:
		return o, status.Errorf(codes.InvalidArgument, "override mode %s is not known: use one of ready, drain, maint, weight, weight default", r.GetMode())
	}
	return o, nil
}

// Reload implements poise.control.v1.
func (s *Server) Reload(ctx context.Context, _ *controlv1.ReloadRequest) (*controlv1.ReloadResponse, error) {
	warnings, err := s.daemon.Reload(ctx)
	var bad *ConfigError
	switch {
	case errors.As(err, &bad):
		return nil, status.Error(codes.InvalidArgument, strings.Join(printable.Texts(bad.Problems), "\n"))
	case err != nil:
		return nil, status.Errorf(codes.Internal, "reload: %s", printable.Text(err.Error()))
	}
	return &controlv1.ReloadResponse{Warnings: printable.Texts(warnings)}, nil
}

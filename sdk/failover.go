package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// pendingNotices bounds the notices kept for a daemon that does not read; roles and
// answers are few and are all kept, of beats the latest.
const pendingNotices = 256

// failoverService serves poise.failover.v1. The provider's Run outlives the stream.
type failoverService struct {
	failoverv1.UnimplementedFailoverServiceServer
	provider Failover
	logger   hclog.Logger
	lifeline *lifeline

	ctx      context.Context
	cancel   context.CancelFunc
	sets     chan *failoverv1.SetGroups
	coreLost chan struct{}
	lose     sync.Once
	news     chan struct{}
	// ended is closed when the provider's Run has returned with err.
	ended chan struct{}
	err   error

	mu sync.Mutex
	// started: the provider runs or has run. closed: it may not be started any more.
	started bool
	closed  bool
	queue   []*failoverv1.RunResponse
	notices int
	beat    *failoverv1.RunResponse
}

func newFailoverService(provider Failover, logger hclog.Logger, l *lifeline) *failoverService {
	s := &failoverService{
		provider: provider, logger: logger, lifeline: l, sets: make(chan *failoverv1.SetGroups),
		coreLost: make(chan struct{}), news: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Run starts the provider and serves the stream. When the stream breaks the provider
// is told that the daemon is lost, and goes on by itself.
func (s *failoverService) Run(stream failoverv1.FailoverService_RunServer) error {
	s.mu.Lock()
	refused := s.started || s.closed
	s.started = s.started || !refused
	s.mu.Unlock()
	if refused {
		return status.Error(codes.FailedPrecondition, "the stream of groups was opened before, or the plugin was stopped; it is opened once in the life of a process")
	}
	defer s.lifeline.open()()
	defer s.lost()
	go func() {
		defer close(s.ended)
		s.err = s.provider.Run(s.ctx, s.sets, s.coreLost, s.report)
	}()
	received := make(chan error, 1)
	go func() { received <- s.receive(stream) }()
	for {
		select {
		case <-s.news:
			for _, m := range s.take() {
				if err := stream.Send(m); err != nil {
					return err
				}
			}
		case err := <-received:
			return err
		case <-s.ended:
			for _, m := range s.take() {
				if err := stream.Send(m); err != nil {
					return err
				}
			}
			return asStatus(s.err, codes.Internal)
		}
	}
}

// receive passes sets on until the stream breaks or the provider has ended.
func (s *failoverService) receive(stream failoverv1.FailoverService_RunServer) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		set := request.GetSetGroups()
		if set == nil {
			continue
		}
		select {
		case s.sets <- set:
		case <-s.ended:
			return nil
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// lost tells the provider, once, that the daemon is gone.
func (s *failoverService) lost() { s.lose.Do(func() { close(s.coreLost) }) }

// report queues a message. It never waits: the provider's protocol has deadlines.
func (s *failoverService) report(m *failoverv1.RunResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.coreLost:
		return
	default:
	}
	switch m.GetMessage().(type) {
	case *failoverv1.RunResponse_Beat:
		s.beat = m
	case *failoverv1.RunResponse_Notice:
		if s.notices >= pendingNotices {
			return
		}
		s.notices++
		s.queue = append(s.queue, m)
	default:
		s.queue = append(s.queue, m)
	}
	nudge(s.news)
}

// take empties the queue.
func (s *failoverService) take() []*failoverv1.RunResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.queue
	if s.beat != nil {
		out = slices.Concat(out, []*failoverv1.RunResponse{s.beat})
	}
	s.queue, s.beat, s.notices = nil, nil, 0
	return out
}

// stop stops the provider, and after that ends its Run.
func (s *failoverService) stop(ctx context.Context, mode pluginv1.StopMode) error {
	s.lifeline.stop()
	err := s.provider.Stop(ctx, mode)
	s.cancel()
	if !s.close() {
		return err
	}
	select {
	case <-s.ended:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("stop failover: the provider had not returned: %w", ctx.Err()))
	}
	return err
}

// close lets nothing start any more, and says whether something was started.
func (s *failoverService) close() (started bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.started
}

// finish tells the provider that the daemon is gone, and waits for it to have handed
// over or withdrawn.
func (s *failoverService) finish() {
	s.lost()
	if !s.close() {
		return
	}
	<-s.ended
	if s.err != nil && !errors.Is(s.err, context.Canceled) {
		s.logger.Error("failover provider ended with an error", "error", s.err)
	}
}

package fault

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// health is a gRPC server with the health service. Its steps: good, notserving,
// unknown (no such service), unimplemented, error, silent.
func health(conn net.Conn, verb string) {
	s := grpc.NewServer()
	if verb != "unimplemented" {
		healthv1.RegisterHealthServer(s, checkup{verb: verb})
	}
	l := &once{conn: conn, done: make(chan struct{})}
	go func() {
		<-l.done
		s.Stop()
	}()
	_ = s.Serve(l)
}

type checkup struct {
	healthv1.UnimplementedHealthServer
	verb string
}

func (c checkup) Check(ctx context.Context, _ *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	state := healthv1.HealthCheckResponse_SERVING
	switch c.verb {
	case "notserving":
		state = healthv1.HealthCheckResponse_NOT_SERVING
	case "unknown":
		return nil, status.Error(codes.NotFound, "unknown service")
	case "error":
		return nil, status.Error(codes.Internal, "it is broken")
	case "silent":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &healthv1.HealthCheckResponse{Status: state}, nil
}

// once is a listener of one connection; it ends when that does.
type once struct {
	mu   sync.Mutex
	conn net.Conn
	stop sync.Once
	done chan struct{}
}

func (o *once) Accept() (net.Conn, error) {
	o.mu.Lock()
	c := o.conn
	o.conn = nil
	o.mu.Unlock()
	if c != nil {
		return &told{Conn: c, closed: func() { o.stop.Do(func() { close(o.done) }) }}, nil
	}
	select {
	case <-o.done:
	case <-time.After(patience):
	}
	return nil, net.ErrClosed
}

func (o *once) Close() error   { return nil }
func (o *once) Addr() net.Addr { return &net.TCPAddr{} }

// told tells of its end.
type told struct {
	net.Conn
	closed func()
}

func (t *told) Close() error {
	defer t.closed()
	return t.Conn.Close()
}

package sdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/poise-lb/poise/proto/handshake"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// gcPercent is how much a heap grows, in percent of what is in use, before it is swept.
const gcPercent = 50

// Serve serves a plugin for the daemon that started the process, and ends the process:
// with 0 when the daemon ends it or is gone, with 1 when it cannot be served. It is
// called from main, before the process opens files or starts anything.
//
// When the daemon is gone, checkers and forwarders end; a failover provider is told
// and the process ends when its Run returns.
func Serve(p Plugin) {
	closeExecutable()
	if err := p.check(); err != nil {
		fmt.Fprintf(os.Stderr, "plugin %s cannot be served: %s\n", p.Name, err)
		os.Exit(1)
	}
	nameProcess(p.Name)
	logger, lines := newLogger(p.Name)
	life := newLifeline()
	ignoreSignals(life, logger)
	s := newServer(context.Background(), p, logger, life, probeLimit())
	// There are several of these processes; what a smaller heap takes in time is little.
	debug.SetGCPercent(gcPercent)
	if s.failover == nil {
		// Failover goes by the clock, and has nothing to save.
		life.looked = newProcessors().look
	}

	end := make(chan struct{})
	orphan := make(chan struct{})
	go func() {
		defer close(orphan)
		s.waitOrphaned(end)
	}()
	go func() {
		<-orphan
		s.close()
	}()
	goplugin.Serve(s.config())
	close(end)
	<-orphan
	lines.flush()
	os.Exit(0)
}

// nameProcess has ps and top show the plugin's name: started through a descriptor, it
// would be called after that. The kernel cuts it at 15 bytes (prctl(2), PR_SET_NAME).
func nameProcess(name string) {
	_ = os.WriteFile("/proc/self/comm", []byte("poise-"+name), 0)
}

// ServeTest serves a plugin inside a test until ctx is done. It gives what a client
// needs to attach, and a channel that is closed when serving has ended. Package
// plugintest makes it handy.
func ServeTest(ctx context.Context, p Plugin, logger hclog.Logger) (*goplugin.ReattachConfig, <-chan struct{}, error) {
	if err := p.check(); err != nil {
		return nil, nil, fmt.Errorf("serve plugin %q: %w", p.Name, err)
	}
	s := newServer(ctx, p, logger, newLifeline(), probeLimit())
	attach := make(chan *goplugin.ReattachConfig, 1)
	served, done := make(chan struct{}), make(chan struct{})
	config := s.config()
	config.Test = &goplugin.ServeTestConfig{Context: ctx, ReattachConfigCh: attach, CloseCh: served}
	go goplugin.Serve(config)
	go func() {
		defer close(done)
		<-served
		s.close()
		if s.failover != nil {
			s.failover.finish()
		}
	}()
	select {
	case a := <-attach:
		return a, done, nil
	case <-served:
		return nil, nil, fmt.Errorf("serve plugin %q: go-plugin ended at once; its log says why", p.Name)
	}
}

// check finds mistakes of the plugin's author.
func (p Plugin) check() error {
	if p.Name == "" || p.Version == "" {
		return errors.New("it needs a name and a version")
	}
	if len(p.Checkers) == 0 && p.Forwarder == nil && p.Failover == nil {
		return errors.New("it offers nothing: give it checkers, a forwarder or a failover provider")
	}
	for kind, c := range p.Checkers {
		if kind == "" || c == nil {
			return fmt.Errorf("the checker of type %q has no type or is nil", kind)
		}
	}
	if (p.Forwarder == nil) != (p.ForwarderType == "") || (p.Failover == nil) != (p.FailoverType == "") {
		return errors.New("a forwarder and a failover provider need their type, and a type needs its provider")
	}
	return nil
}

// server is everything that is served for one Plugin.
type server struct {
	goplugin.NetRPCUnsupportedPlugin
	logger   hclog.Logger
	lifeline *lifeline
	plugin   *pluginService
	// nil for what is not offered.
	checks   *checkService
	forward  *forwardService
	failover *failoverService

	mu   sync.Mutex
	grpc *grpc.Server
}

func newServer(ctx context.Context, p Plugin, logger hclog.Logger, life *lifeline, limit int) *server {
	s := &server{logger: logger, lifeline: life}
	if len(p.Checkers) > 0 {
		s.checks = &checkService{checkers: p.Checkers, scheduler: newScheduler(ctx, logger, limit), lifeline: life}
	}
	if p.Forwarder != nil {
		s.forward = &forwardService{forwarder: p.Forwarder, lifeline: life}
	}
	if p.Failover != nil {
		s.failover = newFailoverService(p.Failover, logger, life)
	}
	s.plugin = &pluginService{plugin: p, logger: logger, checks: s.checks, failover: s.failover}
	return s
}

// config is go-plugin's. Its own limit on what is received is gRPC's 4 MiB, which a
// set of some ten thousand checks exceeds.
func (s *server) config() *goplugin.ServeConfig {
	return &goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: handshake.ProtocolVersion, MagicCookieKey: handshake.CookieKey, MagicCookieValue: handshake.CookieValue,
		},
		Plugins: goplugin.PluginSet{handshake.PluginName: s},
		Logger:  s.logger.Named("transport"),
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, grpc.MaxRecvMsgSize(handshake.MaxMessageSize), grpc.MaxSendMsgSize(handshake.MaxMessageSize),
				// A window that is given is not measured, which takes a ping for every message.
				grpc.InitialWindowSize(handshake.WindowSize), grpc.InitialConnWindowSize(handshake.WindowSize))...)
		},
	}
}

// GRPCServer registers what the plugin offers, for go-plugin.
func (s *server) GRPCServer(_ *goplugin.GRPCBroker, g *grpc.Server) error {
	s.mu.Lock()
	s.grpc = g
	s.mu.Unlock()
	pluginv1.RegisterPluginServiceServer(g, s.plugin)
	if s.checks != nil {
		checkv1.RegisterCheckServiceServer(g, s.checks)
	}
	if s.forward != nil {
		forwardv1.RegisterForwardServiceServer(g, s.forward)
	}
	if s.failover != nil {
		failoverv1.RegisterFailoverServiceServer(g, s.failover)
	}
	return nil
}

// GRPCClient is the other side's, which needs nothing but the connection.
func (s *server) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// waitOrphaned waits until the daemon is gone, has the failover provider finish, and
// returns; end ends the wait.
func (s *server) waitOrphaned(end <-chan struct{}) {
	grace := orphanGrace
	if s.failover != nil {
		// The provider counts its own grace time, from the moment the stream broke.
		grace = 0
	}
	s.lifeline.lost(end, grace)
	select {
	case <-end:
		return
	default:
	}
	s.logger.Info("the daemon is gone")
	if s.failover != nil {
		s.failover.finish()
	}
}

// close ends the serving.
func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grpc != nil {
		s.grpc.Stop()
	}
}

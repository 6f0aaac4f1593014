package observe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// maxScrapes at the same time; more get 503.
	maxScrapes = 4
	// timeout of a request's head, and of an answer.
	timeout = 10 * time.Second
)

// Server serves /metrics at an address that may change.
type Server struct {
	logger  hclog.Logger
	handler http.Handler

	mu      sync.Mutex
	address netip.AddrPort
	running *http.Server
}

// NewServer makes a server that serves nowhere yet.
func NewServer(logger hclog.Logger, source Source) *Server {
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewCollector(source), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, ErrorLog: errorLog{logger}, ErrorHandling: promhttp.ContinueOnError,
	}))
	return &Server{logger: logger, handler: mux}
}

// errorLog takes what goes wrong in a scrape.
type errorLog struct{ hclog.Logger }

func (l errorLog) Println(v ...any) { l.Warn("metrics", "error", fmt.Sprint(v...)) }

// Serve makes address the one that metrics are served at; the zero value: nowhere. If
// that fails, they are served where they were before.
func (s *Server) Serve(address netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if address == s.address && (s.running != nil || !address.IsValid()) {
		return nil
	}
	if !address.IsValid() {
		s.stop()
		return nil
	}
	l, err := net.Listen("tcp", address.String())
	if err != nil && s.running != nil {
		// The address may be in the way of the new one: 127.0.0.1:9000, [::]:9000.
		before := s.address
		s.stop()
		if l, err = net.Listen("tcp", address.String()); err != nil {
			if old, oldErr := net.Listen("tcp", before.String()); oldErr == nil {
				s.start(old, before)
			} else {
				err = errors.Join(err, fmt.Errorf("and not any more at %s: %w", before, oldErr))
			}
			return fmt.Errorf("serve metrics at %s: %w", address, err)
		}
	}
	if err != nil {
		return fmt.Errorf("serve metrics at %s: %w", address, err)
	}
	s.stop()
	s.start(l, address)
	return nil
}

func (s *Server) start(l net.Listener, address netip.AddrPort) {
	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: timeout, WriteTimeout: timeout, IdleTimeout: 2 * time.Minute, ErrorLog: s.logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})}
	s.running, s.address = server, address
	s.logger.Info("metrics are served", "address", l.Addr().String())
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.logger.Error("metrics are not served any more", "address", address, "error", err)
		}
	}()
}

// stop lets scrapes that are under way end, for a second at most.
func (s *Server) stop() {
	if s.running == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.running.Shutdown(ctx) != nil {
		s.running.Close()
	}
	s.running, s.address = nil, netip.AddrPort{}
}

// Close stops serving.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

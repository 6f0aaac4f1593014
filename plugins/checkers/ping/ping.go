package ping

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/poise-lb/poise/sdk"
)

// Type is the checker's name in configurations.
const Type = "ping"

type checker struct{ pool pool }

// New makes the checker. Its probers share sockets.
func New() sdk.Checker { return &checker{} }

// parameters: there are none; whom to ping is the target's.
type parameters struct{}

// Parse refuses every parameter.
func (c *checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	return &prober{pool: &c.pool}, sdk.Decode(raw, &parameters{})
}

// Schema is the one of no parameters.
func (*checker) Schema() json.RawMessage { return sdk.Schema(parameters{}) }

type prober struct {
	pool *pool
	mu   sync.Mutex
	// held is the socket of the last probe, nil before the first.
	held *socket
}

// Probe sends one request and waits for its reply.
func (p *prober) Probe(ctx context.Context, target sdk.Target) sdk.Result {
	result := make(chan sdk.Result, 1)
	p.Start(ctx, target, func(r sdk.Result) { result <- r })
	return <-result
}

// Start sends one request; done is called when its reply, an error or the deadline has
// come.
func (p *prober) Start(ctx context.Context, target sdk.Target, done func(sdk.Result)) {
	s, err := p.socket(target)
	if err != nil {
		target.Trace("%s", err)
		done(sdk.Result{Outcome: sdk.Unknown, Reason: err.Error()})
		return
	}
	s.ping(ctx, target, done)
}

// socket gives the one to use, which may be another than last time when that broke.
func (p *prober) socket(target sdk.Target) (*socket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := keyOf(target)
	if p.held != nil && p.held.key == k && !p.held.isBroken() {
		return p.held, nil
	}
	if p.held != nil {
		p.pool.release(p.held)
		p.held = nil
	}
	s, err := p.pool.take(k)
	if err != nil {
		return nil, err
	}
	p.held = s
	return s, nil
}

// Close gives the socket up.
func (p *prober) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		p.pool.release(p.held)
		p.held = nil
	}
}

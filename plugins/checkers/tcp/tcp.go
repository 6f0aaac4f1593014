package tcp

import (
	"context"
	"encoding/json"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/poll"
)

// Type is the checker's name in configurations.
const Type = "tcp"

type checker struct{}

// New makes the checker.
func New() sdk.Checker { return checker{} }

// parameters: there are none; where to connect is the target's.
type parameters struct{}

// Parse refuses every parameter.
func (checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	return prober{}, sdk.Decode(raw, &parameters{})
}

// Schema is the one of no parameters.
func (checker) Schema() json.RawMessage { return sdk.Schema(parameters{}) }

type prober struct{}

var _ sdk.Starter = prober{}

// Start begins to connect once.
func (prober) Start(ctx context.Context, target sdk.Target, done func(sdk.Result)) {
	poll.Start(ctx, target, poll.Options{Quiet: true}, &attempt{done})
}

// Probe connects once.
func (p prober) Probe(ctx context.Context, target sdk.Target) sdk.Result {
	return poll.Probe(ctx, p, target)
}

// attempt is one probe.
type attempt struct{ done func(sdk.Result) }

// Connected is all there is to know.
func (a *attempt) Connected(c *poll.Conn) {
	c.Target().Trace("connected to %s", c.Target().Addr)
	c.Reset()
	a.done(sdk.Result{Outcome: sdk.Up})
}

// Received is not called: the connection has been given up by then.
func (*attempt) Received(*poll.Conn, []byte) {}

// Closed: it could not be made.
func (a *attempt) Closed(c *poll.Conn, err error) { a.done(c.Failed(err)) }

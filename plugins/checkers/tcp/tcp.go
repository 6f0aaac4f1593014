package tcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
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

// Probe connects once.
func (prober) Probe(ctx context.Context, target sdk.Target) sdk.Result {
	start := time.Now()
	err := connect(ctx, target)
	if err == nil {
		target.Trace("connected to %s", target.Addr)
		return sdk.Result{Outcome: sdk.Up}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		deadline, _ := ctx.Deadline()
		err = fmt.Errorf("connect: timeout after %s", deadline.Sub(start).Round(time.Millisecond))
	}
	target.Trace("%s", err)
	if dial.IsLocal(err) {
		return sdk.Result{Outcome: sdk.Unknown, Reason: err.Error()}
	}
	return sdk.Result{Outcome: sdk.Down, Reason: err.Error()}
}

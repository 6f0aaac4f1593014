package tcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
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
	if isLocal(err) {
		return sdk.Result{Outcome: sdk.Unknown, Reason: err.Error()}
	}
	return sdk.Result{Outcome: sdk.Down, Reason: err.Error()}
}

// localError is a step that failed here, before or without the target's doing.
type localError struct{ error }

func (e localError) Unwrap() error { return e.error }

// localErrnos are what connect gives when the reason is this machine's: its addresses,
// ports, descriptors, memory, packet filter.
var localErrnos = []unix.Errno{
	unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPERM, unix.EACCES,
	unix.ENODEV, unix.EAFNOSUPPORT, unix.EINVAL, unix.EAGAIN,
}

// isLocal says that a probe could not be made, for a reason that is not the target's.
func isLocal(err error) bool {
	var local localError
	if errors.As(err, &local) || errors.Is(err, context.Canceled) {
		return true
	}
	for _, e := range localErrnos {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

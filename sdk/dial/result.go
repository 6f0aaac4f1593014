package dial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
)

// localError is a step that failed here, before or without the target's doing.
type localError struct{ error }

func (e localError) Unwrap() error { return e.error }

// Local marks an error as this machine's own.
func Local(err error) error { return localError{err} }

// localErrnos are what connect and send give when the reason is this machine's: its
// addresses, ports, descriptors, memory, packet filter.
var localErrnos = []unix.Errno{
	unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPERM, unix.EACCES,
	unix.ENODEV, unix.EAFNOSUPPORT, unix.EINVAL, unix.EAGAIN,
}

// IsLocal says that a probe could not be made, for a reason that is not the target's.
func IsLocal(err error) bool {
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

// Failed makes a result of a step that failed: unknown if the reason is this machine's,
// else down. start is when the probe began, for the time a timeout took; step says what
// was tried ("connect", "read the greeting"). The target's trace has it too.
func Failed(ctx context.Context, t sdk.Target, start time.Time, step string, err error) sdk.Result {
	r := sdk.Result{Outcome: sdk.Down, Reason: step + ": " + Cause(err)}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		r = sdk.Result{Outcome: sdk.Unknown, Reason: step + ": the probe was ended"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		r.Reason = fmt.Sprintf("%s: timeout after %s", step, allowed(ctx, t, start))
	case IsLocal(err) && !prohibited(t, err):
		r.Outcome = sdk.Unknown
	}
	t.Trace("%s", r.Reason)
	return r
}

// prohibited says that somebody on the way to a target of IPv6, or the target, has refused
// by ICMP: that is EACCES there, which with IPv4 is this machine's only.
func prohibited(t sdk.Target, err error) bool {
	var local localError
	return errors.Is(err, unix.EACCES) && t.Addr.Addr().Is6() && !errors.As(err, &local)
}

// Cause is the innermost text of a network error, without the addresses that everybody
// knows: "connection refused".
func Cause(err error) string {
	var errno unix.Errno
	var local localError
	if errors.As(err, &local) {
		return local.Error()
	}
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

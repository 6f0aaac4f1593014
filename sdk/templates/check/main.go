// Command check is a template of a checker: copy the folder, give the checker its name,
// and write Probe. It checks that a server greets with a line, as many protocols do.
//
// Run it by naming it in the daemon's configuration. main_test.go shows how to test it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"

	"github.com/poise-lb/poise/sdk"
)

func main() {
	sdk.Serve(plugin())
}

func plugin() sdk.Plugin {
	return sdk.Plugin{Name: "greeting", Version: "1.0.0", Checkers: map[string]sdk.Checker{"greeting": checker{}}}
}

// checker makes a prober for each configured check. It holds nothing.
type checker struct{}

// The abilities that are optional: parameters that describe themselves.
var _ sdk.Schemer = checker{}

// parameters are what a check may set; the values in defaults hold where it does not.
type parameters struct {
	Prefix string `json:"prefix" doc:"how the server's first line has to begin"`
}

var defaults = parameters{Prefix: "220"}

// Parse reads the parameters once. Decode refuses unknown keys; what else is wrong is
// told with the place where it stands.
func (checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	p := prober{defaults}
	if err := sdk.Decode(raw, &p.parameters); err != nil {
		return nil, err
	}
	if strings.ContainsAny(p.Prefix, "\r\n") {
		return nil, sdk.Errorf("/prefix", "must be within one line")
	}
	return p, nil
}

// Schema describes the parameters.
func (checker) Schema() json.RawMessage { return sdk.Schema(defaults) }

// prober probes with one set of parameters, many targets at once.
type prober struct{ parameters }

// Probe makes one attempt. The schedule, the retries and the deadline are the sdk's:
// ctx ends when the time is up.
//
// Down is what the target does wrong. Unknown is what keeps us from asking it, such as
// a source address that this machine does not have: the target keeps its verdict.
func (p prober) Probe(ctx context.Context, t sdk.Target) sdk.Result {
	dialer := net.Dialer{KeepAlive: -1}
	if t.Source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(t.Source)
	}
	conn, err := dialer.DialContext(ctx, "tcp", t.Addr.String())
	if err != nil {
		if isLocal(err) {
			return sdk.Result{Outcome: sdk.Unknown, Reason: err.Error()}
		}
		return sdk.Result{Outcome: sdk.Down, Reason: err.Error()}
	}
	defer conn.Close()
	t.Trace("connected to %s", t.Addr)
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return sdk.Result{Outcome: sdk.Unknown, Reason: err.Error()}
		}
	}
	line, err := bufio.NewReaderSize(conn, 512).ReadSlice('\n')
	t.Trace("read %q", line)
	if !strings.HasPrefix(string(line), p.Prefix) {
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return sdk.Result{Outcome: sdk.Down, Reason: "read the greeting: " + err.Error()}
		}
		return sdk.Result{Outcome: sdk.Down, Reason: "the greeting does not begin with " + p.Prefix}
	}
	return sdk.Result{Outcome: sdk.Up}
}

// isLocal says that the attempt failed before a packet was sent.
func isLocal(err error) bool {
	var call *os.SyscallError
	return errors.As(err, &call) && (call.Syscall == "socket" || call.Syscall == "bind")
}

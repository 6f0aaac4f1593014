// Command check is a template of a checker: copy the folder, follow the TODO marks, and
// name it in the daemon's configuration. It checks that a server greets with a line, as
// many protocols do. docs/plugins.md is the walk through it, main_test.go how to test it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

// TODO: your name and version; the key is the type that configurations say.
func main() {
	sdk.Serve(sdk.Plugin{Name: "greeting", Version: "1.0.0", Checkers: map[string]sdk.Checker{"greeting": checker{}}})
}

// checker makes a prober for each configured check. It holds nothing.
type checker struct{}

// parameters are what a check may set under `parameters`; the values in defaults hold
// where it does not.
//
// TODO: your own; without any, leave the struct empty.
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
	if p.Prefix == "" || strings.ContainsAny(p.Prefix, "\r\n") {
		return nil, sdk.Errorf("/prefix", "must be the beginning of one line")
	}
	return p, nil
}

// Schema describes the parameters to people and editors.
//
// TODO: keep it, or leave it out: it is optional. Others that are: Configurer (parameters
// of the plugin itself), Watcher, Starter, Closer.
func (checker) Schema() json.RawMessage { return sdk.Schema(defaults) }

var _ sdk.Schemer = checker{}

// prober probes with one set of parameters.
type prober struct{ parameters }

// Probe makes one attempt. The schedule, the retries and the verdict are the sdk's: ctx
// ends when the time is up, and the connection has its deadline.
//
// Down is what the target does wrong. Unknown is what keeps us from asking it, such as a
// source address that this machine does not have: dial.Failed tells them apart.
//
// TODO: what makes your target up.
func (p prober) Probe(ctx context.Context, t sdk.Target) sdk.Result {
	start := time.Now()
	conn, err := dial.TCP(ctx, t)
	if err != nil {
		return dial.Failed(ctx, t, start, "connect", err)
	}
	defer conn.Close()
	t.Trace("connected to %s", t.Addr)
	line, err := bufio.NewReaderSize(conn, 512).ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		return dial.Failed(ctx, t, start, "read the greeting", err)
	}
	t.Trace("read %q", line)
	if !strings.HasPrefix(string(line), p.Prefix) {
		return sdk.Result{Outcome: sdk.Down, Reason: "the greeting does not begin with " + p.Prefix}
	}
	return sdk.Result{Outcome: sdk.Up}
}

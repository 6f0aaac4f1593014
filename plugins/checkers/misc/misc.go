package misc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
)

// Type is the checker's name in configurations.
const Type = "misc"

type checker struct{}

// New makes the checker.
func New() sdk.Checker { return checker{} }

// parameters of a check.
type parameters struct {
	Command []string `json:"command" doc:"Required. The program, as an absolute path or a name to be found in PATH, and its arguments; no shell."`
	User    string   `json:"user" doc:"User to run as; empty: keepalived_script if there is one, else root."`
	Group   string   `json:"group" doc:"Group to run as; empty: the user's own."`
	Dynamic bool     `json:"dynamic" doc:"Exit codes 2 to 255 are up and set the real server's weight to the code less 2."`
	Secure  bool     `json:"secure" doc:"Refuse to run as root what others than root can write to."`
}

func defaults() parameters { return parameters{Secure: true} }

func parse(raw json.RawMessage) (parameters, error) {
	p := defaults()
	if err := sdk.Decode(raw, &p); err != nil {
		return p, err
	}
	if len(p.Command) == 0 {
		return p, sdk.Errorf("/command", "required: the program and its arguments, such as [/usr/local/bin/check, --fast]")
	}
	for i, word := range p.Command {
		if strings.ContainsRune(word, 0) {
			return p, sdk.Errorf(fmt.Sprintf("/command/%d", i), "must not have a NUL byte")
		}
	}
	switch name := p.Command[0]; {
	case name == "":
		return p, sdk.Errorf("/command/0", "must not be empty: give the path of a program")
	case strings.Contains(name, "/") && name[0] != '/':
		return p, sdk.Errorf("/command/0", "%q is relative: give an absolute path, or a name without a slash to be found in PATH", name)
	}
	return p, nil
}

// Parse reads the parameters. Whether the command can be run is seen when it is.
func (checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	p, err := parse(raw)
	if err != nil {
		return nil, err
	}
	return &prober{parameters: p}, nil
}

// Schema is that of the parameters.
func (checker) Schema() json.RawMessage { return sdk.Schema(defaults()) }

// prober runs one command, once at a time.
type prober struct {
	parameters
	// last is the latest run; it may not be over when its probe is.
	last *process
}

// Probe runs the command once.
func (p *prober) Probe(ctx context.Context, target sdk.Target) sdk.Result {
	r := p.probe(ctx, target)
	if r.Outcome == sdk.Down && p.Dynamic {
		r.Weight = target.Known.Weight
	}
	if r.Reason != "" {
		target.Trace("%s", r.Reason)
	}
	return r
}

func (p *prober) probe(ctx context.Context, target sdk.Target) sdk.Result {
	limit := target.Timeout
	if deadline, ok := ctx.Deadline(); ok && limit == 0 {
		limit = time.Until(deadline).Round(time.Millisecond)
	}
	if r, ok := p.settle(ctx); !ok {
		return r
	}
	who, err := identify(p.User, p.Group)
	switch {
	case exhausted(err):
		return sdk.Result{Outcome: sdk.Unknown, Reason: err.Error()}
	case err != nil:
		return down("%s", err)
	}
	path, err := find(p.Command[0])
	if err != nil {
		return down("%s", err)
	}
	if p.Secure && who.uid == 0 {
		if err := trusted(path); err != nil {
			return down("refused to run %s as root: %s; put it where only root can write, or run it as another user", path, err)
		}
	}
	target.Trace("run %s with %d arguments as %s, group %d", path, len(p.Command)-1, who, who.gid)
	run := newProcess(path, p.Command, environment(target), who)
	p.last = run
	output, ended := run.wait(ctx)
	if len(output) > 0 {
		target.Trace("output: %q", output)
	}
	if !ended {
		return unfinished(ctx, run, limit, output)
	}
	if err := run.failure; err != nil {
		return notStarted(path, who, err)
	}
	target.Trace("ran for %s, took %s of a processor", run.took().Round(time.Microsecond), run.cpu())
	return p.judge(run.status, output)
}

// settle waits for the run before, if it is not over, and ends its time of grace.
func (p *prober) settle(ctx context.Context) (sdk.Result, bool) {
	if p.last == nil {
		return sdk.Result{}, true
	}
	p.last.kill()
	select {
	case <-p.last.over:
		return sdk.Result{}, true
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return aborted, false
	}
	return down("the run before this one (process %d) was killed and has not ended: it hangs in the kernel", p.last.id()), false
}

var aborted = sdk.Result{Outcome: sdk.Unknown, Reason: "the probe was ended"}

// unfinished is the result of a run that has to be ended.
func unfinished(ctx context.Context, run *process, limit time.Duration, output []byte) sdk.Result {
	waited := run.terminate()
	if errors.Is(ctx.Err(), context.Canceled) {
		return aborted
	}
	switch waited {
	case forSlot:
		return sdk.Result{Outcome: sdk.Unknown, Reason: fmt.Sprintf("not run within %s: %d other commands were running", limit, maxRunning)}
	case forStart:
		return sdk.Result{Outcome: sdk.Unknown, Reason: fmt.Sprintf("not run within %s: the start of other commands took that long", limit)}
	case looking, starting:
		return down("timeout: the command could not be started within %s", limit)
	default:
		return down("timeout after %s%s", limit, quote(output))
	}
}

// exhausted says that this machine has run out of something.
func exhausted(err error) bool {
	for _, here := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EAGAIN} {
		if errors.Is(err, here) {
			return true
		}
	}
	return false
}

// notStarted is the result of a command that could not be run.
func notStarted(path string, who identity, err error) sdk.Result {
	if exhausted(err) {
		return sdk.Result{Outcome: sdk.Unknown, Reason: fmt.Sprintf("start a process: %s", err)}
	}
	return down("cannot run %s as %s: %s", path, who, explain(path, who, err))
}

// judge says what an end means.
func (p *prober) judge(status unix.WaitStatus, output []byte) sdk.Result {
	if status.Signaled() {
		return down("killed by signal %d (%s)%s", status.Signal(), status.Signal(), quote(output))
	}
	switch code := status.ExitStatus(); {
	case code == 0:
		return sdk.Result{Outcome: sdk.Up}
	case p.Dynamic && code >= 2:
		return sdk.Result{Outcome: sdk.Up, Weight: sdk.Weight{Mode: sdk.SetWeight, Value: int64(code) - 2}}
	default:
		return down("exit code %d%s", code, quote(output))
	}
}

// Close ends what a run has left.
func (p *prober) Close() {
	if p.last != nil {
		p.last.kill()
	}
}

func down(format string, args ...any) sdk.Result {
	return sdk.Result{Outcome: sdk.Down, Reason: fmt.Sprintf(format, args...)}
}

// environment is all that a command is given: nothing of the daemon's own.
func environment(t sdk.Target) []string {
	env := []string{"PATH=" + searchPath, "POISE_CHECK_TYPE=" + Type}
	if t.Addr.Addr().IsValid() {
		env = append(env, "POISE_ADDRESS="+t.Addr.Addr().String())
	}
	if t.Addr.Port() != 0 {
		env = append(env, fmt.Sprintf("POISE_PORT=%d", t.Addr.Port()))
	}
	return env
}

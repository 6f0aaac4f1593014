package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/poise-lb/poise/sdk"
)

// Type is the checker's name in configurations.
const Type = "file"

const (
	// readAgain is how often a file is read whatever the kernel tells; readUnwatched where
	// it cannot be watched.
	readAgain     = 5 * time.Second
	readUnwatched = time.Second
)

type checker struct {
	watches *watches
	logger  atomic.Pointer[hclog.Logger]
}

// New makes the checker.
func New() sdk.Checker { return &checker{watches: newWatches()} }

// parameters of a check.
type parameters struct {
	Path      string `json:"path" doc:"Required. The file; an absolute path."`
	Weight    int64  `json:"weight" doc:"What the number is multiplied with before it is added to the real server's weight; 0: the real server is down unless the number is 0."`
	Reverse   bool   `json:"reverse" doc:"With weight 0: down if the number is 0. Else the weight is negated."`
	Init      *int64 `json:"init" doc:"Number that the file is created with when the check begins and there is none."`
	Overwrite bool   `json:"overwrite" doc:"Write init into a file that is there, too."`
}

func defaults() parameters { return parameters{Weight: 1} }

func parse(raw json.RawMessage) (parameters, error) {
	p := defaults()
	if err := sdk.Decode(raw, &p); err != nil {
		return p, err
	}
	switch {
	case p.Path == "":
		return p, sdk.Errorf("/path", "required: the file that holds the number")
	case !filepath.IsAbs(p.Path):
		return p, sdk.Errorf("/path", "%q is relative: give an absolute path", p.Path)
	case strings.ContainsRune(p.Path, 0):
		return p, sdk.Errorf("/path", "must not have a NUL byte")
	case p.Weight < -math.MaxInt32 || p.Weight > math.MaxInt32:
		return p, sdk.Errorf("/weight", "%d is not between %d and %d", p.Weight, -math.MaxInt32, math.MaxInt32)
	case p.Init != nil && (*p.Init < leastValue || *p.Init > math.MaxInt32):
		return p, sdk.Errorf("/init", "%d is not between %d and %d", *p.Init, leastValue, math.MaxInt32)
	case p.Overwrite && p.Init == nil:
		return p, sdk.Errorf("/overwrite", "needs init, the number to write")
	}
	return p, nil
}

// Parse reads the parameters; the file is not looked at.
func (c *checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	p, err := parse(raw)
	if err != nil {
		return nil, err
	}
	return &prober{parameters: p, checker: c}, nil
}

// Schema is that of the parameters.
func (*checker) Schema() json.RawMessage { return sdk.Schema(defaults()) }

// Configure takes the log; the process has no parameters.
func (c *checker) Configure(_ context.Context, s sdk.Settings) error {
	c.logger.Store(&s.Logger)
	return sdk.Decode(s.Parameters, &struct{}{})
}

func (c *checker) warn(message string, args ...any) {
	if l := c.logger.Load(); l != nil && *l != nil {
		(*l).Warn(message, args...)
	}
}

// Validate warns of a file that cannot be there or read, on this machine and by whoever
// looks; that it is not there is no mistake.
func (*checker) Validate(raw json.RawMessage) []sdk.Problem {
	p, err := parse(raw)
	if err != nil {
		var wrong *sdk.ParameterError
		if errors.As(err, &wrong) {
			return []sdk.Problem{{Path: wrong.Path, Message: wrong.Message}}
		}
		return []sdk.Problem{{Message: err.Error()}}
	}
	warning := func(format string, args ...any) []sdk.Problem {
		return []sdk.Problem{{Path: "/path", Message: fmt.Sprintf(format, args...), Warning: true}}
	}
	info, err := os.Stat(p.Path)
	if err == nil && !info.Mode().IsRegular() {
		return warning("%s is not a file: the check is unknown as long as it is so", p.Path)
	}
	if _, err := os.Stat(filepath.Dir(p.Path)); errors.Is(err, fs.ErrNotExist) {
		return warning("there is no directory %s: the number is 0 as long as it is so", filepath.Dir(p.Path))
	}
	return nil
}

type prober struct {
	parameters
	checker *checker
}

// Probe reads the file once.
func (p *prober) Probe(_ context.Context, target sdk.Target) sdk.Result {
	value, there, err := read(p.Path)
	switch {
	case err != nil:
		var path *fs.PathError
		if errors.As(err, &path) {
			err = fmt.Errorf("%s %s: %w", path.Op, path.Path, path.Err)
		}
		target.Trace("%s", err)
		return sdk.Result{Reason: err.Error()}
	case !there:
		target.Trace("there is no file %s: it counts as 0", p.Path)
	default:
		target.Trace("%s holds %d", p.Path, value)
	}
	return p.judge(value)
}

// Watch reads the file whenever it may have changed.
func (p *prober) Watch(ctx context.Context, target sdk.Target, report func(sdk.Result)) {
	if target.Known.Outcome == sdk.Unknown || target.Known.Inferred {
		p.initialize()
	}
	w := p.checker.watches.add(p.Path)
	defer p.checker.watches.remove(w)
	again := time.NewTimer(0)
	defer again.Stop()
	var last *sdk.Result
	warned := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		case <-again.C:
		}
		every := readAgain
		// Watched first and read then: what happens in between is heard.
		if err := p.checker.watches.refresh(w); err != nil {
			every = readUnwatched
			if !warned {
				p.checker.warn("a file cannot be watched and is read every second instead", "file", p.Path, "error", err.Error())
			}
			warned = true
		} else {
			warned = false
		}
		again.Reset(every)
		if r := p.Probe(ctx, target); last == nil || *last != r {
			last = &r
			report(r)
		}
	}
}

// initialize writes the first number. A check that has a verdict goes on with what the
// file holds: it has been written before, and perhaps changed since.
func (p *prober) initialize() {
	if p.Init == nil {
		return
	}
	how := os.O_EXCL
	if p.Overwrite {
		how = os.O_TRUNC
	}
	f, err := os.OpenFile(p.Path, os.O_WRONLY|os.O_CREATE|how, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", *p.Init)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		p.checker.warn("the first number of a file could not be written", "file", p.Path, "error", err.Error())
	}
}

package ssl

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/poise-lb/poise/plugins/checkers/http"
	"github.com/poise-lb/poise/sdk"
)

// Type is the checker's name in configurations.
const Type = "ssl"

// checker makes probers. It takes the settings of the process for their logger only.
type checker struct {
	log atomic.Pointer[hclog.Logger]
}

// New makes the checker.
func New() sdk.Checker { return &checker{} }

// Configure takes the logger.
func (c *checker) Configure(_ context.Context, s sdk.Settings) error {
	if len(s.Parameters) > 0 && string(s.Parameters) != "null" && string(s.Parameters) != "{}" {
		return sdk.Errorf("", "the checkers take no parameters of their own: leave them out")
	}
	if s.Logger != nil {
		c.log.Store(&s.Logger)
	}
	return nil
}

func (c *checker) logger() hclog.Logger {
	if l := c.log.Load(); l != nil {
		return *l
	}
	return hclog.NewNullLogger()
}

// Parse makes a prober of the parameters. It reads the files that they name.
func (c *checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	p, err := c.parse(raw)
	if err != nil {
		return nil, err
	}
	if err := p.files.read(); err != nil {
		var file *fileError
		if errors.As(err, &file) {
			return nil, sdk.Errorf(file.path, "%s", file.err)
		}
		return nil, err
	}
	return p, nil
}

// parse does what Parse does, but for the files.
func (c *checker) parse(raw json.RawMessage) (*prober, error) {
	p := &prober{owner: c, parameters: defaults()}
	if err := sdk.Decode(raw, &p.parameters); err != nil {
		return nil, err
	}
	if err := p.parameters.check(); err != nil {
		return nil, err
	}
	var err error
	if p.check, err = p.parameters.Compile(); err != nil {
		return nil, err
	}
	p.files = files{ca: p.parameters.CA, certificate: p.parameters.Certificate, key: p.parameters.Key, password: p.parameters.KeyPasswordFile}
	p.expiry = expiry{before: time.Duration(p.parameters.ExpiryWarning), logger: c.logger}
	p.tls = p.config()
	return p, nil
}

// Schema is that of the parameters.
func (c *checker) Schema() json.RawMessage { return sdk.Schema(defaults()) }

// Validate looks at the parameters. Files that may not be read here are a warning: who
// looks may have fewer rights than who probes.
func (c *checker) Validate(raw json.RawMessage) []sdk.Problem {
	p, err := c.parse(raw)
	if err != nil {
		return []sdk.Problem{http.ProblemOf(err)}
	}
	problems := p.parameters.Warnings()
	var file *fileError
	if err := p.files.read(); errors.As(err, &file) {
		problem := sdk.Problem{Path: file.path, Message: file.Error()}
		if forbidden(err) {
			problem.Warning = true
			problem.Message += ": could not be looked at; the process that probes must be able to read it"
		}
		problems = append(problems, problem)
	}
	return problems
}

// prober asks over TLS.
type prober struct {
	owner      *checker
	parameters parameters
	check      *http.Check
	files      files
	expiry     expiry
	tls        *tls.Config
}

// Probe asks for every url, whatever the turn.
func (p *prober) Probe(ctx context.Context, target sdk.Target) sdk.Result {
	return p.warned(p.check.All(ctx, target, p.connect))
}

// Start asks for the url whose turn it is.
func (p *prober) Start(ctx context.Context, target sdk.Target, done func(sdk.Result)) {
	http.Async(done, func() sdk.Result { return p.warned(p.check.Next(ctx, target, p.connect)) })
}

// warned has a result that is up say what is about to go wrong.
func (p *prober) warned(r sdk.Result) sdk.Result {
	if r.Outcome == sdk.Up {
		r.Reason = p.expiry.warning
	}
	return r
}

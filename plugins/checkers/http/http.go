package http

import (
	"context"
	"encoding/json"
	"net"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

// Type is the checker's name in configurations.
const Type = "http"

type checker struct{}

// New makes the checker.
func New() sdk.Checker { return checker{} }

// Parse makes a Check of the parameters.
func (checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	p, err := parse(raw)
	if err != nil {
		return nil, err
	}
	check, err := p.Compile()
	if err != nil {
		return nil, err
	}
	return &prober{check: check, attempt: attempt{check: check}}, nil
}

func parse(raw json.RawMessage) (Parameters, error) {
	p := Defaults()
	return p, sdk.Decode(raw, &p)
}

// Schema is that of the parameters.
func (checker) Schema() json.RawMessage { return sdk.Schema(Defaults()) }

// Validate looks at the parameters.
func (c checker) Validate(raw json.RawMessage) []sdk.Problem {
	if _, err := c.Parse(raw); err != nil {
		return []sdk.Problem{ProblemOf(err)}
	}
	p, _ := parse(raw)
	problems := p.Warnings()
	if p.TLSCompliant {
		problems = append(problems, sdk.Problem{Path: "/tls_compliant", Message: "has no meaning without TLS: leave it out, or make the check one of type ssl", Warning: true})
	}
	return problems
}

// ProblemOf is an error of Parse as a finding.
func ProblemOf(err error) sdk.Problem {
	if wrong, ok := err.(*sdk.ParameterError); ok { //nolint:errorlint // Parse gives it as it is
		return sdk.Problem{Path: wrong.Path, Message: wrong.Message}
	}
	return sdk.Problem{Message: err.Error()}
}

// Warnings are what is odd about parameters that can be used.
func (p Parameters) Warnings() []sdk.Problem {
	var out []sdk.Problem
	for i, u := range p.URLs {
		if !strings.HasPrefix(u.Path, "/") && u.Path != "*" && !strings.Contains(u.Path, "://") {
			out = append(out, sdk.Problem{
				Path: "/urls/" + strconv.Itoa(i) + "/path", Message: "does not begin with a slash: most servers refuse such a request", Warning: true,
			})
		}
	}
	return out
}

// prober asks over plain TCP.
type prober struct {
	check   *Check
	attempt attempt
}

var _ sdk.Starter = (*prober)(nil)

// Probe asks for every url, whatever the turn.
func (p *prober) Probe(ctx context.Context, target sdk.Target) sdk.Result {
	return p.check.All(ctx, target, connect)
}

// Start asks for the url whose turn it is.
func (p *prober) Start(ctx context.Context, target sdk.Target, done func(sdk.Result)) {
	if p.check.light() {
		p.attempt.start(ctx, target, done)
		return
	}
	Async(done, func() sdk.Result { return p.check.Next(ctx, target, connect) })
}

func connect(ctx context.Context, target sdk.Target, _ Request) (net.Conn, string, error) {
	conn, err := dial.TCP(ctx, target)
	if err != nil {
		return nil, "connect", err
	}
	return conn, "", nil
}

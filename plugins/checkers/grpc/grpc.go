package grpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

// Type is the checker's name in configurations.
const Type = "grpc"

const (
	// mostAnswer and mostHeaders bound an answer, which has a few bytes.
	mostAnswer  = 4096
	mostHeaders = 16384
	// quoted bounds what a reason shows of a server's message.
	quoted = 200
)

type checker struct{}

// New makes the checker.
func New() sdk.Checker { return checker{} }

type parameters struct {
	Service string `json:"service" doc:"name of the service to ask about; empty: the server as a whole"`
	tlsParameters
}

func defaults() parameters {
	return parameters{tlsParameters: tlsParameters{Verify: true, MinVersion: "1.2"}}
}

// Parse reads the parameters and the files they name.
func (checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	p, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if err := p.secure.load(); err != nil {
		return nil, err.parameter()
	}
	return p, nil
}

func parse(raw json.RawMessage) (*prober, error) {
	p := defaults()
	if err := sdk.Decode(raw, &p); err != nil {
		return nil, err
	}
	if err := p.check(raw); err != nil {
		return nil, err
	}
	return &prober{service: p.Service, secure: secure{tlsParameters: p.tlsParameters}}, nil
}

// Validate is Parse, but for files that may not be read here: who looks may have fewer
// rights than who probes.
func (checker) Validate(raw json.RawMessage) []sdk.Problem {
	p, err := parse(raw)
	if err != nil {
		var wrong *sdk.ParameterError
		if errors.As(err, &wrong) {
			return []sdk.Problem{{Path: wrong.Path, Message: wrong.Message}}
		}
		return []sdk.Problem{{Message: err.Error()}}
	}
	if err := p.secure.load(); err != nil {
		return []sdk.Problem{err.problem()}
	}
	return nil
}

// Schema is that of the parameters.
func (checker) Schema() json.RawMessage { return sdk.Schema(defaults()) }

type prober struct {
	service string
	secure  secure
}

// Probe asks once.
func (p *prober) Probe(ctx context.Context, target sdk.Target) sdk.Result {
	start := time.Now()
	tcp, err := dial.TCP(ctx, target)
	if err != nil {
		return dial.Failed(ctx, target, start, "connect", err)
	}
	defer tcp.Close()
	target.Trace("connected to %s from %s", tcp.RemoteAddr(), tcp.LocalAddr())
	conn, creds, err := p.secure.shake(ctx, target, tcp)
	if err != nil {
		return dial.Failed(ctx, target, start, "TLS", err)
	}
	// From here on the call's context has the deadline.
	if err := tcp.SetDeadline(time.Time{}); err != nil {
		return dial.Failed(ctx, target, start, "clear the deadline", dial.Local(err))
	}
	// Where it has passed the library would still wait to say goodbye.
	defer context.AfterFunc(ctx, func() { _ = tcp.Close() })()
	address := netip.AddrPortFrom(target.Addr.Addr().WithZone(""), target.Addr.Port()).String()
	authority := address
	if p.secure.TLS && p.secure.ServerName != "" {
		authority = p.secure.ServerName
	}
	client, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithContextDialer(once(conn)), grpc.WithTransportCredentials(creds), grpc.WithAuthority(authority),
		grpc.WithUserAgent("poise"), grpc.WithNoProxy(), grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(),
		grpc.WithMaxHeaderListSize(mostHeaders), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(mostAnswer)))
	if err != nil {
		return dial.Failed(ctx, target, start, "make a client", dial.Local(err))
	}
	defer client.Close()
	target.Trace("asking %s for the health of service %q", authority, p.service)
	answer, err := healthv1.NewHealthClient(client).Check(ctx, &healthv1.HealthCheckRequest{Service: p.service})
	if err != nil {
		return p.failed(ctx, target, start, err)
	}
	target.Trace("the answer is %s", answer.GetStatus())
	if answer.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		return sdk.Result{Outcome: sdk.Down, Reason: fmt.Sprintf("service %q is %s", p.service, answer.GetStatus())}
	}
	return sdk.Result{Outcome: sdk.Up}
}

// failed makes a result of a call's error.
func (p *prober) failed(ctx context.Context, target sdk.Target, start time.Time, err error) sdk.Result {
	said := status.Convert(err)
	switch code := said.Code(); {
	case ctx.Err() != nil:
		err = ctx.Err()
	case code == codes.Unimplemented:
		err = fmt.Errorf("UNIMPLEMENTED: the server has no health service (grpc.health.v1): %s", shortened(said.Message()))
	case code == codes.NotFound:
		err = fmt.Errorf("NOT_FOUND: the server does not know service %q: %s", p.service, shortened(said.Message()))
	case code == codes.DeadlineExceeded:
		// The server knows the deadline, and may be the first to see it pass.
		err = context.DeadlineExceeded
	default:
		err = fmt.Errorf("%s: %s", code, shortened(said.Message()))
	}
	return dial.Failed(ctx, target, start, "health check", err)
}

// once gives gRPC the connection that there is, and no other.
func once(conn net.Conn) func(context.Context, string) (net.Conn, error) {
	var mu sync.Mutex
	return func(context.Context, string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if conn == nil {
			return nil, errors.New("the connection was lost, and a probe makes one")
		}
		c := conn
		conn = nil
		return c, nil
	}
}

func shortened(s string) string {
	if len(s) > quoted {
		return s[:quoted] + "..."
	}
	return s
}

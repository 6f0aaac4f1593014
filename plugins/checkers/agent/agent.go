package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

// Type is the checker's name in configurations.
const Type = "agent"

const (
	// longestLine is far more than an agent has to say.
	longestLine = 4096
	longestSend = 4096
)

type checker struct{}

// New makes the checker.
func New() sdk.Checker { return checker{} }

type parameters struct {
	Send string `json:"send" doc:"text to send first, as it is: a line feed has to be part of it"`
}

// Parse reads the text.
func (checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	var p parameters
	if err := sdk.Decode(raw, &p); err != nil {
		return nil, err
	}
	if len(p.Send) > longestSend {
		return nil, sdk.Errorf("/send", "has %d bytes: at most %d are allowed", len(p.Send), longestSend)
	}
	return &prober{send: p.Send}, nil
}

// Schema is that of the parameters.
func (checker) Schema() json.RawMessage { return sdk.Schema(parameters{}) }

type prober struct {
	send string

	mu    sync.Mutex
	begun bool
	state state
}

// Probe asks the agent once.
func (p *prober) Probe(ctx context.Context, target sdk.Target) sdk.Result {
	line, result := p.ask(ctx, target)
	if result != nil {
		return *result
	}
	target.Trace("the agent says %s", shown(line))
	said := parse(line)
	for _, word := range said.unknown {
		target.Trace("ignored: %q is no word of an agent's", word)
	}
	if said.maxConn != "" {
		target.Trace("ignored: maxconn:%s, which is not for a director", said.maxConn)
	}
	if said.nothing() && len(said.unknown) > 0 {
		return unknown(target, fmt.Sprintf("the agent said %s: no word of it is known", shown(line)))
	}
	return p.take(said, target)
}

// take adds what was said to what is known.
func (p *prober) take(said report, target sdk.Target) sdk.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.begun {
		p.begun = true
		p.state = begin(target.Known)
	}
	p.state.take(said)
	r := p.state.result()
	target.Trace("state: %s", p.state)
	return r
}

// ask gets the agent's line, or the result of a probe that could not be made.
func (p *prober) ask(ctx context.Context, target sdk.Target) (string, *sdk.Result) {
	start := time.Now()
	failed := func(step string, err error) (string, *sdk.Result) {
		r := dial.Failed(ctx, target, start, step, err)
		// That the agent does not speak says nothing of the real server.
		r.Outcome = sdk.Unknown
		return "", &r
	}
	if target.Addr.Port() == 0 {
		r := unknown(target, "there is no port to connect to: give the check the agent's port")
		return "", &r
	}
	conn, err := dial.TCP(ctx, target)
	if err != nil {
		return failed("connect to the agent", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	target.Trace("connected to %s from %s", conn.RemoteAddr(), conn.LocalAddr())
	if p.send != "" {
		target.Trace("> %q", p.send)
		if _, err := io.WriteString(conn, p.send); err != nil {
			return failed("send to the agent", err)
		}
	}
	line, err := readLine(conn)
	if err != nil {
		return failed("read the agent's line", err)
	}
	return line, nil
}

// readLine reads up to the first CR, LF or end.
func readLine(conn net.Conn) (string, error) {
	buf := make([]byte, longestLine)
	n := 0
	for n < len(buf) {
		m, err := conn.Read(buf[n:])
		for i := n; i < n+m; i++ {
			if buf[i] == '\n' || buf[i] == '\r' {
				return string(buf[:i]), nil
			}
		}
		n += m
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && n > 0:
			return string(buf[:n]), nil
		case errors.Is(err, io.EOF):
			return "", errors.New("the agent closed the connection without a word")
		default:
			return "", err
		}
	}
	return "", fmt.Errorf("more than %d bytes without an end, beginning with %s", longestLine, shown(string(buf)))
}

func unknown(target sdk.Target, reason string) sdk.Result {
	target.Trace("%s", reason)
	return sdk.Result{Outcome: sdk.Unknown, Reason: reason}
}

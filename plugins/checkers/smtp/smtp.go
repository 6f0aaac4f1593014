package smtp

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"time"
	"unicode"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

// Type is the checker's name in configurations.
const Type = "smtp"

// defaultName is what keepalived greets with, so that servers' logs and rules that know
// it go on doing so.
const defaultName = "smtpchecker.keepalived.org"

// maxName is the longest name of a host.
const maxName = 255

type checker struct{}

// New makes the checker.
func New() sdk.Checker { return checker{} }

type parameters struct {
	HeloName  string `json:"helo_name" doc:"name given with HELO"`
	Multiline bool   `json:"multiline" doc:"take replies of several lines (220-...), which keepalived does not"`
}

func defaults() parameters { return parameters{HeloName: defaultName} }

// Parse reads the name.
func (checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	p := defaults()
	if err := sdk.Decode(raw, &p); err != nil {
		return nil, err
	}
	switch {
	case p.HeloName == "":
		return nil, sdk.Errorf("/helo_name", "is empty: give a name, or leave it out for %s", defaultName)
	case len(p.HeloName) > maxName:
		return nil, sdk.Errorf("/helo_name", "has %d bytes: at most %d are allowed", len(p.HeloName), maxName)
	case strings.ContainsFunc(p.HeloName, unicode.IsControl):
		return nil, sdk.Errorf("/helo_name", "%q has a control character: it would break the line", p.HeloName)
	}
	return &prober{p}, nil
}

// Schema is that of the parameters.
func (checker) Schema() json.RawMessage { return sdk.Schema(defaults()) }

type prober struct{ parameters }

// step is one reply to wait for, and what to say then.
type step struct {
	// reply names what is read; code is how it has to begin, empty for any line.
	reply, code string
	// say is sent when the reply was right; empty: nothing.
	say string
}

// Probe has one conversation.
func (p *prober) Probe(ctx context.Context, target sdk.Target) sdk.Result {
	start := time.Now()
	conn, err := dial.TCP(ctx, target)
	if err != nil {
		return dial.Failed(ctx, target, start, "connect", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	target.Trace("connected to %s from %s", conn.RemoteAddr(), conn.LocalAddr())
	return p.talk(ctx, target, start, conn)
}

func (p *prober) talk(ctx context.Context, target sdk.Target, start time.Time, conn net.Conn) sdk.Result {
	r := reader{conn: conn}
	for _, s := range []step{
		{"the greeting", "220", "HELO " + p.HeloName},
		{"the reply to HELO", "250", "QUIT"},
		{"the reply to QUIT", "", ""},
	} {
		if err := r.reply(s.code, p.Multiline, func(line string) { target.Trace("< %q", line) }); err != nil {
			return dial.Failed(ctx, target, start, "read "+s.reply, err)
		}
		if s.say == "" {
			continue
		}
		target.Trace("> %q", s.say)
		if _, err := conn.Write([]byte(s.say + "\r\n")); err != nil {
			return dial.Failed(ctx, target, start, "write "+s.say, err)
		}
	}
	return sdk.Result{Outcome: sdk.Up}
}

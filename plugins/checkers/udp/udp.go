package udp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"time"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

// Type is the checker's name in configurations.
const Type = "udp"

const (
	// defaultPayload is as long as keepalived's: servers that answer anything see the same.
	defaultPayload = "poise check - poise check - pois"
	// longestPayload fits in a datagram of either family without jumbograms.
	longestPayload = 65507
	// defaultMax is keepalived's limit of a reply that has to match.
	defaultMax = 255
	// early is how long before the deadline the wait for nothing ends, at most.
	early = 20 * time.Millisecond
	// traced bounds the bytes that a transcript or a reason shows.
	traced = 64
)

type checker struct{}

// New makes the checker.
func New() sdk.Checker { return checker{} }

type parameters struct {
	Payload      string  `json:"payload" doc:"bytes to send, in hexadecimal; without it a text of 32 bytes"`
	RequireReply bool    `json:"require_reply" doc:"no reply is down"`
	Reply        *string `json:"reply" doc:"bytes that the reply has to begin with, in hexadecimal with X for any digit; implies require_reply"`
	Min          *uint16 `json:"min_reply_length" doc:"least bytes of a reply; 0 without it"`
	Max          *uint16 `json:"max_reply_length" doc:"most bytes of a reply; without it 255 where the reply is compared, else any"`
}

// Parse reads payload and pattern.
func (checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	var p parameters
	if err := sdk.Decode(raw, &p); err != nil {
		return nil, err
	}
	out := &prober{payload: []byte(defaultPayload), required: p.RequireReply}
	if p.Payload != "" {
		payload, err := parsePattern(p.Payload)
		if err != nil {
			return nil, sdk.Errorf("/payload", "%s", err)
		}
		if !payload.exact() {
			return nil, sdk.Errorf("/payload", "X stands for any digit, which cannot be sent")
		}
		if len(payload.value) > longestPayload {
			return nil, sdk.Errorf("/payload", "has %d bytes: a datagram takes at most %d", len(payload.value), longestPayload)
		}
		out.payload = payload.value
	}
	out.reply.most = math.MaxUint16
	if p.Reply != nil {
		reply, err := parsePattern(*p.Reply)
		if err != nil {
			return nil, sdk.Errorf("/reply", "%s", err)
		}
		out.reply.pattern, out.reply.most, out.required = reply, defaultMax, true
	}
	if p.Min != nil {
		out.reply.least = int(*p.Min)
	}
	if p.Max != nil {
		out.reply.most = int(*p.Max)
	}
	return out, nil
}

// Validate is Parse, and warns of limits that no reply can keep: an error it is not,
// because keepalived takes them.
func (c checker) Validate(raw json.RawMessage) []sdk.Problem {
	p, err := c.Parse(raw)
	var wrong *sdk.ParameterError
	switch {
	case errors.As(err, &wrong):
		return []sdk.Problem{{Path: wrong.Path, Message: wrong.Message}}
	case err != nil:
		return []sdk.Problem{{Message: err.Error()}}
	}
	if r := p.(*prober).reply; r.least > r.most {
		return []sdk.Problem{{Path: "/min_reply_length", Message: fmt.Sprintf("%d is more than max_reply_length %d: no reply can ever be right", r.least, r.most), Warning: true}}
	}
	return nil
}

// Schema is that of the parameters.
func (checker) Schema() json.RawMessage { return sdk.Schema(parameters{}) }

type prober struct {
	payload []byte
	// required: silence is down.
	required bool
	// reply is what a reply has to be.
	reply expected
}

// Probe sends one datagram.
func (p *prober) Probe(ctx context.Context, target sdk.Target) sdk.Result {
	start := time.Now()
	conn, err := dial.UDP(ctx, target)
	if err != nil {
		return dial.Failed(ctx, target, start, "connect", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(p.payload); err != nil {
		return dial.Failed(ctx, target, start, "send", err)
	}
	target.Trace("sent to %s from %s: %s", conn.RemoteAddr(), conn.LocalAddr(), shown(p.payload))
	return p.await(ctx, target, start, conn)
}

func (p *prober) await(ctx context.Context, target sdk.Target, start time.Time, conn *net.UDPConn) sdk.Result {
	if deadline, ok := ctx.Deadline(); ok && !p.required {
		// Silence is a result, which has to be there by the deadline.
		_ = conn.SetReadDeadline(deadline.Add(-min(early, deadline.Sub(start)/10)))
	}
	// One byte more shows that there was more.
	buf := make([]byte, max(traced, p.reply.room())+1)
	n, err := conn.Read(buf)
	if err != nil {
		if silent(ctx, err) && !p.required {
			target.Trace("no reply, and no word that the port is unreachable")
			return sdk.Result{Outcome: sdk.Up}
		}
		return dial.Failed(ctx, target, start, "wait for the reply", err)
	}
	target.Trace("reply: %s", shown(buf[:n]))
	if err := p.reply.judge(buf[:n]); err != nil {
		return sdk.Result{Outcome: sdk.Down, Reason: fmt.Sprintf("the reply is wrong: %s", err)}
	}
	return sdk.Result{Outcome: sdk.Up}
}

// silent says that the deadline passed, and nothing else.
func silent(ctx context.Context, err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(ctx.Err(), context.Canceled)
}

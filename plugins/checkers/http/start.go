package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/poll"
)

// attempt is a probe by HTTP/1 over plain TCP, carried by the engine of sdk/poll. Its
// prober has one for all its probes.
type attempt struct {
	check    *Check
	ctx      context.Context
	target   sdk.Target
	done     func(sdk.Result)
	url      *url
	deadline time.Time
}

// start begins with the url that is due.
func (a *attempt) start(ctx context.Context, target sdk.Target, done func(sdk.Result)) {
	a.ctx, a.target, a.done = ctx, target, done
	a.deadline, _ = ctx.Deadline()
	a.next()
}

func (a *attempt) next() {
	a.url = a.check.begin(a.target.Known)
	a.check.reply.begin(a.url, a.check.raw, a.check.method == "HEAD", a.deadline)
	poll.Start(a.ctx, a.target, poll.Options{Request: a.check.request(a.url, a.target), Quiet: true}, a)
}

// Connected is not called where there is a request.
func (*attempt) Connected(*poll.Conn) {}

// Received judges what has come. What has been judged is not read on: the reset leaves
// no socket on either side.
func (a *attempt) Received(c *poll.Conn, b []byte) {
	whole, wrong := a.check.reply.feed(b)
	switch {
	case wrong != nil:
		c.Reset()
		a.end(c.FailedAt("reply", wrong))
	case whole:
		c.Reset()
		a.judge(c)
	}
}

// Closed: the server has said all it will, or something went wrong.
func (a *attempt) Closed(c *poll.Conn, err error) {
	switch {
	case errors.Is(err, io.EOF):
		if err := a.check.reply.eof(); err != nil {
			a.end(c.FailedAt("reply", err))
			return
		}
		a.judge(c)
	case !c.Complete():
		a.end(c.FailedAt("connect", err))
	default:
		a.end(c.FailedAt(a.check.readStep(), err))
	}
}

// judge ends with what the whole reply says.
func (a *attempt) judge(c *poll.Conn) {
	if err := a.check.reply.body.end(); err != nil {
		a.end(c.FailedAt("reply", err))
		return
	}
	a.target.Trace("%s", a)
	a.end(sdk.Result{Outcome: sdk.Up})
}

// String is the transcript of a reply that is wanted. It is made only if somebody asks.
func (a *attempt) String() string {
	r := &a.check.reply
	return fmt.Sprintf("%s: %q, %d headers, body of %d bytes", a.url.path, r.line, r.fields, r.body.size)
}

// end hands over what was found, or goes on with the next url.
func (a *attempt) end(r sdk.Result) {
	a.check.reply.release()
	if r.Outcome != sdk.Up {
		r.Reason = a.check.named(a.url, r.Reason)
	}
	r, more := a.check.end(a.target.Known, r)
	if more {
		a.next()
		return
	}
	done := a.done
	a.ctx, a.done = nil, nil
	done(r)
}

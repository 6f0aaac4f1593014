package http

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

// Request is what a Connect may want to know of the request that is to come.
type Request struct {
	// Path of the url, and the virtual hosts of the url and of the check; empty: none.
	Path, URLHost, CheckHost string
	// HTTP2: the request is made by HTTP/2.
	HTTP2 bool
	// Compliant: the end of the reply has to be a proper end of TLS. Raw: the reply is all
	// that comes to the end of the connection, whatever end that is.
	Compliant, Raw bool
}

// Connect makes a connection to the target that has the context's deadline. Where that
// fails it says at which step, as dial.Failed takes it.
type Connect func(ctx context.Context, target sdk.Target, r Request) (conn net.Conn, step string, err error)

// readSize is the most that is read at once.
const readSize = 16 << 10

// buffers are shared by all checks, of which few probe at once.
var buffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// All asks for every url, once, outside of the turn. It is up when all of them are.
func (c *Check) All(ctx context.Context, target sdk.Target, connect Connect) sdk.Result {
	for i := range c.urls {
		if r := c.one(ctx, target, &c.urls[i], connect); r.Outcome != sdk.Up {
			return r
		}
	}
	return sdk.Result{Outcome: sdk.Up}
}

// Next asks for the url that is due, and, with fast_recovery, for those that are due
// after it while that is what the verdict waits for.
func (c *Check) Next(ctx context.Context, target sdk.Target, connect Connect) sdk.Result {
	for {
		u := c.begin(target.Known)
		r, more := c.end(target.Known, c.one(ctx, target, u, connect))
		if !more {
			return r
		}
	}
}

// Async calls done with the result of a probe that runs beside the caller. A panic is an
// error of that probe.
func Async(done func(sdk.Result), probe func() sdk.Result) {
	go func() {
		var r sdk.Result
		defer func() {
			if p := recover(); p != nil {
				r = sdk.Result{Outcome: sdk.Unknown, Reason: fmt.Sprintf("the checker panicked: %v, at %.2000s", p, debug.Stack())}
			}
			done(r)
		}()
		r = probe()
	}()
}

// begin gives the url that is due.
func (c *Check) begin(known sdk.Known) *url { return &c.urls[c.rotation.begin(known.Outcome)] }

// end takes what was found of it. more: the next one is due at once.
func (c *Check) end(known sdk.Known, r sdk.Result) (_ sdk.Result, more bool) {
	r.Partial = c.rotation.end(r.Outcome)
	return r, r.Partial && c.fast && known.Outcome != sdk.Up
}

// one asks for one url.
func (c *Check) one(ctx context.Context, target sdk.Target, u *url, connect Connect) sdk.Result {
	start := time.Now()
	fail := func(step string, err error) sdk.Result {
		r := dial.Failed(ctx, target, start, step, err)
		r.Reason = c.named(u, r.Reason)
		return r
	}
	conn, step, err := connect(ctx, target, Request{
		Path: u.path, URLHost: u.host, CheckHost: c.virtualHost, HTTP2: c.protocol == Version2, Compliant: u.compliant, Raw: c.raw,
	})
	if err != nil {
		return fail(step, err)
	}
	defer conn.Close()
	defer c.reply.release()
	target.Trace("connected from %s to %s after %s", conn.LocalAddr(), conn.RemoteAddr(), time.Since(start).Round(time.Microsecond))
	// A context that ends before its deadline ends reading and writing.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	deadline, _ := ctx.Deadline()
	if c.protocol == Version2 {
		step, err = c.exchange2(ctx, conn, target, u, deadline)
	} else {
		step, err = c.exchange(conn, target, u, deadline)
	}
	if err != nil {
		return fail(step, err)
	}
	target.Trace("%s passes after %s", u.path, time.Since(start).Round(time.Microsecond))
	return sdk.Result{Outcome: sdk.Up}
}

// named has a reason say of which url it is, where there are several.
func (c *Check) named(u *url, reason string) string {
	if len(c.urls) == 1 {
		return reason
	}
	return u.path + ": " + reason
}

// light says that a probe computes little, so that it may run where others wait for it.
func (c *Check) light() bool {
	for i := range c.urls {
		if m := c.urls[i].match; m != nil && m.re != nil {
			return false
		}
	}
	return c.protocol != Version2
}

// exchange sends the request and judges the reply.
func (c *Check) exchange(conn net.Conn, target sdk.Target, u *url, deadline time.Time) (step string, err error) {
	request := c.request(u, target)
	target.Trace("send %q", u.shown)
	c.reply.begin(u, c.raw, c.method == "HEAD", deadline)
	if _, err := conn.Write(request); err != nil {
		return "send the request", err
	}
	pooled := buffers.Get().(*[readSize]byte)
	defer buffers.Put(pooled)
	buffer := pooled[:]
	told := false
	for {
		n, err := conn.Read(buffer)
		done, wrong := c.reply.feed(buffer[:n])
		if !told && c.reply.status != 0 {
			told = true
			target.Trace("status line %q, %d headers", c.reply.line, c.reply.fields)
		}
		switch {
		case wrong != nil:
			return "reply", wrong
		case done:
			return "reply", c.judge(target)
		case errors.Is(err, io.EOF):
			if err := c.reply.eof(); err != nil {
				return "reply", err
			}
			return "reply", c.judge(target)
		case err != nil:
			return c.readStep(), readError(err)
		}
	}
}

// judge says what is wrong with a reply that is whole.
func (c *Check) judge(target sdk.Target) error {
	r := &c.reply
	if r.raw && r.length >= 0 && r.length != r.body.size {
		target.Trace("Content-Length says %d bytes; %d have come", r.length, r.body.size)
	}
	err := r.body.end()
	if r.wanted.digest != nil {
		target.Trace("body of %d bytes, digest %s", r.body.size, hex.EncodeToString(r.body.sum[:]))
	} else {
		target.Trace("body of %d bytes", r.body.size)
	}
	return err
}

// readStep says what was waited for.
func (c *Check) readStep() string {
	switch {
	case c.reply.state != inHead:
		return fmt.Sprintf("read the body, of which %d bytes have come", c.reply.body.size)
	case len(c.reply.head) > 0:
		return "read the headers"
	}
	return "wait for the reply"
}

// readError takes the wrapping off TLS's errors.
func readError(err error) error {
	var alert tls.AlertError
	if errors.As(err, &alert) {
		return alert
	}
	return err
}

package poll

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

// Handler is a probe's side of a connection. Its methods are called one at a time, never
// from within Start, and must not block. After the handler has ended the connection, or
// Closed was called, none is called any more.
type Handler interface {
	// Connected: the connection has completed. It is not called when Options has a Request.
	Connected(c *Conn)
	// Received: the target sent b, which belongs to the engine and is valid until Received
	// returns.
	Received(c *Conn, b []byte)
	// Closed: the connection has ended, or never was, and not by the handler's doing. err is
	// io.EOF when the target closed its side after all it sent, an error of the context, or
	// what connect, read or write gave; dial.IsLocal tells this machine's errors.
	Closed(c *Conn, err error)
}

// Options of a connection.
type Options struct {
	// Request is sent as soon as the connection has completed. It must not be changed until
	// the connection has ended, and may be shared by many.
	Request []byte
	// Quiet holds back the last packet of the handshake until something is sent; a
	// connection that is reset before that goes unnoticed by the target's application.
	Quiet bool
}

// state of a connection.
type state uint8

const (
	connecting state = iota
	open
	ended
)

// Conn is one connection of a probe. Its methods are for the Handler's methods to call.
type Conn struct {
	engine  *Engine
	handler Handler
	group   *group
	target  sdk.Target
	start   time.Time
	out     []byte
	broken  error
	to      address
	fd      int
	// index in the group's list.
	index int
	state state
	// rounds that found nothing.
	idle uint8
	// complete: the connection has completed, even if it has ended since.
	complete bool
	// watched: epoll has it.
	watched bool
	// kind of its socket; plain: there is nothing special about it.
	kind  int
	plain bool
}

// Target is what Start was given.
func (c *Conn) Target() *sdk.Target { return &c.target }

// Complete says that the connection has completed, even if it has ended since.
func (c *Conn) Complete() bool { return c.complete }

// Elapsed is the time since Start.
func (c *Conn) Elapsed() time.Duration { return time.Since(c.start) }

// Write sends b, now or when there is room. b must not be changed until the connection
// has ended. It does nothing on a connection that has ended.
func (c *Conn) Write(b []byte) {
	if c.state == ended {
		return
	}
	if len(c.out) > 0 {
		c.out = append(c.out[:len(c.out):len(c.out)], b...)
		return
	}
	c.out = b
	if c.state == open {
		c.broken = c.flush()
	}
}

// Close ends the connection as a client does that has nothing more to say.
func (c *Conn) Close() {
	if c.state != ended {
		c.engine.end(c)
		closeSocket(c.fd)
	}
}

// Reset ends the connection at once: the target's kernel is told by one packet, and no
// socket stays behind on either side.
func (c *Conn) Reset() {
	if c.state != ended {
		c.engine.end(c)
		c.engine.reset(c)
	}
}

// Failed makes a result of the error that Closed was called with, or of another: unknown
// if the reason is this machine's, else down. The reason names the step: "connect",
// before the connection has completed, else "read".
func (c *Conn) Failed(err error) sdk.Result {
	step := "read"
	if !c.complete {
		step = "connect"
	}
	return c.FailedAt(step, err)
}

// FailedAt is Failed with a name for the step: "read the greeting".
func (c *Conn) FailedAt(step string, err error) sdk.Result {
	if c.fd < 0 {
		// There was no socket to do the step with.
		c.target.Trace("%s", err)
		return sdk.Result{Outcome: sdk.Unknown, Reason: err.Error()}
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the server closed the connection")
	}
	return dial.Failed(c.group.ctx, c.target, c.start, step, err)
}

// advance does what can be done now, and says whether anything was.
func (c *Conn) advance() (moved bool) {
	for range readsAtOnce {
		if c.state == ended {
			return true
		}
		progress, err := c.step()
		if err != nil {
			c.fail(err)
			return true
		}
		if !progress {
			return moved
		}
		moved = true
	}
	if c.state != ended {
		c.engine.more(c)
	}
	return true
}

// step does one thing.
func (c *Conn) step() (progress bool, err error) {
	switch {
	case c.broken != nil:
		return false, c.broken
	case c.state == connecting && len(c.out) > 0:
		// A write says what a connect says, and does what has to be done next.
		if err := c.flush(); err != nil || c.state == connecting {
			return false, err
		}
		return true, nil
	case c.state == connecting:
		done, err := connected(c.fd, &c.to)
		if !done || err != nil {
			return false, err
		}
		c.state, c.complete = open, true
		c.call(func() { c.handler.Connected(c) })
		return true, nil
	case len(c.out) > 0:
		if err := c.flush(); err != nil {
			return false, err
		}
	}
	buffer := c.engine.buffer
	n, errno := read(c.fd, buffer)
	switch {
	case errno == unix.EAGAIN, errno == unix.EINTR:
		return false, nil
	case errno != 0:
		return false, errno
	case n == 0:
		return false, io.EOF
	}
	c.call(func() { c.handler.Received(c, buffer[:n]) })
	return true, nil
}

// flush writes what there is room for.
func (c *Conn) flush() error {
	n, errno := write(c.fd, c.out)
	switch {
	case errno == unix.EAGAIN && c.state == connecting:
		return nil
	case errno == unix.EAGAIN, errno == unix.EINTR:
		n = 0
	case errno != 0:
		return errno
	}
	c.state, c.complete = open, true
	if c.out = c.out[n:]; len(c.out) == 0 {
		c.out = nil
	} else if c.watched {
		c.engine.watcher.room(c)
	}
	return nil
}

// fail ends the connection and tells the handler.
func (c *Conn) fail(err error) {
	if c.state == ended {
		return
	}
	c.engine.end(c)
	if c.fd >= 0 {
		c.engine.reset(c)
	}
	_ = c.safely(func() { c.handler.Closed(c, err) })
}

// call calls the handler; when it panics the probe has not been made.
func (c *Conn) call(f func()) {
	if err := c.safely(f); err != nil {
		c.fail(err)
	}
}

func (c *Conn) safely(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "the probe of %s panicked: %v\n%s", c.target.Addr, p, debug.Stack())
			err = dial.Local(fmt.Errorf("the checker panicked: %v", p))
		}
	}()
	f()
	return nil
}

// over says why the connection's time is over.
func (c *Conn) over() error {
	if err := c.group.ctx.Err(); err != nil {
		return err
	}
	return context.Canceled
}

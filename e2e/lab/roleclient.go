package lab

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// client makes a request on a new connection each interval and writes a line for each
// that has ended: start, connected and end in ns since 1970 (0: did not come to that),
// the server's name or -, the error; and now and then "done T": all requests that were
// started before T have ended. It ends when its standard input does.
//
// It closes first and takes one source port after the other, so that none is used again
// soon: IPVS drops what comes from the port of a connection that it remembers for a real
// server that is gone, one that was refused included, for a minute or more.
//
// Its clock for giving up counts only the time in which the client itself ran: when the
// whole machine stands still, as one does whose processors are somebody else's just
// now, that is no failed request.
type client struct {
	to       *unix.SockaddrInet4
	interval time.Duration
	timeout  time.Duration
	open     []request
	polled   []unix.PollFd
	out      *bufio.Writer
	flushed  time.Time
	// awake is the client's own clock, seen when it last looked at the other one.
	awake time.Duration
	seen  time.Time
	// port is the source port of the next request.
	port int
}

// request is one that has not ended.
type request struct {
	fd               int
	start, connected time.Time
	// begun is the start by the client's own clock.
	begun time.Duration
}

const (
	doneWord = "done"
	// flushInterval is how often lines are passed on.
	flushInterval = 100 * time.Millisecond
	// longestStep is the most that the client's own clock advances between two looks: it
	// looks after flushInterval at the latest.
	longestStep = flushInterval + 50*time.Millisecond
	firstPort   = 1024
	lastPort    = 65535
)

func runClient(address, interval, timeout string) error {
	runtime.LockOSThread()
	to, err := sockaddr(address)
	every, err2 := time.ParseDuration(interval)
	limit, err3 := time.ParseDuration(timeout)
	if err := errors.Join(err, err2, err3); err != nil {
		return err
	}
	c := &client{to: to, interval: every, timeout: limit, out: bufio.NewWriter(os.Stdout)}
	// A client that is started after this one goes on where this one is by then.
	c.port = firstPort + int(time.Now().UnixNano()/int64(every)%(lastPort-firstPort))
	return c.run()
}

func (c *client) run() error {
	next, stopping := time.Now(), false
	for !stopping || len(c.open) > 0 {
		now := c.look()
		for !stopping && !now.Before(next) {
			c.begin(now)
			next = next.Add(c.interval)
		}
		wait := flushInterval
		if !stopping {
			wait = min(wait, next.Sub(now))
		}
		c.polled = append(c.polled[:0], unix.PollFd{Fd: 0, Events: unix.POLLIN})
		if stopping {
			c.polled[0].Fd = -1
		}
		for _, r := range c.open {
			events := int16(unix.POLLIN)
			if r.connected.IsZero() {
				events = unix.POLLOUT
			}
			c.polled = append(c.polled, unix.PollFd{Fd: int32(r.fd), Events: events})
		}
		if _, err := unix.Poll(c.polled, int(wait.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for answers: %w", err)
		}
		stopping = stopping || c.polled[0].Revents != 0
		c.advance(c.look())
		if now.Sub(c.flushed) >= flushInterval {
			c.flushed = now
			oldest := now
			if len(c.open) > 0 {
				oldest = c.open[0].start
			}
			fmt.Fprintf(c.out, "%s %d\n", doneWord, oldest.UnixNano())
			if err := c.out.Flush(); err != nil {
				return err
			}
		}
	}
	return c.out.Flush()
}

// look reads the clock and advances the client's own.
func (c *client) look() time.Time {
	now := time.Now()
	if !c.seen.IsZero() {
		c.awake += min(now.Sub(c.seen), longestStep)
	}
	c.seen = now
	return now
}

// begin starts a request.
func (c *client) begin(now time.Time) {
	fd, err := newSocket()
	if err == nil {
		err = c.bind(fd)
	}
	if err == nil {
		if err = unix.Connect(fd, c.to); errors.Is(err, unix.EINPROGRESS) {
			err = nil
		}
	}
	r := request{fd: fd, start: now, begun: c.awake}
	if err != nil {
		c.end(r, time.Now(), "-", "connect: "+err.Error())
		return
	}
	c.open = append(c.open, r)
}

// bind gives a socket the next source port that is free.
func (c *client) bind(fd int) error {
	err := error(unix.EADDRINUSE)
	for tried := firstPort; errors.Is(err, unix.EADDRINUSE) && tried <= lastPort; tried++ {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: c.port})
		if c.port++; c.port > lastPort {
			c.port = firstPort
		}
	}
	return err
}

// advance looks at what poll said of each open request.
func (c *client) advance(now time.Time) {
	left := c.open[:0]
	for i, r := range c.open {
		if c.polled[i+1].Revents != 0 {
			if c.step(&r, now) {
				continue
			}
		} else if c.awake-r.begun > c.timeout {
			c.end(r, now, "-", "no answer in "+c.timeout.String()+port(r.fd))
			continue
		}
		left = append(left, r)
	}
	c.open = left
}

// step goes on with a request and says whether that was its end.
func (c *client) step(r *request, now time.Time) bool {
	if r.connected.IsZero() {
		code, err := unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		if err != nil {
			c.end(*r, now, "-", "connect: "+err.Error())
			return true
		}
		r.connected = now
		if _, err := unix.Write(r.fd, []byte("who\n")); err != nil {
			c.end(*r, now, "-", "write: "+err.Error())
			return true
		}
		return false
	}
	var buf [64]byte
	n, err := unix.Read(r.fd, buf[:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return false
	case err != nil:
		c.end(*r, now, "-", "read: "+err.Error())
	case n == 0:
		c.end(*r, now, "-", "the connection was closed without an answer")
	default:
		// An answer is shorter than a segment: it comes whole.
		c.end(*r, now, strings.TrimSpace(string(buf[:n])), "")
	}
	return true
}

// port says which the client's port of a connection is, for who looks for it elsewhere.
func port(fd int) string {
	name, err := unix.Getsockname(fd)
	at, ok := name.(*unix.SockaddrInet4)
	if err != nil || !ok {
		return ""
	}
	return fmt.Sprintf(" (port %d)", at.Port)
}

func (c *client) end(r request, now time.Time, server, text string) {
	if r.fd >= 0 {
		_ = unix.Close(r.fd)
	}
	at := int64(0)
	if !r.connected.IsZero() {
		at = r.connected.UnixNano()
	}
	// A failed write shows at the next flush.
	fmt.Fprintf(c.out, "%d %d %d %s %s\n", r.start.UnixNano(), at, now.UnixNano(), server, text)
}

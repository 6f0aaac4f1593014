package poll

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/poise-lb/poise/sdk"
)

const (
	// bufferSize is how much is read at once, into a buffer that all connections share.
	bufferSize = 64 << 10
	// readsAtOnce bounds what is done for one connection before the others have their turn.
	readsAtOnce = 4
	// firstRound is when the first round goes over connections after the first of them was
	// started.
	firstRound = time.Millisecond
	// heldUp is when it does although more were to be started.
	heldUp = 50 * time.Millisecond
	// patience is the number of rounds without news after which epoll watches a connection.
	patience = 4
)

// Engine carries connections. The zero value is ready for use. It holds goroutines only
// while something waits.
type Engine struct {
	mu sync.Mutex
	// running: a round is going on; again: it has to be followed by another.
	running, again bool
	timer          *time.Timer
	// due is when the timer goes off; zero when it does not.
	due   time.Time
	open  int
	fresh []*Conn
	ready []int32
	over  []*group
	// last is the group that was started last.
	last    *group
	watcher *watcher
	pool    pool

	// What follows belongs to the round that is going on.
	buffer  []byte
	waiting []*Conn
	next    []*Conn
	// spare are lists that have been used up.
	spareConns []*Conn
	spareReady []int32
}

// group is the open connections that share a context.
type group struct {
	ctx  context.Context
	stop func() bool
	// together: a round comes when all have been started.
	together bool
	// open is how many have been started and have not ended.
	open  int
	conns []*Conn
}

// standard is the engine of the process.
var standard Engine

// Start begins a connection on the engine of the process.
func Start(ctx context.Context, t sdk.Target, o Options, h Handler) { standard.Start(ctx, t, o, h) }

// Probe runs a Starter's probe and waits for its result, for Probe methods.
func Probe(ctx context.Context, s sdk.Starter, t sdk.Target) sdk.Result {
	results := make(chan sdk.Result, 1)
	s.Start(ctx, t, func(r sdk.Result) {
		select {
		case results <- r:
		default:
		}
	})
	return <-results
}

// Start begins a connection as the target asks, and returns at once; h is told of
// everything else, an error included. The connection is ended when ctx is done.
func (e *Engine) Start(ctx context.Context, t sdk.Target, o Options, h Handler) {
	c := &Conn{engine: e, handler: h, target: t, start: time.Now(), out: o.Request, fd: -1}
	c.broken = c.begin(o.Quiet)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.last == nil || e.last.ctx != ctx {
		g := &group{ctx: ctx}
		g.stop = context.AfterFunc(ctx, func() { e.expire(g) })
		g.together = sdk.AfterStarts(ctx, e.round)
		e.last = g
	}
	c.group = e.last
	c.group.open++
	e.open++
	e.fresh = append(e.fresh, c)
	wait := firstRound
	if c.group.together {
		// The round comes by itself, unless somebody else's Start holds up the end.
		wait = heldUp
	}
	e.wakeIn(c.start, wait)
}

// wakeIn has a round begin d after now.
func (e *Engine) wakeIn(now time.Time, d time.Duration) {
	due := now.Add(d)
	if !e.due.IsZero() && !due.Before(e.due) {
		return
	}
	e.due = due
	if e.timer == nil {
		e.timer = time.AfterFunc(d, e.timed)
		return
	}
	e.timer.Reset(d)
}

// timed is what the timer calls.
func (e *Engine) timed() {
	e.mu.Lock()
	e.due = time.Time{}
	e.mu.Unlock()
	e.round()
}

// expire ends the connections of a context that is done.
func (e *Engine) expire(g *group) {
	e.mu.Lock()
	if e.last == g {
		e.last = nil
	}
	idle := g.open == 0
	if !idle {
		e.over = append(e.over, g)
	}
	e.mu.Unlock()
	if !idle {
		e.round()
	}
}

// round goes over the connections. Only one is going on at a time.
func (e *Engine) round() {
	e.mu.Lock()
	if e.running {
		e.again = true
		e.mu.Unlock()
		return
	}
	e.running = true
	for {
		e.again = false
		fresh, ready, over := e.fresh, e.ready, e.over
		e.fresh, e.ready, e.over = e.spareConns[:0], e.spareReady[:0], nil
		if e.last != nil {
			e.last.together = false
		}
		e.mu.Unlock()

		e.visit(fresh, ready, over)
		clear(fresh)

		e.mu.Lock()
		e.spareConns, e.spareReady = fresh, ready
		switch {
		case len(e.waiting) > 0:
			e.wakeIn(time.Now(), e.pause())
		case len(e.fresh) == 0 && !e.due.IsZero() && e.timer.Stop():
			e.due = time.Time{}
		}
		if e.open == 0 && e.watcher != nil {
			e.watcher.rest()
		}
		if !e.again {
			e.running = false
			e.mu.Unlock()
			return
		}
	}
}

// visit tries everything that may have news.
func (e *Engine) visit(fresh []*Conn, ready []int32, over []*group) {
	if e.buffer == nil {
		e.buffer = make([]byte, bufferSize)
	}
	for _, c := range fresh {
		c.index = len(c.group.conns)
		c.group.conns = append(c.group.conns, c)
	}
	e.waiting = append(e.waiting, fresh...)
	now := e.waiting
	e.waiting = e.next[:0]
	for _, c := range now {
		if c.state == ended {
			continue
		}
		switch moved := c.advance(); {
		case c.state == ended || c.watched:
			continue
		case moved:
			c.idle = 0
		default:
			c.idle++
		}
		if c.idle < patience || !e.watch(c) {
			e.waiting = append(e.waiting, c)
		}
	}
	clear(now)
	e.next = now[:0]
	for _, fd := range ready {
		if c := e.watcher.conn(fd); c != nil {
			c.advance()
		}
	}
	for _, g := range over {
		// What came while this process was not running counts.
		for _, c := range slices.Clone(g.conns) {
			c.advance()
			c.fail(c.over())
		}
	}
}

// pause is the time to the next round.
func (e *Engine) pause() time.Duration {
	least := uint8(patience)
	for _, c := range e.waiting {
		least = min(least, c.idle)
	}
	return firstRound << max(least, 1) >> 1
}

// more has a connection that may have more to do looked at again soon.
func (e *Engine) more(c *Conn) {
	if c.watched {
		e.mu.Lock()
		e.ready = append(e.ready, int32(c.fd))
		e.again = true
		e.mu.Unlock()
	}
}

// watch leaves a connection to epoll.
func (e *Engine) watch(c *Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watcher == nil {
		w, err := newWatcher(e)
		if err != nil {
			return false
		}
		e.watcher = w
	}
	return e.watcher.add(c)
}

// end takes a connection out of everything; its socket is still open.
func (e *Engine) end(c *Conn) {
	c.state = ended
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.watched {
		e.watcher.forget(c)
	}
	e.open--
	g := c.group
	last := len(g.conns) - 1
	g.conns[c.index] = g.conns[last]
	g.conns[c.index].index = c.index
	g.conns[last] = nil
	g.conns = g.conns[:last]
	if g.open--; g.open > 0 {
		return
	}
	// Before the handler has it that the probe is over, because the context ends with it.
	g.stop()
	if e.last == g {
		e.last = nil
	}
}

// reset ends a connection with a reset, and keeps its socket for another if it can.
func (e *Engine) reset(c *Conn) {
	if c.plain && c.complete && !c.watched && disconnect(c.fd) == 0 {
		e.mu.Lock()
		kept := e.pool.give(c.kind, c.fd, e.trim)
		e.mu.Unlock()
		if kept {
			return
		}
	}
	// Without it close sends a FIN; if it cannot be set the FIN will do.
	_ = resetAtClose(c.fd)
	closeSocket(c.fd)
}

func (e *Engine) trim() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pool.trim()
}

// pooled gives a socket that was used before, or -1.
func (e *Engine) pooled(kind int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pool.take(kind)
}

func (e *Engine) emptyPool() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pool.empty()
}

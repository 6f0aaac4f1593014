package poll

import (
	"time"

	"golang.org/x/sys/unix"
)

// poolSize bounds the sockets of a kind that are kept.
const poolSize = 1024

// poolTrim is how often those are closed that have not been needed since; a variable for
// tests.
var poolTrim = 2 * time.Second

// pool keeps sockets whose connection was reset, to be connected again: the kernel spends
// half of a probe's time on making and unmaking a socket. Only sockets without an address,
// interface or mark of their own are kept. It is under the engine's lock.
type pool struct {
	// sockets by family and quietness, used from the end.
	sockets [4][]int
	// unused is the least there were since the last trim.
	unused [4]int
	timer  *time.Timer
	armed  bool
}

// kind is the index of a kind of socket.
func kind(family int, quiet bool) int {
	i := 0
	if family == unix.AF_INET6 {
		i = 1
	}
	if quiet {
		i += 2
	}
	return i
}

// take gives a socket of a kind, or -1.
func (p *pool) take(kind int) int {
	last := len(p.sockets[kind]) - 1
	if last < 0 {
		return -1
	}
	fd := p.sockets[kind][last]
	p.sockets[kind] = p.sockets[kind][:last]
	p.unused[kind] = min(p.unused[kind], last)
	return fd
}

// give keeps a socket, and says whether there was room.
func (p *pool) give(kind, fd int, trim func()) bool {
	if len(p.sockets[kind]) >= poolSize {
		return false
	}
	p.sockets[kind] = append(p.sockets[kind], fd)
	if !p.armed {
		p.armed = true
		if p.timer == nil {
			p.timer = time.AfterFunc(poolTrim, trim)
		} else {
			p.timer.Reset(poolTrim)
		}
	}
	return true
}

// trim closes what was not needed since the last time, the oldest first.
func (p *pool) trim() {
	left := 0
	for kind, sockets := range p.sockets {
		n := min(p.unused[kind], len(sockets))
		for _, fd := range sockets[:n] {
			closeSocket(fd)
		}
		sockets = append(sockets[:0], sockets[n:]...)
		p.sockets[kind], p.unused[kind] = sockets, len(sockets)
		left += len(sockets)
	}
	if p.armed = left > 0; p.armed {
		p.timer.Reset(poolTrim)
	}
}

// empty closes all, and says whether there were any.
func (p *pool) empty() bool {
	found := false
	for kind, sockets := range p.sockets {
		for _, fd := range sockets {
			closeSocket(fd)
			found = true
		}
		p.sockets[kind], p.unused[kind] = sockets[:0], 0
	}
	return found
}

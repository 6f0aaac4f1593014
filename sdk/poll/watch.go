package poll

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// eventsAtOnce is how many events are taken from the kernel at once.
const eventsAtOnce = 256

// watcher waits, in a goroutine, for connections that take longer. Its fields are under
// the engine's lock.
type watcher struct {
	engine *Engine
	fd     int
	file   *os.File
	conns  map[int32]*Conn
	// running: there is a goroutine.
	running bool
}

func newWatcher(e *Engine) (*watcher, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	// The runtime's poller waits for ours, because it does so without a thread.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &watcher{engine: e, fd: fd, file: os.NewFile(uintptr(fd), "epoll"), conns: map[int32]*Conn{}}, nil
}

// add has a connection watched.
func (w *watcher) add(c *Conn) bool {
	if unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, c.fd, interest(c)) != nil {
		return false
	}
	w.conns[int32(c.fd)] = c
	c.watched = true
	if !w.running {
		w.running = true
		_ = w.file.SetReadDeadline(time.Time{})
		go w.wait()
	}
	return true
}

// conn is the connection of a socket that has news; nil if it has ended since.
func (w *watcher) conn(fd int32) *Conn {
	w.engine.mu.Lock()
	defer w.engine.mu.Unlock()
	return w.conns[fd]
}

// room has a connection watched that has something to write.
func (w *watcher) room(c *Conn) {
	_ = unix.EpollCtl(w.fd, unix.EPOLL_CTL_MOD, c.fd, interest(c))
}

// interest is what a connection waits for, told once each time it comes.
func interest(c *Conn) *unix.EpollEvent {
	e := &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(c.fd)}
	if c.state == connecting || len(c.out) > 0 {
		e.Events |= unix.EPOLLOUT
	}
	return e
}

// forget ends the watching of a connection whose socket is about to be closed, which is
// what takes it out of epoll.
func (w *watcher) forget(c *Conn) {
	delete(w.conns, int32(c.fd))
}

// rest ends the goroutine, when nothing is watched.
func (w *watcher) rest() {
	if w.running && len(w.conns) == 0 {
		_ = w.file.SetReadDeadline(time.Unix(1, 0))
	}
}

// wait has a round made for each handful of events.
func (w *watcher) wait() {
	raw, err := w.file.SyscallConn()
	events := make([]unix.EpollEvent, eventsAtOnce)
	for {
		n := 0
		if err == nil {
			err = raw.Read(func(fd uintptr) bool {
				n, _ = unix.EpollWait(int(fd), events, 0)
				return n > 0
			})
		}
		if !w.take(events[:max(n, 0)], err) {
			return
		}
		err = nil
		if n > 0 {
			w.engine.round()
			// What comes soon after comes in one wake-up.
			time.Sleep(firstRound)
		}
	}
}

// take hands events to the next round, and says whether to go on.
func (w *watcher) take(events []unix.EpollEvent, err error) bool {
	w.engine.mu.Lock()
	defer w.engine.mu.Unlock()
	for i := range events {
		w.engine.ready = append(w.engine.ready, events[i].Fd)
	}
	switch {
	case err == nil:
		return true
	case os.IsTimeout(err) && len(w.conns) > 0:
		return w.file.SetReadDeadline(time.Time{}) == nil
	}
	w.running = false
	return false
}

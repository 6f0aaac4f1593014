package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// askTime is how long one who connects may take to ask.
	askTime = time.Second
	// confirmTime is how long the old process stands still for a confirmation.
	confirmTime = 300 * time.Millisecond
)

// Path of the socket in a runtime directory.
func Path(dir string) string { return filepath.Join(dir, "handover.sock") }

// maxPath is what a socket's address can hold.
const maxPath = 107

// bindable gives a name of the socket that is short enough to be used until done is
// called.
func bindable(dir string) (name string, done func(), err error) {
	if path := Path(dir); len(path) <= maxPath {
		return path, func() {}, nil
	}
	opened, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return Path(fmt.Sprintf("/proc/self/fd/%d", opened.Fd())), func() { opened.Close() }, nil
}

// Listener waits for a successor.
type Listener struct {
	listener *net.UnixListener
	asked    chan *Request
	done     chan struct{}
	once     sync.Once
}

// Request is a successor that has asked.
type Request struct{ conn net.Conn }

// Listen takes the place of whatever socket is at the path.
func Listen(dir string) (*Listener, error) {
	path := Path(dir)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the old hand-over socket: %w", err)
	}
	name, done, err := bindable(dir)
	if err != nil {
		return nil, fmt.Errorf("listen for a successor at %s: %w", path, err)
	}
	defer done()
	// The directory is closed to other users, and pass asks who they are.
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for a successor at %s: %w", path, err)
	}
	// The path is the successor's by the time this one closes.
	listener.SetUnlinkOnClose(false)
	l := &Listener{listener: listener, asked: make(chan *Request), done: make(chan struct{})}
	go l.serve()
	return l, nil
}

// Asked gives the successors that have asked; each must be answered.
func (l *Listener) Asked() <-chan *Request { return l.asked }

// Close stops listening.
func (l *Listener) Close() {
	l.once.Do(func() {
		close(l.done)
		l.listener.Close()
	})
}

func (l *Listener) serve() {
	for {
		conn, err := l.listener.AcceptUnix()
		if err != nil {
			select {
			case <-l.done:
				return
			case <-time.After(10 * time.Millisecond): // Out of descriptors, most likely.
			}
			continue
		}
		if !l.pass(conn) {
			conn.Close()
		}
	}
}

// pass passes a successor on once it has asked.
func (l *Listener) pass(conn *net.UnixConn) bool {
	if _, err := peer(conn); err != nil {
		return false
	}
	if err := conn.SetDeadline(time.Now().Add(askTime)); err != nil {
		return false
	}
	if _, err := read(conn, ask); err != nil {
		return false
	}
	select {
	case l.asked <- &Request{conn}:
		return true
	case <-l.done:
		return false
	}
}

// Give offers the state to the successor. The caller does nothing until it returns: if
// it returns nil, the caller must never act again; with an error it goes on.
func (q *Request) Give(state any) error {
	defer q.conn.Close()
	data, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	if err := q.conn.SetDeadline(time.Now().Add(confirmTime)); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	if err := write(q.conn, offer, data); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	if _, err := read(q.conn, confirm); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	// A successor that has gone in between does not get this, and does not act.
	if err := write(q.conn, released, nil); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	return nil
}

// Refuse lets the successor find another way.
func (q *Request) Refuse() { q.conn.Close() }

// peer makes sure that the other end is of our own user, and gives its process id.
func peer(conn *net.UnixConn) (pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, failed
	}
	if int(cred.Uid) != os.Geteuid() && cred.Uid != 0 {
		return 0, fmt.Errorf("the process %d at the other end is of user %d, not of ours", cred.Pid, cred.Uid)
	}
	return int(cred.Pid), nil
}

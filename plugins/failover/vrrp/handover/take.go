package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// offerTime is how long a predecessor may take to offer: its loop may be busy, at
	// worst with a successor that does not confirm.
	offerTime = 600 * time.Millisecond
	// releaseTime is how long it may take to answer a confirmation.
	releaseTime = 300 * time.Millisecond
	// deathTime is how long a process may take to die of SIGKILL.
	deathTime = time.Second
)

// ErrNobody says that there is no predecessor.
var ErrNobody = errors.New("no predecessor is alive")

// Predecessor is a process that runs the groups and has offered them. It stands still
// until Take, Evict, or the end of its patience.
type Predecessor struct {
	conn  *net.UnixConn
	state json.RawMessage
	pid   int
	// pidfd is that process whatever becomes of its id; -1: it is this process itself.
	pidfd int
}

// Ask asks the predecessor in a runtime directory for what it runs. The error is
// ErrNobody if there is none; after another one the predecessor is dead.
func Ask(dir string) (*Predecessor, error) {
	name, done, err := bindable(dir)
	if err != nil {
		return nil, fmt.Errorf("look for a predecessor at %s: %w", Path(dir), err)
	}
	defer done()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: name, Net: "unix"})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, ErrNobody
	}
	if err != nil {
		return nil, fmt.Errorf("look for a predecessor at %s: %w", Path(dir), err)
	}
	p := &Predecessor{conn: conn}
	if err := p.identify(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("find out who the predecessor is: %w", err)
	}
	if err = conn.SetDeadline(time.Now().Add(offerTime)); err == nil {
		if err = write(conn, ask, nil); err == nil {
			p.state, err = read(conn, offer)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask the predecessor: %w", err), p.Evict())
	}
	return p, nil
}

// State decodes what the predecessor has offered.
func (p *Predecessor) State(into any) error {
	if err := json.Unmarshal(p.state, into); err != nil {
		return fmt.Errorf("read the predecessor's state: %w", err)
	}
	return nil
}

// Take takes the offer. If it returns nil, the predecessor never acts again and the
// caller does; after an error the predecessor is dead and what it offered is stale.
func (p *Predecessor) Take() error {
	err := p.conn.SetDeadline(time.Now().Add(releaseTime))
	if err == nil {
		if err = write(p.conn, confirm, nil); err == nil {
			_, err = read(p.conn, released)
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("take over from the predecessor: %w", err), p.Evict())
	}
	p.close()
	return nil
}

// identify finds the process at the other end while it is there.
func (p *Predecessor) identify() (err error) {
	if p.pid, err = peer(p.conn); err != nil {
		return err
	}
	p.pidfd = -1
	if p.pid != os.Getpid() {
		p.pidfd, err = unix.PidfdOpen(p.pid, 0)
	}
	return err
}

func (p *Predecessor) close() {
	p.conn.Close()
	if p.pidfd >= 0 {
		unix.Close(p.pidfd)
	}
}

// Evict makes sure that the predecessor is dead: one that does not answer may wake up
// at any time and would be a second master.
func (p *Predecessor) Evict() error {
	defer p.close()
	if p.pidfd < 0 {
		return nil
	}
	if err := unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill the predecessor, process %d, which does not answer: %w", p.pid, err)
	}
	poll := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
	deadline := time.Now().Add(deathTime)
	for {
		n, err := unix.Poll(poll, int(max(0, time.Until(deadline).Milliseconds())))
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			return fmt.Errorf("wait for the death of the predecessor, process %d: %w", p.pid, errors.Join(err, os.ErrDeadlineExceeded))
		}
	}
}

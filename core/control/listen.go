package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// SocketName is the socket in the runtime directory.
	SocketName = "control.sock"
	// lockName is the file that a daemon holds locked while it uses the directory.
	lockName = "poised.lock"
	// maxSocketPath is what fits a unix socket's address (107 bytes), less what the name
	// that the socket is made with is longer.
	maxSocketPath = 104
)

// Listen takes the runtime directory for this daemon, makes it if it is not there, and
// opens the control socket in it. A socket that a dead daemon left is replaced; while
// another daemon uses the directory Listen fails, and names its process. Closing the
// listener removes the socket and frees the directory.
func Listen(runtimeDir string) (net.Listener, error) {
	path := filepath.Join(runtimeDir, SocketName)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("control socket %s: the path is longer than %d bytes: choose a shorter --runtime-dir", path, maxSocketPath)
	}
	if err := os.MkdirAll(runtimeDir, 0o755); err != nil {
		return nil, fmt.Errorf("make the runtime directory: %w", err)
	}
	lock, err := lockDir(runtimeDir)
	if err != nil {
		return nil, err
	}
	// The lock is enough unless somebody removed its file under a running daemon.
	if pid, ok := answers(path); ok {
		lock.Close()
		return nil, inUse(runtimeDir, pid)
	}
	l, err := listenPrivate(runtimeDir, path)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	return &listener{UnixListener: l, path: path, lock: lock}, nil
}

func inUse(runtimeDir, pid string) error {
	return fmt.Errorf("runtime directory %s is in use by poised, process %s: stop it, or give this one another --runtime-dir", runtimeDir, pid)
}

// lockDir takes the lock that tells daemons apart; the kernel frees it when its holder
// dies in whatever way.
func lockDir(runtimeDir string) (*os.File, error) {
	path := filepath.Join(runtimeDir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the runtime directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		holder := make([]byte, 32)
		n, _ := f.Read(holder)
		return nil, inUse(runtimeDir, strings.TrimSpace(string(holder[:n])))
	}
	if err = f.Truncate(0); err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return f, nil
}

// answers says whether somebody listens on the socket, and which process.
func answers(path string) (pid string, ok bool) {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return "", false
	}
	defer conn.Close()
	pid = "unknown"
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return pid, true
	}
	_ = raw.Control(func(fd uintptr) {
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = fmt.Sprint(peer.Pid)
		}
	})
	return pid, true
}

// listenPrivate makes the socket where nobody else can reach it and moves it to its
// place when only its owner can open it.
func listenPrivate(runtimeDir, path string) (*net.UnixListener, error) {
	private, err := os.MkdirTemp(runtimeDir, ".c")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	first := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: first, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(first, 0o600); err == nil {
		err = os.Rename(first, path)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

type listener struct {
	*net.UnixListener
	path string
	lock *os.File
	once sync.Once
}

// Addr is where operators find the socket, not where it was made.
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Close removes the socket before the lock is freed, so that it is never another
// daemon's.
func (l *listener) Close() error {
	err := l.UnixListener.Close()
	l.once.Do(func() {
		os.Remove(l.path)
		l.lock.Close()
	})
	return err
}

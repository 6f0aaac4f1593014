package tcp

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

// connect makes a connection and gives it up. It uses the socket calls directly: a
// net.Dialer makes twice as many of them.
func connect(ctx context.Context, t sdk.Target) error {
	family := unix.AF_INET
	if t.Addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return dial.Local(fmt.Errorf("socket: %w", err))
	}
	to, err := prepare(fd, family, t)
	if err != nil {
		unix.Close(fd)
		return err
	}
	switch err := unix.Connect(fd, to); err {
	case unix.EINPROGRESS, unix.EINTR:
	case nil:
		unix.Close(fd)
		return nil
	default:
		unix.Close(fd)
		return fmt.Errorf("connect: %w", err)
	}
	return wait(ctx, fd)
}

// prepare sets up the socket as the target asks, and gives the address to connect to.
func prepare(fd, family int, t sdk.Target) (unix.Sockaddr, error) {
	// See the package's comment: no TIME_WAIT here, no connection there.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return nil, dial.Local(fmt.Errorf("socket: reset at close: %w", err))
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0); err != nil {
		return nil, dial.Local(fmt.Errorf("socket: late acknowledgement: %w", err))
	}
	if err := dial.Prepare(fd, t); err != nil {
		return nil, err
	}
	zone, err := dial.Scope(t.Addr.Addr(), t.Interface)
	if err != nil {
		return nil, err
	}
	if source := t.Source; source.IsValid() || source.Port() != 0 {
		var from unix.Sockaddr
		if family == unix.AF_INET {
			in := &unix.SockaddrInet4{Port: int(source.Port())}
			if source.Addr().IsValid() {
				in.Addr = source.Addr().As4()
			}
			from = in
		} else {
			in := &unix.SockaddrInet6{Port: int(source.Port())}
			if source.Addr().IsValid() {
				in.Addr = source.Addr().As16()
				if source.Addr().IsLinkLocalUnicast() {
					in.ZoneId = zone
				}
			}
			from = in
		}
		if err := unix.Bind(fd, from); err != nil {
			return nil, dial.Local(fmt.Errorf("bind to %s: %w", sourceText(source.Addr().IsValid(), source.String(), source.Port()), err))
		}
	}
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(t.Addr.Port()), Addr: t.Addr.Addr().As4()}, nil
	}
	return &unix.SockaddrInet6{Port: int(t.Addr.Port()), Addr: t.Addr.Addr().As16(), ZoneId: zone}, nil
}

func sourceText(hasAddress bool, source string, port uint16) string {
	if hasAddress {
		return source
	}
	return fmt.Sprintf("port %d", port)
}

// wait waits for a connection to complete, and closes the socket.
func wait(ctx context.Context, fd int) error {
	// A connection within this machine has completed by now more often than not, and
	// need not be made known to the poller.
	if ended, err := outcome(fd); ended {
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		return nil
	}
	// The runtime's poller does the waiting, and parks nothing but a goroutine.
	file := os.NewFile(uintptr(fd), "probe")
	defer file.Close()
	// A context that ends, at the deadline or before, ends the wait.
	defer context.AfterFunc(ctx, func() { _ = file.SetDeadline(time.Unix(1, 0)) })()
	raw, err := file.SyscallConn()
	if err != nil {
		return dial.Local(fmt.Errorf("wait for the connection: %w", err))
	}
	var result error
	err = raw.Write(func(fd uintptr) bool {
		ended, err := outcome(int(fd))
		result = err
		return ended
	})
	if os.IsTimeout(err) {
		// What came while this process was not running counts.
		if ended, err := outcome(fd); ended && err == nil {
			return nil
		}
		return ctx.Err()
	}
	if err != nil {
		return dial.Local(fmt.Errorf("wait for the connection: %w", err))
	}
	if result != nil {
		return fmt.Errorf("connect: %w", result)
	}
	return nil
}

// outcome says whether a connect has ended, and how.
func outcome(fd int) (ended bool, err error) {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n := 0
	for n, err = unix.Poll(poll, 0); err == unix.EINTR; n, err = unix.Poll(poll, 0) {
	}
	if err != nil {
		return true, err
	}
	if n == 0 {
		return false, nil
	}
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return true, err
	}
	if code != 0 {
		return true, syscall.Errno(code)
	}
	return true, nil
}

package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	"golang.org/x/sys/unix"
)

// The server and the client are one loop around poll(2) each, on one thread: in
// user-mode Linux every system call and every switch of threads is dear, and a hundred
// requests a second shall leave the processor to the daemons.

// newSocket makes a TCP socket that does not block.
func newSocket() (int, error) {
	return unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

func sockaddr(address string) (*unix.SockaddrInet4, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !a.Addr().Is4() {
		return nil, fmt.Errorf("%q is no IPv4 address and port", address)
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
}

// serve answers each read with the server's name.
func serve(name, address string) error {
	runtime.LockOSThread()
	at, err := sockaddr(address)
	if err != nil {
		return err
	}
	fd, err := newSocket()
	if err != nil {
		return err
	}
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, at), unix.Listen(fd, 512)); err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	fmt.Println("ready")
	answer, buf := []byte(name+"\n"), make([]byte, 512)
	polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(polled, -1); err != nil {
			continue // interrupted
		}
		for i := len(polled) - 1; i > 0; i-- {
			if polled[i].Revents == 0 {
				continue
			}
			n, err := unix.Read(int(polled[i].Fd), buf)
			if n > 0 && err == nil {
				_, err = unix.Write(int(polled[i].Fd), answer)
			}
			if n == 0 || err != nil {
				_ = unix.Close(int(polled[i].Fd))
				polled[i] = polled[len(polled)-1]
				polled = polled[:len(polled)-1]
			}
		}
		for polled[0].Revents != 0 {
			conn, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err != nil {
				break
			}
			polled = append(polled, unix.PollFd{Fd: int32(conn), Events: unix.POLLIN})
		}
	}
}

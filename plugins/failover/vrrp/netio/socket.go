package netio

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/plugins/failover/vrrp/packet"
)

// maxPacket holds every advert: 20 bytes of IPv4 header without options, 8 of VRRP's,
// 255 addresses, 8 of authentication, and room for options.
const maxPacket = 2048

// Packet is an IPv4 packet that came in on an interface.
type Packet struct {
	Index int
	Data  []byte
}

// Socket sends and receives adverts on one interface.
type Socket struct {
	index int
	fd    int
	file  *os.File
	done  chan struct{}
	buf   [maxPacket]byte
}

// Listen opens a socket on an interface and feeds what comes in to packets until Close.
func Listen(index int, name string, packets chan<- Packet) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, packet.Protocol)
	if err != nil {
		return nil, fmt.Errorf("open a raw socket for VRRP (it needs CAP_NET_RAW): %w", err)
	}
	if err := setUp(fd, index, name); err != nil {
		unix.Close(fd)
		return nil, err
	}
	s := &Socket{index: index, fd: fd, file: os.NewFile(uintptr(fd), "vrrp "+name), done: make(chan struct{})}
	conn, err := s.file.SyscallConn()
	if err != nil {
		s.file.Close()
		return nil, fmt.Errorf("watch the raw socket on %s: %w", name, err)
	}
	go s.receive(conn.Read, packets)
	return s, nil
}

func setUp(fd, index int, name string) error {
	member := &unix.IPMreqn{Multiaddr: packet.Group.As4(), Ifindex: int32(index)}
	steps := []struct {
		what string
		err  error
	}{
		{"bind to the interface", unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name)},
		{"write own IP headers", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_HDRINCL, 1)},
		{"send multicasts there", unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, member)},
		{"not hear itself", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0)},
		{"join " + packet.Group.String(), unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, member)},
	}
	for _, step := range steps {
		if step.err != nil {
			return fmt.Errorf("raw socket on %s: %s: %w", name, step.what, step.err)
		}
	}
	// What the network control class gains is not worth failing for.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 6)
	return nil
}

func (s *Socket) receive(read func(func(uintptr) bool) error, packets chan<- Packet) {
	buf := make([]byte, maxPacket)
	for {
		var n int
		var failed error
		err := read(func(fd uintptr) bool {
			n, _, failed = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			return !errors.Is(failed, unix.EAGAIN)
		})
		switch {
		case err != nil:
			return // Closed.
		case errors.Is(failed, unix.EINTR):
			continue
		case failed != nil:
			// The interface went away or down; whoever watches links closes the socket.
			select {
			case <-s.done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		select {
		case packets <- Packet{s.index, append([]byte(nil), buf[:n]...)}:
		case <-s.done:
			return
		}
	}
}

// Drain hands what waits in the socket to take, at most limit packets, without waiting.
// A packet that Listen's goroutine holds already may be delivered after it.
func (s *Socket) Drain(limit int, take func(Packet)) {
	for range limit {
		n, _, err := unix.Recvfrom(s.fd, s.buf[:], unix.MSG_DONTWAIT)
		if err != nil {
			return
		}
		take(Packet{s.index, s.buf[:n]})
	}
}

// Send sends an IPv4 packet to all VRRP routers on the interface.
func (s *Socket) Send(datagram []byte) error {
	return unix.Sendto(s.fd, datagram, unix.MSG_DONTWAIT, &unix.SockaddrInet4{Addr: packet.Group.As4()})
}

// Close ends the socket and its goroutine.
func (s *Socket) Close() {
	close(s.done)
	s.file.Close()
}

package speaker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// Ports of RFC 5881 and RFC 5883.
	singleHopPort = 3784
	multihopPort  = 4784
	// Source ports (RFC 5881, section 4).
	firstSource, lastSource = 49152, 65535
	// trafficClass is CS6, network control.
	trafficClass = 0xc0
)

// arrival is a packet and how it came.
type arrival struct {
	data []byte
	from netip.Addr
	// to is the local address, device the interface's index; ttl -1: not known.
	to     netip.Addr
	device int
	ttl    int
}

// listener is the socket of one port and family.
type listener struct {
	file *os.File
	raw  syscall.RawConn
	v6   bool
}

func family(v6 bool) int {
	if v6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func listen(port int, v6 bool) (*listener, error) {
	fd, err := unix.Socket(family(v6), unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	set := func(level, option int) {
		if err == nil {
			err = unix.SetsockoptInt(fd, level, option, 1)
		}
	}
	var to unix.Sockaddr
	if v6 {
		set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		set(unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT)
		set(unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO)
		to = &unix.SockaddrInet6{Port: port}
	} else {
		set(unix.IPPROTO_IP, unix.IP_RECVTTL)
		set(unix.IPPROTO_IP, unix.IP_PKTINFO)
		to = &unix.SockaddrInet4{Port: port}
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set up the socket: %w", err)
	}
	if err := unix.Bind(fd, to); err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Errorf("listen on UDP port %d: %w: another BFD daemon runs here", port, err)
		}
		return nil, fmt.Errorf("listen on UDP port %d: %w", port, err)
	}
	l := &listener{file: os.NewFile(uintptr(fd), "bfd"), v6: v6}
	if l.raw, err = l.file.SyscallConn(); err != nil {
		l.file.Close()
		return nil, fmt.Errorf("socket: %w", err)
	}
	return l, nil
}

// receive takes one packet that is waiting; false: there is none.
func (l *listener) receive(fd int, buffer, control []byte) (arrival, bool) {
	for {
		n, controls, _, from, err := unix.Recvmsg(fd, buffer, control, 0)
		switch {
		case errors.Is(err, unix.EINTR), err == nil && from == nil:
			continue
		case err != nil:
			return arrival{}, false
		}
		a := arrival{data: buffer[:n], from: address(from), ttl: -1}
		messages, err := unix.ParseSocketControlMessage(control[:controls])
		if err != nil {
			continue
		}
		for _, m := range messages {
			a.read(m)
		}
		return a, true
	}
}

func (a *arrival) read(m unix.SocketControlMessage) {
	switch [2]int32{m.Header.Level, m.Header.Type} {
	case [2]int32{unix.IPPROTO_IP, unix.IP_TTL}, [2]int32{unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT}:
		if len(m.Data) >= 4 {
			a.ttl = int(native.Uint32(m.Data))
		}
	case [2]int32{unix.IPPROTO_IP, unix.IP_PKTINFO}:
		// struct in_pktinfo: interface, local address, destination in the header.
		if len(m.Data) >= 12 {
			a.device = int(native.Uint32(m.Data))
			a.to = netip.AddrFrom4([4]byte(m.Data[8:12]))
		}
	case [2]int32{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO}:
		if len(m.Data) >= 20 {
			a.to = netip.AddrFrom16([16]byte(m.Data[:16]))
			a.device = int(native.Uint32(m.Data[16:]))
		}
	}
}

func address(s unix.Sockaddr) netip.Addr {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(s.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(s.Addr)
	}
	return netip.Addr{}
}

// sender is the socket that one session sends from.
type sender struct {
	fd int
	to unix.Sockaddr
	// device is the index of the session's interface, 0 without.
	device int
}

// newSender makes the socket of a peer. Its errors are this machine's.
func newSender(p Peer) (*sender, error) {
	v6 := p.Neighbor.Is6()
	s := &sender{}
	if p.Interface != "" {
		i, err := net.InterfaceByName(p.Interface)
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", p.Interface, err)
		}
		s.device = i.Index
	}
	fd, err := unix.Socket(family(v6), unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	s.fd = fd
	if err := s.prepare(p, v6); err != nil {
		unix.Close(fd)
		return nil, err
	}
	port := singleHopPort
	if p.Multihop {
		port = multihopPort
	}
	if v6 {
		s.to = &unix.SockaddrInet6{Port: port, Addr: p.Neighbor.As16(), ZoneId: s.zone(p.Neighbor)}
	} else {
		s.to = &unix.SockaddrInet4{Port: port, Addr: p.Neighbor.As4()}
	}
	return s, nil
}

// zone of an address: link-local ones need the interface.
func (s *sender) zone(a netip.Addr) uint32 {
	if a.IsLinkLocalUnicast() {
		return uint32(s.device)
	}
	return 0
}

func (s *sender) prepare(p Peer, v6 bool) error {
	if p.Interface != "" {
		if err := unix.BindToDevice(s.fd, p.Interface); err != nil {
			return fmt.Errorf("bind to interface %s: %w", p.Interface, err)
		}
	}
	if p.FWMark != 0 {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_MARK, int(p.FWMark)); err != nil {
			return fmt.Errorf("set firewall mark %d (takes CAP_NET_ADMIN): %w", p.FWMark, err)
		}
	}
	level, ttl, class := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_TOS
	if v6 {
		level, ttl, class = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_TCLASS
	}
	if err := unix.SetsockoptInt(s.fd, level, ttl, p.TTL); err != nil {
		return fmt.Errorf("set TTL %d: %w", p.TTL, err)
	}
	_ = unix.SetsockoptInt(s.fd, level, class, trafficClass)
	ports := lastSource - firstSource + 1
	first := rand.IntN(ports)
	for i := range ports {
		port := firstSource + (first+i)%ports
		var from unix.Sockaddr
		if v6 {
			in := &unix.SockaddrInet6{Port: port}
			if p.Source.IsValid() {
				in.Addr, in.ZoneId = p.Source.As16(), s.zone(p.Source)
			}
			from = in
		} else {
			in := &unix.SockaddrInet4{Port: port}
			if p.Source.IsValid() {
				in.Addr = p.Source.As4()
			}
			from = in
		}
		err := unix.Bind(s.fd, from)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("bind to %s port %d: %w", p.Source, port, err)
		}
	}
	return fmt.Errorf("bind: no source port from %d to %d is free", firstSource, lastSource)
}

func (s *sender) send(b []byte) error {
	for {
		err := unix.Sendto(s.fd, b, 0, s.to)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (s *sender) close() { unix.Close(s.fd) }

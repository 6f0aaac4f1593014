package dial

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
)

// TCP connects to the target. The connection has the context's deadline; closing it
// sends what is left and then a FIN. From a source port of its own it is reset instead:
// else the next probe could not have the port for a minute.
func TCP(ctx context.Context, t sdk.Target) (*net.TCPConn, error) {
	conn, err := dial(ctx, "tcp", t)
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	if t.Source.Port() != 0 {
		if err := tcp.SetLinger(0); err != nil {
			tcp.Close()
			return nil, localError{fmt.Errorf("have the connection end with a reset: %w", err)}
		}
	}
	return tcp, nil
}

// UDP gives a socket that is connected to the target, so that an ICMP error of it is an
// error of the next read or write. It has the context's deadline.
func UDP(ctx context.Context, t sdk.Target) (*net.UDPConn, error) {
	conn, err := dial(ctx, "udp", t)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

func dial(ctx context.Context, network string, t sdk.Target) (net.Conn, error) {
	addr, err := Address(t)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{
		KeepAlive: -1, FallbackDelay: -1,
		Control: func(_, _ string, c syscall.RawConn) error {
			var prepared error
			if err := c.Control(func(fd uintptr) { prepared = Prepare(int(fd), t) }); err != nil {
				return localError{fmt.Errorf("socket: %w", err)}
			}
			return prepared
		},
	}
	if source := t.Source; source.IsValid() || source.Port() != 0 {
		from := source.Addr()
		if from.IsValid() && from.IsLinkLocalUnicast() && from.Zone() == "" {
			from = from.WithZone(addr.Addr().Zone())
		}
		local := netip.AddrPortFrom(from, source.Port())
		switch {
		case !from.IsValid() && network == "tcp":
			d.LocalAddr = &net.TCPAddr{Port: int(source.Port())}
		case !from.IsValid():
			d.LocalAddr = &net.UDPAddr{Port: int(source.Port())}
		case network == "tcp":
			d.LocalAddr = net.TCPAddrFromAddrPort(local)
		default:
			d.LocalAddr = net.UDPAddrFromAddrPort(local)
		}
	}
	conn, err := d.DialContext(ctx, network, addr.String())
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			conn.Close()
			return nil, localError{fmt.Errorf("set the deadline: %w", err)}
		}
	}
	return conn, nil
}

// Address is the target's address, a link-local one with its interface as zone.
func Address(t sdk.Target) (netip.AddrPort, error) {
	addr := t.Addr.Addr()
	if !addr.IsValid() {
		return netip.AddrPort{}, localError{fmt.Errorf("there is no address to connect to")}
	}
	if addr.Is6() && addr.IsLinkLocalUnicast() && addr.Zone() == "" && t.Interface != "" {
		addr = addr.WithZone(t.Interface)
	}
	return netip.AddrPortFrom(addr, t.Addr.Port()), nil
}

// Prepare sets interface, firewall mark and the late choice of a port on a socket that
// is not bound yet. Its errors are this machine's.
func Prepare(fd int, t sdk.Target) error {
	if t.Interface != "" {
		if err := unix.BindToDevice(fd, t.Interface); err != nil {
			return localError{fmt.Errorf("bind to interface %s: %w", t.Interface, err)}
		}
	}
	if t.FWMark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(t.FWMark)); err != nil {
			return localError{fmt.Errorf("set firewall mark %d (takes CAP_NET_ADMIN): %w", t.FWMark, err)}
		}
	}
	if t.Source.IsValid() && t.Source.Port() == 0 {
		// The port is chosen at connect, so that one source address can have as many
		// probes to different targets as there are ports for each.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return localError{fmt.Errorf("bind to %s: leave the port open: %w", t.Source.Addr(), err)}
		}
	}
	return nil
}

// Scope gives the index of a link-local address's interface: its zone, by name or
// number, else the interface to probe through; 0 for neither.
func Scope(addr netip.Addr, through string) (uint32, error) {
	zone := addr.Zone()
	if zone == "" {
		zone = through
	}
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, localError{fmt.Errorf("interface %s: %w", zone, err)}
	}
	return uint32(i.Index), nil
}

// allowed is the time a probe had, for messages: the same each time, if it is known.
func allowed(ctx context.Context, t sdk.Target, start time.Time) time.Duration {
	if t.Timeout > 0 {
		return t.Timeout
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(0, deadline.Sub(start)).Round(time.Millisecond)
}

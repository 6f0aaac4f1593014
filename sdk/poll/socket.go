package poll

import (
	"fmt"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk/dial"
)

// address is a socket's address as the kernel takes it, made once for a connection.
type address struct {
	raw  unix.RawSockaddrInet6
	size uintptr
}

// makeAddress gives the kernel's form; an address that is not valid is the family's any.
func makeAddress(family int, addr netip.Addr, port uint16, zone uint32) address {
	var a address
	order := [2]byte{byte(port >> 8), byte(port)}
	if family == unix.AF_INET {
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&a.raw))
		in.Family, in.Port = unix.AF_INET, *(*uint16)(unsafe.Pointer(&order))
		if addr.IsValid() {
			in.Addr = addr.As4()
		}
		a.size = unix.SizeofSockaddrInet4
		return a
	}
	a.raw.Family, a.raw.Port, a.raw.Scope_id = unix.AF_INET6, *(*uint16)(unsafe.Pointer(&order)), zone
	if addr.IsValid() {
		a.raw.Addr = addr.As16()
	}
	a.size = unix.SizeofSockaddrInet6
	return a
}

// begin makes the socket and begins to connect. What it gives is for the first round to
// tell the handler.
func (c *Conn) begin(quiet bool) error {
	t := &c.target
	addr := t.Addr.Addr()
	if !addr.IsValid() {
		return dial.Local(fmt.Errorf("there is no address to connect to"))
	}
	family := unix.AF_INET
	if addr.Is6() {
		family = unix.AF_INET6
	}
	c.kind = kind(family, quiet)
	c.plain = t.Interface == "" && t.FWMark == 0 && !t.Source.Addr().IsValid() && t.Source.Port() == 0 &&
		!(addr.Is6() && addr.IsLinkLocalUnicast())
	if c.plain {
		c.to = makeAddress(family, addr, t.Addr.Port(), 0)
		c.fd = c.engine.pooled(c.kind)
	}
	if c.fd < 0 {
		if err := c.make(family, quiet); err != nil {
			return err
		}
	}
	switch errno := connect(c.fd, &c.to); errno {
	case 0, unix.EINPROGRESS, unix.EINTR:
		return nil
	default:
		return errno
	}
}

// make makes the socket.
func (c *Conn) make(family int, quiet bool) error {
	fd, errno := socket(family)
	if (errno == unix.EMFILE || errno == unix.ENFILE) && c.engine.emptyPool() {
		fd, errno = socket(family)
	}
	if errno != 0 {
		return dial.Local(fmt.Errorf("socket: %w", errno))
	}
	c.fd = fd
	if err := c.prepare(family, quiet); err != nil {
		closeSocket(fd)
		c.fd = -1
		return err
	}
	return nil
}

// prepare sets up the socket as the target asks.
func (c *Conn) prepare(family int, quiet bool) error {
	t := &c.target
	if quiet {
		if errno := lateAcknowledgement(c.fd); errno != 0 {
			return dial.Local(fmt.Errorf("socket: late acknowledgement: %w", errno))
		}
	}
	if c.plain {
		return nil
	}
	if err := dial.Prepare(c.fd, *t); err != nil {
		return err
	}
	zone := uint32(0)
	if t.Addr.Addr().Is6() && t.Addr.Addr().IsLinkLocalUnicast() {
		var err error
		if zone, err = dial.Scope(t.Addr.Addr(), t.Interface); err != nil {
			return err
		}
	}
	c.to = makeAddress(family, t.Addr.Addr(), t.Addr.Port(), zone)
	source := t.Source
	if !source.Addr().IsValid() && source.Port() == 0 {
		return nil
	}
	from := makeAddress(family, source.Addr(), source.Port(), 0)
	if source.Addr().IsValid() && source.Addr().Is6() && source.Addr().IsLinkLocalUnicast() {
		from.raw.Scope_id = zone
	}
	if errno := bind(c.fd, &from); errno != 0 {
		text := source.String()
		if !source.Addr().IsValid() {
			text = "port " + strconv.Itoa(int(source.Port()))
		}
		return dial.Local(fmt.Errorf("bind to %s: %w", text, errno))
	}
	return nil
}

// connected says whether a connection has completed: to connect once more tells, in one
// call, and changes nothing of a connection that is on its way.
func connected(fd int, to *address) (bool, error) {
	switch errno := connect(fd, to); errno {
	case 0, unix.EISCONN:
		return true, nil
	case unix.EALREADY, unix.EINPROGRESS, unix.EINTR:
		return false, nil
	default:
		return false, errno
	}
}

// The calls below do not block, so the runtime need not be told of them: being told costs
// wake-ups of the thread that watches over calls that last.

func socket(family int) (int, unix.Errno) {
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	return int(fd), errno
}

func connect(fd int, to *address) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&to.raw)), to.size)
	return errno
}

func bind(fd int, from *address) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&from.raw)), from.size)
	return errno
}

func setOption(fd, level, name int, value unsafe.Pointer, size uintptr) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(value), size, 0)
	return errno
}

// lateAcknowledgement has the last packet of the handshake held back, of every connection
// that the socket makes.
func lateAcknowledgement(fd int) unix.Errno {
	on := int32(1)
	return setOption(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, unsafe.Pointer(&on), unsafe.Sizeof(on))
}

// disconnect resets a socket's connection and leaves the socket.
func disconnect(fd int) unix.Errno {
	a := address{size: unix.SizeofSockaddrInet4}
	a.raw.Family = unix.AF_UNSPEC
	return connect(fd, &a)
}

// resetAtClose has close send a reset.
func resetAtClose(fd int) unix.Errno {
	linger := unix.Linger{Onoff: 1}
	return setOption(fd, unix.SOL_SOCKET, unix.SO_LINGER, unsafe.Pointer(&linger), unsafe.Sizeof(linger))
}

func closeSocket(fd int) { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func read(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), errno
}

func write(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), errno
}

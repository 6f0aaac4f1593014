package ping

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// privileged skips a test that takes rights this user does not have.
func privileged(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
		t.Skipf("takes root's rights: %s", err)
	}
	t.Fatal(err)
}

// enter gives the test a network namespace of its own, with a loopback. Sockets of this
// goroutine are in it.
func enter(t testing.TB) {
	t.Helper()
	// The thread is not let go, and ends with the goroutine.
	runtime.LockOSThread()
	privileged(t, unix.Unshare(unix.CLONE_NEWNET))
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	privileged(t, err)
}

// respond takes the kernel's place: it answers each echo request with the packets that a
// function makes of it. They are sent from the address that the request went to.
func respond(t testing.TB, six bool, answer func(request []byte, from, to net.IP) [][]byte) {
	t.Helper()
	network, sysctl, kind := "ip4:icmp", "/proc/sys/net/ipv4/icmp_echo_ignore_all", byte(ipv4.ICMPTypeEcho)
	if six {
		network, sysctl, kind = "ip6:ipv6-icmp", "/proc/sys/net/ipv6/icmp/echo_ignore_all", byte(ipv6.ICMPTypeEchoRequest)
	}
	if err := os.WriteFile(sysctl, []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenIP(network, nil)
	privileged(t, err)
	t.Cleanup(func() { conn.Close() })
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if six {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	go func() {
		buf, control := make([]byte, 4096), make([]byte, 256)
		for {
			n, nc, _, from, err := conn.ReadMsgIP(buf, control)
			if err != nil {
				return
			}
			b, to := buf[:n], net.IP(nil)
			if six {
				var m ipv6.ControlMessage
				_ = m.Parse(control[:nc])
				to = m.Dst
			} else {
				var m ipv4.ControlMessage
				_ = m.Parse(control[:nc])
				to = m.Dst
				if len(b) > 20 && b[0]>>4 == 4 {
					b = b[20:]
				}
			}
			if len(b) < headerSize || b[0] != kind {
				continue
			}
			for _, a := range answer(append([]byte{}, b...), from.IP, to) {
				_, _, _ = conn.WriteMsgIP(sum(six, a), source(six, to), from)
			}
		}
	}()
}

func source(six bool, from net.IP) []byte {
	if six {
		return (&ipv6.ControlMessage{Src: from}).Marshal()
	}
	return (&ipv4.ControlMessage{Src: from}).Marshal()
}

// sum puts the checksum into a message; for IPv6 the kernel does.
func sum(six bool, b []byte) []byte {
	if six || len(b) < 4 {
		return b
	}
	b[2], b[3] = 0, 0
	var s uint32
	for i := 0; i < len(b); i += 2 {
		if i+1 < len(b) {
			s += uint32(binary.BigEndian.Uint16(b[i:]))
		} else {
			s += uint32(b[i]) << 8
		}
	}
	for s>>16 > 0 {
		s = s&0xffff + s>>16
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(s))
	return b
}

// echo makes the right reply.
func echo(request []byte) []byte {
	b := append([]byte{}, request...)
	b[0] = byte(ipv4.ICMPTypeEchoReply)
	if request[0] == byte(ipv6.ICMPTypeEchoRequest) {
		b[0] = byte(ipv6.ICMPTypeEchoReply)
	}
	return b
}

// unreachable makes an ICMP error about a request.
func unreachable(request []byte, code int, from, to net.IP) []byte {
	var inner []byte
	m := icmp.Message{Code: code}
	if to.To4() != nil {
		m.Type = ipv4.ICMPTypeDestinationUnreachable
		inner, _ = (&ipv4.Header{Version: 4, Len: 20, TotalLen: 20 + len(request), TTL: 64, Protocol: protoICMP, Src: from, Dst: to}).Marshal()
	} else {
		m.Type = ipv6.ICMPTypeDestinationUnreachable
		inner = append([]byte{0x60, 0, 0, 0, 0, byte(len(request)), protoICMP6, 64}, from.To16()...)
		inner = append(inner, to.To16()...)
	}
	m.Body = &icmp.DstUnreach{Data: append(inner, request...)}
	b, _ := m.Marshal(nil)
	return b
}

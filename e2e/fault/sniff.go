package fault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// packet is what the server asks of what arrives: where it goes, and what it is.
type packet struct {
	key  key
	from uint16
	// syn starts a connection; over ends one: RST or FIN.
	syn, over bool
	seq       uint32
}

// key is a port as packets name it. For echo requests the port is the version of IP.
type key struct {
	protocol uint8
	port     uint16
}

const (
	ignoreOutgoing = 23 // PACKET_IGNORE_OUTGOING
	headLength     = 96

	fin, syn, rst, ack = 1, 2, 4, 16
)

// interesting lets in what parse counts, cut to its headers: of TCP only what starts or
// ends a connection, so that data does not wake the server up.
var interesting = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 0},
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xf0},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x60, Jt: 5},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_TCP, Jf: 8},
	{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: 13},
	{Code: unix.BPF_JMP | unix.BPF_JA, K: 3},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 6},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_TCP, Jf: 3},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 40 + 13},
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: fin | syn | rst, Jt: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: headLength},
}

// listenRaw hears all that comes in on an interface.
func listenRaw(device string) (int, error) {
	i, err := net.InterfaceByName(device)
	if err != nil {
		return 0, err
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("listen on %s: %w", device, err)
	}
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program(interesting)),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, ignoreOutgoing, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index}))
	if err != nil {
		_ = unix.Close(fd)
		return 0, fmt.Errorf("listen on %s: %w", device, err)
	}
	return fd, nil
}

// arrival is when the kernel had a packet: on a busy machine the server sees it later.
func arrival(control []byte) time.Time {
	list, err := unix.ParseSocketControlMessage(control)
	if err == nil {
		for _, m := range list {
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
				return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
			}
		}
	}
	return time.Now()
}

func program(filter []unix.SockFilter) *unix.SockFprog {
	return &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
}

// parse reads a packet from its IP header on; false: it is none that counts.
func parse(b []byte) (packet, bool) {
	if len(b) < 20 {
		return packet{}, false
	}
	version := uint16(b[0] >> 4)
	var protocol uint8
	switch header := int(b[0]&0xf) * 4; {
	case version == 4 && header >= 20 && len(b) >= header:
		protocol, b = b[9], b[header:]
	case version == 6 && len(b) >= 40:
		protocol, b = b[6], b[40:]
	default:
		return packet{}, false
	}
	if len(b) < 8 {
		return packet{}, false
	}
	p := packet{key: key{protocol, binary.BigEndian.Uint16(b[2:])}, from: binary.BigEndian.Uint16(b)}
	switch protocol {
	case unix.IPPROTO_TCP:
		if len(b) < 20 {
			return packet{}, false
		}
		p.seq = binary.BigEndian.Uint32(b[4:])
		p.syn, p.over = b[13]&(syn|ack) == syn, b[13]&(fin|rst) != 0
		return p, p.syn || p.over
	case unix.IPPROTO_UDP:
		return p, true
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		const echo, echo6 = 8, 128
		request := protocol == unix.IPPROTO_ICMP && b[0] == echo || protocol == unix.IPPROTO_ICMPV6 && b[0] == echo6
		return packet{key: key{unix.IPPROTO_ICMP, version}}, request
	}
	return packet{}, false
}

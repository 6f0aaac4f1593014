package netio

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

var (
	broadcastMAC = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	// allNodes and allNodesMAC are IPv6's ff02::1.
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = [6]byte{0x33, 0x33, 0, 0, 0, 1}
)

// Announcer tells the neighbours on a link whose an address is.
type Announcer struct{ fd int }

// NewAnnouncer opens the socket for announcements.
func NewAnnouncer() (*Announcer, error) {
	// Protocol 0: it receives nothing.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket for gratuitous ARP (it needs CAP_NET_RAW): %w", err)
	}
	return &Announcer{fd}, nil
}

// Announce sends one gratuitous ARP request, or for IPv6 one unsolicited neighbour
// advertisement, for an address. On links without Ethernet addresses it does nothing.
func (a *Announcer) Announce(link Link, address netip.Addr) error {
	if len(link.MAC) != 6 {
		return nil
	}
	var frame []byte
	if address.Is4() {
		frame = arpFrame([6]byte(link.MAC), address)
	} else {
		frame = neighbourFrame([6]byte(link.MAC), address)
	}
	ll := &unix.SockaddrLinklayer{Ifindex: link.Index, Halen: 6}
	copy(ll.Addr[:], frame) // A frame begins with where it goes to.
	return unix.Sendto(a.fd, frame, unix.MSG_DONTWAIT, ll)
}

// Close closes the socket.
func (a *Announcer) Close() { unix.Close(a.fd) }

// arpFrame is an ARP request in which sender and target are the same (RFC 5227,
// section 3): every neighbour that has an entry changes it.
func arpFrame(mac [6]byte, address netip.Addr) []byte {
	four := address.As4()
	b := ethernet(broadcastMAC, mac, 0x0806)
	b = append(b, 0, 1, 0x08, 0, 6, 4, 0, 1) // Ethernet, IPv4, lengths, request.
	b = append(b, mac[:]...)
	b = append(b, four[:]...)
	b = append(b, broadcastMAC[:]...)
	return append(b, four[:]...)
}

// neighbourFrame is an unsolicited neighbour advertisement with the override flag (RFC
// 4861, section 7.2.6).
func neighbourFrame(mac [6]byte, address netip.Addr) []byte {
	const length, override, targetLinkLayer = 32, 0x20, 2
	from, to := address.As16(), allNodes.As16()
	b := ethernet(allNodesMAC, mac, 0x86dd)
	b = append(b, 0x60, 0, 0, 0, 0, length, unix.IPPROTO_ICMPV6, 255)
	b = append(b, from[:]...)
	b = append(b, to[:]...)
	start := len(b)
	b = append(b, 136, 0, 0, 0, override, 0, 0, 0)
	b = append(b, from[:]...)
	b = append(b, targetLinkLayer, 1)
	b = append(b, mac[:]...)

	sum := uint32(length + unix.IPPROTO_ICMPV6)
	for _, part := range [][]byte{from[:], to[:], b[start:]} {
		for ; len(part) > 0; part = part[2:] {
			sum += uint32(binary.BigEndian.Uint16(part))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[start+2:], ^uint16(sum))
	return b
}

func ethernet(to, from [6]byte, kind uint16) []byte {
	b := make([]byte, 0, 96)
	b = append(b, to[:]...)
	b = append(b, from[:]...)
	return binary.BigEndian.AppendUint16(b, kind)
}

// hardware is a link's Ethernet address, or nil where it has none.
func hardware(encapsulation string, mac net.HardwareAddr) net.HardwareAddr {
	if encapsulation != "ether" || len(mac) != 6 {
		return nil
	}
	return mac
}

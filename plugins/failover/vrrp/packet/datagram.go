package packet

import (
	"encoding/binary"
	"net/netip"
)

const (
	ipHeaderSize = 20
	// internetControl is the type of service of routing protocols (RFC 791).
	internetControl = 0xc0
	dontFragment    = 0x4000
)

// Datagram is an IPv4 packet as a raw socket gives it.
type Datagram struct {
	Source      netip.Addr
	Destination netip.Addr
	TTL         uint8
	// Message is what the packet carries; it aliases the bytes that were parsed.
	Message []byte
}

// ParseDatagram reads the IPv4 header. The kernel has verified its checksum.
func ParseDatagram(b []byte) (Datagram, error) {
	if len(b) < ipHeaderSize {
		return Datagram{}, errorf(Length, "packet of %d bytes is shorter than an IPv4 header", len(b))
	}
	if b[0]>>4 != 4 {
		return Datagram{}, errorf(Version, "packet is of IP version %d in place of 4", b[0]>>4)
	}
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < ipHeaderSize || total < header || total > len(b) {
		return Datagram{}, errorf(Length, "IPv4 header of %d bytes in a packet of %d, of which %d came", header, total, len(b))
	}
	return Datagram{
		Source:      netip.AddrFrom4([4]byte(b[12:16])),
		Destination: netip.AddrFrom4([4]byte(b[16:20])),
		TTL:         b[8],
		Message:     b[header:total],
	}, nil
}

// AppendDatagram appends an advert from source to all VRRP routers, with an IPv4 header
// whose checksum is left to the kernel.
func AppendDatagram(b []byte, source netip.Addr, a Advert) []byte {
	start := len(b)
	from, to := source.As4(), Group.As4()
	b = append(b, 4<<4|ipHeaderSize/4, internetControl, 0, 0, 0, 0, dontFragment>>8, 0, TTL, Protocol, 0, 0)
	b = append(b, from[:]...)
	b = append(b, to[:]...)
	b = a.Append(b)
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b
}

// Expect is what the adverts of a virtual router must agree with.
type Expect struct {
	AuthType  uint8
	Password  [PasswordSize]byte
	Interval  uint8
	Addresses []netip.Addr
}

// Verify reads the advert in d and compares it with what is expected. An *Error with
// reason Addresses comes with an advert that is to be taken all the same; with every
// other error nothing in the packet may be used.
func (e Expect) Verify(d Datagram) (Advert, error) {
	if d.TTL != TTL {
		return Advert{}, errorf(TTLWrong, "TTL %d is not %d: the packet has crossed a router", d.TTL, TTL)
	}
	a, err := Parse(d.Message)
	if err != nil {
		return Advert{}, err
	}
	switch {
	case a.AuthType != e.AuthType:
		return Advert{}, errorf(Auth, "authentication type %d in place of %d; make the directors' authentication equal", a.AuthType, e.AuthType)
	case e.AuthType == AuthPass && a.Password != e.Password:
		return Advert{}, errorf(Auth, "wrong password; make the directors' auth_pass equal")
	case a.Interval != e.Interval:
		return Advert{}, errorf(Interval, "advert interval %d s in place of %d s; make the directors' advert_int equal", a.Interval, e.Interval)
	case !sameAddresses(a.Addresses, e.Addresses):
		return a, errorf(Addresses, "%d addresses that are not our %d; make the directors' virtual addresses equal", len(a.Addresses), len(e.Addresses))
	}
	return a, nil
}

// sameAddresses says whether both lists hold the same addresses, in any order.
func sameAddresses(a, b []netip.Addr) bool {
	if len(a) != len(b) {
		return false
	}
	count := make(map[netip.Addr]int, len(a))
	for i := range a {
		count[a[i]]++
		count[b[i]]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

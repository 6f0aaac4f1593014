package packet

import (
	"encoding/binary"
	"net/netip"
)

// Numbers of RFC 3768.
const (
	// Protocol is VRRP's IP protocol number.
	Protocol = 112
	// TTL of every advert; another says that it has crossed a router.
	TTL = 255
	// MaxAddresses is how many addresses an advert can carry.
	MaxAddresses = 255
	// PasswordSize is the length of the authentication data.
	PasswordSize = 8

	version       = 2
	advertisement = 1
	headerSize    = 8
	addressSize   = 4
)

// Group is the multicast group of all VRRP routers.
var Group = netip.AddrFrom4([4]byte{224, 0, 0, 18})

// Authentication types of RFC 2338.
const (
	AuthNone = 0
	AuthPass = 1
)

// Advert is a VRRPv2 advertisement.
type Advert struct {
	VirtualRouterID uint8
	// Priority 0 says that the master leaves.
	Priority uint8
	// AuthType is AuthNone or AuthPass.
	AuthType uint8
	// Password is padded with zero bytes.
	Password [PasswordSize]byte
	// Interval in seconds.
	Interval uint8
	// Addresses are IPv4, at most MaxAddresses.
	Addresses []netip.Addr
}

// Append appends the advert as a VRRP message. Addresses beyond MaxAddresses are left
// out.
func (a Advert) Append(b []byte) []byte {
	start := len(b)
	addresses := a.Addresses[:min(len(a.Addresses), MaxAddresses)]
	b = append(b, version<<4|advertisement, a.VirtualRouterID, a.Priority, uint8(len(addresses)),
		a.AuthType, a.Interval, 0, 0)
	for _, address := range addresses {
		four := address.As4()
		b = append(b, four[:]...)
	}
	b = append(b, a.Password[:]...)
	binary.BigEndian.PutUint16(b[start+6:], checksum(b[start:]))
	return b
}

// Parse reads a VRRP message and verifies its version, length and checksum.
func Parse(b []byte) (Advert, error) {
	if len(b) < headerSize {
		return Advert{}, errorf(Length, "message of %d bytes is shorter than the %d of a header", len(b), headerSize)
	}
	if v, t := b[0]>>4, b[0]&0xf; v != version || t != advertisement {
		return Advert{}, errorf(Version, "version %d type %d is not VRRPv2's advertisement (version 2 type 1)", v, t)
	}
	count := int(b[3])
	if want := headerSize + count*addressSize + PasswordSize; len(b) != want {
		return Advert{}, errorf(Length, "message with %d addresses has %d bytes in place of %d", count, len(b), want)
	}
	if checksum(b) != 0 {
		return Advert{}, errorf(Checksum, "checksum 0x%04x is wrong", binary.BigEndian.Uint16(b[6:]))
	}
	a := Advert{VirtualRouterID: b[1], Priority: b[2], AuthType: b[4], Interval: b[5]}
	rest := b[headerSize:]
	if count > 0 {
		a.Addresses = make([]netip.Addr, count)
	}
	for i := range a.Addresses {
		a.Addresses[i] = netip.AddrFrom4([4]byte(rest[:addressSize]))
		rest = rest[addressSize:]
	}
	copy(a.Password[:], rest)
	return a, nil
}

// checksum is the internet checksum of b (RFC 1071); it is 0 over a message that holds
// its own right checksum.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

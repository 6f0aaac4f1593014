package genl

import (
	"encoding/binary"
	"net/netip"
)

// Commands, from linux/ip_vs.h.
const (
	cmdNewService = 1
	cmdSetService = 2
	cmdDelService = 3
	cmdGetService = 4
	cmdNewDest    = 5
	cmdSetDest    = 6
	cmdDelDest    = 7
	cmdGetDest    = 8
	cmdNewDaemon  = 9
	cmdDelDaemon  = 10
	cmdGetDaemon  = 11
	cmdGetInfo    = 15
)

// Attributes, from linux/ip_vs.h.
const (
	attrService = 1
	attrDest    = 2
	attrDaemon  = 3

	svcFamily    = 1
	svcProtocol  = 2
	svcAddr      = 3
	svcPort      = 4
	svcMark      = 5
	svcScheduler = 6
	svcFlags     = 7
	svcTimeout   = 8
	svcNetmask   = 9
	svcEngine    = 11

	destAddr        = 1
	destPort        = 2
	destMethod      = 3
	destWeight      = 4
	destUpper       = 5
	destLower       = 6
	destActive      = 7
	destInactive    = 8
	destStats       = 10
	destFamily      = 11
	destStats64     = 12
	destTunnelType  = 13
	destTunnelPort  = 14
	destTunnelFlags = 15

	statsConnections = 1
	statsPacketsIn   = 2
	statsPacketsOut  = 3
	statsBytesIn     = 4
	statsBytesOut    = 5

	daemonState     = 1
	daemonInterface = 2
	daemonID        = 3
	daemonMaxLength = 4
	daemonGroup     = 5
	daemonGroup6    = 6
	daemonPort      = 7
	daemonTTL       = 8
)

// Address families, from linux/socket.h.
const (
	familyIPv4 = 2
	familyIPv6 = 10
)

// attrHeader is the size of an attribute's length and type.
const attrHeader = 4

// attributes is a list of netlink attributes that is being written. All of them are
// small: an attribute's length always fits its 16 bits.
type attributes []byte

// room adds an attribute with n bytes of value, zeroed, and gives the value.
func (a *attributes) room(kind uint16, n int) []byte {
	start := len(*a)
	*a = append(*a, make([]byte, attrHeader+(n+3)&^3)...)
	b := (*a)[start:]
	binary.NativeEndian.PutUint16(b, uint16(attrHeader+n))
	binary.NativeEndian.PutUint16(b[2:], kind)
	return b[attrHeader : attrHeader+n]
}

func (a *attributes) uint8(kind uint16, v uint8)   { a.room(kind, 1)[0] = v }
func (a *attributes) uint16(kind uint16, v uint16) { binary.NativeEndian.PutUint16(a.room(kind, 2), v) }
func (a *attributes) uint32(kind uint16, v uint32) { binary.NativeEndian.PutUint32(a.room(kind, 4), v) }
func (a *attributes) bytes(kind uint16, v []byte)  { copy(a.room(kind, len(v)), v) }

// port adds a port in the network's byte order.
func (a *attributes) port(kind uint16, v uint16) { binary.BigEndian.PutUint16(a.room(kind, 2), v) }

// text adds a string with the zero at its end.
func (a *attributes) text(kind uint16, v string) { copy(a.room(kind, len(v)+1), v) }

// addr adds an address of its family's length.
func (a *attributes) addr(kind uint16, v netip.Addr) { a.bytes(kind, v.AsSlice()) }

// nest adds what fill writes as one attribute.
func (a *attributes) nest(kind uint16, fill func()) {
	start := len(*a)
	a.room(kind, 0)
	fill()
	binary.NativeEndian.PutUint16((*a)[start:], uint16(len(*a)-start))
}

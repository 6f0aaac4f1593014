package table

import (
	"fmt"
	"net/netip"
)

// Protocol is the IP protocol number of a service.
type Protocol uint8

// Protocols that IPVS knows. Zero is a firewall mark's.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String gives "TCP", "UDP", "SCTP", or the number.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case SCTP:
		return "SCTP"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// Key names a service: address, port and protocol, or firewall mark and family. It is
// comparable; addresses are never IPv4 in IPv6 and have no zone.
type Key struct {
	// Addr is invalid for a firewall mark.
	Addr     netip.Addr
	Port     uint16
	Protocol Protocol
	// Mark is 0 for an address.
	Mark uint32
	IPv6 bool
}

// String gives "TCP 192.0.2.100:80", "FWM 3" or "FWM 3 inet6".
func (k Key) String() string {
	switch {
	case k.Mark == 0:
		return fmt.Sprintf("%s %s", k.Protocol, netip.AddrPortFrom(k.Addr, k.Port))
	case k.IPv6:
		return fmt.Sprintf("FWM %d inet6", k.Mark)
	}
	return fmt.Sprintf("FWM %d", k.Mark)
}

// bits is the length of an address of the key's family.
func (k Key) bits() int {
	if k.IPv6 {
		return 128
	}
	return 32
}

// Flags of a service, with the kernel's values.
type Flags uint32

// Flags that are the operator's; others (such as the kernel's own "hashed") are not
// compared.
const (
	Persistent Flags = 0x1
	OnePacket  Flags = 0x4
	Scheduler1 Flags = 0x8
	Scheduler2 Flags = 0x10
	Scheduler3 Flags = 0x20

	known = Persistent | OnePacket | Scheduler1 | Scheduler2 | Scheduler3
)

// NotPrefix is the Prefix of a service whose netmask is no prefix, which only others
// make.
const NotPrefix = -1

// Service is a virtual server without its destinations. It is comparable.
type Service struct {
	Key       Key
	Scheduler string
	Flags     Flags
	// Timeout of persistence in seconds.
	Timeout uint32
	// Prefix is how many bits of the client's address count for persistence.
	Prefix int
	// Engine is the persistence engine; empty: none.
	Engine string
}

// Normal gives the service with all that has no effect left out.
func (s Service) Normal() Service {
	s.Flags &= known
	if s.Flags&Persistent == 0 {
		s.Timeout, s.Prefix, s.Engine = 0, s.Key.bits(), ""
	}
	return s
}

// Method is a forwarding method, with the kernel's values.
type Method uint8

// Forwarding methods. Others than NAT, TUN and DR are made by others only.
const (
	NAT Method = 0
	TUN Method = 2
	DR  Method = 3
)

// String gives "NAT", "DR", "TUN", or the kernel's number.
func (m Method) String() string {
	switch m {
	case NAT:
		return "NAT"
	case TUN:
		return "TUN"
	case DR:
		return "DR"
	}
	return fmt.Sprintf("method %d", uint8(m))
}

// TunnelType is an encapsulation, with the kernel's values.
type TunnelType uint8

// Encapsulations.
const (
	IPIP TunnelType = 0
	GUE  TunnelType = 1
	GRE  TunnelType = 2
)

// String gives "ipip", "gue", "gre", or the kernel's number.
func (t TunnelType) String() string {
	switch t {
	case IPIP:
		return "ipip"
	case GUE:
		return "gue"
	case GRE:
		return "gre"
	}
	return fmt.Sprintf("tunnel %d", uint8(t))
}

// Checksum modes of a tunnel, with the kernel's values.
const (
	ChecksumNone   uint16 = 0
	ChecksumFull   uint16 = 1
	ChecksumRemote uint16 = 2
)

// Tunnel is how TUN encapsulates.
type Tunnel struct {
	Type     TunnelType
	Port     uint16
	Checksum uint16
}

// Destination is a real server of a service. It is comparable; its address and port are
// its name.
type Destination struct {
	Addr           netip.AddrPort
	Weight         uint32
	Method         Method
	Tunnel         Tunnel
	UpperThreshold uint32
	LowerThreshold uint32
}

// Normal gives the destination with all that has no effect left out.
func (d Destination) Normal() Destination {
	switch {
	case d.Method != TUN:
		d.Tunnel = Tunnel{}
	case d.Tunnel.Type == IPIP:
		d.Tunnel = Tunnel{}
	case d.Tunnel.Type == GRE:
		d.Tunnel.Port = 0
	}
	return d
}

// Counters are what something has carried.
type Counters struct {
	Connections, PacketsIn, PacketsOut, BytesIn, BytesOut uint64
	// ActiveConnections and InactiveConnections are a destination's only.
	ActiveConnections, InactiveConnections uint32
}

// Real is a destination with what it has carried.
type Real struct {
	Destination
	Counters Counters
}

// Virtual is a service with its destinations and what it has carried.
type Virtual struct {
	Service  Service
	Reals    []Real
	Counters Counters
}

// State is a table as it is.
type State struct {
	Services []Virtual
	// Syncs are the sync daemons that run, at most one of each role.
	Syncs []Sync
}

// Want is the table as it should be.
type Want struct {
	// Services have distinct keys, and their destinations distinct addresses.
	Services []Virtual
	// Owned are keys that are removed when they are not in Services.
	Owned map[Key]bool
	// Sync is nil for none.
	Sync *Sync
	// SyncOwned are roles whose sync daemon is stopped when it is not Sync.
	SyncOwned map[Role]bool
}

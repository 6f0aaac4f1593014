package table

import (
	"fmt"
	"net/netip"
)

// Role is the direction of connection sync, with the kernel's values.
type Role uint8

// Roles.
const (
	Master Role = 1
	Backup Role = 2
)

// String gives "master", "backup".
func (r Role) String() string {
	switch r {
	case Master:
		return "master"
	case Backup:
		return "backup"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// Sync is one of the kernel's sync daemons. The role is its name: the kernel runs at most
// one of each.
type Sync struct {
	Role      Role
	Interface string
	ID        uint8
	// MaxLength 0 is the kernel's choice.
	MaxLength uint16
	Port      uint16
	TTL       uint8
	Group     netip.Addr
}

// What the kernel takes where nothing is said, and its limits for MaxLength.
const (
	syncPort          = 8848
	syncTTL           = 1
	backupMinLength   = 1024
	udpHeaders4       = 28
	udpHeaders6       = 48
	largestUDPMessage = 65535
)

var syncGroup = netip.AddrFrom4([4]byte{224, 0, 0, 81})

// Normal gives the daemon as the kernel will tell it: defaults filled in, the length
// within its limits. A MaxLength of 0 stays.
func (s Sync) Normal() Sync {
	if s.Port == 0 {
		s.Port = syncPort
	}
	if s.TTL == 0 {
		s.TTL = syncTTL
	}
	if !s.Group.IsValid() {
		s.Group = syncGroup
	}
	if s.MaxLength == 0 {
		return s
	}
	if s.Role == Backup {
		s.MaxLength = max(s.MaxLength, backupMinLength)
	}
	headers := uint16(udpHeaders4)
	if s.Group.Is6() {
		headers = udpHeaders6
	}
	s.MaxLength = min(s.MaxLength, largestUDPMessage-headers)
	return s
}

// same tells whether a daemon that runs is the one that is wanted.
func (s Sync) same(running Sync) bool {
	s, running = s.Normal(), running.Normal()
	if s.MaxLength == 0 {
		s.MaxLength = running.MaxLength
	}
	return s == running
}

// String gives "master on eth0, id 1".
func (s Sync) String() string {
	return fmt.Sprintf("%s on %s, id %d", s.Role, s.Interface, s.ID)
}

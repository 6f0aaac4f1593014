package model

import (
	"net/netip"
	"time"
)

// FailoverGroup is one or more VRRP instances that have one role together
// (keepalived: vrrp_sync_group; an instance in none is a group of its own name).
type FailoverGroup struct {
	Name      string
	Instances []Instance
}

// Instance is one VRRP virtual router (keepalived: vrrp_instance).
type Instance struct {
	Name            string
	Interface       string
	VirtualRouterID uint8
	// Priority is 1..255; 255 is the owner of the addresses.
	Priority uint8
	// AdvertInterval is whole seconds, 1..255 s.
	AdvertInterval time.Duration
	// NoPreempt: do not take over from a master of lower priority.
	NoPreempt    bool
	PreemptDelay time.Duration
	// DownTimerAdverts may be missed before taking over; 3 by default.
	DownTimerAdverts uint8
	// AuthPass is the PASS authentication; empty: none. It is a secret: never logged.
	AuthPass string
	// Addresses are the virtual IPs, Excluded those not told in adverts.
	Addresses []VirtualAddress
	Excluded  []VirtualAddress
	// Source of the adverts; invalid: the interface's first address.
	Source netip.Addr
	// GARPRepeat, GARPDelay, GARPRefresh: gratuitous ARPs on becoming master, time to
	// the second round (0: none), time between later rounds (0: none).
	GARPRepeat  uint8
	GARPDelay   time.Duration
	GARPRefresh time.Duration
}

// VirtualAddress is one address that the master holds.
type VirtualAddress struct {
	Prefix netip.Prefix
	// Interface is the instance's if empty.
	Interface string
	Label     string
	// Broadcast is invalid for none.
	Broadcast netip.Addr
	// Scope is rtnetlink's RT_SCOPE_*; 0: universe.
	Scope uint8
}

// Role is what a failover group is on this director.
type Role uint8

// Roles. UnknownRole: not decided yet.
const (
	UnknownRole Role = iota
	Master
	Backup
	Fault
)

// String gives "unknown", "master", "backup", "fault".
func (r Role) String() string { return [...]string{"unknown", "master", "backup", "fault"}[r] }

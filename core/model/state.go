package model

import (
	"fmt"
	"net/netip"
	"time"
)

// State is what a check or a real server is known to be.
type State uint8

// States. Unknown: no probe has ended, or none could be made.
const (
	Unknown State = iota
	Up
	Down
)

// String gives "unknown", "up", "down".
func (s State) String() string { return [...]string{"unknown", "up", "down"}[s] }

// CheckID identifies a check by its content: equal checks have equal ids.
type CheckID string

// Verdict is what a check says.
type Verdict struct {
	State  State
	Reason string
	// Since is when the state was decided.
	Since time.Time
	// Weight is what the check does to the real server's weight.
	Weight Weight
	// Admin is what the real server asks for itself, through a check that lets it speak;
	// Ready: nothing special.
	Admin Admin
}

// WeightMode says how a Weight is meant.
type WeightMode uint8

// Modes of a weight. AddWeight is added to the real server's weight, SetWeight stands
// in its place, ScaleWeight is a percentage of it.
const (
	AddWeight WeightMode = iota
	SetWeight
	ScaleWeight
)

// Weight is what a check does to a real server's weight; the zero value: nothing. With
// several checks each adds its difference from the real server's weight.
type Weight struct {
	Mode  WeightMode
	Value int64
}

// String gives "+3", "-1", "=8", "50%", and "" for nothing.
func (w Weight) String() string {
	switch {
	case w.Mode == SetWeight:
		return fmt.Sprintf("=%d", w.Value)
	case w.Mode == ScaleWeight:
		return fmt.Sprintf("%d%%", w.Value)
	case w.Value == 0:
		return ""
	}
	return fmt.Sprintf("%+d", w.Value)
}

// RealServerKey identifies a real server of a virtual server. It is comparable.
type RealServerKey struct {
	Service ServiceKey
	Addr    netip.AddrPort
}

// String gives "TCP 192.0.2.100:80 192.0.2.1:80".
func (k RealServerKey) String() string { return k.Service.String() + " " + k.Addr.String() }

// Override is an operator's wish for a real server; the zero value is none.
type Override struct {
	// Admin is Ready, Drain or Maintenance.
	Admin Admin
	// Deadline ends a drain: after it the real server leaves the table; zero: never.
	Deadline time.Time
	// Weight stands in the place of the configured one; nil: it does not.
	Weight *uint32
}

// Admin is the administrative state of a real server.
type Admin uint8

// Administrative states.
const (
	Ready Admin = iota
	Drain
	Maintenance
)

// String gives "ready", "drain", "maint".
func (a Admin) String() string { return [...]string{"ready", "drain", "maint"}[a] }

// RoleState is a group's role with its reason.
type RoleState struct {
	Role   Role
	Reason string
	Since  time.Time
}

// Service is a virtual server as it is wanted in, or found in, a forwarder's table.
type Service struct {
	Key            ServiceKey
	Scheduler      string
	SchedulerFlags []string
	Persistence    Persistence
	OnePacket      bool
	Destinations   []Destination
	// Spare are real servers that are down or in maintenance, and a sorry server that is
	// not needed: forwarders that keep members hold them. Empty where none is concerned.
	Spare []Destination
	// Carriers are those of the configuration; empty in a forwarder's own set.
	Carriers []Carrier
	// Foreign: it was found, and bears the mark of somebody else or none. Only forwarders
	// that know marks say so.
	Foreign bool
	// Parameters are the forwarder's own of this virtual server, as JSON.
	Parameters string
	Counters   Counters
}

// Destination is a real server in a forwarder's table.
type Destination struct {
	Addr           netip.AddrPort
	Weight         uint32
	Forwarding     Forwarding
	UpperThreshold uint32
	LowerThreshold uint32
	// Sorry: it is the sorry server.
	Sorry bool
	// Offline: it is down or in maintenance, and held by a forwarder that keeps members.
	Offline  bool
	Counters Counters
}

// MemberState is how a forwarder that keeps members has it: "offline", "drained" (no new
// connections) or "enabled".
func (d *Destination) MemberState() string {
	switch {
	case d.Offline:
		return "offline"
	case d.Weight == 0:
		return "drained"
	}
	return "enabled"
}

// Counters are what a service or a destination has carried.
type Counters struct {
	Connections, PacketsIn, PacketsOut, BytesIn, BytesOut uint64
	ActiveConnections, InactiveConnections                uint32
}

// SyncRole is the direction of connection sync.
type SyncRole uint8

// Directions of connection sync.
const (
	NoSync SyncRole = iota
	SyncMaster
	SyncBackup
)

// String gives "none", "master", "backup".
func (r SyncRole) String() string { return [...]string{"none", "master", "backup"}[r] }

// DesiredSync is connection sync as it should be now.
type DesiredSync struct {
	Role SyncRole
	Sync ConnectionSync
}

// ForwardSet is the whole table a forwarder should hold.
type ForwardSet struct {
	Generation uint64
	Services   []Service
	// Sync is nil for none.
	Sync *DesiredSync
	// Forwarders are the appliances of the configuration that the set was made of.
	Forwarders []ForwarderInstance
	// Masters are the failover groups of appliances that are master here, sorted.
	Masters []string
}

// CheckSet is the whole set of checks that should be probed.
type CheckSet struct {
	Generation uint64
	Checks     []DesiredCheck
}

// DesiredCheck is a check with its identity and what is known of it.
type DesiredCheck struct {
	ID    CheckID
	Check Check
	// Known is the verdict held from before, its state Unknown if there is none.
	Known Verdict
	// Inferred: it is not one of this check, but was carried over for its real servers.
	Inferred bool
}

// GroupSet is the whole set of failover groups that should run.
type GroupSet struct {
	Generation uint64
	Groups     []FailoverGroup
	GraceTime  time.Duration
}

// Event is one line of the daemon's history.
type Event struct {
	Sequence uint64
	At       time.Time
	// Kind is one of "verdict", "real_server", "quorum", "role", "table", "plugin",
	// "reload", "override", "drift", "notice", "daemon".
	Kind    string
	Object  string
	Message string
}

// String gives the line as logs and `poise events` show it.
func (e Event) String() string {
	return fmt.Sprintf("%s %s %s: %s", e.At.Format("2006-01-02T15:04:05.000Z07:00"), e.Kind, e.Object, e.Message)
}

package fsm

import (
	"net/netip"
	"time"
)

// Time is the time since the machine's boot, suspension included (CLOCK_BOOTTIME), so
// that it means the same in every process. It is never 0.
type Time = time.Duration

// Role is what a group is.
type Role uint8

// Roles. Undecided: not started.
const (
	Undecided Role = iota
	Master
	Backup
	Fault
)

// String gives "undecided", "master", "backup", "fault".
func (r Role) String() string {
	if r > Fault {
		return "invalid"
	}
	return [...]string{"undecided", "master", "backup", "fault"}[r]
}

// Settings are those of one instance.
type Settings struct {
	// Name for reasons.
	Name string
	// Priority is 1..255; 255 is the owner of the addresses.
	Priority uint8
	// Interval between adverts; it does not change while a group lives.
	Interval time.Duration
	// DownAdverts may be missed before a backup takes over; at least 1.
	DownAdverts int
	// NoPreempt: do not take over from a master of lower priority. Not for an owner.
	NoPreempt bool
	// PreemptDelay is how long to let a master of lower priority be. Not for an owner.
	PreemptDelay time.Duration
	// Repeat is the number of announcements in a round, at least 1; Delay the time to
	// the second round, 0: none; Refresh the time between announcements after that, 0:
	// none.
	Repeat  int
	Delay   time.Duration
	Refresh time.Duration
}

// Skew is how much later than the best possible backup this one takes over.
func (s Settings) Skew() time.Duration {
	return time.Duration(256-int(s.Priority)) * time.Second / 256
}

// MasterDown is the silence after which a backup takes over.
func (s Settings) MasterDown() time.Duration {
	return time.Duration(s.DownAdverts)*s.Interval + s.Skew()
}

// Patience is the silence of its own after which a master must take itself for
// replaced: less than the MasterDown of every peer with the same settings. Where one
// missed advert is enough for the peers, a timer that is a little late must not be.
func (s Settings) Patience() time.Duration {
	if s.DownAdverts <= 1 {
		return s.Interval + s.Interval/4
	}
	return time.Duration(s.DownAdverts) * s.Interval
}

func (s Settings) owner() bool { return s.Priority == 255 }

// Event is something that happens to a group.
type Event interface{ event() }

// Start begins; it is the first event of a group that was not restored.
type Start struct {
	// Links of all instances, in their order.
	Links []Link
	// Adopt goes on as master if no instance has a fault: this director was master, its
	// last advert is too young for a peer to have taken over, and no other master was
	// heard.
	Adopt bool
}

// Link says whether an instance can work.
type Link struct {
	Instance int
	// Source is the instance's own address.
	Source netip.Addr
	// Fault is why it cannot work; empty: it can.
	Fault string
}

// Heard is a good advert of another director.
type Heard struct {
	Instance int
	Source   netip.Addr
	Priority uint8
}

// Timer says that the time of Group.Next has come, or may have.
type Timer struct{}

// Configure replaces the settings of all instances, in their order.
type Configure struct{ Settings []Settings }

// AddressLost says that somebody removed an address of an instance that holds them.
type AddressLost struct{ Instance int }

// Withdraw ends the group's work; see Group.Gone.
type Withdraw struct{ Reason string }

func (Start) event()       {}
func (Link) event()        {}
func (Heard) event()       {}
func (Timer) event()       {}
func (Configure) event()   {}
func (AddressLost) event() {}
func (Withdraw) event()    {}

// ActionKind says what to do.
type ActionKind uint8

// Kinds of actions.
const (
	// SendAdvert with Priority on Instance.
	SendAdvert ActionKind = iota + 1
	// AddAddresses of Instance that are not there.
	AddAddresses
	// RemoveAddresses of Instance that are there.
	RemoveAddresses
	// Announce the addresses of Instance (gratuitous ARP).
	Announce
	// ChangeRole of the group to Role because of Reason.
	ChangeRole
	// Warn an operator with Reason about Instance.
	Warn
)

// Action is something to do.
type Action struct {
	Kind     ActionKind
	Instance int
	Priority uint8
	Role     Role
	Reason   string
}

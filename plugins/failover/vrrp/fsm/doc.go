// Package fsm is the VRRP state machine (RFC 3768, section 6.4) of a failover group: one
// or more instances that have one role together. It is pure: an event and the time go
// in, actions come out, and the caller carries them out in their order. It knows no
// sockets, no clock and no goroutines.
//
// What it does beyond the RFC:
//
//   - A group becomes master when every instance is ready to, and leaves that role as a
//     whole. A fault of one instance is a fault of the group.
//   - Make before break: a master that withdraws says so (priority 0) and keeps its
//     addresses until the new master is heard, at most skew + 1 s. One that yields to a
//     better master keeps them for Settle, in which the new master's gratuitous ARPs
//     arrive.
//   - A master that finds its last advert older than its peers need to take over (the
//     process was stopped, the machine was suspended) steps back before all else.
//   - A master that hears another one of lower priority answers at once and tells its
//     neighbours again whose the addresses are.
//   - Priority 0 counts only from the master that was heard last: a director that was
//     never master cannot start an election by leaving.
package fsm

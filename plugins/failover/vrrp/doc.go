// Package vrrp is the failover provider that speaks VRRPv2 (RFC 3768) for IPv4.
//
// One goroutine, the router's, owns all state: it takes sets of groups, packets, changes
// of links and addresses, and time, gives them to the state machines of package fsm, and
// carries out what these want. Goroutines beside it only wait for sockets. Nothing but
// the kernel's netlink is waited for, except during a hand-over, which is bounded.
//
// Three ways lead from one process to the next (see README.md for operators):
//
//   - hand-over: a predecessor that is alive gives its groups with their timers to the
//     new process over a socket in the runtime directory, and nobody on the network
//     notices;
//   - adoption: after a kill, records in that directory tell that this director was
//     master so recently that no peer can have taken over, and it goes on as master;
//   - otherwise every address of ours that is still on an interface is removed before the
//     first packet, and the groups start as backups.
//
// Order matters in two places. A record is written before what it tells is done, so that
// a kill in between is always on the safe side. And what waits in the sockets is read
// before a timer decides, so that a process that was held up hears first.
package vrrp

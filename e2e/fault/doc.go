// Package fault is a server whose faults are made to order: on each of its ports it
// answers the first probe so, the second so, and tells of each probe that has come.
//
// A port's steps are words for the probes in their order, the last one for all that
// follow: "good*2 refuse*3 good" answers twice, is closed for three probes and open
// again. What a port does is decided by how many probes there were, never by the clock,
// so that two programs that probe two such servers see the same thing.
//
// A probe is seen on the wire, whatever becomes of it: a SYN with a new source port or
// sequence number, a datagram, an echo request. So probes of a closed port are counted
// too, and those of a client that resets before anything is accepted.
//
// Steps of every kind over TCP:
//
//	good      what a healthy server of this kind does
//	refuse    the port is closed
//	drop      SYNs are dropped: nobody answers
//	late      the first SYN is dropped, its repetition is taken
//	hang      the connection is taken, and never a byte sent
//	halfopen  the connection is taken, and then the host is gone
//	reset     the connection is taken and reset
//	close     the connection is taken and closed
//	garbage   bytes that mean nothing
//
// What else there is, is with each kind.
package fault

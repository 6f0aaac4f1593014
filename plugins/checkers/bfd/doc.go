// Package bfd is the checker that stands on a BFD session (RFC 5880): a real server is up
// while its session is.
//
// The parts: packet is the wire format, session the state machine, speaker runs sessions on
// sockets; none of them knows of checks. This package turns a session's state into
// verdicts.
//
// Sharp edge: a session that begins is down, which says nothing of the neighbor. So down is
// told only after the session has been up, or had its time to come up.
package bfd

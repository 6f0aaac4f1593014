// Package session is one BFD session as a pure state machine (RFC 5880, sections 6.2 and
// 6.8): time and packets come in, packets go out. It knows no socket, so that a health
// check and a failover group's tracking can both stand on it.
//
// The mode is asynchronous. Echo packets are neither sent nor asked for; packets that ask
// for demand mode or carry authentication are refused with an error and change nothing.
//
// Whoever runs a session calls Receive for what arrives, Tick when Next is due and after
// each Receive, and sends what they give, at once.
package session

// Package packet is the wire format of BFD control packets (RFC 5880, section 4.1), and
// the checks of a packet that need no session (section 6.8.6). It is pure.
package packet

// Package speaker runs BFD sessions on this machine's sockets: UDP port 3784 (RFC 5881),
// or 4784 over several hops (RFC 5883).
//
// All sessions of a Speaker share one listening socket for each port and family, which is
// there as long as somebody needs it. Each sends from a socket with a source port of its
// own. What arrives goes to the session whose discriminator it has, and only if it comes
// from that neighbor; without one to the session with that neighbor. All who want the same
// session share it.
//
// Packets are read before a neighbor is given up: a process that was stopped does not take
// its own silence for the neighbor's.
package speaker

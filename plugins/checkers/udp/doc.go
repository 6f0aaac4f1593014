// Package udp is the UDP checker: a target is up when nothing says that it is not, or,
// with a reply required, when the right one comes.
//
// UDP has no connection that could be refused: a closed port is told by an ICMP message,
// which a firewall may hold back, and a server that does not know what to do with the
// payload is silent. So silence until the deadline is up, unless a reply is required;
// and a probe without one takes its whole timeout whenever all is well.
//
// Sharp edge: as keepalived, a reply that is shorter than the pattern is right if the
// bytes it has are; min_reply_length is what asks for more.
package udp

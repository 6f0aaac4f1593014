// Package ping is the ping checker: a target is up when it answers an ICMP echo request.
//
// All probes of one family, interface and firewall mark share a raw socket, which takes
// CAP_NET_RAW and no change of net.ipv4.ping_group_range. A filter in the kernel lets
// through the replies that have the socket's identifier, and ICMP errors; a reply finds
// its probe by sequence number, and is taken only with the random bytes that the request
// carried. No goroutine waits for a reply: there is one reader for each socket.
//
// Sharp edge: an ICMP error that this machine sends itself, because address resolution
// got no answer, does not reach a socket that is bound to an interface; such a probe
// ends with its deadline.
package ping

// Package dns is the DNS checker: a target is up when it answers one query without an
// error.
//
// Only the first four bytes of an answer decide, as with keepalived 2.2.7: the query's
// id, the bit that says answer, and the code. No answer section is needed, and a
// truncated answer, or one that is broken further on, is an answer. What is no answer to
// the query (another id, a query, a datagram that is too short) is passed over, and the
// wait goes on.
//
// Sharp edge: NXDOMAIN is down. The name has to exist, or be the root, which every
// resolver knows and an authoritative server refuses.
package dns

// Package lab is a small network of hosts, each a network namespace: a client, two
// directors, real servers and the switch between them, for the methods DR, NAT and
// TUN; the directors run poised or Debian's keepalived on the same configuration.
//
//	client .10 ──┐                  192.168.1.0/24, virtual address .100
//	a      .2  ──┤ switch
//	b      .3  ──┤
//	r1     .106 ─┤   (NAT: r1 and r2 are 10.0.0.106 and .107 on a second switch
//	r2     .107 ─┘    behind the directors, and their gateway 10.0.0.1 moves too)
//
// What needs IPVS runs in a machine of package uml; what does not may run in the
// host's own kernel.
//
// A program that uses this package calls RunRole first: servers and clients are the
// same executable, started again inside a namespace.
package lab

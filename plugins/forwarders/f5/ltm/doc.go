// Package ltm is the pure part of the F5 forwarder: what a partition of a BIG-IP holds
// (State), what it should hold (Want), the difference as transactions of commands (Diff),
// and both ways between the device's objects and poise's words (Observe, Import). It does
// no input or output.
//
// # Mapping
//
// exact: it is done. near: it is done if `approximate` of the virtual server or the
// instance names it, else refused. none: it is refused, with the directive and the reason.
//
//	IPVS                        BIG-IP                                          fit
//	rr                          round-robin                                     exact
//	wrr                         ratio-member, ratio = weight / gcd, to 100      exact
//	lc                          least-connections-member                        exact
//	wlc                         ratio-least-connections-member and ratio        exact
//	sed, nq                     as wlc                                          near
//	sh, mh                      source-addr persistence, hashAlgorithm carp     near
//	fo                          priority groups in the order of the weights     exact
//	ovf                         as fo, connectionLimit = weight                 near
//	lblc, lblcr, dh, others     -                                               none
//	scheduler flags             -                                               none
//	NAT                         translated address and port, no SNAT            exact
//	DR                          nPath: no translation, looseClose               exact
//	TUN (ipip, gre)             as DR, tunnel profile of the pool, no PVA       exact
//	TUN (gue), checksums        -                                               none
//	local node                  -                                               none
//	families joined by a tunnel -                                               none
//	TCP, UDP                    ipProtocol and a fastL4 profile                 exact
//	SCTP, firewall mark         -                                               none
//	weight 0                    user-disabled, user-up                          exact
//	real server down            user-disabled, user-down, or left out           as configured
//	sorry server                priority group 0, the others 10                 exact
//	persistence, its prefix     source-addr profile: timeout, mask              exact
//	persistence on port 0       matchAcrossServices ("persistence_port_0")      near
//	persistence engine          -                                               none
//	upper threshold             connectionLimit of the member                   exact
//	lower threshold             -                                               none
//	one-packet scheduling       udp profile, datagramLoadBalancing ("ops")      near
//
// # Ownership
//
// Ours is what is in the partition and has the mark: the metadata entry of pools and
// virtual servers, a description that begins with mark/instance everywhere else. Nothing
// else is ever changed or removed. A virtual address that is not ours is used as long as it
// is as it should be. Nodes come with members; the member's description remembers that its
// node came with it, and a node is marked before its last member goes, so that one that is
// left over is known as ours.
//
// # Sharp edges
//
// The descriptions also hold what the device has no field for: a member's weight and a
// pool's scheduler. Observe uses them as long as they agree with what the device does.
//
// A weight of a real server that is offline counts for the ratios of the others, a weight
// of 0 does not.
package ltm

// Package f5 shows poised driving a BIG-IP beside its own forwarder: the real daemon and the
// real plugin, as processes, against the simulated BIG-IP of e2e/bigip in the test's own
// process. The director's own forwarder is "null", so that it takes no other kernel; what the
// real one does beside a BIG-IP is shown in the lab.
//
// Checks go to listeners of the test on the loopback, and the real servers' own addresses are
// elsewhere, since a BIG-IP takes no loopback for a member.
package f5

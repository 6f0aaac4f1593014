// Package ipvs is the forwarder for the kernel's virtual servers (IPVS). It makes the
// kernel's table what the daemon says, keeps it so, and counts what it carries; see
// README.md for operators.
//
// Package table decides what to change, package kernel reads and writes, this package
// holds the last request and translates. One mutex covers every use of the kernel: an
// Apply, a repair and a reading never mix, and a call that hangs in the kernel stops the
// beats.
package ipvs

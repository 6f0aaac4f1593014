// Package f5 is the forwarder that drives an F5 BIG-IP LTM, or a pair of them, through
// iControl REST. README.md has the mapping, the parameters and what has not been verified on
// hardware.
//
// Each pass finds the active unit, reads the partition, works out what differs from what is
// wanted (package ltm, which is pure) and commits that as few transactions (package
// icontrol). Nothing is remembered between two passes but what makes the next one cheaper:
// a process that was killed anywhere begins with a look. Only objects in the instance's
// partition that bear its mark are changed or removed.
package f5

// Package store keeps the little that must outlive the daemon, in one file in the state
// directory: the operators' overrides, and what of the forwarder's table is ours (IPVS
// has no mark of an owner).
//
// A change is on disk when its method returns, or it has not happened: the file is
// written beside the old one, flushed and put in its place. A file that cannot be read
// is told, set aside and replaced by an empty state, because a director that does not
// start is worse than one that has forgotten a drain; one that a newer version wrote is
// refused, because it is good.
//
// A state directory belongs to one daemon at a time. The lock is the kernel's and goes
// with the process, however it ends.
package store

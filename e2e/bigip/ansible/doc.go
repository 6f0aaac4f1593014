// Package ansible shows that the simulated BIG-IP is faithful to a client that was not
// written for it: F5's own Ansible collection, from Debian's package, makes, changes and
// removes objects of each kind, everything twice. It runs in a network namespace that has
// nothing but a loopback, since the collection reports its use to F5 unless it is told not
// to.
//
// The collection is under the GPL. It is run as a program; nothing of it is in here.
package ansible

// Package fakekernel is an IPVS table in memory that behaves as the kernel's: it refuses
// duplicates, objects that are not there and values out of range with the kernel's errors,
// lacks the modules it is told to lack, and forgets everything when it is restarted. It is
// for tests.
package fakekernel

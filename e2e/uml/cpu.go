package uml

import (
	"sync"

	"golang.org/x/sys/unix"
)

// inUse counts the machines on each processor.
var (
	inUseMu sync.Mutex
	inUse   = map[int]int{}
)

// pin binds this thread, and what it starts, to the processor that the fewest machines
// use, and gives the function that says the machine has ended.
//
// A machine is processes that hand over to each other at every system call and page
// fault inside. On one processor that is a switch; between two of them it wakes an idle
// one, and starting a Go program inside takes ten times as long (measured: 1.3 s against
// 0.12 s on a virtual machine with two processors).
func pin() (ended func()) {
	var allowed, one unix.CPUSet
	if unix.SchedGetaffinity(0, &allowed) != nil {
		return func() {}
	}
	inUseMu.Lock()
	defer inUseMu.Unlock()
	best := -1
	for cpu := range len(allowed) * 64 {
		if allowed.IsSet(cpu) && (best < 0 || inUse[cpu] < inUse[best]) {
			best = cpu
		}
	}
	if best < 0 {
		return func() {}
	}
	one.Set(best)
	if unix.SchedSetaffinity(0, &one) != nil {
		return func() {}
	}
	inUse[best]++
	return func() {
		inUseMu.Lock()
		defer inUseMu.Unlock()
		inUse[best]--
	}
}

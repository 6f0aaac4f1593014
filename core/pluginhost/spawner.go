package pluginhost

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// spawner is an OS thread that forks. Children with a parent-death signal live as long
// as it does, and inherit what its thread gave up.
type spawner struct {
	calls chan func()
}

// newSpawner starts the thread; prepare runs on it first.
func newSpawner(prepare func()) *spawner {
	s := &spawner{calls: make(chan func())}
	locked := make(chan struct{})
	go s.serve(prepare, locked)
	<-locked
	return s
}

func (s *spawner) serve(prepare func(), locked chan struct{}) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot end before the process does, and shows as the process in
		// /proc: leave it alone. It stays locked until another one has been found.
		other := make(chan struct{})
		go s.serve(prepare, other)
		<-other
		runtime.UnlockOSThread()
		close(locked)
		return
	}
	close(locked)
	prepare()
	for f := range s.calls {
		f()
	}
	// Still locked: the thread ends with its goroutine and is not used for anything else.
}

// do runs f on the thread.
func (s *spawner) do(f func()) {
	done := make(chan struct{})
	s.calls <- func() { defer close(done); f() }
	<-done
}

// close ends the thread; children with a parent-death signal die with it.
func (s *spawner) close() { close(s.calls) }

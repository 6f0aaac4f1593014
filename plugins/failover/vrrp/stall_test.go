package vrrp

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The scenarios run in real time. Where the machine itself stands still (a paused
// virtual machine, cores taken by others) for longer than they allow for, directors fail
// over as they should, and nothing can be said about what was to be shown. A scenario
// that goes wrong after that is skipped and says so; on a machine that runs it fails.

// stallLimit is the standstill that scenarios put up with.
const stallLimit = 150 * time.Millisecond

var (
	// lastStall is when the machine last stood still, in Unix nanoseconds.
	lastStall atomic.Int64
	began     sync.Map // Name of a test: when its lab was ready.
)

// watchStalls runs for the life of the test binary.
func watchStalls() {
	for {
		before := time.Now()
		time.Sleep(10 * time.Millisecond)
		if now := time.Now(); now.Sub(before) > stallLimit {
			lastStall.Store(now.UnixNano())
		}
	}
}

// judge skips a test that has seen the machine stand still.
func judge(t *testing.T, what string) {
	t.Helper()
	if start, ok := began.Load(t.Name()); ok && lastStall.Load() > start.(time.Time).UnixNano() {
		t.Skipf("the machine stood still for more than %s meanwhile, so nothing is shown: %s", stallLimit, what)
	}
}

// wrong fails a test and lets it go on; fatal ends it.
func wrong(t *testing.T, format string, args ...any) {
	t.Helper()
	judge(t, fmt.Sprintf(format, args...))
	t.Errorf(format, args...)
}

func fatal(t *testing.T, format string, args ...any) {
	t.Helper()
	judge(t, fmt.Sprintf(format, args...))
	t.Fatalf(format, args...)
}

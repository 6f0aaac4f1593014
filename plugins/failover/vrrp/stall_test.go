package vrrp

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The scenarios run in real time. Where the machine itself stands still (a paused
// virtual machine, cores taken by others) for longer than they allow for, directors fail
// over as they should, and nothing can be said about what was to be shown. A scenario
// that goes wrong after that is run again when all others have ended, twice at most; the
// last time its word counts whatever the machine did.

// stallLimit is the standstill that scenarios put up with.
const stallLimit = 150 * time.Millisecond

var (
	// lastStall is when the machine last stood still, lastTick when it was last looked at, in
	// Unix nanoseconds.
	lastStall, lastTick atomic.Int64
	began               sync.Map // Name of a test: when its lab was ready.
	// stalled are the tests that have to be run again.
	stalledMu sync.Mutex
	stalled   []string
)

// attemptEnv counts how often the test binary has run stalled tests again.
const attemptEnv, attempts = "POISE_VRRP_TEST_ATTEMPT", 2

func attempt() int {
	n, _ := strconv.Atoi(os.Getenv(attemptEnv))
	return n
}

// runAgain runs the tests that have seen the machine stand still, alone, and gives the
// exit status.
func runAgain() int {
	stalledMu.Lock()
	defer stalledMu.Unlock()
	if len(stalled) == 0 {
		return 0
	}
	slices.Sort(stalled)
	pattern := "^(" + strings.Join(slices.Compact(stalled), "|") + ")$"
	cmd := exec.Command(os.Args[0], "-test.run", pattern, "-test.parallel", "1", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", attemptEnv, attempt()+1))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	fmt.Println("the machine stood still or was busy: running again, alone:", pattern)
	if err := cmd.Run(); err != nil {
		fmt.Println("run again:", err)
		return 1
	}
	return 0
}

// watchStalls runs for the life of the test binary.
func watchStalls() {
	for {
		before := time.Now()
		lastTick.Store(before.UnixNano())
		time.Sleep(10 * time.Millisecond)
		if now := time.Now(); now.Sub(before) > stallLimit {
			lastStall.Store(now.UnixNano())
		}
	}
}

// judge ends a test that has seen the machine stand still, for another try.
func judge(t *testing.T, what string) {
	t.Helper()
	// A test can be awake before the one that watches.
	if now := time.Now().UnixNano(); now-lastTick.Load() > int64(stallLimit) {
		lastStall.Store(now)
	}
	if start, ok := began.Load(t.Name()); ok && lastStall.Load() > start.(time.Time).UnixNano() {
		again(t, fmt.Sprintf("the machine stood still for more than %s meanwhile: %s", stallLimit, what))
	}
}

// again ends a test for another try, alone, if there is one left.
func again(t *testing.T, what string) {
	t.Helper()
	if attempt() == attempts {
		return
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	stalledMu.Lock()
	stalled = append(stalled, name)
	stalledMu.Unlock()
	t.Skipf("to be run again: %s", what)
}

// slow fails a test for a time that other work on this machine may have spoilt: it is
// measured again alone, twice at most.
func slow(t *testing.T, format string, args ...any) {
	t.Helper()
	again(t, fmt.Sprintf(format, args...))
	t.Errorf(format, args...)
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

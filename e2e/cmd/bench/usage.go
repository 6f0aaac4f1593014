package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/e2e/lab"
)

// used is what a daemon's processes have used up to a moment.
type used struct {
	cpu       time.Duration
	processes int
	pss       uint64
}

func usage(t lab.TB, d *lab.Director) used {
	var u used
	for _, pid := range d.Descendants() {
		u.processes++
		u.cpu += runTime(pid)
		u.pss += memory(pid)
	}
	if u.processes == 0 {
		t.Fatalf("the daemon on %s does not run; the end of its log:\n%s", d.Name, d.Log())
	}
	return u
}

// runTime is the time that all threads of a process have run.
func runTime(pid int) time.Duration {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	sum := time.Duration(0)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(b), " ")
		ns, _ := strconv.ParseInt(first, 10, 64)
		sum += time.Duration(ns)
	}
	return sum
}

// urgent has a process go before whatever else this machine does, which would be measured
// too. What is not allowed is left.
func urgent(pid int) {
	const most = -20
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, t := range tasks {
		if tid, err := strconv.Atoi(filepath.Base(t)); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, most)
		}
	}
	// Processes of one session share what their session gets (sched(7), autogroups).
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), fmt.Appendf(nil, "%d", most), 0o644)
}

// memory is a process's share of memory (PSS) in kB.
func memory(pid int) uint64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			return n
		}
	}
	return 0
}

// listens says whether /proc/net/tcp has a socket that listens on a port.
func listens(sockets string, port int) bool {
	for line := range strings.Lines(sockets) {
		f := strings.Fields(line)
		if len(f) > 3 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) && f[3] == "0A" {
			return true
		}
	}
	return false
}

package conform

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// stat reads a process's state and parent: "PID (NAME) STATE PPID ..."; a name may hold
// anything.
func stat(pid string) (state string, parent int, ok bool) {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return "", 0, false
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 2 {
		return "", 0, false
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return string(fields[0]), parent, err == nil
}

func stateOf(pid int) (string, bool) {
	state, _, ok := stat(strconv.Itoa(pid))
	return state, ok
}

// childrenOf lists the processes that a process has started, zombies too.
func childrenOf(pid int) []int {
	all, _ := filepath.Glob("/proc/[0-9]*")
	var out []int
	for _, path := range all {
		name := filepath.Base(path)
		if _, parent, ok := stat(name); ok && parent == pid {
			if n, err := strconv.Atoi(name); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

// usage is what a process holds.
type usage struct {
	descriptors, children, threads int
	// resident memory in bytes.
	memory int
}

func usageOf(pid int) usage {
	var u usage
	if list, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd"); err == nil {
		u.descriptors = len(list)
	}
	u.children = len(childrenOf(pid))
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return u
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		key, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		n, _ := strconv.Atoi(fields[0])
		switch key {
		case "Threads":
			u.threads = n
		case "VmRSS":
			u.memory = n << 10
		}
	}
	return u
}

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/e2e/uml"
)

// TB is what the lab asks of the test, or other program, that it serves.
type TB interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
	Failed() bool
}

// Host is a network namespace.
type Host struct {
	Name string
	// NS is the namespace's name for `ip netns`.
	NS string
	t  TB
}

// newHosts makes namespaces, and unmakes them with all that runs in them.
func newHosts(t TB, prefix string, names ...string) map[string]*Host {
	t.Helper()
	hosts := make(map[string]*Host, len(names))
	var batch strings.Builder
	for _, n := range names {
		h := &Host{Name: n, NS: prefix + n, t: t}
		hosts[n] = h
		fmt.Fprintf(&batch, "netns add %s\n", h.NS)
	}
	t.Cleanup(func() {
		for _, h := range hosts {
			h.KillAll()
			_ = exec.Command("ip", "netns", "del", h.NS).Run()
		}
	})
	ipBatch(t, "", batch.String())
	return hosts
}

// ipBatch runs commands of ip(8), a line each, in a namespace.
func ipBatch(t TB, ns, lines string) {
	t.Helper()
	args := []string{"-batch", "-"}
	if ns != "" {
		args = append([]string{"-n", ns}, args...)
	}
	cmd := exec.Command("ip", args...)
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s\n%s", strings.Join(args, " "), err, out, lines)
	}
}

// IP runs commands of ip(8), a line each, on the host.
func (h *Host) IP(lines ...string) {
	h.t.Helper()
	ipBatch(h.t, h.NS, strings.Join(lines, "\n")+"\n")
}

// Command is a command on the host that has not been started.
func (h *Host) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", h.NS, name}, args...)...)
}

// Output runs a short command on the host and gives its output; what it wrote to its
// standard error is in the error. It is started from a thread that is on the host, which is cheaper than
// ip(8) in between; /sys is not the host's.
func (h *Host) Output(cmd *exec.Cmd) (string, error) {
	h.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var err error
	h.Do(func() { err = cmd.Start() })
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return stdout.String(), fmt.Errorf("%s on %s: %w: %s", strings.Join(cmd.Args, " "), h.Name, err, stderr.String())
	}
	return stdout.String(), nil
}

// Run runs a command on the host that has to succeed, and gives its output.
func (h *Host) Run(name string, args ...string) string {
	h.t.Helper()
	out, err := h.Output(exec.Command(name, args...))
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	return out
}

// Sysctl sets values under /proc/sys: "net/ipv4/ip_forward=1".
func (h *Host) Sysctl(settings ...string) {
	h.t.Helper()
	h.Do(func() {
		for _, s := range settings {
			name, value, _ := strings.Cut(s, "=")
			if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
				h.t.Fatalf("set %s on %s: %v", s, h.Name, err)
			}
		}
	})
}

// Do runs f on the host: what f opens belongs to the host's network for good. f runs on
// the goroutine that calls.
func (h *Host) Do(f func()) {
	h.t.Helper()
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		h.t.Fatalf("open this thread's network: %v", err)
	}
	defer home.Close()
	away, err := os.Open(filepath.Join("/run/netns", h.NS))
	if err != nil {
		h.t.Fatalf("open the network of %s: %v", h.Name, err)
	}
	defer away.Close()
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		h.t.Fatalf("enter the network of %s: %v", h.Name, err)
	}
	defer func() {
		// A thread that cannot go home is not given back.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	f()
}

// Pids are the processes on the host.
func (h *Host) Pids() []int {
	var ns unix.Stat_t
	if unix.Stat(filepath.Join("/run/netns", h.NS), &ns) != nil {
		return nil
	}
	var out []int
	for _, pid := range processes() {
		var s unix.Stat_t
		if pid != os.Getpid() && unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &s) == nil && s.Ino == ns.Ino && s.Dev == ns.Dev {
			out = append(out, pid)
		}
	}
	return out
}

// KillAll sends SIGKILL to all processes on the host and waits until they are gone.
func (h *Host) KillAll() {
	deadline := time.Now().Add(10 * time.Second)
	for {
		pids := h.Pids()
		alive := false
		for _, pid := range pids {
			if !Zombie(pid) {
				alive = true
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if !alive || time.Now().After(deadline) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Addresses are the IPv4 addresses of an interface, without prefix lengths.
func (h *Host) Addresses(device string) []string {
	h.t.Helper()
	var addrs []net.Addr
	var err error
	h.Do(func() {
		var i *net.Interface
		if i, err = net.InterfaceByName(device); err == nil {
			addrs, err = i.Addrs()
		}
	})
	if err != nil {
		h.t.Fatalf("list the addresses of %s on %s: %v", device, h.Name, err)
	}
	var list []string
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			list = append(list, n.IP.String())
		}
	}
	return list
}

// processes are all processes there are.
func processes() []int {
	entries, _ := os.ReadDir("/proc")
	var out []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// stat gives the fields of /proc/PID/stat after the name: state, parent, group, ...
func stat(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

// Zombie says whether a process has ended and only waits for its parent, or is gone.
func Zombie(pid int) bool {
	f := stat(pid)
	return len(f) == 0 || f[0] == "Z" || f[0] == "X"
}

// Parent is a process's parent; 0: there is no such process.
func Parent(pid int) int {
	if f := stat(pid); len(f) > 1 {
		n, _ := strconv.Atoi(f[1])
		return n
	}
	return 0
}

// Descriptors counts the open file descriptors of a process.
func Descriptors(pid int) int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries)
}

// Eventually polls until ok says so, and fails the test when it does not in time; the
// last state that ok gave is shown.
func Eventually(t TB, timeout time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	if err := Poll(timeout, what, ok); err != nil {
		t.Fatalf("%v", err)
	}
}

// pollInterval leaves the one processor of a machine to what is waited for: a question to
// poised costs it tens of milliseconds on a slow one.
const pollInterval = 200 * time.Millisecond

// giveUp is how many times its timeout a wait lasts at most in a machine, on whose host
// others work too. No verdict hangs on it: times are judged by what was heard and logged.
const giveUp = 3

// Poll waits until ok says so.
func Poll(timeout time.Duration, what string, ok func() (bool, string)) error {
	if uml.Inside() {
		timeout *= giveUp
	}
	deadline := time.Now().Add(timeout)
	for {
		done, state := ok()
		if done {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New(strings.TrimSpace(fmt.Sprintf("after %v not so: %s: %s", timeout, what, state)))
		}
		time.Sleep(pollInterval)
	}
}

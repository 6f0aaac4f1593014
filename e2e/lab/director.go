package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/poise-lb/poise/e2e/uml"
)

// Daemon is a program that makes a host a director.
type Daemon string

// Daemons.
const (
	Keepalived Daemon = "keepalived"
	Poised     Daemon = "poised"
)

// Director is a host with its daemon.
type Director struct {
	*Host
	Daemon Daemon
	// Dir holds the daemon's files: its configuration, log, state.
	Dir string
	// File is the configuration.
	File string
	// Args are added to the daemon's command line, Env to its environment.
	Args, Env []string

	lab  *Lab
	cmd  *exec.Cmd
	gone chan struct{}
	poised
}

// Director makes a director of a host; it is not started. Configurations are in
// keepalived's language unless SetFile says otherwise.
func (l *Lab) Director(h *Host, daemon Daemon, config string) *Director {
	l.t.Helper()
	d := &Director{Host: h, Daemon: daemon, lab: l, Dir: filepath.Join(l.Dir, h.Name+"-"+string(daemon))}
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		l.t.Fatalf("make the directory of %s: %v", h.Name, err)
	}
	d.SetFile("keepalived.conf", config)
	l.t.Cleanup(func() {
		d.close()
		if l.t.Failed() {
			l.t.Logf("the end of the log of %s on %s:\n%s", daemon, h.Name, tail(d.Log(), 60))
		}
		h.KillAll()
		if d.gone != nil {
			<-d.gone
		}
	})
	return d
}

// SetFile writes a file in the director's directory and makes it the configuration.
func (d *Director) SetFile(name, config string) {
	d.t.Helper()
	d.File = d.WriteFile(name, config)
}

// WriteFile writes a file in the director's directory.
func (d *Director) WriteFile(name, text string) string {
	d.t.Helper()
	path := filepath.Join(d.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		d.t.Fatalf("write %s of %s: %v", name, d.Name, err)
	}
	return path
}

// Start starts the daemon and does not wait for it to be ready.
func (d *Director) Start() {
	d.t.Helper()
	log, err := os.OpenFile(filepath.Join(d.Dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		d.t.Fatalf("open the log of %s: %v", d.Name, err)
	}
	defer log.Close()
	var args []string
	program := string(d.Daemon)
	if d.Daemon == Poised {
		program = Binary("poised")
		args = []string{"-f", d.File, "--state-dir", filepath.Join(d.Dir, "state"), "--runtime-dir", d.runtimeDir()}
	} else {
		pid := filepath.Join(d.Dir, "pid-")
		// What a killed predecessor left would be taken for a running daemon.
		for _, p := range []string{"main", "vrrp", "checkers", "bfd"} {
			_ = os.Remove(pid + p)
		}
		args = []string{"-n", "-l", "-G", "-D", "-f", d.File, "-p", pid + "main", "-r", pid + "vrrp", "-c", pid + "checkers", "-b", pid + "bfd"}
	}
	cmd := d.Command(program, append(args, d.Args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), d.Env...)
	if !uml.Inside() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	if err := startFirst(cmd); err != nil {
		d.t.Fatalf("start %s on %s: %v", program, d.Name, err)
	}
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }()
	d.cmd, d.gone = cmd, gone
}

// directorPriority of a daemon and its processes: a director has a processor of its own,
// and here it shares one with clients, servers and the test.
const directorPriority = -3

// startFirst starts a daemon that goes before the other programs of a machine.
func startFirst(cmd *exec.Cmd) error {
	if !uml.Inside() {
		return cmd.Start()
	}
	// The priority is a thread's, and the process gets that of the thread that starts it.
	runtime.LockOSThread()
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, directorPriority); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("raise the priority: %w", err)
	}
	err := cmd.Start()
	// A thread that keeps the priority is not given back.
	if syscall.Setpriority(syscall.PRIO_PROCESS, 0, 0) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// Pid is the daemon's own process.
func (d *Director) Pid() int { return d.cmd.Process.Pid }

// Descendants are the daemon's own process and all that have it for an ancestor.
func (d *Director) Descendants() []int {
	var out []int
	for _, pid := range d.Pids() {
		for p := pid; p > 1; p = Parent(p) {
			if p == d.Pid() {
				out = append(out, pid)
				break
			}
		}
	}
	return out
}

// Running says whether the daemon's own process runs.
func (d *Director) Running() bool {
	if d.gone == nil {
		return false
	}
	select {
	case <-d.gone:
		return false
	default:
		return true
	}
}

// Signal sends the daemon's own process a signal.
func (d *Director) Signal(s syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatalf("send %v to %s on %s: %v", s, d.Daemon, d.Name, err)
	}
}

// Stop stops the daemon cleanly and gives its exit status.
func (d *Director) Stop() int {
	d.t.Helper()
	d.Signal(syscall.SIGTERM)
	select {
	case <-d.gone:
	case <-time.After(15 * time.Second):
		d.t.Fatalf("%s on %s has not stopped 15 s after SIGTERM", d.Daemon, d.Name)
	}
	d.close()
	return d.cmd.ProcessState.ExitCode()
}

// Kill9 kills all processes on the director at once.
func (d *Director) Kill9() {
	d.t.Helper()
	d.close()
	d.KillAll()
	<-d.gone
}

// KillDaemon kills the daemon's own process alone.
func (d *Director) KillDaemon() {
	d.t.Helper()
	d.close()
	d.Signal(syscall.SIGKILL)
	<-d.gone
}

// Log is what the daemon has written.
func (d *Director) Log() string {
	b, err := os.ReadFile(filepath.Join(d.Dir, "log"))
	if err != nil {
		return ""
	}
	return string(b)
}

// IPVS is the director's table as `ipvsadm -Sn` prints it, sorted: the kernel keeps the
// services in a hash table and a service's destinations newest first.
func (d *Director) IPVS() string {
	d.t.Helper()
	lines := slices.Sorted(strings.Lines(d.Run("ipvsadm", "-Sn")))
	return strings.Join(lines, "")
}

// Sync are the director's sync daemons as `ipvsadm -L --daemon` prints them.
func (d *Director) Sync() string {
	d.t.Helper()
	return d.Run("ipvsadm", "-L", "--daemon")
}

// HasVIP says whether the director holds the virtual address.
func (d *Director) HasVIP() bool { return slices.Contains(d.Addresses("eth0"), VIP) }

// WaitVIP waits until the director holds the virtual address, or does not.
func (d *Director) WaitVIP(timeout time.Duration, holds bool) {
	d.t.Helper()
	Eventually(d.t, timeout, fmt.Sprintf("%s holds %s: %v", d.Name, VIP, holds), func() (bool, string) {
		return d.HasVIP() == holds, tail(d.Log(), 5)
	})
}

// WaitIPVS waits until the director's table is so.
func (d *Director) WaitIPVS(timeout time.Duration, want string) {
	d.t.Helper()
	Eventually(d.t, timeout, "the table of "+d.Name+" is\n"+want, func() (bool, string) {
		got := d.IPVS()
		return got == want, got
	})
}

// InTable says whether a real server is in the director's table with weight above 0.
func (d *Director) InTable(h *Host) bool {
	d.t.Helper()
	for line := range strings.Lines(d.IPVS()) {
		if strings.Contains(line, "-r "+d.lab.Address(h)+":80 ") {
			return !strings.Contains(line, " -w 0")
		}
	}
	return false
}

// WaitInTable waits until a real server takes connections, or does not.
func (d *Director) WaitInTable(timeout time.Duration, h *Host, in bool) {
	d.t.Helper()
	Eventually(d.t, timeout, fmt.Sprintf("%s takes connections on %s: %v", h.Name, d.Name, in), func() (bool, string) {
		return d.InTable(h) == in, d.IPVS()
	})
}

// Table is the table that the configuration of the lab gives with these real servers.
func (l *Lab) Table(reals ...*Host) string {
	how := map[Method]string{DR: "-g -w 100", NAT: "-m -w 100", TUN: "-i -w 100 --tun-type ipip"}[l.Method]
	lines := []string{"-A -t " + Service + " -s rr\n"}
	for _, r := range reals {
		lines = append(lines, fmt.Sprintf("-a -t %s -r %s:80 %s\n", Service, l.Address(r), how))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// tail is the last n lines of text.
func tail(text string, n int) string {
	lines := slices.Collect(strings.Lines(text))
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

// Binary is the path of a program that `make build` has made: bin/ of the repository,
// or POISE_E2E_BIN.
func Binary(name string) string {
	if dir := os.Getenv("POISE_E2E_BIN"); dir != "" {
		return filepath.Join(dir, name)
	}
	root, err := Root()
	if err != nil {
		return filepath.Join("bin", name)
	}
	return filepath.Join(root, "bin", name)
}

// Root is the repository: the nearest directory above this one with a go.mod.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working directory: run this inside the repository")
		}
		dir = filepath.Dir(dir)
	}
}

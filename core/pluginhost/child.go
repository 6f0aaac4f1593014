package pluginhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// exitTime is how much later than on its connection an exit may show.
	exitTime = 100 * time.Millisecond
	// drainTime is how long output is read after a process has ended: a descendant that
	// left the process group may hold the pipes open for ever.
	drainTime = 200 * time.Millisecond
	// groupTime is how long the end of a killed process group is waited for.
	groupTime = 50 * time.Millisecond
)

// child starts one plugin process and knows when it ends, for go-plugin (it is a
// runner.Runner) and for us. go-plugin's own waits until every descendant has closed the
// output, and kills the process without its group.
type child struct {
	name      string
	spec      Spec
	identity  identity
	exe       *os.File
	socketDir string
	env       []string
	spawner   *spawner
	output    *output

	// handshake is what go-plugin reads: the first line of standard output.
	handshake *io.PipeReader

	// exited is closed when the process has ended and ending says how.
	exited chan struct{}
	ending string

	mu      sync.Mutex
	process *os.Process
	reaped  bool
	// killed: kill was called, perhaps before there was a process, and why.
	killed bool
	why    string
	// refused: go-plugin had it killed while it ran, and its error says why.
	refused bool
}

func newChild(spec Spec, id identity, exe *os.File, socketDir string, s *spawner, out *output) *child {
	return &child{
		name: spec.Name, spec: spec, identity: id, exe: exe, socketDir: socketDir, spawner: s, output: out,
		exited: make(chan struct{}),
	}
}

// Start forks on the spawner's thread. The executable's descriptor is closed.
func (c *child) Start(context.Context) error {
	defer c.exe.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe for %s: %w", c.name, err)
	}
	defer outW.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("make a pipe for %s: %w", c.name, err), outR.Close())
	}
	defer errW.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return errors.Join(fmt.Errorf("open the null device: %w", err), outR.Close(), errR.Close())
	}
	defer null.Close()

	attr := &os.ProcAttr{
		Dir: "/", Env: c.env, Files: []*os.File{null, outW, errW, c.exe},
		Sys: &syscall.SysProcAttr{Setpgid: true, Credential: c.identity.credential, AmbientCaps: c.identity.ambient},
	}
	if !c.spec.Survives {
		attr.Sys.Pdeathsig = syscall.SIGKILL
	}
	argv := append([]string{c.spec.Path}, c.spec.Args...)
	var process *os.Process
	c.spawner.do(func() { process, err = os.StartProcess("/proc/self/fd/3", argv, attr) })
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return errors.Join(fmt.Errorf("execute %s as user %s with capabilities %v: %w", c.spec.Path, c.identity.name, c.identity.capabilities, err),
			outR.Close(), errR.Close())
	}
	c.mu.Lock()
	c.process = process
	if c.killed {
		_ = unix.Kill(-process.Pid, unix.SIGKILL)
	}
	c.mu.Unlock()
	first, handshake := io.Pipe()
	c.handshake = first
	var reading sync.WaitGroup
	reading.Go(func() { c.output.stdout(outR, handshake) })
	reading.Go(func() { c.output.stderr(errR) })
	go c.wait(outR, errR, &reading)
	return nil
}

// wait sees the process end, ends what is left of its group, and reaps it.
func (c *child) wait(outR, errR *os.File, reading *sync.WaitGroup) {
	pid := c.process.Pid
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || info.Code != cldStopped {
			break
		}
		// A process that is stopped does none of its work. The stop is taken, or it would be
		// told again and again.
		_ = unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOHANG, nil)
		c.kill("was stopped by a signal")
	}
	c.mu.Lock()
	// The process is a zombie still, so the number of its group is not anybody else's.
	_ = unix.Kill(-pid, unix.SIGKILL)
	state, err := c.process.Wait()
	c.reaped = true
	c.ending = ending(state, err)
	if c.why != "" {
		c.ending = c.why
	}
	c.mu.Unlock()
	c.awaitGroup(pid)
	close(c.exited)

	end := time.Now().Add(drainTime)
	_ = outR.SetReadDeadline(end)
	_ = errR.SetReadDeadline(end)
	reading.Wait()
	_ = outR.Close()
	_ = errR.Close()
}

// cldStopped is CLD_STOPPED of waitid(2).
const cldStopped = 5

// awaitGroup waits until nothing runs any more of a process group that was killed.
// Zombies that init has not reaped yet count for nothing.
func (c *child) awaitGroup(pgid int) {
	end := time.Now().Add(groupTime)
	for unix.Kill(-pgid, 0) == nil {
		if time.Now().After(end) {
			if left := runningIn(pgid); len(left) > 0 {
				c.output.logger.Warn("processes of the plugin's group do not end after SIGKILL: the kernel holds them", "pids", left)
			}
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// runningIn lists the processes of a group that are no zombies.
func runningIn(pgid int) []int {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var out []int
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// "PID (NAME) STATE PPID PGRP"; a name may hold anything.
		i := bytes.LastIndexByte(b, ')')
		fields := bytes.Fields(b[i+1:])
		if len(fields) < 3 || string(fields[2]) != strconv.Itoa(pgid) || string(fields[0]) == "Z" || string(fields[0]) == "X" {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// ending says how a process ended.
func ending(state *os.ProcessState, err error) string {
	if err != nil {
		return "ended, and how is not known: " + err.Error()
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return "was killed by " + unix.SignalName(status.Signal())
	}
	return "exited with status " + strconv.Itoa(state.ExitCode())
}

// kill sends SIGKILL to the process group; why is told as its ending, unless it has
// ended already.
func (c *child) kill(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaped {
		return
	}
	if !c.killed {
		c.killed, c.why = true, why
	}
	if c.process == nil {
		return
	}
	_ = unix.Kill(-c.process.Pid, unix.SIGKILL)
}

// ended says how the process ended, if it has, and if not go-plugin had it killed.
func (c *child) ended() (string, bool) {
	select {
	case <-c.exited:
	case <-time.After(exitTime):
		return "", false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending, !c.refused || c.ending != killedEnding
}

// killedEnding is the ending of a process that was killed without a reason given.
const killedEnding = "was killed by SIGKILL"

// pid is 0 before the start.
func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return 0
	}
	return c.process.Pid
}

// The methods of go-plugin's runner.Runner.

// Wait returns when the process has ended.
func (c *child) Wait(context.Context) error {
	<-c.exited
	return nil
}

// Kill is called by go-plugin when a start fails or an end takes too long.
func (c *child) Kill(context.Context) error {
	c.mu.Lock()
	if c.process != nil && !c.reaped {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, c.process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		c.refused = err == nil && info.Signo == 0
	}
	c.mu.Unlock()
	c.kill("")
	return nil
}

// Stdout has the handshake, Stderr nothing: what a process writes goes to the log.
func (c *child) Stdout() io.ReadCloser { return c.handshake }

// Stderr see Stdout.
func (c *child) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name is the process's.
func (c *child) Name() string { return c.name }

// ID is empty before the start.
func (c *child) ID() string {
	if pid := c.pid(); pid != 0 {
		return strconv.Itoa(pid)
	}
	return ""
}

// Diagnose adds nothing to what is said of a failed handshake.
func (c *child) Diagnose(context.Context) string { return "" }

// PluginToHost takes the address the plugin listens on.
func (c *child) PluginToHost(network, address string) (string, string, error) {
	return network, address, checkSocket(c.socketDir, network, address)
}

// HostToPlugin is for go-plugin's broker, which is not used.
func (c *child) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

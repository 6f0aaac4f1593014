package uml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// HostRoot is where a program inside finds the host's files as they are outside.
	HostRoot = "/run/host"
	// OutDir is where a program inside leaves files for the host.
	OutDir = "/run/out"
	// ModuleRoot is what modprobe's -d takes inside.
	ModuleRoot = "/run/mod"
	// InsideEnv is set in the environment of a program inside.
	InsideEnv = "POISE_E2E_INSIDE"

	kernel     = "linux.uml"
	modulesDir = "/usr/lib/uml/modules"
	killDelay  = 3 * time.Second
	priority   = -15

	// modules are loaded at the start: the kernel inside does not find them by itself.
	modules = "ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_lblc ip_vs_lblcr ip_vs_dh ip_vs_sh ip_vs_sed ip_vs_nq" +
		" ip_vs_mh ip_vs_fo ip_vs_ovf bridge veth dummy ipip fou"
)

// Machine is a kernel that runs one command and ends.
type Machine struct {
	// Command is run inside; Command[0] is an absolute path on the host.
	Command []string
	// Env is added to a plain environment (PATH, HOME, TERM).
	Env []string
	// Dir is the working directory, an absolute path on the host.
	Dir string
	// Memory of the machine; "" means 1G.
	Memory string
	// Out is a directory on the host that the command finds as OutDir; "" means none.
	Out string
	// Console takes the output of the command, with lines ended by a newline alone.
	Console io.Writer
	// Terminal is a terminal of the host to use in the place of Console and of an
	// empty input; nil: none.
	Terminal *os.File
}

// Inside says whether this program runs in a Machine.
func Inside() bool { return os.Getenv(InsideEnv) != "" }

// Missing says what this machine lacks to run one, "" if nothing.
func Missing() string {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root's rights")
	}
	for _, x := range []struct{ program, pkg string }{
		{kernel, "user-mode-linux"}, {"ipvsadm", "ipvsadm"}, {"keepalived", "keepalived"},
		{"ip", "iproute2"}, {"modprobe", "kmod"},
	} {
		if _, err := exec.LookPath(x.program); err != nil {
			missing = append(missing, fmt.Sprintf("%s (apt-get install %s)", x.program, x.pkg))
		}
	}
	return strings.Join(missing, ", ")
}

// Run boots the machine, runs its command and gives the command's exit status. When
// ctx ends first the machine is switched off with all that runs in it.
func (m *Machine) Run(ctx context.Context) (status int, err error) {
	work, err := os.MkdirTemp("", "poise-lab-")
	if err != nil {
		return 0, fmt.Errorf("make the machine's directory: %w", err)
	}
	defer os.RemoveAll(work)
	init := filepath.Join(work, "init")
	if err := os.WriteFile(init, []byte(m.script(work)), 0o755); err != nil {
		return 0, fmt.Errorf("write the machine's init: %w", err)
	}
	if err := m.boot(ctx, init, work); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(filepath.Join(work, "status"))
	if err != nil {
		return 0, errors.New("the machine ended before its command did: see its console")
	}
	status, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read the command's exit status %q: %w", text, err)
	}
	return status, nil
}

// boot runs the kernel until it is switched off.
func (m *Machine) boot(ctx context.Context, init, work string) error {
	memory := m.Memory
	if memory == "" {
		memory = "1G"
	}
	cmd := exec.Command(kernel, "quiet", "loglevel=3", "mem="+memory, "root=/dev/root", "rootfstype=hostfs",
		"rootflags=/", "ro", "init="+init, "con=null", "con0=fd:0,fd:1", "uml_dir="+work+"/", "umid=lab")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + work, "TMPDIR=" + memoryDir()}
	// A process group of its own is killed as a whole. SIGTERM makes the kernel end its
	// processes, so that is what it gets when this program is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if m.Terminal != nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = m.Terminal, m.Terminal, m.Terminal
		cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Foreground = true, true
		cmd.SysProcAttr.Ctty = int(m.Terminal.Fd())
	} else {
		cmd.SysProcAttr.Setsid = true
		console := &lineWriter{w: m.Console}
		cmd.Stdout, cmd.Stderr = console, console
		cmd.WaitDelay = killDelay
	}
	done := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		// The death signal is tied to the thread that starts the process, and the processor
		// is inherited from it. The thread ends with this goroutine.
		runtime.LockOSThread()
		defer pin()()
		err := cmd.Start()
		started <- err
		if err == nil {
			done <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", kernel, err)
	}
	// What runs inside is tests of time: it goes before whatever else this machine does.
	// Where the host shares its processors out by session, the session has to go first.
	_ = syscall.Setpriority(syscall.PRIO_PGRP, cmd.Process.Pid, priority)
	if m.Terminal == nil {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", cmd.Process.Pid), []byte(strconv.Itoa(priority)), 0)
	}
	select {
	case <-done:
		// Its exit status says nothing; the command's does.
	case <-ctx.Done():
		_ = syscall.Kill(cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(killDelay):
		}
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("the machine was switched off: %w", context.Cause(ctx))
	}
	return nil
}

// memoryDir is where the kernel keeps the file that is its memory.
func memoryDir() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

// script is the machine's init: mounts, modules, the command, and off.
func (m *Machine) script(work string) string {
	var b strings.Builder
	b.WriteString(`#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TERM=${TERM:-linux}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
`)
	fmt.Fprintf(&b, "mkdir -p %s %s /run/status /run/netns %s/lib/modules\n", HostRoot, OutDir, ModuleRoot)
	fmt.Fprintf(&b, "mount --bind / %s\n", HostRoot)
	fmt.Fprintf(&b, "mount -t hostfs -o %s none /run/status\n", quote(work))
	if m.Out != "" {
		fmt.Fprintf(&b, "mount -t hostfs -o %s none %s\n", quote(m.Out), OutDir)
	}
	b.WriteString("for d in /tmp /var/lib /var/log /var/tmp; do mount -t tmpfs tmpfs $d; done\n")
	fmt.Fprintf(&b, "ln -s %s/$(uname -r) %s/lib/modules/$(uname -r)\n", modulesDir, ModuleRoot)
	fmt.Fprintf(&b, "modprobe -d %s -a %s\nip link set lo up\n", ModuleRoot, modules)
	fmt.Fprintf(&b, "export %s=1\n", InsideEnv)
	for _, e := range m.Env {
		name, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&b, "export %s=%s\n", name, quote(value))
	}
	fmt.Fprintf(&b, "cd %s\n", quote(HostRoot+m.Dir))
	words := make([]string, len(m.Command))
	for i, w := range m.Command {
		words[i] = quote(w)
	}
	words[0] = quote(HostRoot + m.Command[0])
	if m.Terminal != nil {
		// A shell wants a terminal that controls it.
		b.WriteString("setsid -c -w ")
	}
	b.WriteString(strings.Join(words, " ") + "\n")
	b.WriteString("echo $? >/run/status/status\nsync\npoweroff -d -f >/dev/null 2>&1\n")
	return b.String()
}

// quote makes s one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

package pluginhost

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runTestDaemon is a daemon with two plugins, one of which survives it. It says their
// pids once and goes on until it is killed.
func runTestDaemon(runtimeDir string) {
	path, err := os.Executable()
	if err != nil {
		os.Exit(1)
	}
	h := New(Options{RuntimeDir: runtimeDir})
	spec := Spec{Name: "plain", Path: path, Builtin: true, BeatInterval: 20 * time.Millisecond, BeatTimeout: time.Second}
	plain := h.Start(spec, testBackoff, beats)
	spec.Name, spec.Survives = "survivor", true
	survivor := h.Start(spec, testBackoff, beats)
	for end := time.Now().Add(20 * time.Second); plain.Status().State != running || survivor.Status().State != running; {
		if time.Sleep(time.Millisecond); time.Now().After(end) {
			fmt.Println("not running:", plain.Status(), survivor.Status())
			os.Exit(1)
		}
	}
	fmt.Println("pids", plain.Status().Pid, survivor.Status().Pid)
	for {
		time.Sleep(50 * time.Millisecond)
		if _, err := fmt.Println("restarts", plain.Status().Restarts, survivor.Status().Restarts, plain.Status().LastFailure, survivor.Status().LastFailure); err != nil {
			os.Exit(1)
		}
	}
}

// testDaemon starts one and gives its lines.
func testDaemon(t *testing.T) (daemon *exec.Cmd, lines *bufio.Scanner, plain, survivor int) {
	t.Helper()
	dir := openDir(t)
	daemon = exec.Command(os.Args[0])
	daemon.Env = append(os.Environ(), daemonEnv+"="+dir)
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	})
	lines = bufio.NewScanner(out)
	said := ""
	for lines.Scan() {
		said += lines.Text()
		if n, _ := fmt.Sscanf(lines.Text(), "pids %d %d", &plain, &survivor); n == 2 {
			break
		}
	}
	if plain == 0 {
		t.Fatalf("the daemon has not said its pids: %s", said)
	}
	t.Cleanup(func() {
		for _, pid := range []int{plain, survivor} {
			if alive(pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	return daemon, lines, plain, survivor
}

func TestDaemonDies(t *testing.T) {
	daemon, _, plain, survivor := testDaemon(t)
	_ = daemon.Process.Kill()
	eventually(t, 5*time.Second, "the plugin is gone with its daemon", func() bool { return !alive(plain) })
	if !alive(survivor) {
		t.Error("the process that survives has died with the daemon")
	}
}

// A daemon that stood still may not think that its plugins did.
func TestDaemonStalls(t *testing.T) {
	daemon, lines, plain, survivor := testDaemon(t)
	if err := daemon.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2500 * time.Millisecond) // longer than the beat timeout; nothing to poll for
	if err := daemon.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "restarts") && !strings.HasPrefix(lines.Text(), "restarts 0 0") {
			t.Fatalf("after a stall of the daemon: %s", lines.Text())
		}
	}
	if !alive(plain) || !alive(survivor) {
		t.Error("a healthy plugin was killed after a stall of the daemon")
	}
}

package pluginhost

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// inGroup lists the processes of a group, zombies too.
func inGroup(pgid int) []int {
	var out []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if g, err := syscall.Getpgid(pid); err == nil && g == pgid {
				out = append(out, pid)
			}
		}
	}
	return out
}

func TestKillsTheWholeGroup(t *testing.T) {
	h := newTestHost(t)
	p := h.Start(fixtureSpec(t, "children"), testBackoff, beats)
	pid := awaitRunning(t, p).Pid
	eventually(t, 5*time.Second, "it has three children", func() bool { return len(inGroup(pid)) == 4 })
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "it runs again", func() bool { return p.Status().Restarts == 1 && p.Status().State == running })
	for _, left := range inGroup(pid) {
		if alive(left) {
			t.Errorf("process %d of the old group is there still", left)
		}
	}
}

// A descendant outside the group that holds the output open delays nothing.
func TestDescendantHoldsOutput(t *testing.T) {
	h := newTestHost(t)
	begun := time.Now()
	p := h.Start(fixtureSpec(t, "escapes"), testBackoff, beats)
	dir := filepath.Join(h.options.RuntimeDir, "plugins", "fixture")
	kill := func() {
		escaped := 0
		b, _ := os.ReadFile(filepath.Join(dir, "escaped"))
		if _, err := fmt.Sscan(string(b), &escaped); err == nil {
			_ = syscall.Kill(escaped, syscall.SIGKILL)
		}
	}
	pid := awaitRunning(t, p).Pid
	start := time.Since(begun)
	defer kill()
	b, _ := os.ReadFile(filepath.Join(dir, "escaped"))
	escaped, err := strconv.Atoi(string(b))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(escaped, syscall.SIGKILL) }()
	at := time.Now()
	_ = syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, 5*time.Second, "it runs again", func() bool { return p.Status().Restarts == 1 && p.Status().State == running })
	if took := time.Since(at); took > time.Second+3*start {
		t.Errorf("it ran again after %s, the first start took %s", took, start)
	}
	h.Close()
}

func TestStopOfOneThatDoesNotStop(t *testing.T) {
	h := newTestHost(t)
	p := h.Start(fixtureSpec(t, "never-stops"), testBackoff, beats)
	pid := awaitRunning(t, p).Pid
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	at := time.Now()
	err := p.Stop(ctx, pluginv1.StopMode_STOP_MODE_WITHDRAW)
	if err == nil || !strings.Contains(err.Error(), "plugin fixture: stop its work: it did not answer in time") {
		t.Errorf("Stop says %v", err)
	}
	if took := time.Since(at); took > 300*time.Millisecond+endTime+time.Second {
		t.Errorf("Stop took %s", took)
	}
	if alive(pid) {
		t.Error("the process is there still")
	}
	b, _ := os.ReadFile(filepath.Join(h.options.RuntimeDir, "plugins", "fixture", "stop"))
	if string(b) != "STOP_MODE_WITHDRAW" {
		t.Errorf("it was told %q", b)
	}
}

func TestStopOfOneThatDies(t *testing.T) {
	h := newTestHost(t)
	p := h.Start(fixtureSpec(t, "never-stops"), testBackoff, beats)
	pid := awaitRunning(t, p).Pid
	go func() {
		stop := filepath.Join(h.options.RuntimeDir, "plugins", "fixture", "stop")
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if _, err := os.Stat(stop); err == nil {
				break
			}
		}
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.Stop(ctx, pluginv1.StopMode_STOP_MODE_LEAVE); err == nil || !strings.Contains(err.Error(), "was stopped by a signal") {
		t.Errorf("Stop says %v", err)
	}
	if ctx.Err() != nil || alive(pid) {
		t.Error("Stop waited for one that had died, or did not end it")
	}
}

func TestStopBetweenStarts(t *testing.T) {
	h := newTestHost(t)
	p := h.Start(fixtureSpec(t, "exits"), Backoff{Min: time.Hour, Max: time.Hour}, beats)
	eventually(t, 10*time.Second, "it waits", func() bool { return p.Status().Restarts == 1 && p.Status().State == waiting })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.Stop(ctx, pluginv1.StopMode_STOP_MODE_LEAVE); err == nil || !strings.Contains(err.Error(), "not running") {
		t.Errorf("Stop says %v", err)
	}
	if err := p.Stop(ctx, pluginv1.StopMode_STOP_MODE_LEAVE); err != nil {
		t.Errorf("a second Stop says %v", err)
	}
}

func TestStopDuringAStart(t *testing.T) {
	h := newTestHost(t)
	p := h.Start(fixtureSpec(t, "never-serves"), testBackoff, beats)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := p.Stop(ctx, pluginv1.StopMode_STOP_MODE_LEAVE); err == nil {
		t.Error("Stop says nothing of a process that never ran")
	}
	if s := p.Status(); s.State != stopped {
		t.Errorf("status is %+v", s)
	}
}

func TestSetBackoffEndsAWait(t *testing.T) {
	h := newTestHost(t)
	p := h.Start(fixtureSpec(t, "exits"), Backoff{Min: time.Hour, Max: time.Hour}, beats)
	eventually(t, 10*time.Second, "it waits", func() bool { return p.Status().Restarts == 1 && p.Status().State == waiting })
	p.SetBackoff(time.Millisecond, time.Millisecond)
	eventually(t, 10*time.Second, "it is started again", func() bool { return p.Status().Restarts > 2 })
}

func TestSetBeatReachesTheProcess(t *testing.T) {
	h := newTestHost(t)
	p := h.Start(fixtureSpec(t), testBackoff, beats)
	pid := awaitRunning(t, p).Pid
	configured := filepath.Join(h.options.RuntimeDir, "plugins", "fixture", "configured")
	for _, interval := range []time.Duration{50 * time.Millisecond, 10 * time.Millisecond} {
		p.SetBeat(interval, 10*interval)
		eventually(t, 5*time.Second, "it is told", func() bool {
			b, _ := os.ReadFile(configured)
			return string(b) == "fixture  "+interval.String()
		})
	}
	if s := p.Status(); s.Pid != pid || s.Restarts != 0 {
		t.Errorf("status is %+v, want process %d", s, pid)
	}
}

// resources are what a killed process could leave in the daemon.
func resources(t *testing.T) (descriptors, goroutines, children int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	all, _ := filepath.Glob("/proc/self/task/*/children")
	for _, path := range all {
		b, _ := os.ReadFile(path)
		children += len(strings.Fields(string(b)))
	}
	return len(entries), runtime.NumGoroutine(), children
}

// TestSoakKills kills processes at random moments, in every phase of their lives.
func TestSoakKills(t *testing.T) {
	kills := 200
	switch {
	case os.Getenv("POISE_SOAK") != "":
		kills = 1000
	case testing.Short():
		kills = 60
	}
	h := newTestHost(t)
	h.options.Logger.SetLevel(4) // the log of a thousand deaths is of no use
	var processes []*Process
	for _, name := range []string{"a", "b", "c"} {
		spec := fixtureSpec(t)
		spec.Name, spec.BeatTimeout = name, 20*time.Second
		if name == "c" {
			spec.Args, spec.Survives = []string{"children"}, true
		}
		processes = append(processes, h.Start(spec, Backoff{Min: time.Millisecond, Max: time.Millisecond}, beats))
	}
	for _, p := range processes {
		awaitRunning(t, p)
	}
	descriptors, goroutines, children := resources(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for n := 0; n < kills; {
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		for _, pid := range childPids() {
			if random.IntN(2) == 0 && n < kills && syscall.Kill(pid, syscall.SIGKILL) == nil {
				n++
			}
		}
	}
	for _, p := range processes {
		eventually(t, 20*time.Second, "it runs after all", func() bool { return p.Status().State == running })
	}
	eventually(t, 20*time.Second, "as many descriptors, goroutines and children as before", func() bool {
		d, g, c := resources(t)
		return d <= descriptors && g <= goroutines && c <= children
	})
	restarts := uint64(0)
	for _, p := range processes {
		s := p.Status()
		restarts += s.Restarts
		dir := filepath.Join(h.options.RuntimeDir, "plugins", s.Name)
		if sockets, _ := filepath.Glob(filepath.Join(dir, "plugin*")); len(sockets) > 1 {
			t.Errorf("%s has left sockets: %v", s.Name, sockets)
		}
	}
	if restarts < uint64(kills)/2 {
		t.Errorf("%d restarts for %d kills", restarts, kills)
	}
	if dirs, _ := os.ReadDir(h.pluginsDir()); len(dirs) != len(processes) {
		t.Errorf("directories left: %v", dirs)
	}
	h.Close()
	if _, _, children := resources(t); children > 0 {
		t.Errorf("%d children are there after Close", children)
	}
}

// childPids are the plugin processes; their own children have other parents.
func childPids() []int {
	var out []int
	all, _ := filepath.Glob("/proc/self/task/*/children")
	for _, path := range all {
		b, _ := os.ReadFile(path)
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				out = append(out, pid)
			}
		}
	}
	return out
}

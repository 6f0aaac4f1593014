package misc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

func probeRequest(parameters string) *checkv1.ProbeRequest {
	return &checkv1.ProbeRequest{Type: Type, ParametersJson: []byte(parameters), Timeout: durationpb.New(20 * time.Second)}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not seen within 20s: %s", what)
		}
	}
}

// numbers gives the process numbers that a command has written, when there are so many.
func numbers(t testing.TB, file string, want int) []int {
	t.Helper()
	var out []int
	eventually(t, "process numbers in "+file, func() bool {
		text, _ := os.ReadFile(file)
		out = nil
		for _, word := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				out = append(out, n)
			}
		}
		return len(out) == want
	})
	return out
}

// gone: there is no such process, or only what init has not reaped yet.
func gone(pid int) bool {
	if errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}

// TestDeadline: the whole group ends, those that do not listen too, and the probe does
// not wait for it.
func TestDeadline(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	p := newProber(t, nil, shell(t, `trap '' TERM
(echo $(exec sh -c 'echo $PPID') >>`+file+`; while :; do sleep 0.1; done) &
echo $$ >>`+file+`; echo waiting
while :; do sleep 0.1; done`))
	start := time.Now()
	result := make(chan sdk.Result, 1)
	go func() { result <- once(t, p, 1500*time.Millisecond, sdk.Target{}) }()
	pids := numbers(t, file, 2)
	got := <-result
	took := time.Since(start)
	if got.Outcome != sdk.Down || got.Reason != "timeout after 1.5s: waiting" {
		t.Errorf("got %v, want down: timeout after 1.5s: waiting", got)
	}
	if took < 1490*time.Millisecond {
		t.Errorf("returned after %s, want 1.5s", took)
	}
	eventually(t, "the end of the whole group", func() bool { return gone(pids[0]) && gone(pids[1]) })
	<-p.last.over
	if took := time.Since(start); took < 3490*time.Millisecond {
		t.Errorf("killed after %s, want 2s of grace", took)
	}
}

// TestGrace: a command that listens has time to clean up.
func TestGrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cleaned")
	p := newProber(t, nil, shell(t, `trap 'sleep 0.3; echo 1 >`+file+`; exit 0' TERM
echo ready; while :; do sleep 0.05; done`))
	if got := once(t, p, 700*time.Millisecond, sdk.Target{}); got.Outcome != sdk.Down {
		t.Errorf("got %v, want down", got)
	}
	numbers(t, file, 1)
}

// TestNextRunEndsGrace: there is one run of a check at a time.
func TestNextRunEndsGrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	p := newProber(t, nil, shell(t, "trap '' TERM; echo $$ >>"+file+"; while :; do sleep 0.1; done"))
	for i := range 3 {
		if got := once(t, p, 500*time.Millisecond, sdk.Target{}); got.Outcome != sdk.Down || !strings.HasPrefix(got.Reason, "timeout") {
			t.Fatalf("got %v, want down", got)
		}
		pids := numbers(t, file, i+1)
		for _, pid := range pids[:i] {
			if !gone(pid) {
				t.Errorf("run %d is there although the next has been", pid)
			}
		}
	}
	p.Close()
	<-p.last.over
}

// TestEnded: a probe that is not wanted any more says nothing of the target.
func TestEnded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	p := newProber(t, nil, shell(t, "echo $$ >>"+file+"; exec sleep 60"))
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan sdk.Result, 1)
	go func() { result <- p.Probe(ctx, sdk.Target{Trace: t.Logf}) }()
	pid := numbers(t, file, 1)[0]
	cancel()
	if got := <-result; got.Outcome != sdk.Unknown {
		t.Errorf("got %v, want unknown", got)
	}
	eventually(t, "the end of the command", func() bool { return gone(pid) })
}

// TestBackground: what a command leaves behind does not hold up the probe, and lives.
func TestBackground(t *testing.T) {
	for _, session := range []string{"", "setsid "} {
		file := filepath.Join(t.TempDir(), "pids")
		p := newProber(t, nil, shell(t, session+"sleep 60 & echo $! >"+file+"; echo done; exit 5"))
		before := descriptors(t)
		if got := once(t, p, 20*time.Second, sdk.Target{}); got.Reason != "exit code 5: done" {
			t.Errorf("got %v, want exit code 5: done", got)
		}
		if after := descriptors(t); after > before {
			t.Errorf("%d descriptors are open, %d before", after, before)
		}
		pid := numbers(t, file, 1)[0]
		if gone(pid) {
			t.Errorf("%ssleep in the background is gone", session)
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Error(err)
		}
	}
}

// TestJustWritten: a script that some process still has open for writing is tried again.
func TestJustWritten(t *testing.T) {
	path := shell(t, "exit 0")
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := newProber(t, nil, path)
	if got := once(t, p, 20*time.Second, sdk.Target{}); got.Outcome != sdk.Down || !strings.Contains(got.Reason, "text file busy") {
		t.Errorf("got %v, want down: text file busy", got)
	}
	time.AfterFunc(20*time.Millisecond, func() { f.Close() })
	if got := once(t, p, 20*time.Second, sdk.Target{}); got.Outcome != sdk.Up {
		t.Errorf("got %v, want up once the file is closed", got)
	}
}

// TestHangingStart: a start that hangs makes the others unknown, not down.
func TestHangingStart(t *testing.T) {
	starts <- struct{}{}
	got := once(t, newProber(t, nil, "true"), 50*time.Millisecond, sdk.Target{})
	<-starts
	if got.Outcome != sdk.Unknown || !strings.Contains(got.Reason, "the start of other commands took that long") {
		t.Errorf("got %v, want unknown", got)
	}
}

// TestTooMany: what waits for its turn in vain is unknown.
func TestTooMany(t *testing.T) {
	for range maxRunning {
		running <- struct{}{}
	}
	got := once(t, newProber(t, nil, "true"), 50*time.Millisecond, sdk.Target{})
	for range maxRunning {
		<-running
	}
	if got.Outcome != sdk.Unknown || !strings.Contains(got.Reason, "512 other commands were running") {
		t.Errorf("got %v, want unknown", got)
	}
}

// TestDescriptors: the process has no descriptor left, which says nothing of the target.
func TestDescriptors(t *testing.T) {
	p := newProber(t, nil, "/usr/bin/true")
	if got := once(t, p, 20*time.Second, sdk.Target{}); got.Outcome != sdk.Up {
		t.Fatalf("got %v, want up", got)
	}
	who, err := identify("", "")
	if err != nil {
		t.Fatal(err)
	}
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := before
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	run := newProcess("/usr/bin/true", p.Command, nil, who)
	_, ended := run.wait(context.Background())
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if got := notStarted("/usr/bin/true", who, run.failure); !ended || got.Outcome != sdk.Unknown || got.Reason != "start a process: too many open files" {
		t.Errorf("got %v, want unknown: too many open files", got)
	}
}

// TestAwaitWithoutDescriptor: an old kernel has no descriptors of processes.
func TestAwaitWithoutDescriptor(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "sleep 0.1; exit 3")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(nil, cmd.Process.Pid)
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil || info.Signo == 0 {
		t.Errorf("the process has not ended, or has been reaped: %v", err)
	}
	var failed *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &failed) || failed.ExitCode() != 3 {
		t.Errorf("got %v, want exit code 3", err)
	}
}

// TestDies: the command dies with the process that runs it.
func TestDies(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{envServe + "=1"}
	c := plugintest.Start(t, cmd)
	c.Configure(t, "")
	file := filepath.Join(t.TempDir(), "pids")
	go func() {
		_, _ = c.Check.Probe(context.Background(), probeRequest(`{"command":["/bin/sh","-c","echo $$ >`+file+`; exec sleep 60"],"secure":false}`))
	}()
	pid := numbers(t, file, 1)[0]
	if err := unix.Kill(c.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the command", func() bool { return gone(pid) })
}

func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// children are the processes that this one has not reaped.
func children(t testing.TB) []string {
	t.Helper()
	var out []string
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("the kernel lists no children: %v", err)
	}
	for _, task := range tasks {
		list, _ := os.ReadFile(task)
		out = append(out, strings.Fields(string(list))...)
	}
	return out
}

// TestNothingLeft: no descriptor, goroutine, thread or process is left of many runs of all
// kinds. POISE_SOAK=1 makes it a hundred thousand.
func TestNothingLeft(t *testing.T) {
	runs := 600
	if os.Getenv("POISE_SOAK") != "" {
		runs = 100_000
	}
	before := children(t)
	kinds := []struct {
		p       *prober
		timeout time.Duration
	}{
		{newProber(t, nil, "/usr/bin/true"), 20 * time.Second},
		{newProber(t, nil, "/usr/bin/false"), 20 * time.Second},
		{newProber(t, nil, "/nonexistent/check"), 20 * time.Second},
		{newProber(t, nil, "/usr/bin/sleep", "60"), 5 * time.Millisecond},
		{newProber(t, nil, shell(t, "sleep 60 & sleep 60")), 10 * time.Millisecond},
		{newProber(t, nil, shell(t, "kill -9 $$")), 20 * time.Second},
		{newProber(t, nil, "/usr/bin/true"), time.Microsecond},
		{newProber(t, nil, shell(t, "exec >&- 2>&-; sleep 60")), 10 * time.Millisecond},
	}
	files := descriptors(t)
	ignore := goleak.IgnoreCurrent()
	var wg sync.WaitGroup
	for _, k := range kinds {
		wg.Go(func() {
			for range runs / len(kinds) {
				ctx, cancel := context.WithTimeout(context.Background(), k.timeout)
				k.p.Probe(ctx, sdk.Target{Trace: func(string, ...any) {}})
				cancel()
			}
			k.p.Close()
			<-k.p.last.over
		})
	}
	wg.Wait()
	goleak.VerifyNone(t, ignore)
	if now := descriptors(t); now > files {
		t.Errorf("%d descriptors are open, %d before", now, files)
	}
	if now := children(t); len(now) > len(before) {
		t.Errorf("processes %v are left, %v before", now, before)
	}
	if len(running) != 0 || len(starts) != 0 {
		t.Errorf("%d places are taken, %d starts go on", len(running), len(starts))
	}
}

// BenchmarkProbe is one run of the cheapest command.
func BenchmarkProbe(b *testing.B) {
	p := newProber(b, nil, "/usr/bin/true")
	var usage [2]unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage[0])
	for b.Loop() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if r := p.Probe(ctx, sdk.Target{Trace: func(string, ...any) {}}); r.Outcome != sdk.Up {
			b.Fatal(r)
		}
		cancel()
	}
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage[1])
	own := usage[1].Utime.Nano() + usage[1].Stime.Nano() - usage[0].Utime.Nano() - usage[0].Stime.Nano()
	b.ReportMetric(float64(own)/float64(b.N), "cpu-ns/op")
}

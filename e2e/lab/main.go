package lab

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/poise-lb/poise/e2e/uml"
)

// Group is tests that share a machine.
type Group struct {
	// Name is that of the directory under build/lab that keeps what a failed run leaves.
	Name string
	// Tests matches the names of its tests. The first group that matches has the test.
	Tests *regexp.Regexp
	// Soak: its tests take minutes and run only if POISE_SOAK is set.
	Soak bool
	// Programs are packages, relative to the repository, that are built for the group; its
	// tests find them by Extra.
	Programs []string
}

// extraEnv is the directory of a group's programs.
const extraEnv = "POISE_E2E_EXTRA"

// Extra is the path of one of the group's programs.
func Extra(name string) string { return filepath.Join(os.Getenv(extraEnv), name) }

// Runner is a testing.M.
type Runner interface{ Run() int }

// Main is what a TestMain of lab tests calls, and gives the exit status. In a machine
// it runs the tests. Outside, it boots a machine for each group that has any of the
// tests that were asked for, runs this executable with the same flags in it, and
// passes on what it prints, so that `go test -run X -v` works as ever.
//
// The programs under test are built first, unless POISE_E2E_BIN names a directory that
// has them. Without what a machine needs the tests are skipped, or fail if CI is true.
func Main(m Runner, groups []Group) int {
	RunRole()
	if uml.Inside() {
		return m.Run()
	}
	flag.Parse()
	if f := flag.Lookup("test.list"); f != nil && f.Value.String() != "" {
		return m.Run()
	}
	if missing := uml.Missing(); missing != "" {
		fmt.Printf("the lab needs a kernel of its own, and this machine lacks %s\n", missing)
		if os.Getenv("CI") == "true" {
			return 1
		}
		fmt.Println("SKIP")
		return 0
	}
	status, err := outside(groups)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return status
}

func outside(groups []Group) (int, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer stop()
	if d := deadline(); !d.IsZero() {
		var cancel func()
		ctx, cancel = context.WithDeadline(ctx, d)
		defer cancel()
	}
	root, err := Root()
	if err != nil {
		return 0, err
	}
	unlock, err := Lock(ctx, root)
	if err != nil {
		return 0, err
	}
	defer unlock()
	self, cleanup, err := executable(ctx, root)
	if err != nil {
		return 0, err
	}
	defer cleanup()
	bin, err := Build(ctx, root)
	if err != nil {
		return 0, err
	}
	jobs, err := plan(self, groups)
	if err != nil {
		return 0, err
	}
	r := run{self: self, bin: bin, root: root, live: len(jobs) == 1}
	queue := make(chan job, len(jobs))
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	var all sync.WaitGroup
	for range machines() {
		all.Go(func() {
			for j := range queue {
				r.one(ctx, j)
			}
		})
	}
	all.Wait()
	return r.status, nil
}

// machines is how many run at a time: POISE_E2E_MACHINES, or one. Two on one host whose
// pages are shadowed by its hypervisor fight for that one's lock: each was four times as
// slow as alone, on a processor of its own.
func machines() int {
	n := 0
	if _, err := fmt.Sscan(os.Getenv("POISE_E2E_MACHINES"), &n); err == nil && n > 0 {
		return n
	}
	return 1
}

// job is a group with those of its tests that were asked for.
type job struct {
	Group
	tests []string
	below string
}

// plan deals the tests that were asked for out to the groups.
func plan(self string, groups []Group) ([]job, error) {
	pattern := "."
	if f := flag.Lookup("test.run"); f != nil && f.Value.String() != "" {
		pattern = f.Value.String()
	}
	top, below, _ := strings.Cut(pattern, "/")
	cmd := exec.Command(self, "-test.list", top)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the tests: %w", err)
	}
	var jobs []job
	taken := map[string]bool{}
	for _, g := range groups {
		j := job{Group: g, below: below}
		for _, name := range strings.Fields(string(out)) {
			if strings.HasPrefix(name, "Test") && !taken[name] && g.Tests.MatchString(name) {
				taken[name] = true
				j.tests = append(j.tests, name)
			}
		}
		if g.Soak && os.Getenv("POISE_SOAK") == "" {
			continue
		}
		if len(j.tests) > 0 {
			jobs = append(jobs, j)
		}
	}
	for _, name := range strings.Fields(string(out)) {
		if strings.HasPrefix(name, "Test") && !taken[name] {
			return nil, fmt.Errorf("%s is in no group: no machine would run it", name)
		}
	}
	return jobs, nil
}

// run carries out jobs.
type run struct {
	self, bin, root string
	live            bool

	mu     sync.Mutex
	status int
}

func (r *run) one(ctx context.Context, j job) {
	var buffer bytes.Buffer
	var console io.Writer = &buffer
	if r.live {
		console = os.Stdout
	}
	kept := filepath.Join(r.root, "build", "lab", j.Name)
	_ = os.RemoveAll(kept)
	status, err := 1, os.MkdirAll(kept, 0o755)
	if err == nil {
		status, err = r.boot(ctx, j, kept, console)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = buffer.WriteTo(os.Stdout)
	if err != nil {
		fmt.Printf("--- FAIL: machine %s: %v\n", j.Name, err)
		status = 1
	}
	if status != 0 {
		r.status = 1
		fmt.Printf("FAIL: machine %s; what it left is in %s\n", j.Name, kept)
		return
	}
	_ = os.RemoveAll(kept)
}

func (r *run) boot(ctx context.Context, j job, kept string, console io.Writer) (int, error) {
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	pattern := "^(" + strings.Join(j.tests, "|") + ")$"
	if j.below != "" {
		pattern += "/" + j.below
	}
	env := []string{"POISE_E2E_BIN=" + uml.HostRoot + r.bin, "GOTRACEBACK=all"}
	for _, name := range []string{"CI", "POISE_SOAK", "POISE_E2E_KILLS"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	if len(j.Programs) > 0 {
		extra := filepath.Join(r.root, "build", "bin-"+j.Name)
		if err := build(ctx, r.root, extra, j.Programs); err != nil {
			return 0, err
		}
		env = append(env, extraEnv+"="+uml.HostRoot+extra)
	}
	m := &uml.Machine{Command: append([]string{r.self, "-test.run=" + pattern}, flags()...), Dir: dir, Env: env, Out: kept, Console: console}
	return m.Run(ctx)
}

// flags are the flags of the test that it has inside too. Those that name files of the
// host, and the deadline, which is kept outside, are not.
func flags() []string {
	var out []string
	for _, name := range []string{"test.v", "test.short", "test.count", "test.failfast", "test.skip", "test.parallel", "test.shuffle"} {
		set := false
		flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
		if set {
			out = append(out, "-"+name+"="+flag.Lookup(name).Value.String())
		}
	}
	return append(out, "-test.timeout=0")
}

// deadline is when the machines are switched off so that there is time to say so.
func deadline() time.Time {
	f := flag.Lookup("test.timeout")
	if f == nil {
		return time.Time{}
	}
	d, err := time.ParseDuration(f.Value.String())
	if err != nil || d == 0 {
		return time.Time{}
	}
	return time.Now().Add(max(d-30*time.Second, d/2))
}

// executable is this test, or the same without the race detector, which does not start
// in a machine.
func executable(ctx context.Context, root string) (path string, cleanup func(), err error) {
	self, err := os.Executable()
	if err != nil || !raceEnabled {
		return self, func() {}, err
	}
	dir, err := os.MkdirTemp("", "poise-lab-test-")
	if err != nil {
		return "", nil, err
	}
	cleanup = func() { _ = os.RemoveAll(dir) }
	path = filepath.Join(dir, "lab.test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		cleanup()
		return "", nil, fmt.Errorf("build the tests without the race detector: %w\n%s", err, out)
	}
	return path, cleanup, nil
}

// Build builds poise's programs for the lab and gives their directory.
func Build(ctx context.Context, root string, flags ...string) (string, error) {
	if dir := os.Getenv("POISE_E2E_BIN"); dir != "" {
		return filepath.Abs(dir)
	}
	dir := filepath.Join(root, "build", "bin")
	args := []string{"build", "-trimpath", "-o", dir + "/"}
	env := "CGO_ENABLED=0"
	if slices.Contains(flags, "-race") {
		env = "CGO_ENABLED=1"
		dir = filepath.Join(root, "build", "bin-race")
		args = []string{"build", "-race", "-o", dir + "/"}
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/...")...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build poise's programs: %w\n%s", err, out)
	}
	return dir, nil
}

// build builds packages of the repository into a directory.
func build(ctx context.Context, root, dir string, packages []string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", dir + "/"}, packages...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", strings.Join(packages, ", "), err, out)
	}
	return nil
}

// Lock keeps a second lab from running on this machine's processors at the same time:
// tests of time would fail. It waits.
func Lock(ctx context.Context, root string) (unlock func(), err error) {
	dir := filepath.Join(root, "build")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lab.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for told := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if !told {
			fmt.Fprintln(os.Stderr, "lab: waiting for another lab on this machine to end")
			told = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for another lab to end: %w", context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

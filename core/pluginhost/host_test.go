package pluginhost

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/poise-lb/poise/core/model"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// eventually polls until a condition holds.
func eventually(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type testHost struct {
	*Host
	log lockedBuffer

	mu     sync.Mutex
	events []string
}

func (h *testHost) told(part string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Contains(strings.Join(h.events, "\n"), part)
}

// openDir is a directory that every user can reach, unlike t.TempDir.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pluginhost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func newTestHost(t *testing.T) *testHost {
	t.Helper()
	h := &testHost{}
	h.Host = New(Options{
		RuntimeDir: openDir(t), StartTimeout: 5 * time.Second,
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: &h.log}),
		OnEvent: func(name, message string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.events = append(h.events, name+": "+message)
		},
	})
	t.Cleanup(func() {
		h.Close()
		if t.Failed() {
			t.Log(h.log.String())
		}
	})
	return h
}

// testBackoff restarts without delay that would count in a test.
var testBackoff = Backoff{Min: time.Millisecond, Max: 20 * time.Millisecond}

func fixtureSpec(t *testing.T, faults ...string) Spec {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Name: "fixture", Path: path, Args: faults, Builtin: true,
		BeatInterval: 20 * time.Millisecond, BeatTimeout: 400 * time.Millisecond}
}

func awaitRunning(t *testing.T, p *Process) model.PluginStatus {
	t.Helper()
	eventually(t, 20*time.Second, "the process runs", func() bool { return p.Status().State == running })
	return p.Status()
}

func stop(t *testing.T, p *Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.Stop(ctx, pluginv1.StopMode_STOP_MODE_LEAVE); err != nil {
		t.Error(err)
	}
}

// alive tells whether a process is there and no zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func TestRunsAndStops(t *testing.T) {
	h := newTestHost(t)
	spec := fixtureSpec(t, "logs", "prints")
	spec.Parameters = []byte(`{"a":1}`)
	p := h.Start(spec, testBackoff, beats)
	status := awaitRunning(t, p)
	if status.Version != "1.2.3" || strings.Join(status.Kinds, " ") != "check/tcp forward/null" || status.Restarts != 0 ||
		status.LastFailure != "" || status.StartedAt.IsZero() || status.Path != spec.Path || status.Name != "fixture" || status.User == "" {
		t.Errorf("status is %+v", status)
	}
	if pgid, err := syscall.Getpgid(status.Pid); err != nil || pgid != status.Pid {
		t.Errorf("process %d is in group %d (%v), not in its own: signals to the daemon's group would reach it", status.Pid, pgid, err)
	}
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", status.Pid))
	if want := spec.Path + "\x00logs\x00prints\x00"; string(cmdline) != want {
		t.Errorf("command line is %q, want %q", cmdline, want)
	}
	dir := filepath.Join(h.options.RuntimeDir, "plugins", "fixture")
	configured, _ := os.ReadFile(filepath.Join(dir, "configured"))
	if string(configured) != `fixture {"a":1} 20ms` {
		t.Errorf("configured with %q", configured)
	}
	for _, line := range []string{
		"[WARN]  fixture: a warning: real_server=192.0.2.1:80 weight=1000000",
		"[DEBUG] fixture: a detail",
		"[ERROR] fixture: plain text",
		`[WARN]  fixture: stray output of the plugin: line="stray words"`,
	} {
		eventually(t, 5*time.Second, "log line "+line, func() bool { return strings.Contains(h.log.String(), line) })
	}
	stop(t, p)
	if s := p.Status(); s.State != stopped || s.Pid != 0 {
		t.Errorf("status after stop is %+v", s)
	}
	if alive(status.Pid) {
		t.Error("the process is there after Stop")
	}
	for name, want := range map[string]string{"stop": "STOP_MODE_LEAVE", "ended": "by itself"} {
		if b, _ := os.ReadFile(filepath.Join(dir, name)); string(b) != want {
			t.Errorf("%s is %q, want %q", name, b, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(h.options.RuntimeDir, "plugins", "*plugin*", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "plugin*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if !h.told("fixture: running: pid") {
		t.Errorf("events are %q", h.events)
	}
}

func TestStarted(t *testing.T) {
	for _, test := range []struct {
		name, fault, reason string
		act                 func(pid int)
		session             SessionFunc
		within              time.Duration
	}{
		{name: "killed", reason: "was killed by SIGKILL", within: 500 * time.Millisecond,
			act: func(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }},
		{name: "stopped", reason: "was stopped by a signal", within: 500 * time.Millisecond,
			act: func(pid int) { _ = syscall.Kill(pid, syscall.SIGSTOP) }},
		{name: "panic", fault: "panics", reason: "exited with status 2"},
		{name: "mute", fault: "mute", reason: "made no progress for 4"},
		{name: "stuck", fault: "stuck", reason: "made no progress for 4"},
		{name: "stream breaks", fault: "breaks", reason: "the stream breaks"},
		{name: "session returns", reason: "its session ended", session: func(context.Context, Session) error { return nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newTestHost(t)
			spec := fixtureSpec(t)
			if test.fault != "" {
				spec.Args = []string{test.fault}
			}
			session := test.session
			if session == nil {
				session = beats
			}
			begun := time.Now()
			p := h.Start(spec, testBackoff, session)
			first := awaitRunning(t, p)
			// A machine that starts processes slowly starts them slowly again.
			at, start := time.Now(), time.Since(begun)
			if test.act != nil {
				test.act(first.Pid)
			}
			eventually(t, 10*time.Second, "it runs again", func() bool {
				s := p.Status()
				return s.Restarts >= 1 && s.State == running && s.Pid != first.Pid
			})
			if took := time.Since(at); test.within > 0 && took > test.within+3*start {
				t.Errorf("it ran again after %s, want at most %s and three times the first start, %s", took, test.within, start)
			}
			if alive(first.Pid) {
				t.Errorf("process %d is still there", first.Pid)
			}
			if s := p.Status(); !strings.Contains(s.LastFailure, test.reason) {
				t.Errorf("failure is %q, want %q", s.LastFailure, test.reason)
			}
			if !h.told(test.reason) {
				t.Errorf("no event tells %q: %q", test.reason, h.events)
			}
		})
	}
}

func TestCannotStart(t *testing.T) {
	for _, test := range []struct{ name, fault, reason string }{
		{"exits", "exits", "start it: it exited with status 3"},
		{"does not serve", "never-serves", "did not answer in time"},
		{"no handshake", "no-handshake", "hello, I am no plugin"},
		{"does not describe itself", "slow-describe", "ask what it is: it did not answer in time"},
		{"nameless", "nameless", "lacks its name"},
		{"refuses its settings", "refuses", "configure it: modprobe ip_vs first"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newTestHost(t)
			if strings.Contains(test.reason, "in time") {
				h.options.StartTimeout = 700 * time.Millisecond
			}
			p := h.Start(fixtureSpec(t, test.fault), testBackoff, beats)
			eventually(t, 20*time.Second, "a second start has failed", func() bool {
				s := p.Status()
				return s.Restarts >= 1 && s.LastFailure != ""
			})
			if s := p.Status(); !strings.Contains(s.LastFailure, test.reason) || s.State == running {
				t.Errorf("status is %+v, want the failure %q", s, test.reason)
			}
			h.mu.Lock()
			if len(h.events) != 1 {
				t.Errorf("the same failure is told again: %q", h.events)
			}
			h.mu.Unlock()
		})
	}
}

func TestSpecRefused(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		change       func(*Spec)
	}{
		{"name", "is not made of", func(s *Spec) { s.Name = "../etc" }},
		{"relative path", "not an absolute path", func(s *Spec) { s.Path = "poise-plugin" }},
		{"no file", "no such file", func(s *Spec) { s.Path = "/nowhere/poise-plugin" }},
		{"directory", "not a regular file", func(s *Spec) { s.Path = "/" }},
		{"not executable", "no execute permission", func(s *Spec) { s.Path = "/etc/passwd" }},
		{"not a program", "exec format error", func(s *Spec) { s.Path = notAProgram(t) }},
		{"sum", "not the pinned", func(s *Spec) { s.SHA256 = strings.Repeat("00", 32) }},
		{"no sum", "hexadecimal digits", func(s *Spec) { s.SHA256 = "abc" }},
		{"capability", `no capability "NET_MAGIC"`, func(s *Spec) { s.Capabilities = []string{"NET_MAGIC"} }},
		{"runtime directory", "make the plugin's directory", func(s *Spec) { s.RuntimeDir = "/nowhere/at/all" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newTestHost(t)
			spec := fixtureSpec(t)
			test.change(&spec)
			p := h.Start(spec, Backoff{Min: time.Hour, Max: time.Hour}, beats)
			eventually(t, 10*time.Second, "it has failed", func() bool { return p.Status().LastFailure != "" })
			if got := p.Status().LastFailure; !strings.Contains(got, test.reason) {
				t.Errorf("failure is %q, want %q", got, test.reason)
			}
		})
	}
}

func notAProgram(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte{0, 1, 2, 3}, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

package pluginhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// missing skips a test that cannot run here; in CI, where all has to run, it fails.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// needRoot skips what only root can do.
func needRoot(t *testing.T) {
	t.Helper()
	if p := currentPowers(); !p.changesUser() || os.Geteuid() != 0 {
		missing(t, "needs root: it changes users")
	}
}

// selfPortrait is a session that asks the fixture about its own process.
func selfPortrait(types []string, answers chan<- map[string]string) SessionFunc {
	return func(ctx context.Context, s Session) error {
		var items []*pluginv1.ValidateItem
		for _, typ := range types {
			items = append(items, &pluginv1.ValidateItem{Interface: pluginv1.Interface_INTERFACE_CHECK, Type: typ})
		}
		r, err := pluginv1.NewPluginServiceClient(s.Conn()).Validate(ctx, &pluginv1.ValidateRequest{Items: items})
		if err != nil {
			return err
		}
		out := map[string]string{}
		for i, typ := range types {
			out[typ] = r.GetProblems()[i].GetMessage()
		}
		answers <- out
		return beats(ctx, s)
	}
}

func portrait(t *testing.T, h *testHost, spec Spec) map[string]string {
	t.Helper()
	answers := make(chan map[string]string, 16)
	p := h.Start(spec, testBackoff, selfPortrait([]string{"status", "stat", "env", "fds", "cmdline"}, answers))
	select {
	case a := <-answers:
		stop(t, p)
		return a
	case <-time.After(20 * time.Second):
		t.Fatalf("no answer: %+v", p.Status())
		return nil
	}
}

// field gives a line of /proc/PID/status.
func field(status, name string) string {
	m := regexp.MustCompile(`(?m)^` + name + `:[\t ]*(.*)$`).FindStringSubmatch(status)
	if m == nil {
		return "missing"
	}
	return strings.Join(strings.Fields(m[1]), " ")
}

func TestPrivileges(t *testing.T) {
	needRoot(t)
	for _, test := range []struct {
		name   string
		change func(*Spec)
		want   map[string]string
	}{
		{"none", func(*Spec) {}, map[string]string{
			"Uid": "65534 65534 65534 65534", "Gid": "65534 65534 65534 65534", "Groups": "", "NoNewPrivs": "1",
			"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
			"CapBnd": "0000000000000000", "CapAmb": "0000000000000000"}},
		{"two", func(s *Spec) { s.Capabilities = []string{"CAP_NET_ADMIN", "net_raw"} }, map[string]string{
			"Uid": "65534 65534 65534 65534", "NoNewPrivs": "1",
			"CapInh": "0000000000003000", "CapPrm": "0000000000003000", "CapEff": "0000000000003000",
			"CapBnd": "0000000000003000", "CapAmb": "0000000000003000"}},
		{"another user", func(s *Spec) { s.User = "daemon" }, map[string]string{"Uid": "1 1 1 1", "Gid": "1 1 1 1", "CapEff": "0000000000000000"}},
		{"a number", func(s *Spec) { s.User = "1" }, map[string]string{"Uid": "1 1 1 1"}},
		{"root", func(s *Spec) { s.KeepsUser, s.Capabilities = true, []string{"KILL"} }, map[string]string{
			"Uid": "0 0 0 0", "Groups": "", "CapPrm": "0000000000000020", "CapEff": "0000000000000020", "CapBnd": "0000000000000020"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newTestHost(t)
			spec := fixtureSpec(t)
			spec.User = "nobody"
			test.change(&spec)
			answers := portrait(t, h, spec)
			for name, want := range test.want {
				if got := field(answers["status"], name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
	t.Run("the daemon keeps its own", func(t *testing.T) {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		if field(string(status), "NoNewPrivs") != "0" || field(string(status), "CapBnd") == "0000000000000000" {
			t.Errorf("the daemon's main thread has given up privileges:\n%s", status)
		}
	})
}

// niceOf is the nice value in a line of /proc/PID/stat, whose second field is in brackets.
func niceOf(stat string) string {
	_, rest, _ := strings.Cut(stat, ") ")
	if f := strings.Fields(rest); len(f) > 16 {
		return f[16]
	}
	return "missing"
}

// TestNice: a process is put before others for good, and the daemon is not.
func TestNice(t *testing.T) {
	needRoot(t)
	if !currentPowers().has(unix.CAP_SYS_NICE) {
		missing(t, "needs CAP_SYS_NICE: it puts a process before others")
	}
	for _, nice := range []int{-10, 0, 5} {
		h := newTestHost(t)
		spec := fixtureSpec(t)
		spec.User, spec.Nice = "nobody", nice
		if got := niceOf(portrait(t, h, spec)["stat"]); got != fmt.Sprint(nice) {
			t.Errorf("its nice value is %s, want %d", got, nice)
		}
	}
	if own, err := os.ReadFile("/proc/self/stat"); err != nil || niceOf(string(own)) != "0" {
		t.Errorf("the daemon's own nice value is %s, %v", niceOf(string(own)), err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SECRET", "s3cret")
	h := newTestHost(t)
	answers := portrait(t, h, fixtureSpec(t))
	var names []string
	for _, v := range strings.Split(answers["env"], "\x01") {
		name, _, _ := strings.Cut(v, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{"LANG", "PATH", "PLUGIN_CLIENT_CERT", "PLUGIN_MAX_PORT", "PLUGIN_MIN_PORT", "PLUGIN_PROTOCOL_VERSIONS",
		"PLUGIN_UNIX_SOCKET_DIR", "POISE_PLUGIN", "POISE_PLUGIN_NAME"}
	if !slices.Equal(names, want) {
		t.Errorf("environment has %v, want %v", names, want)
	}
	for _, line := range strings.Split(strings.TrimSpace(answers["fds"]), "\n") {
		number, target, _ := strings.Cut(line, " ")
		if n := 0; len(number) == 1 && number <= "3" {
			_, _ = fmt.Sscan(number, &n)
			wants := [...]string{"/dev/null", "pipe:", "pipe:", os.Args[0]}
			if !strings.HasPrefix(target, wants[n]) && n != 3 {
				t.Errorf("descriptor %d is %s, want %s", n, target, wants[n])
			}
			continue
		}
		// What else it has it has opened itself: none of the daemon's directories or logs.
		if strings.HasPrefix(target, "/tmp") && !strings.Contains(target, "pluginhost") {
			t.Errorf("descriptor %s leads to %s", number, target)
		}
	}
}

// An executable that the user cannot reach by its path runs all the same.
func TestExecutableOutOfReach(t *testing.T) {
	needRoot(t)
	h := newTestHost(t)
	spec := fixtureSpec(t)
	dir := t.TempDir() // 0700, root's
	private := filepath.Join(dir, "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	spec.Path = copyFile(t, spec.Path, filepath.Join(private, "poise-plugin"))
	answers := portrait(t, h, spec)
	if !strings.HasPrefix(answers["cmdline"], spec.Path) {
		t.Errorf("command line is %q", answers["cmdline"])
	}
}

func copyFile(t *testing.T, from, to string) string {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestPinned(t *testing.T) {
	h := newTestHost(t)
	spec := fixtureSpec(t)
	b, err := os.ReadFile(spec.Path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	spec.SHA256 = hex.EncodeToString(sum[:])
	p := h.Start(spec, testBackoff, beats)
	awaitRunning(t, p)
	stop(t, p)
}

func TestTrustedFile(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("/run", "pluginhost")
	if err != nil {
		missing(t, fmt.Sprintf("no directory that only root can write: %v", err))
	}
	defer os.RemoveAll(dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	make := func(name string, mode os.FileMode, uid int) string {
		t.Helper()
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(at(name), uid, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at(name), mode); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	mkdir := func(name string, mode os.FileMode, uid int) {
		t.Helper()
		if err := os.Mkdir(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(at(name), uid, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) string {
		t.Helper()
		if err := os.Symlink(target, at(name)); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	mkdir("good", 0o755, 0)
	mkdir("sticky", 0o777|os.ModeSticky, 0)
	mkdir("group", 0o775, 0)
	mkdir("theirs", 0o755, 65534)
	link(at("good/file"), "sticky/hop")
	for _, test := range []struct{ name, path, reason string }{
		{"good", make("good/file", 0o755, 0), ""},
		{"setuid is no harm", make("good/suid", 0o4755, 0), ""},
		{"link", link("good/file", "link"), ""},
		{"link through ..", link("../good/file", "good/up"), ""},
		{"link to a link", link(at("link"), "link2"), ""},
		{"the system's", "/bin/sh", ""},
		{"theirs", make("good/theirs", 0o755, 65534), "belongs to nobody"},
		{"world-writable", make("good/world", 0o757, 0), "writable by others"},
		{"group-writable", make("good/group", 0o775, 0), "writable by others"},
		{"in a sticky directory", make("sticky/file", 0o755, 0), "sticky is writable by others"},
		{"in a group-writable directory", make("group/file", 0o755, 0), "group is writable by others"},
		{"in their directory", make("theirs/file", 0o755, 0), "theirs belongs to nobody"},
		{"by a link that others can change", link(at("sticky/hop"), "hop"), "sticky is writable by others"},
		{"in /tmp", "/tmp/file", "/tmp is writable by others"},
		{"missing", at("good/missing"), "no such file"},
		{"a file as directory", at("good/file/x"), "is not a directory"},
		{"a directory", at("good"), "not a regular file"},
		{"a loop", link("loop", "loop"), "too many symbolic links"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := trustedFile(test.path)
			if (err == nil) != (test.reason == "") || err != nil && !strings.Contains(err.Error(), test.reason) {
				t.Errorf("says %v, want %q", err, test.reason)
			}
		})
	}
	t.Run("a plugin of others", func(t *testing.T) {
		h := newTestHost(t)
		spec := fixtureSpec(t)
		spec.Builtin = false
		spec.Path = copyFile(t, spec.Path, at("sticky/plugin"))
		p := h.Start(spec, Backoff{Min: time.Hour, Max: time.Hour}, beats)
		eventually(t, 10*time.Second, "it is refused", func() bool {
			return strings.Contains(p.Status().LastFailure, "not trusted: "+at("sticky")+" is writable by others")
		})
		spec.Path = copyFile(t, fixtureSpec(t).Path, at("good/plugin"))
		spec.Name = "trusted"
		awaitRunning(t, h.Start(spec, testBackoff, beats))
	})
}

// TestUnprivileged runs itself as nobody: without root all works but the privileges.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("is without root already: every test shows it")
	}
	needRoot(t)
	binary := copyFile(t, os.Args[0], filepath.Join(openDir(t), "test"))
	c := exec.Command(binary, "-test.run", "^(TestRunsAndStops|TestInspect|TestLacksCapabilities)$", "-test.v")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	c.Dir = "/"
	out, err := c.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS") < 3 {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

func TestLacksCapabilities(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root lacks none; TestUnprivileged runs it as nobody")
	}
	h := newTestHost(t)
	spec := fixtureSpec(t)
	spec.Capabilities = []string{"NET_ADMIN"}
	if s := awaitRunning(t, h.Start(spec, testBackoff, beats)); len(s.Capabilities) > 0 {
		t.Errorf("status claims the capabilities %v", s.Capabilities)
	}
	if log := h.log.String(); !strings.Contains(log, "lacks capabilities") || !strings.Contains(log, "may not change users") {
		t.Errorf("nobody is told: %s", log)
	}
}

func TestInspect(t *testing.T) {
	spec := fixtureSpec(t)
	spec.Capabilities, spec.User = []string{"NET_ADMIN"}, ""
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	items := []*pluginv1.ValidateItem{{Type: "status"}, {Type: "cmdline"}}
	show := func(*pluginv1.DescribeResponse) []*pluginv1.ValidateItem { return items }
	found, err := Inspect(ctx, spec, show, nil)
	problems := found.Problems
	if err != nil || len(problems) != 2 || problems[1].GetItem() != 1 || found.Info.GetVersion() != "1.2.3" {
		t.Fatalf("found %v, error %v", found, err)
	}
	if caps := field(problems[0].GetMessage(), "CapEff"); caps != "0000000000000000" {
		t.Errorf("it has the capabilities %s", caps)
	}
	pid := 0
	_, _ = fmt.Sscan(field(problems[0].GetMessage(), "Pid"), &pid)
	if pid == 0 || alive(pid) {
		t.Errorf("process %d is there still", pid)
	}
	spec.Args = []string{"wrong-item"}
	if _, err := Inspect(ctx, spec, show, nil); err == nil || !strings.Contains(err.Error(), "item 2147483648 of 2") {
		t.Errorf("a problem of no item gives %v", err)
	}
	spec.Args = []string{"never-serves"}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := Inspect(short, spec, show, nil); err == nil || !strings.Contains(err.Error(), "ask plugin fixture: start it: it did not answer in time") {
		t.Errorf("a plugin that does not serve gives %v", err)
	}
}

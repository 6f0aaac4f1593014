package misc

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func TestUser(t *testing.T) {
	needRoot(t)
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	path := shell(t, `echo "$(id -u) $(id -g) $(id -G)"; exit 7`)
	tests := []struct {
		name, user, group, reason string
	}{
		{"root", "root", "", "exit code 7: 0 0 0"},
		{"its own group only", "nobody", "", fmt.Sprintf("exit code 7: %[1]s %[2]s %[2]s", nobody.Uid, nobody.Gid)},
		{"another group", "nobody", "daemon", fmt.Sprintf("exit code 7: %s 1 1", nobody.Uid)},
		{"by number", nobody.Uid, "1", fmt.Sprintf("exit code 7: %s 1 1", nobody.Uid)},
		{"root with a group", "root", "daemon", "exit code 7: 0 1 1"},
		{"no user", "poise-nobody-is-this", "", "there is no user poise-nobody-is-this: create it or name another"},
		{"no group", "nobody", "poise-no-such-group", "there is no group poise-no-such-group: create it or name another"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newProber(t, func(p *parameters) { p.User, p.Group = test.user, test.group }, path)
			if got := once(t, p, 20*time.Second, sdk.Target{}); got.Outcome != sdk.Down || got.Reason != test.reason {
				t.Errorf("got %v, want %s", got, test.reason)
			}
		})
	}
}

// TestDefaultUser: keepalived_script, where there is one, else who we are.
func TestDefaultUser(t *testing.T) {
	want := os.Geteuid()
	if u, err := user.Lookup(defaultUser); err == nil {
		fmt.Sscan(u.Uid, &want)
	}
	if got, err := identify("", ""); err != nil || int(got.uid) != want {
		t.Errorf("got %v %v, want user %d", got, err, want)
	}
}

// TestTrusted: what others than root can change is not run as root.
// TestUserCannotBeLookedUp: where nobody can look whether there is a keepalived_script,
// nothing is run in its place.
func TestUserCannotBeLookedUp(t *testing.T) {
	for _, test := range []struct {
		err  error
		want sdk.Outcome
	}{
		{&fs.PathError{Op: "open", Path: "/etc/passwd", Err: unix.EMFILE}, sdk.Unknown},
		{&fs.PathError{Op: "open", Path: "/etc/passwd", Err: unix.EACCES}, sdk.Down},
		{&fs.PathError{Op: "open", Path: "/etc/passwd", Err: unix.ENOENT}, sdk.Up},
		{user.UnknownUserError(defaultUser), sdk.Up},
	} {
		lookup = func(string) (*user.User, error) { return nil, test.err }
		p := newProber(t, func(p *parameters) { p.Secure = false }, shell(t, "exit 0"))
		got := once(t, p, 20*time.Second, sdk.Target{})
		lookup = user.Lookup
		if got.Outcome != test.want {
			t.Errorf("%v: got %v, want outcome %d", test.err, got, test.want)
		}
	}
}

func TestTrusted(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("/run", "poise-misc-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(dir, 0o755))
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		must(os.WriteFile(path, []byte("#!/bin/sh\nexit 0\n"), 0o755))
		must(os.Chmod(path, mode))
		return path
	}
	link := func(to, name string) string {
		path := filepath.Join(dir, name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		must(os.Symlink(to, path))
		return path
	}
	good := file("good", 0o755)
	foreign := file("foreign", 0o755)
	must(os.Chown(foreign, 1, 0))
	foreignGroup := file("group", 0o775)
	must(os.Chown(foreignGroup, 0, 1))
	inOpen := file("open/check", 0o755)
	must(os.Chmod(filepath.Dir(inOpen), 0o777))
	inSticky := file("sticky/check", 0o755)
	must(os.Chmod(filepath.Dir(inSticky), 0o777|os.ModeSticky))
	inForeign := file("home/check", 0o755)
	must(os.Chown(filepath.Dir(inForeign), 1, 1))
	tests := []struct{ name, path, why string }{
		{"good", good, ""},
		{"not tidy", dir + "//./x/../good", ""},
		{"merged usr", "/bin/true", ""},
		{"link", link(good, "link"), ""},
		{"relative link", link("../good", "sub/link"), ""},
		{"link to a directory", link(dir, "dir") + "/good", ""},
		{"root's group", file("rootgroup", 0o775), ""},
		{"writable", file("writable", 0o757), "everybody can write to"},
		{"foreign", foreign, "belongs to user 1"},
		{"foreign group", foreignGroup, "group 1 can write to"},
		{"open directory", inOpen, "everybody can write to"},
		{"sticky directory", inSticky, "everybody can write to"},
		{"foreign directory", inForeign, "belongs to user 1"},
		{"link to a foreign directory", link(filepath.Dir(inForeign), "innocent") + "/check", "belongs to user 1"},
		{"through a foreign directory and back", dir + "/home/../good", "belongs to user 1"},
		{"loop", link("loop", "loop"), "too many symbolic links"},
		{"missing", dir + "/missing", "no such file"},
		{"directory", dir, "is not a file"},
	}
	must(os.MkdirAll(dir+"/x", 0o755))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := trusted(test.path)
			switch {
			case test.why == "" && err != nil:
				t.Errorf("refused: %s", err)
			case test.why != "" && (err == nil || !strings.Contains(err.Error(), test.why)):
				t.Errorf("got %v, want %s", err, test.why)
			}
		})
	}
	secure := func(p *parameters) { p.Secure, p.User = true, "root" }
	if got := once(t, newProber(t, secure, foreign), 20*time.Second, sdk.Target{}); got.Outcome != sdk.Down || !strings.Contains(got.Reason, "refused to run") {
		t.Errorf("got %v, want down: refused", got)
	}
	if got := once(t, newProber(t, secure, good), 20*time.Second, sdk.Target{}); got.Outcome != sdk.Up {
		t.Errorf("got %v, want up", got)
	}
	asNobody := func(p *parameters) { p.Secure, p.User = true, "nobody" }
	if got := once(t, newProber(t, asNobody, foreign), 20*time.Second, sdk.Target{}); got.Outcome != sdk.Up {
		t.Errorf("got %v, want up: it is not run as root", got)
	}
}

// TestPrivileges: as the daemon runs it, a script has what it needs and no more.
func TestPrivileges(t *testing.T) {
	needRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const six = "-all,+setuid,+setgid,+kill,+dac_override,+net_admin,+net_raw"
	cmd := exec.Command("setpriv", "--bounding-set", six, "--inh-caps", six, "--ambient-caps", six, "--no-new-privs", "--clear-groups", self)
	cmd.Env = []string{envServe + "=1", "PATH=" + os.Getenv("PATH")}
	c := plugintest.Start(t, cmd)
	c.Configure(t, "")
	const show = `echo $(id -u) $(grep -h 'CapPrm\|CapEff\|CapBnd\|CapAmb\|NoNewPrivs' /proc/self/status | tr -d '\t')`
	tests := []struct{ name, user, command, reason string }{
		{"nobody", "nobody", show + "; exit 3",
			"exit code 3: 65534 CapPrm:0000000000000000 CapEff:0000000000000000 CapBnd:00000000000030e2 CapAmb:0000000000000000 NoNewPrivs:1"},
		{"root", "root", show + "; exit 3",
			"exit code 3: 0 CapPrm:00000000000030e2 CapEff:00000000000030e2 CapBnd:00000000000030e2 CapAmb:00000000000030e2 NoNewPrivs:1"},
		{"killed", "nobody", "sleep 60", "timeout after 1.5s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			request := probeRequest(fmt.Sprintf(`{"command":["/bin/sh","-c",%q],"user":%q}`, test.command, test.user))
			if test.name == "killed" {
				request.Timeout.Seconds, request.Timeout.Nanos = 1, 500_000_000
			}
			answer, err := c.Check.Probe(ctx, request)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(answer.GetReason(), test.reason) {
				t.Errorf("got  %s\nwant %s", answer.GetReason(), test.reason)
			}
		})
	}
	eventually(t, "the end of all that it started", func() bool {
		list, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", c.Pid))
		return err == nil && len(list) == 0
	})
}

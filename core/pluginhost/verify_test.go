package pluginhost

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVerify(t *testing.T) {
	good := fixtureSpec(t)
	for _, test := range []struct {
		name, key, reason string
		change            func(*Spec)
	}{
		{"good", "", "", func(*Spec) {}},
		{"no file", "path", "no such file", func(s *Spec) { s.Path = "/nowhere/plugin" }},
		{"relative", "path", "not an absolute path", func(s *Spec) { s.Path = "plugin" }},
		{"not executable", "path", "no execute permission", func(s *Spec) { s.Path = "/etc/passwd" }},
		{"another sum", "sha256", "not the pinned", func(s *Spec) { s.SHA256 = strings.Repeat("0", 64) }},
		{"no sum", "sha256", "hexadecimal digits", func(s *Spec) { s.SHA256 = "abc" }},
		{"capability", "capabilities", `no capability "NET_MAGIC"`, func(s *Spec) { s.Capabilities = []string{"NET_MAGIC"} }},
		{"user", "user", "no user poise-nobody-has", func(s *Spec) {
			if s.User = "poise-nobody-has"; !currentPowers().changesUser() {
				t.Skip("without the privilege to change users none is looked up")
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := good
			test.change(&spec)
			faults := Verify(spec)
			if test.key == "" {
				if len(faults) > 0 {
					t.Errorf("finds %v", faults)
				}
				return
			}
			if len(faults) != 1 || faults[0].Key != test.key || faults[0].Later || !strings.Contains(faults[0].Err.Error(), test.reason) {
				t.Errorf("finds %v, want %q of %s", faults, test.reason, test.key)
			}
		})
	}
}

// Where others than root can write, a third party's plugin is refused by a daemon with
// privileges, and one without says that it would be.
func TestVerifyTrust(t *testing.T) {
	spec := fixtureSpec(t)
	spec.Builtin = false
	spec.Path = copyFile(t, spec.Path, filepath.Join(openDir(t), "plugin")) // in /tmp
	faults := Verify(spec)
	if len(faults) != 1 || faults[0].Key != "path" || faults[0].Later != !currentPowers().privileged() ||
		!strings.Contains(faults[0].Err.Error(), "not trusted: /tmp is writable by others than root") {
		t.Errorf("finds %v", faults)
	}
}

func TestIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	write := func(text string) string {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		id, err := Identity(path)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := write("one")
	if again, _ := Identity(path); again != first {
		t.Errorf("%s and %s for one file", first, again)
	}
	eventually(t, 5*time.Second, "the same length of other text is another file", func() bool { return write("two") != first })
	if _, err := Identity(path + "x"); err == nil {
		t.Error("a file that is not there has an identity")
	}
}

package examples

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const secret = "correct-horse"

// passwordFile is one that only the plugins' user may read.
func passwordFile(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "password")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	owner := "nobody"
	if exec.Command("id", "poise").Run() == nil {
		owner = "poise"
	}
	must(t, dir, "chown", owner, path)
	return path
}

// TestOutsider: the example in Go needs the sdk and nothing else of poise, and its own tests
// pass, the conformance kit among them; so does the one in Python.
func TestOutsider(t *testing.T) {
	dir := t.TempDir()
	source, _ := buildRedis(t, dir)
	for path := range strings.FieldsSeq(must(t, source, "go", "list", "-f", `{{join .Imports "\n"}}`, "./...")) {
		if strings.HasPrefix(path, "github.com/poise-lb/poise/") && path != "github.com/poise-lb/poise/sdk" && !strings.HasPrefix(path, "github.com/poise-lb/poise/sdk/") {
			t.Errorf("the example imports %s: a third party has the sdk alone", path)
		}
	}
	must(t, source, "go", "vet", "./...")
	must(t, source, "go", "test", "-count=1", "./...")
}

func TestPython(t *testing.T) {
	from := filepath.Join(root, "examples", "checker-mysql-py")
	must(t, from, "/usr/bin/python3", "-B", "-m", "unittest")
	generated := t.TempDir()
	must(t, from, "./generate.sh", generated)
	must(t, from, "diff", "-r", "--exclude=__pycache__", generated+"/poise", from+"/poise")

	plugin := installMySQL(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startMariaDB(t, secret)
	must(t, root, filepath.Join(bin, "poise"), "plugin", "test", plugin, "--tls=false", "--type", "mysql", "--target", s.at.String(),
		"--parameters", fmt.Sprintf(`{"user":"poise","password_file":%q}`, path))
}

// TestRealServers: servers that die leave the table, and come back when they do.
func TestRealServers(t *testing.T) {
	dir := trustedDir(t)
	_, redisPlugin := buildRedis(t, dir)
	mysqlPlugin, password := installMySQL(t, dir), passwordFile(t, dir)
	first, second, database := startRedis(t, secret), startRedis(t, secret), startMariaDB(t, secret)
	raw, err := os.ReadFile(redisPlugin)
	if err != nil {
		t.Fatal(err)
	}
	p := startPoised(t, fmt.Sprintf(`
forwarder: "null"
plugins:
  redis: {path: %s, sha256: "%x"}
  mysql: {path: %s, tls: false}
checks:
  cache: {type: redis, interval: 500ms, timeout: 2s, retries: 1, retry_delay: 100ms, parameters: {password_file: %[4]s}}
  database: {type: mysql, interval: 500ms, timeout: 2s, retries: 1, retry_delay: 100ms, parameters: {user: poise, password_file: %[4]s}}
virtual_servers:
  - {address: "192.0.2.100:6379", forwarding: NAT, checks: [cache], real_servers: ["%s", "%s"]}
  - {address: "192.0.2.100:3306", forwarding: NAT, checks: [database], real_servers: ["%s"]}
`, redisPlugin, sha256.Sum256(raw), mysqlPlugin, password, first.at, second.at, database.at))

	all := []*server{first, second, database}
	expect := func(what string, up ...bool) {
		t.Helper()
		waitFor(t, what, func() bool {
			got := p.status()
			for i, s := range all {
				if r, ok := got[s.at.String()]; !ok || (r.Verdict == "up") != up[i] || r.InTable != up[i] {
					return false
				}
			}
			return true
		})
	}
	expect("all are up", true, true, true)
	first.kill()
	expect("the redis that was killed is out", false, true, true)
	if r := p.status()[first.at.String()]; !strings.Contains(r.Reason, "connection refused") {
		t.Errorf("the reason is %q, want that the connection was refused", r.Reason)
	}
	database.kill()
	expect("the database that was killed is out", false, true, false)
	first.start(t)
	expect("the redis that came back is in", true, true, false)
	database.start(t)
	expect("the database that came back is in", true, true, true)

	// Plugins that are restarted lose no verdict.
	for _, name := range []string{"redis", "mysql"} {
		if out, err := p.poise("plugin", "restart", name); err != nil {
			t.Fatalf("plugin restart %s: %s\n%s", name, err, out)
		}
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			for _, s := range all {
				if r, ok := p.status()[s.at.String()]; ok && (r.Verdict != "up" || !r.InTable) {
					t.Fatalf("while %s was restarted %s was %s (%s)", name, s.at, r.Verdict, r.Reason)
				}
			}
		}
	}
	first.kill()
	database.kill()
	expect("what is killed after a restart of its plugin is out", false, true, false)

	for kind, at := range map[string]netip.AddrPort{"redis": second.at, "mysql": database.at} {
		parameters := []string{"probe", "-v", kind, at.String(), "password_file=" + password}
		if kind == "mysql" {
			parameters = append(parameters, "user=poise")
		}
		out, err := p.poise(parameters...)
		if (err == nil) != (kind == "redis") || !strings.Contains(out, map[string]string{"redis": "PONG", "mysql": "refused"}[kind]) {
			t.Errorf("probe of %s: %v\n%s", kind, err, out)
		}
		if strings.Contains(out, secret) {
			t.Errorf("probe of %s tells the password:\n%s", kind, out)
		}
	}
	if log := p.log.String(); strings.Contains(log, secret) {
		t.Error("the log tells the password")
	}
}

// TestRefused: what others than root could replace is not run, nor what is not the pinned
// executable.
func TestRefused(t *testing.T) {
	dir := trustedDir(t)
	_, plugin := buildRedis(t, dir)
	writable := filepath.Join(dir, "writable")
	must(t, dir, "cp", plugin, writable)
	must(t, dir, "chmod", "0777", writable)
	for _, test := range []struct{ name, plugin, reason string }{
		{"writable", "path: " + writable, "writable"},
		{"hash", fmt.Sprintf("path: %s, sha256: \"%064x\"", plugin, 1), "not the pinned"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "poise.yaml")
			yaml := fmt.Sprintf(`
forwarder: "null"
plugins: {redis: {%s}}
checks: {cache: {type: redis}}
virtual_servers:
  - {address: "192.0.2.100:6379", forwarding: NAT, checks: [cache], real_servers: ["127.0.0.1:6379"]}
`, test.plugin)
			if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(filepath.Join(bin, "poised"), "-t", "-f", config).CombinedOutput()
			if err == nil || !strings.Contains(string(out), test.reason) {
				t.Errorf("poised -t: %v, want it refused because of %q\n%s", err, test.reason, out)
			}
		})
	}
}

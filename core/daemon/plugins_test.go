package daemon

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

const redisServices = `checks:
  good: {type: redis, interval: 1s}
  bad: {type: redis, interval: 1s, parameters: {says: down}}
  web: {type: tcp, interval: 1s}
virtual_servers:
  - address: 192.0.2.100:80
    forwarding: DR
    real_servers:
      - {address: "192.0.2.1:80", checks: [good, web]}
      - {address: "192.0.2.2:80", checks: [bad]}
`

func TestThirdPartyPlugin(t *testing.T) {
	t.Parallel()
	dir := trustedDir(t)
	path, sum := executableIn(t, dir, "redis", "one")
	plugins := fmt.Sprintf("plugins:\n  cache:\n    path: %s\n    args: [types=redis]\n", path)
	d := startDirector(t, dir, redisServices+plugins)
	const want = "192.0.2.1:80 up, 192.0.2.2:80 down as told"
	eventually(t, "both plugins' verdicts are there", func() bool { return d.verdicts(t) == want })
	if got := d.set("cache"); strings.Count(got, "\n") != 1 || strings.Contains(got, "tcp") {
		t.Errorf("the third party's plugin has the checks %q", got)
	}
	if got := d.set("checkers"); strings.Contains(got, "redis") || !strings.Contains(got, "tcp 192.0.2.1") {
		t.Errorf("poise's own has the checks %q", got)
	}
	p := d.plugin(t, "cache")
	if p.GetState() != "running" || p.GetVersion() != "1.2.3" || strings.Join(p.GetKinds(), " ") != "check/redis" || len(p.GetCapabilities()) != 0 {
		t.Errorf("status has %v", p)
	}
	if os.Geteuid() == 0 && p.GetUser() != "poise" && p.GetUser() != "nobody" {
		t.Errorf("it runs as %s", p.GetUser())
	}

	t.Run("killed", func(t *testing.T) {
		if err := syscall.Kill(int(p.GetPid()), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it runs again and knows what it said", func() bool {
			now := d.plugin(t, "cache")
			return now.GetState() == "running" && now.GetPid() != p.GetPid() &&
				strings.Contains(d.set("cache"), "redis 192.0.2.2 known VERDICT_STATE_DOWN")
		})
		if got := d.verdicts(t); got != want {
			t.Errorf("the verdicts are %s", got)
		}
	})
	t.Run("probed", func(t *testing.T) {
		r, err := d.Probe(t.Context(), &controlv1.ProbeRequest{What: &controlv1.ProbeRequest_RealServer{RealServer: &controlv1.ProbeRealServer{
			VirtualServer: "192.0.2.100:80", RealServer: "192.0.2.2",
		}}})
		if err != nil {
			t.Fatal(err)
		}
		x := r.GetResults()[0]
		if x.GetVerdict() != "down" || x.GetReason() != "as told" || x.GetKnown() != "down: as told" || x.GetPlugin() != "cache" || len(x.GetTranscript()) != 2 ||
			!strings.Contains(x.GetTranscript()[1], fmt.Sprintf("process %d, timeout 3s", d.plugin(t, "cache").GetPid())) {
			t.Errorf("answer %v", r)
		}
		// A process that nobody needs otherwise is started, and ends.
		one := func(kind, parameters string) (*controlv1.ProbeResponse, error) {
			return d.Probe(t.Context(), &controlv1.ProbeRequest{What: &controlv1.ProbeRequest_Target{Target: &controlv1.ProbeTarget{Type: kind, Target: "192.0.2.1", ParametersJson: []byte(parameters)}}})
		}
		r, err = one("ping", `{"says":"down"}`)
		if err != nil || r.GetResults()[0].GetVerdict() != "down" || r.GetResults()[0].GetPlugin() != "checkers-net (started for this probe)" {
			t.Errorf("ping: %v, %v", r, err)
		}
		if left, _ := filepath.Glob(filepath.Join(d.dir, "run", "plugins", "*probe*")); len(left) > 0 || d.plugin(t, "checkers-net") != nil {
			t.Errorf("left behind: %v", left)
		}
		if _, err = one("ping", `{"sags":"down"}`); err == nil || !strings.Contains(err.Error(), "check ping: no such check") {
			t.Errorf("with a wrong parameter: %v", err)
		}
	})
	t.Run("restarted with another executable", func(t *testing.T) {
		before := d.plugin(t, "cache")
		if before.GetSha256() != sum {
			t.Errorf("the running hash is %s, want %s", before.GetSha256(), sum)
		}
		_, second := executableIn(t, dir, "redis", "two")
		if now := d.plugin(t, "cache"); now.GetSha256() != sum {
			t.Errorf("the running hash is %s before a restart, want %s", now.GetSha256(), sum)
		}
		restart := func() (*controlv1.RestartPluginResponse, error) {
			return d.RestartPlugin(t.Context(), &controlv1.RestartPluginRequest{Name: "cache"})
		}
		r, err := restart()
		if err != nil || r.GetPreviousSha256() != sum || r.GetPlugin().GetSha256() != second || r.GetPlugin().GetPid() == before.GetPid() {
			t.Fatalf("restart: %v, %v", r, err)
		}
		eventually(t, "it knows what was said", func() bool {
			return strings.Contains(d.set("cache"), "redis 192.0.2.2 known VERDICT_STATE_DOWN")
		})
		// One that cannot run does not take the place of one that does.
		if err := os.WriteFile(path+".new", []byte("no program"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		if _, err := restart(); err == nil || !strings.Contains(err.Error(), "exec format error") || !strings.Contains(err.Error(), "the process that runs goes on") {
			t.Errorf("restart with no program: %v", err)
		}
		if now := d.plugin(t, "cache"); now.GetPid() != r.GetPlugin().GetPid() || now.GetState() != "running" || now.GetRestarts() != 0 {
			t.Errorf("status has %v", now)
		}
		if got := d.verdicts(t); got != want {
			t.Errorf("the verdicts are %s", got)
		}
		executableIn(t, dir, "redis", "one")
		if _, err := restart(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("described", func(t *testing.T) {
		for name, kinds := range map[string]int{"cache": 1, "redis": 1, "http": 1, "checkers": 8, "script": 2} {
			r, err := d.DescribePlugin(t.Context(), &controlv1.DescribePluginRequest{Name: name})
			if err != nil || len(r.GetKinds()) != kinds || !strings.Contains(string(r.GetKinds()[0].GetParametersSchemaJson()), "what it says") {
				t.Errorf("%s: %v, %v", name, r, err)
			}
		}
	})
	t.Run("reload with mistakes changes nothing", func(t *testing.T) {
		before := d.plugin(t, "cache")
		for text, reason := range map[string]string{
			strings.Replace(redisServices, "says: down", "sags: down", 1) + plugins:   d.config + `:4: error: check redis: json: unknown field "sags"`,
			strings.Replace(redisServices, "type: redis", "type: redsi", 1) + plugins: d.config + ":3: error: unknown type of check redsi: no plugin offers it; did you mean redis?",
			redisServices: d.config + ":3: error: unknown type of check redis",
			redisServices + plugins + "    sha256: '" + strings.Repeat("0", 64) + "'\n":     d.config + ":16: error: plugin cache: executable " + path + " has sha256 " + sum + ", not the pinned 0000",
			redisServices + plugins + "  more: {path: " + path + ", args: [types=redis]}\n": "both offer checks of type redis",
			redisServices + plugins + "  more: {path: " + path + ", args: [types=http]}\n":  "which poise has itself",
		} {
			err := d.reload(t, text)
			if err == nil || !strings.Contains(err.Error(), reason) {
				t.Errorf("reload says %v, want %q", err, reason)
			}
		}
		if after := d.plugin(t, "cache"); after.GetPid() != before.GetPid() || d.verdicts(t) != want {
			t.Errorf("the process was %v and is %v, verdicts %s", before, after, d.verdicts(t))
		}
	})
	t.Run("pinned, and another one added", func(t *testing.T) {
		more := strings.Replace(redisServices, "type: tcp", "type: mysql", 1) + plugins + "    sha256: " + sum + "\n  sql: {path: " + path + ", args: [types=mysql, plain], tls: false}\n"
		if err := d.reload(t, more); err != nil {
			t.Fatal(err)
		}
		eventually(t, "both run", func() bool {
			return d.plugin(t, "cache").GetState() == "running" && d.plugin(t, "sql").GetState() == "running" && strings.Contains(d.set("sql"), "mysql")
		})
		if got := d.verdicts(t); !strings.HasPrefix(got, "192.0.2.1:80 up") || !strings.HasSuffix(got, "192.0.2.2:80 down as told") {
			t.Errorf("the verdicts are %s", got)
		}
		// Without TLS the directory is what keeps others from the socket.
		info, err := os.Stat(filepath.Join(d.dir, "run", "plugins", "sql"))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 {
			t.Errorf("the socket's directory has the mode %s", info.Mode())
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; os.Geteuid() == 0 && owner == 0 {
			t.Error("the socket's directory is root's, not the plugin's")
		}
		if d.plugin(t, "checkers") != nil {
			t.Error("poise's own checkers run, and nobody needs them")
		}
	})
	t.Run("removed", func(t *testing.T) {
		if err := d.reload(t, "checks: {web: {type: tcp}}\n"+services); err != nil {
			t.Fatal(err)
		}
		eventually(t, "they are gone", func() bool { return d.plugin(t, "cache") == nil && d.plugin(t, "sql") == nil })
	})
}

// A plugin that hangs costs a bounded time, and is named.
func TestPluginThatHangsInValidation(t *testing.T) {
	t.Parallel()
	dir := trustedDir(t)
	path, _ := executableIn(t, dir, "redis", "one")
	config := filepath.Join(dir, "poise.yaml")
	text := redisServices + "plugins:\n  cache: {path: " + path + ", args: [types=redis, hangs]}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	began := time.Now()
	if Test(t.Context(), Options{ConfigFile: config, PluginFile: self, LogLevel: "error"}, false, &out) {
		t.Error("the configuration is good")
	}
	if want := config + ":12: error: ask plugin cache: ask what it is: it did not answer in time"; !strings.Contains(out.String(), want) || strings.Contains(out.String(), "unknown type") {
		t.Errorf("said %s, want %s", out.String(), want)
	}
	if took := time.Since(began); took > 3*startTimeout {
		t.Errorf("it took %s", took)
	}
}

// A director starts although a plugin cannot be asked, and its checks are probed as soon
// as it runs; a reload is refused meanwhile.
func TestStartWithAPluginThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	dir := trustedDir(t)
	path, _ := executableIn(t, dir, "redis", "one")
	needs := filepath.Join(dir, "library")
	text := redisServices + "restart: {min: 50ms, max: 100ms}\nplugins:\n  cache: {path: " + path + ", args: [types=redis, needs=" + needs + "]}\n"
	d := startDirector(t, dir, text)
	eventually(t, "poise's own plugins work", func() bool { return strings.Contains(d.set("checkers"), "tcp") })
	check := d.status(t).GetVirtualServers()[0].GetRealServers()[1].GetChecks()[0]
	if check.GetPlugin() != "" || check.GetRejected() != "no plugin offers checks of type redis" || check.GetVerdict() != "unknown" {
		t.Errorf("status has %v", check)
	}
	if err := d.reload(t, text); err == nil || !strings.Contains(err.Error(), "ask plugin cache: start it: it ") {
		t.Errorf("reload says %v", err)
	}
	if err := os.WriteFile(needs, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the verdicts are there", func() bool {
		return d.verdicts(t) == "192.0.2.1:80 up, 192.0.2.2:80 down as told"
	})
	check = d.status(t).GetVirtualServers()[0].GetRealServers()[1].GetChecks()[0]
	if check.GetPlugin() != "cache" || check.GetRejected() != "" {
		t.Errorf("status has %v", check)
	}
	eventually(t, "a reload is taken", func() bool { return d.reload(t, text) == nil })
}

// A check that its plugin refuses is told in status, and so is what a real server says.
func TestStatusOfChecks(t *testing.T) {
	dir := trustedDir(t)
	path, _ := executableIn(t, dir, "redis", "one")
	text := strings.Replace(strings.Replace(redisServices, "good: {type: redis, interval: 1s}", "good: {type: redis, parameters: {says: nonsense}}", 1), "says: down", "says: drain", 1)
	d := startDirector(t, dir, text+"plugins:\n  cache: {path: "+path+", args: [types=redis]}\n")
	servers := func() []*controlv1.RealServer { return d.status(t).GetVirtualServers()[0].GetRealServers() }
	eventually(t, "both plugins' verdicts are there", func() bool {
		// Until its first set is there a status has no virtual servers.
		if len(d.status(t).GetVirtualServers()) == 0 {
			return false
		}
		s := servers()
		return s[1].GetVerdict() == "up" && s[0].GetChecks()[1].GetVerdict() == "up"
	})
	s := servers()
	if refused := s[0].GetChecks()[0]; refused.GetRejected() != "/says: is nonsense" || refused.GetPlugin() != "cache" {
		t.Errorf("status has %v", refused)
	}
	if c := s[1].GetChecks()[0]; c.GetAdmin() != "drain" || c.GetWeight() != "+7" || s[1].GetAdmin() != "drain" || s[1].GetWeight() != 0 || c.GetStaleSince() != nil {
		t.Errorf("status has %v", s[1])
	}
	if p := d.plugin(t, "cache"); p.GetChecks() != 2 || p.GetTrouble() != "1 check cannot be carried out" || p.GetHeardAt() == nil {
		t.Errorf("status has %v", p)
	}
}

// What others than root could replace is not run, and where it is named is told.
func TestUntrustedPluginIsRefusedAtLoad(t *testing.T) {
	dir := t.TempDir() // in /tmp
	path, _ := executableIn(t, dir, "redis", "one")
	config := filepath.Join(dir, "poise.yaml")
	text := redisServices + "plugins:\n  cache:\n    user: nobody\n    path: " + path + "\n    args: [types=redis]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	severity := "warning"
	if os.Geteuid() == 0 {
		severity = "error"
	}
	var out bytes.Buffer
	good := Test(t.Context(), Options{ConfigFile: config, PluginFile: path, LogLevel: "error"}, false, &out)
	if want := config + ":14: " + severity + ": plugin cache: not trusted: /tmp is writable by others than root"; good != (severity == "warning") || !strings.Contains(out.String(), want) {
		t.Errorf("said %s, want %s", out.String(), want)
	}
}

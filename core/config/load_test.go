package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poise-lb/poise/core/model"
)

var update = flag.Bool("update", false, "write what is told into testdata/*.want")

// TestMistakes loads files that each hold one kind of mistake, and compares all that
// is told with FILE.want.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	tested := 0
	for _, f := range files {
		if _, known := formats[filepath.Ext(f)]; !known && filepath.Ext(f) != ".conf" {
			continue
		}
		tested++
		t.Run(filepath.Base(f), func(t *testing.T) {
			r := Load(f, Options{ConfigID: "a", Known: builtinType})
			var got strings.Builder
			for _, p := range r.Problems {
				got.WriteString(p.String() + "\n")
			}
			checkPlaces(t, r)
			if invalid := strings.HasPrefix(filepath.Base(f), "invalid-"); invalid != r.HasErrors() {
				t.Errorf("has errors: %v", r.HasErrors())
			}
			if *update {
				if err := os.WriteFile(f+".want", []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(f + ".want")
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("told\n%swant\n%s", got.String(), want)
			}
			if !r.HasErrors() {
				roundTrip(t, r)
			}
		})
	}
	if tested < 25 {
		t.Errorf("only %d files with mistakes were found", tested)
	}
}

// builtinType tells whether a type of check is poise's own.
func builtinType(s string) bool {
	_, ok := builtinParameters[s]
	return ok
}

func TestMissingFile(t *testing.T) {
	for _, path := range []string{"testdata/nowhere.conf", "testdata/nowhere.yaml", "testdata"} {
		r := Load(path, Options{})
		if !r.HasErrors() || r.Problems[0].File != path || r.Problems[0].Line != 1 {
			t.Errorf("%s: %v", path, r.Problems)
		}
	}
}

// TestSecrets: no message shows a password, whatever is wrong with it.
func TestSecrets(t *testing.T) {
	const secret = "hunter2"
	for name, text := range map[string]string{
		"words.conf":    "vrrp_instance a {\nauthentication {\nauth_type PASS\nauth_pass x " + secret + "\n}\n}\n",
		"long.conf":     "vrrp_instance a {\nauthentication {\nauth_type PASS\nauth_pass " + secret + secret + "\n}\n}\n",
		"comment.conf":  "vrrp_instance a {\nauthentication {\nauth_pass " + secret + "#x\n}\n}\n",
		"equals.conf":   "vrrp_instance a {\nauthentication {\nauth_pass=" + secret + "\n}\n}\n",
		"dollar.conf":   "vrrp_instance a {\nauthentication {\nauth_pass a$" + secret + "\n}\n}\n",
		"quote.conf":    "vrrp_instance a {\nauthentication {\nauth_pass \"" + secret + "\n}\n}\n",
		"ssl.conf":      "SSL {\npassword " + secret + " " + secret + "\n}\n",
		"ssl2.conf":     "SSL {\npassword=" + secret + "\npassword {\n" + secret + "\n}\n}\npassword " + secret + "\n",
		"misplace.conf": "vrrp_instance a {\nauth_pass " + secret + "\n}\n",
		"long.yaml":     "failover_groups: [{name: a, auth: {pass: " + secret + secret + "}}]\n",
		"list.yaml":     "failover_groups: [{name: a, auth: {pass: [" + secret + "]}}]\n",
		"f5.yaml":       "forwarders: {lab: {type: f5, password: " + secret + "}}\n",
		"f5list.yaml":   "forwarders: {lab: {type: f5, password: [" + secret + "]}}\n",
		"f5.toml":       "[forwarders.lab]\ntype = 'f5'\npassword = '" + secret + "'\n",
		"f5.json":       `{"forwarders": {"lab": {"type": "f5", "password": {"a": "` + secret + `"}}}}`,
		"f5typed.yaml":  "forwarders: {lab: {tpye: f5, password: " + secret + "}}\n",
		"f5server.yaml": "forwarders: {lab: {type: f5}}\nvirtual_servers: [{address: 192.0.2.1:80, forwarders: f5:lab, f5: {password: " + secret + "}}]\n",
		"flat.yaml":     "failover_groups: [{name: a, auth: " + secret + "}]\n",
	} {
		r := loadText(t, name, text, Options{})
		if len(r.Problems) == 0 {
			t.Errorf("%s: nothing is told", name)
		}
		for _, p := range r.Problems {
			if strings.Contains(p.String(), secret[:6]) {
				t.Errorf("%s: %v", name, p)
			}
		}
	}
}

func TestLocate(t *testing.T) {
	const yaml = `checks:
  web:
    type: http
    parameters:
      url:
        - path: /
virtual_servers:
  - address: 192.0.2.1:80
    forwarding: DR
    checks: [web]
    real_servers: [192.0.2.2, 192.0.2.3]
`
	const conf = `virtual_server 192.0.2.1 80 {
    lb_algo rr
    lb_kind DR
    protocol TCP
    real_server 192.0.2.2 80 {
        weight 1
        TCP_CHECK {
        }
    }
}
`
	y, c := loadText(t, "a.yaml", yaml, Options{}), loadText(t, "a.conf", conf, Options{})
	web := y.Config.VirtualServers[0].RealServers[1].Checks[0]
	for _, test := range []struct {
		result  Result
		check   model.Check
		pointer string
		line    int
	}{
		{y, web, "", 2},
		{y, web, "/url", 5},
		{y, web, "/url/0/path", 6},
		{y, web, "/url/0/regex", 6},
		{y, web, "/nothing", 2},
		{y, model.Check{Type: "other"}, "", 1},
		{c, c.Config.VirtualServers[0].RealServers[0].Checks[0], "/port", 7},
	} {
		file, line := test.result.Locate(test.check, test.pointer)
		if line != test.line || file != test.result.path {
			t.Errorf("%v %q: %s:%d, want line %d", test.check, test.pointer, file, line, test.line)
		}
	}
}

func TestLocatePlugin(t *testing.T) {
	const yaml = `router_id: a
plugins:
  redis:
    path: /usr/libexec/poise/plugins/redis
    sha256: 0000000000000000000000000000000000000000000000000000000000000000
    parameters:
      servers:
        - one
    tls: false
`
	y := loadText(t, "a.yaml", yaml, Options{})
	if p := y.Config.Plugins[0]; !p.PlainText {
		t.Errorf("tls: false gives %+v", p)
	}
	for _, test := range []struct {
		name, pointer string
		line          int
	}{
		{"redis", "", 3}, {"redis", "/sha256", 5}, {"redis", "/user", 3}, {"redis", "/parameters/servers/0", 8},
		{"redis", "/parameters/servers/1/x", 7}, {"other", "/path", 1},
	} {
		if file, line := y.LocatePlugin(test.name, test.pointer); line != test.line || file != y.path {
			t.Errorf("%s %q: %s:%d, want line %d", test.name, test.pointer, file, line, test.line)
		}
	}
}

// loadText loads a text as a file of that name.
func loadText(t testing.TB, name, text string, o Options) Result {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path, o)
}

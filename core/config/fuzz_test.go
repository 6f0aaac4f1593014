package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzKeepalived: whatever a keepalived.conf holds, the reader ends, and every problem
// is on a line of the file.
func FuzzKeepalived(f *testing.F) {
	seeds(f, "testdata/*.conf", "../../configs/*.conf")
	f.Add([]byte("$A=${A}${A}\n$A\n@a @^b @ x\n\"\\# {{{ }}} \x00\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Includes would read the machine it runs on.
		if strings.Contains(string(data), "include") || strings.Contains(string(data), "_ENV") {
			t.Skip()
		}
		fuzzed(t, "a.conf", data)
	})
}

// FuzzNative is the same for poise's own formats.
func FuzzNative(f *testing.F) {
	seeds(f, "testdata/*.yaml", "testdata/*.toml", "testdata/*.json", "../../configs/*.yaml", "../../configs/*.toml", "../../configs/*.json")
	f.Add([]byte("a: &a [*a]\nb: {<<: *a, <<: [*a]}\n? [x]\n: y\n"))
	f.Add([]byte("checks: &c {web: {type: tcp}}\n<<: {checks: *c}\n\"\\xff\": 1\n!!binary /w==: 2\n"))
	f.Add([]byte("[[virtual_servers]]\n[virtual_servers.x]\n[[virtual_servers.real_servers]]\na.b.c = {d = [{e = 1}]}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), "keepalived") {
			t.Skip()
		}
		for _, name := range []string{"a.yaml", "a.toml", "a.json"} {
			fuzzed(t, name, data)
		}
	})
}

// FuzzServiceKey: what is read as a key is read back as it is written.
func FuzzServiceKey(f *testing.F) {
	for _, s := range []string{"TCP 192.0.2.1:80", "[2001:db8::1]:80", "UDP 192.0.2.1", "FWM 3 inet6", "fwm 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := parseServiceKey(s)
		if err != nil {
			return
		}
		if back, err := parseServiceKey(key.String()); err != nil || back != key {
			t.Errorf("%q is %s, and that is %s, %v", s, key, back, err)
		}
	})
}

func seeds(f *testing.F, patterns ...string) {
	for _, p := range patterns {
		files, _ := filepath.Glob(p)
		if len(files) == 0 {
			f.Fatalf("no seeds match %s", p)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
}

func fuzzed(t *testing.T, name string, data []byte) {
	t.Helper()
	r := loadText(t, name, string(data), Options{ConfigID: "a"})
	checkPlaces(t, r)
	if !r.HasErrors() {
		roundTrip(t, r)
	}
}

package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestExamples loads every file of configs/: none has an error, and those in poise's
// own format have no warning.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../configs/*")
	if err != nil || len(files) < 8 {
		t.Fatalf("found %d examples, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			r := Load(f, Options{Known: builtinType})
			own := formats[filepath.Ext(f)].parser != nil
			for _, p := range r.Problems {
				// keepalived.yaml includes a keepalived.conf, whose warnings are its own.
				if p.Severity == Error || own && p.File == f {
					t.Error(p)
				}
			}
			if len(r.Config.VirtualServers) == 0 {
				t.Error("no virtual server")
			}
			roundTrip(t, r)
		})
	}
}

// roundTrip writes a configuration as YAML and reads it back.
func roundTrip(t *testing.T, r Result) {
	t.Helper()
	var out bytes.Buffer
	if err := WriteYAML(&out, r.Config); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.yaml")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	back := Load(path, Options{})
	if back.HasErrors() {
		t.Fatalf("%v in\n%s", back.Problems, out.String())
	}
	if !reflect.DeepEqual(r.Config, back.Config) {
		t.Fatalf("was %+v\nis  %+v\nthrough\n%s", r.Config, back.Config, out.String())
	}
}

func TestSeedInBothFormats(t *testing.T) {
	for _, name := range []string{"seed", "seed-b"} {
		conf := Load("../../configs/"+name+".conf", Options{})
		yaml := Load("../../configs/"+name+".yaml", Options{})
		if conf.HasErrors() || yaml.HasErrors() {
			t.Fatal(conf.Problems, yaml.Problems)
		}
		if !reflect.DeepEqual(conf.Config, yaml.Config) {
			t.Errorf("%s.conf is\n%+v\n%s.yaml is\n%+v", name, conf.Config, name, yaml.Config)
		}
	}
	a, b := Load("../../configs/seed.yaml", Options{}).Config, Load("../../configs/seed-b.yaml", Options{}).Config
	if reflect.DeepEqual(a, b) {
		t.Error("the directors do not differ")
	}
	b.RouterID, b.FailoverGroups[0].Instances[0].Priority = a.RouterID, a.FailoverGroups[0].Instances[0].Priority
	if !reflect.DeepEqual(a, b) {
		t.Errorf("the directors differ in more than name and priority:\n%+v\n%+v", a, b)
	}
}

// TestSharedSeed reads the seed file exactly as its users have it.
func TestSharedSeed(t *testing.T) {
	const seed = "../../../shared/seed/keepalived.conf"
	if _, err := os.Stat(seed); err != nil {
		t.Skip("the shared seed file is not here: ", err)
	}
	r := Load(seed, Options{})
	ours := Load("../../configs/seed.conf", Options{})
	if !reflect.DeepEqual(r.Config, ours.Config) {
		t.Errorf("the seed is\n%+v\nconfigs/seed.conf is\n%+v", r.Config, ours.Config)
	}
	var lines []string
	for _, p := range r.Problems {
		lines = append(lines, p.String())
	}
	want := []string{
		seed + ":16: warning: lvs_sync_daemon_interface in an instance is an old spelling: write lvs_sync_daemon eth0 http in global_defs",
		seed + ":40: warning: nb_get_retry is the old spelling of retry: keepalived 2 ignores it in a TCP_CHECK, here it counts; write retry",
		seed + ":50: warning: nb_get_retry is the old spelling of retry: keepalived 2 ignores it in a TCP_CHECK, here it counts; write retry",
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("told %q\nwant %q", lines, want)
	}
}

// corpusGood is how many files of the shared corpus are read without errors. Of the others
// none is refused for a check.
const corpusGood = 32

// TestSharedCorpus reads what is in use elsewhere: no panic, every problem has a
// place, and what is read without errors survives being written as YAML.
func TestSharedCorpus(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/corpus/*.conf")
	if len(files) == 0 {
		t.Skip("the shared corpus is not here")
	}
	good := 0
	for _, f := range files {
		r := Load(f, Options{ConfigID: "node1"})
		checkPlaces(t, r)
		if !r.HasErrors() {
			good++
			roundTrip(t, r)
		}
		for _, p := range r.Problems {
			if p.Severity == Error && strings.Contains(p.Message, "not built") && (strings.Contains(p.Message, "_CHECK") || strings.Contains(p.Message, "_GET")) {
				t.Error(p)
			}
		}
	}
	if good < corpusGood {
		t.Errorf("only %d of %d files were read without errors, want %d", good, len(files), corpusGood)
	}
}

// checkPlaces tells of problems whose line is not in their file.
func checkPlaces(t *testing.T, r Result) {
	t.Helper()
	for _, p := range r.Problems {
		data, err := os.ReadFile(p.File)
		lines := bytes.Count(data, []byte("\n")) + 1
		if err != nil {
			lines = 1
		}
		if p.Line < 1 || p.Line > lines {
			t.Errorf("%v: the file has %d lines", p, lines)
		}
		if p.Message == "" {
			t.Errorf("%v has no message", p)
		}
	}
}

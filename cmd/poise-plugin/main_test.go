package main

import (
	"os"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/version"
	"github.com/poise-lb/poise/sdk"
)

// The test's executable is also the program.
const envRun = "POISE_PLUGIN_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(envRun) != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestChoose(t *testing.T) {
	tests := []struct {
		name      string
		args      []string
		plugin    string
		code      int
		out, errs string
	}{
		{"version", []string{"--version"}, "", 0, "poise-plugin " + version.Version, ""},
		{"help", []string{"--help"}, "", 0, "checkers", ""},
		{"nothing", nil, "", 2, "", "usage: poise-plugin"},
		{"too much", []string{"null", "null"}, "", 2, "", "usage: poise-plugin"},
		{"unknown", []string{"none"}, "", 2, "", `no plugin "none"`},
	}
	for _, a := range applets {
		tests = append(tests, struct {
			name      string
			args      []string
			plugin    string
			code      int
			out, errs string
		}{a.name, []string{a.name}, a.name, 0, "", ""})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out, errs strings.Builder
			p, code := choose(test.args, &out, &errs)
			if p == nil {
				p = &sdk.Plugin{}
			}
			if p.Name != test.plugin || code != test.code || !strings.Contains(out.String(), test.out) || !strings.Contains(errs.String(), test.errs) {
				t.Errorf("got plugin %q, code %d, %q, %q", p.Name, code, out.String(), errs.String())
			}
			if test.code != 0 && out.Len() > 0 || test.errs == "" && errs.Len() > 0 {
				t.Errorf("said %q on the wrong stream: %q", test.name, out.String()+errs.String())
			}
		})
	}
}

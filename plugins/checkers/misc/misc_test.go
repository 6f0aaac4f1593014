package misc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

const envServe = "POISE_MISC_TEST_SERVE"

// TestMain: the test's executable is also the plugin.
func TestMain(m *testing.M) {
	if os.Getenv(envServe) != "" {
		sdk.Serve(sdk.Plugin{Name: "script", Version: "test", Checkers: map[string]sdk.Checker{Type: New()}})
	}
	os.Exit(m.Run())
}

// script writes an executable file.
func script(t testing.TB, text string) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "check")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func shell(t testing.TB, lines string) string { return script(t, "#!/bin/sh\n"+lines+"\n") }

// newProber makes the prober of a command; change changes its parameters.
func newProber(t testing.TB, change func(*parameters), command ...string) *prober {
	t.Helper()
	p := parameters{Command: command}
	if change != nil {
		change(&p)
	}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	out, err := New().Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.(*prober).Close)
	return out.(*prober)
}

// once probes as the sdk does.
func once(t testing.TB, p *prober, timeout time.Duration, target sdk.Target) sdk.Result {
	t.Helper()
	target.Trace, target.Timeout = t.Logf, timeout
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return p.Probe(ctx, target)
}

func TestResults(t *testing.T) {
	dynamic := func(p *parameters) { p.Dynamic = true }
	known := sdk.Weight{Mode: sdk.SetWeight, Value: 8}
	tests := []struct {
		name   string
		change func(*parameters)
		text   string
		want   sdk.Result
	}{
		{"exit 0", nil, "exit 0", sdk.Result{Outcome: sdk.Up}},
		{"exit 1", nil, "exit 1", sdk.Result{Outcome: sdk.Down, Reason: "exit code 1"}},
		{"exit 10", nil, "exit 10", sdk.Result{Outcome: sdk.Down, Reason: "exit code 10"}},
		{"output", nil, "echo 'disk  full'; echo on /var >&2; exit 3", sdk.Result{Outcome: sdk.Down, Reason: "exit code 3: disk full on /var"}},
		{"output that would steer", nil, `printf '\033[2Jgone\007\377'; exit 3`, sdk.Result{Outcome: sdk.Down, Reason: "exit code 3: [2Jgone \uFFFD"}},
		{"killed", nil, "kill -9 $$", sdk.Result{Outcome: sdk.Down, Reason: "killed by signal 9 (killed)"}},
		{"dynamic exit 0", dynamic, "exit 0", sdk.Result{Outcome: sdk.Up}},
		{"dynamic exit 1", dynamic, "exit 1", sdk.Result{Outcome: sdk.Down, Reason: "exit code 1", Weight: known}},
		{"dynamic exit 2", dynamic, "exit 2", sdk.Result{Outcome: sdk.Up, Weight: sdk.Weight{Mode: sdk.SetWeight}}},
		{"dynamic exit 10", dynamic, "exit 10", sdk.Result{Outcome: sdk.Up, Weight: known}},
		{"dynamic exit 255", dynamic, "exit 255", sdk.Result{Outcome: sdk.Up, Weight: sdk.Weight{Mode: sdk.SetWeight, Value: 253}}},
		{"dynamic, killed", dynamic, "kill -11 $$", sdk.Result{Outcome: sdk.Down, Reason: "killed by signal 11 (segmentation fault)", Weight: known}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newProber(t, test.change, shell(t, test.text))
			got := once(t, p, 20*time.Second, sdk.Target{Known: sdk.Known{Outcome: sdk.Up, Weight: known}})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCannotRun: keepalived takes all of these for up.
func TestCannotRun(t *testing.T) {
	notExecutable := shell(t, "exit 0")
	if err := os.Chmod(notExecutable, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, reason string }{
		{"missing", "/nonexistent/check", "cannot run /nonexistent/check as user %s: there is no such file"},
		{"not in PATH", "poise-no-such-program", "there is no program poise-no-such-program in "},
		{"not executable", notExecutable, "cannot run " + notExecutable + " as user %s: permission denied"},
		{"directory", "/tmp", "cannot run /tmp as user %s: permission denied"},
		{"interpreter", script(t, "#!/nonexistent/sh -x\nexit 0\n"), "its interpreter /nonexistent/sh is not there"},
		{"no interpreter", script(t, "exit 0\n"), "it is neither a program nor has it a line #!"},
		{"empty", script(t, ""), "it is neither a program nor has it a line #!"},
	}
	who, err := identify("", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := once(t, newProber(t, nil, test.path), 20*time.Second, sdk.Target{})
			want := strings.ReplaceAll(test.reason, "%s", who.name)
			if got.Outcome != sdk.Down || !strings.Contains(got.Reason, want) {
				t.Errorf("got %v, want down: %s", got, want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("POISE_SECRET", "1")
	p := newProber(t, nil, shell(t, `env | grep -v '^\(PWD\|SHLVL\|_\|OLDPWD\)='| sort | tr '\n' ' '; echo "$PWD [$1] [$2] $#"; exit 9`), "a b", "$HOME")
	got := once(t, p, 20*time.Second, sdk.Target{Addr: netip.MustParseAddrPort("[2001:db8::1]:80")})
	want := "exit code 9: PATH=" + searchPath + " POISE_ADDRESS=2001:db8::1 POISE_CHECK_TYPE=misc POISE_PORT=80 / [a b] [$HOME] 2"
	if got.Reason != want {
		t.Errorf("got  %s\nwant %s", got.Reason, want)
	}
}

func TestNameInPath(t *testing.T) {
	if got := once(t, newProber(t, nil, "true"), 20*time.Second, sdk.Target{}); got.Outcome != sdk.Up {
		t.Errorf("true: got %v, want up", got)
	}
	if got := once(t, newProber(t, nil, "false"), 20*time.Second, sdk.Target{}); got.Outcome != sdk.Down {
		t.Errorf("false: got %v, want down", got)
	}
}

// TestMuchOutput: a command is not held up by what it writes, and little of it is kept.
func TestMuchOutput(t *testing.T) {
	p := newProber(t, nil, shell(t, "head -c 3000000 /dev/zero | tr '\\0' x; exit 4"))
	got := once(t, p, 60*time.Second, sdk.Target{})
	if want := "exit code 4: " + strings.Repeat("x", quotedOutput) + "..."; got.Reason != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestParse(t *testing.T) {
	tests := []struct{ parameters, path string }{
		{``, "/command"},
		{`{"command":[]}`, "/command"},
		{`{"command":[""]}`, "/command/0"},
		{`{"command":["bin/check"]}`, "/command/0"},
		{`{"command":["/bin/check","a\u0000b"]}`, "/command/1"},
		{`{"command":"/bin/check"}`, "/command"},
		{`{"command":["/bin/check"],"misc_timeout":3}`, "/misc_timeout"},
		{`{"command":["/bin/check"],"dynamic":"yes"}`, "/dynamic"},
	}
	for _, test := range tests {
		problems := checker{}.Validate(json.RawMessage(test.parameters))
		if len(problems) != 1 || problems[0].Path != test.path || problems[0].Warning {
			t.Errorf("validate %s: %v, want one error at %s", test.parameters, problems, test.path)
		}
		if _, err := New().Parse(json.RawMessage(test.parameters)); err == nil {
			t.Errorf("parse %s: no error", test.parameters)
		}
	}
}

func TestValidateWarns(t *testing.T) {
	notExecutable := shell(t, "exit 0")
	if err := os.Chmod(notExecutable, 0o644); err != nil {
		t.Fatal(err)
	}
	good := shell(t, "exit 0")
	tests := []struct{ name, parameters, path string }{
		{"good", fmt.Sprintf(`{"command":[%q],"secure":false}`, good), ""},
		{"good, trusted", `{"command":["/usr/bin/true"],"user":"root"}`, ""},
		{"good, as somebody", fmt.Sprintf(`{"command":[%q],"user":"nobody"}`, good), ""},
		{"missing", `{"command":["/nonexistent/check"]}`, "/command/0"},
		{"not in PATH", `{"command":["poise-no-such-program"]}`, "/command/0"},
		{"not executable", fmt.Sprintf(`{"command":[%q],"secure":false}`, notExecutable), "/command/0"},
		{"no file", `{"command":["/tmp"],"secure":false}`, "/command/0"},
		{"no interpreter", fmt.Sprintf(`{"command":[%q],"secure":false}`, script(t, "#!/nonexistent/x\n")), "/command/0"},
		{"no user", `{"command":["/usr/bin/true"],"user":"poise-nobody-is-this"}`, "/user"},
		{"no group", `{"command":["/usr/bin/true"],"user":"root","group":"poise-no-such-group"}`, "/group"},
		{"not to be trusted", fmt.Sprintf(`{"command":[%q],"user":"root"}`, good), "/command/0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			problems := checker{}.Validate(json.RawMessage(test.parameters))
			if test.path == "" {
				if len(problems) != 0 {
					t.Errorf("got %v, want none", problems)
				}
				return
			}
			if len(problems) != 1 || problems[0].Path != test.path || !problems[0].Warning {
				t.Errorf("got %v, want one warning at %s", problems, test.path)
			}
		})
	}
}

func TestConform(t *testing.T) {
	c := plugintest.Serve(t, sdk.Plugin{Name: "script", Version: "test", Checkers: map[string]sdk.Checker{Type: New()}})
	c.Configure(t, "")
	plugintest.Conform(t, c, map[string]string{Type: `{"command":["/usr/bin/true"],"dynamic":true}`})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	answer, err := c.Check.Probe(ctx, probeRequest(`{"command":["/bin/sh","-c","echo yes; exit 12"],"dynamic":true,"secure":false}`))
	if err != nil {
		t.Fatal(err)
	}
	if answer.GetState() != checkv1.VerdictState_VERDICT_STATE_UP || answer.GetWeight() != 10 ||
		answer.GetWeightMode() != checkv1.WeightMode_WEIGHT_MODE_SET || len(answer.GetTranscript()) != 3 {
		t.Errorf("got %v, want up with weight 10 and a transcript", answer)
	}
}

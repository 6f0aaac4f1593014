package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

const checked = `checks:
  web:
    type: tcp
    parameters:
      colour: red
virtual_servers:
  - address: 192.0.2.100:80
    forwarding: DR
    checks: [web]
    real_servers: [192.0.2.1:80, 192.0.2.2:80]
`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "poise.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What a plugin says of its parameters is told where they stand in the file.
func TestPluginProblemsHaveFileAndLine(t *testing.T) {
	path := write(t, checked)
	asked := 0
	validate := func(_ context.Context, name string, items []*pluginv1.ValidateItem) ([]*pluginv1.Problem, error) {
		asked++
		if name != "checkers" || len(items) == 0 || items[0].GetType() != "tcp" || string(items[0].GetParametersJson()) != `{"colour":"red"}` {
			t.Errorf("asked %s about %v", name, items)
		}
		return []*pluginv1.Problem{
			{Item: 0, Path: "/colour", Message: "no such parameter", Severity: pluginv1.Severity_SEVERITY_ERROR},
			{Item: 99, Message: "an item that was never sent"},
		}, nil
	}
	l := load(context.Background(), Options{ConfigFile: path}, validate)
	if asked != 1 || !l.hasErrors() {
		t.Fatalf("asked %d times, problems %v; want one question and an error", asked, l.problems)
	}
	if got, want := l.problems[0].String(), path+":5: error: check tcp: colour: no such parameter"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestAPluginThatCannotBeAskedIsAnError(t *testing.T) {
	path := write(t, checked)
	l := load(context.Background(), Options{ConfigFile: path}, func(context.Context, string, []*pluginv1.ValidateItem) ([]*pluginv1.Problem, error) {
		return nil, errors.New("poise-plugin is missing")
	})
	if !l.hasErrors() || !strings.Contains(l.problems[0].Message, "poise-plugin is missing") {
		t.Errorf("problems %v, want one that names the cause", l.problems)
	}
}

func TestOnlyOneSide(t *testing.T) {
	never := func(context.Context, string, []*pluginv1.ValidateItem) ([]*pluginv1.Problem, error) {
		t.Error("asked about checks that have no parameters")
		return nil, nil
	}
	seed := "../../configs/seed.yaml"
	if l := load(context.Background(), Options{ConfigFile: seed, OnlyFailover: true}, never); len(l.config.VirtualServers) != 0 || len(l.config.FailoverGroups) != 1 || needsForwarder(&l.config) {
		t.Errorf("-P gives %+v", l.config)
	}
	if l := load(context.Background(), Options{ConfigFile: seed, OnlyServices: true}, never); len(l.config.VirtualServers) != 1 || len(l.config.FailoverGroups) != 0 || l.config.ConnectionSync != nil {
		t.Errorf("-C gives %+v", l.config)
	}
}

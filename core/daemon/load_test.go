package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/pluginhost"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "poise.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fakePlugins answer as the executables of a test would.
type fakePlugins struct {
	// offers are the types of checks by the name of the process.
	offers map[string][]string
	// fails are processes that cannot be asked.
	fails map[string]error
	// says answers an item.
	says func(process string, item *pluginv1.ValidateItem) *pluginv1.Problem

	mu    sync.Mutex
	asked []string
	shown map[string][]*pluginv1.ValidateItem
	specs map[string]pluginhost.Spec
}

func (f *fakePlugins) inspect(_ context.Context, spec pluginhost.Spec, _ any, show items) (pluginhost.Inspection, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shown == nil {
		f.shown, f.specs = map[string][]*pluginv1.ValidateItem{}, map[string]pluginhost.Spec{}
	}
	f.asked = append(f.asked, spec.Name)
	slices.Sort(f.asked)
	f.specs[spec.Name] = spec
	if err := f.fails[spec.Name]; err != nil {
		return pluginhost.Inspection{}, err
	}
	info := &pluginv1.DescribeResponse{Name: spec.Name, Version: "1", Features: []string{featureValidatePlugin}}
	for _, kind := range f.offers[spec.Name] {
		info.Kinds = append(info.Kinds, &pluginv1.Kind{Interface: pluginv1.Interface_INTERFACE_CHECK, Type: kind})
	}
	found := pluginhost.Inspection{Info: info}
	f.shown[spec.Name] = show(info)
	for n, item := range f.shown[spec.Name] {
		if f.says == nil {
			continue
		}
		if p := f.says(spec.Name, item); p != nil {
			p.Item = uint32(n)
			found.Problems = append(found.Problems, p)
		}
	}
	return found, nil
}

// own is the settings of a plugin of the operator's; it is trusted, and not started here.
func own(name string) string { return "  " + name + ":\n    path: /bin/true\n" }

const services = `virtual_servers:
  - address: 192.0.2.100:80
    forwarding: DR
    checks: [web]
    real_servers: [192.0.2.1:80, 192.0.2.2:80]
`

// lines are the problems without the file's name.
func lines(l loaded, path string) []string {
	var out []string
	for _, p := range l.problems {
		out = append(out, strings.ReplaceAll(strings.TrimPrefix(p.String(), path+":"), path, "FILE"))
	}
	return out
}

// What a plugin says of its parameters is told where they stand in the file.
func TestPluginProblemsHaveFileAndLine(t *testing.T) {
	f := &fakePlugins{says: func(_ string, item *pluginv1.ValidateItem) *pluginv1.Problem {
		return &pluginv1.Problem{Path: "/colour", Message: "no such parameter", Severity: pluginv1.Severity_SEVERITY_ERROR}
	}}
	path := write(t, "checks:\n  web:\n    type: tcp\n    parameters:\n      colour: red\n"+services)
	l := load(t.Context(), Options{ConfigFile: path, PluginFile: "/bin/true"}, f.inspect, false)
	if got := lines(l, path); !slices.Equal(got, []string{"5: error: check tcp: colour: no such parameter"}) {
		t.Errorf("told %q", got)
	}
	// Two real servers have it, and one question is enough.
	if items := f.shown["checkers"]; len(f.asked) != 1 || len(items) != 1 || items[0].GetType() != "tcp" || string(items[0].GetParametersJson()) != `{"colour":"red"}` {
		t.Errorf("asked %v about %v", f.asked, items)
	}
}

func TestTypesHaveTheirProcess(t *testing.T) {
	for _, test := range []struct {
		name, text string
		asked      []string
	}{
		{"nothing to ask", "checks: {web: {type: http}}\n" + services, nil},
		{"parameters", "checks: {web: {type: http, parameters: {virtualhost: a}}}\n" + services, []string{"checkers"}},
		{"a mark: the same checker", "checks: {web: {type: http, fwmark: 3, parameters: {virtualhost: a}}}\n" + services, []string{"checkers"}},
		{"what needs a parameter", "checks: {web: {type: misc}}\n" + services, []string{"script"}},
		{"ping", "checks: {web: {type: ping, parameters: {a: 1}}}\n" + services, []string{"checkers-net"}},
		{"bfd", "checks: {web: {type: bfd, parameters: {a: 1}}}\n" + services, []string{"bfd"}},
		{"a plugin of one's own is always asked", "checks: {web: {type: tcp}}\nplugins:\n" + own("redis") + services, []string{"redis"}},
		{"both", "checks: {web: {type: misc}}\nplugins:\n" + own("redis") + services, []string{"redis", "script"}},
		{"settings of poise's own", "checks: {web: {type: tcp}}\nplugins: {checkers: {user: root}}\n" + services, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fakePlugins{offers: map[string][]string{"redis": {"redis"}}}
			l := load(t.Context(), Options{ConfigFile: write(t, test.text), PluginFile: "/bin/true"}, f.inspect, false)
			if l.hasErrors() || !slices.Equal(f.asked, test.asked) {
				t.Errorf("asked %v, want %v; %v", f.asked, test.asked, l.problems)
			}
			for name, spec := range f.specs {
				if len(spec.Capabilities) > 0 || spec.User != processNamed(&l.config, name).user {
					t.Errorf("%s is asked as %q with %v", name, spec.User, spec.Capabilities)
				}
			}
		})
	}
}

func TestOwnPlugins(t *testing.T) {
	const check = "checks:\n  web: {type: redis}\n"
	bad := &pluginv1.Problem{Message: "is wrong", Severity: pluginv1.Severity_SEVERITY_ERROR}
	for _, test := range []struct {
		name, text string
		plugins    *fakePlugins
		start      bool
		want       []string
	}{
		{"known", check + services + "plugins:\n" + own("cache"), &fakePlugins{offers: map[string][]string{"cache": {"redis"}}}, false, nil},
		{"unknown", check + services, &fakePlugins{}, false,
			[]string{"2: error: unknown type of check redis: no plugin offers it (there are agent bfd dns file grpc http misc ping smtp ssl tcp udp)"}},
		{"misspelt", "checks:\n  web: {type: redsi}\n" + services + "plugins:\n" + own("cache"), &fakePlugins{offers: map[string][]string{"cache": {"redis"}}}, false,
			[]string{"2: error: unknown type of check redsi: no plugin offers it; did you mean redis? (there are agent bfd dns file grpc http misc ping redis smtp ssl tcp udp)"}},
		{"two of a type", check + services + "plugins:\n" + own("a") + own("b"), &fakePlugins{offers: map[string][]string{"a": {"redis"}, "b": {"redis"}}}, false,
			[]string{"12: error: plugins a (FILE:9) and b both offer checks of type redis: a type has one plugin; remove one of them"}},
		{"a type of poise's own", check + services + "plugins:\n" + own("a"), &fakePlugins{offers: map[string][]string{"a": {"redis", "tcp"}}}, false,
			[]string{"10: error: plugin a offers checks of type tcp, which poise has itself: a type has one plugin"}},
		{"offers none", services + "plugins:\n" + own("a") + "checks: {web: {type: tcp}}\n", &fakePlugins{}, false,
			[]string{"8: error: plugin a (a) offers no checks: there is nothing for it to do here"}},
		{"no path", check + services + "plugins:\n  checker: {user: root}\n", &fakePlugins{}, false,
			[]string{"9: error: plugin checker has no path, and poise has no plugin of that name; did you mean checkers?: write path: /usr/libexec/poise/plugins/checker"}},
		{"not there", check + services + "plugins:\n  a:\n    path: /nowhere/a\n", &fakePlugins{}, false,
			[]string{"10: error: plugin a: open the executable: open /nowhere/a: no such file or directory"}},
		{"another sum", check + services + "plugins:\n" + own("a") + "    sha256: \"" + strings.Repeat("0", 64) + "\"\n", &fakePlugins{}, false, []string{"11: error: plugin a: executable /bin/true has sha256"}},
		{"no such capability", check + services + "plugins:\n" + own("a") + "    capabilities: [NET_MAGIC]\n", &fakePlugins{}, false, []string{`11: error: plugin a: there is no capability "NET_MAGIC"`}},
		{"no answer", check + services + "plugins:\n" + own("a"), &fakePlugins{fails: map[string]error{"a": errors.New("ask plugin a: it did not answer in time")}}, false,
			[]string{"10: error: ask plugin a: it did not answer in time: its checks could not be looked at"}},
		{"no answer at a start", check + services + "plugins:\n" + own("a"), &fakePlugins{fails: map[string]error{"a": errors.New("ask plugin a: it did not answer in time")}}, true,
			[]string{"10: warning: ask plugin a: it did not answer in time: its checks could not be looked at"}},
		{"no answer of poise's own", "checks:\n  web: {type: misc}\n" + services, &fakePlugins{fails: map[string]error{"script": errors.New("ask plugin script: no")}}, false,
			[]string{"2: error: ask plugin script: no: its checks could not be looked at"}},
		{"parameters of its own", check + services + "plugins:\n" + own("a") + "    parameters:\n      one: 1\n      two: 2\n", &fakePlugins{
			offers: map[string][]string{"a": {"redis"}},
			says: func(_ string, item *pluginv1.ValidateItem) *pluginv1.Problem {
				if item.GetType() == "" && string(item.GetParametersJson()) == `{"one":1,"two":2}` {
					return &pluginv1.Problem{Path: "/two", Message: "is wrong", Severity: pluginv1.Severity_SEVERITY_WARNING}
				}
				return nil
			},
		}, false, []string{"13: warning: plugin a: two: is wrong"}},
		{"a check of its", "checks:\n  web:\n    type: redis\n    parameters:\n      key: 1\n" + services + "plugins:\n" + own("a"), &fakePlugins{
			offers: map[string][]string{"a": {"redis"}},
			says:   func(string, *pluginv1.ValidateItem) *pluginv1.Problem { bad.Path = "/key"; return bad },
		}, false, []string{"5: error: check redis: key: is wrong"}},
		{"in the place of poise's own", check + services + "plugins:\n" + own("checkers"), &fakePlugins{offers: map[string][]string{"checkers": {"tcp", "redis"}}}, false, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, test.text)
			l := load(t.Context(), Options{ConfigFile: path, PluginFile: "/bin/true"}, test.plugins.inspect, test.start)
			got := lines(l, path)
			if len(got) != len(test.want) || len(got) > 0 && !strings.HasPrefix(got[0], test.want[0]) {
				t.Errorf("told %q, want %q", got, test.want)
			}
		})
	}
}

// A plugin that could not be asked at a start has what it serves once it runs.
func TestCatalogLearns(t *testing.T) {
	c := newCatalog()
	c.unasked["a"] = true
	info := func(kinds ...string) *pluginv1.DescribeResponse {
		out := &pluginv1.DescribeResponse{}
		for _, k := range kinds {
			out.Kinds = append(out.Kinds, &pluginv1.Kind{Interface: pluginv1.Interface_INTERFACE_CHECK, Type: k})
		}
		return out
	}
	c.offer("mysql", "b")
	c.runs("b", info("redis")) // has said what it offers: no more
	c.runs("a", info("redis", "mysql", "tcp"))
	for kind, want := range map[string]string{"redis": "a", "mysql": "b", "tcp": "checkers", "other": ""} {
		if got := c.processOf(&model.Check{Type: kind}); got != want {
			t.Errorf("%s is %q's, want %q", kind, got, want)
		}
	}
	for name, test := range map[string]struct {
		info *pluginv1.DescribeResponse
		want bool
	}{"a": {info("redis", "more"), false}, "b": {info("redis"), true}, "checkers": {info("tcp"), false}} {
		if got := c.lacks(name, test.info); got != test.want || c.lacks(name, nil) {
			t.Errorf("%s lacks something: %v, want %v", name, got, test.want)
		}
	}
}

func TestOnlyOneSide(t *testing.T) {
	f := &fakePlugins{}
	seed := "../../configs/seed.yaml"
	if l := load(t.Context(), Options{ConfigFile: seed, OnlyFailover: true}, f.inspect, false); len(l.config.VirtualServers) != 0 || len(l.config.FailoverGroups) != 1 || needsForwarder(&l.config) {
		t.Errorf("-P gives %+v", l.config)
	}
	if l := load(t.Context(), Options{ConfigFile: seed, OnlyServices: true}, f.inspect, false); len(l.config.VirtualServers) != 1 || len(l.config.FailoverGroups) != 0 || l.config.ConnectionSync != nil {
		t.Errorf("-C gives %+v", l.config)
	}
	if len(f.asked) > 0 {
		t.Errorf("asked %v about checks that have no parameters", f.asked)
	}
}

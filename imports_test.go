package poise_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/poise-lb/poise/"

// importRule forbids packages to import others, directly or through packages of this
// module. Names are paths below the module, or whole import paths; "x/..." is x and all
// below it.
type importRule struct {
	of        []string
	except    []string
	forbidden []string
	// tests: the rule holds for test files too.
	tests  bool
	reason string
}

var importRules = []importRule{
	{
		of: []string{"core/..."}, forbidden: []string{"sdk/...", "plugins/..."}, tests: true,
		reason: "host side and plugin side meet only in proto: what the daemon can do with its own plugins it can do with a third party's",
	},
	{
		of: []string{"sdk/...", "plugins/..."}, forbidden: []string{"core/..."}, tests: true,
		reason: "host side and plugin side meet only in proto: a plugin's author imports no part of the daemon",
	},
	{
		of: []string{"sdk/..."}, except: []string{"sdk/templates/..."}, forbidden: []string{"plugins/..."}, tests: true,
		reason: "the sdk serves third parties: it knows no plugin",
	},
	{
		of: []string{"proto/..."}, forbidden: []string{"core/...", "sdk/...", "plugins/...", "cmd/...", "e2e/..."}, tests: true,
		reason: "the interfaces are what everything else stands on",
	},
	{
		of:        []string{"core/plan", "core/model", "core/engine"},
		forbidden: []string{"proto/...", "google.golang.org/grpc/...", "google.golang.org/protobuf/...", "github.com/hashicorp/go-plugin/..."},
		tests:     true,
		reason:    "decisions know neither wire nor processes: they are replayed without either, and the wire may change without them",
	},
	{
		of: []string{"core/plan", "core/model"}, forbidden: []string{"core/engine", "core/config", "core/daemon", "core/pluginhost", "core/checker", "core/forwarder", "core/failover", "core/store", "core/control", "core/observe"},
		tests:  true,
		reason: "the pure packages are at the bottom: data goes one way",
	},
	{
		of: []string{"core/engine"}, forbidden: []string{"core/config", "core/daemon", "core/pluginhost", "core/checker", "core/forwarder", "core/failover", "core/store", "core/control", "core/observe"},
		tests:  true,
		reason: "the engine takes events and gives sets: it never calls who receives them and waits",
	},
	{
		of: []string{"core/config"}, forbidden: []string{"proto/...", "core/plan", "core/engine", "core/daemon", "core/pluginhost", "core/checker", "core/forwarder", "core/failover", "core/store", "core/control", "core/observe"},
		tests:  true,
		reason: "configuration types, model types and wire types are three different things: config reads files into the model and does no more",
	},
	{
		of: []string{"..."}, except: []string{"core/pluginhost/...", "core/daemon", "cmd/poised", "cmd/poise", "sdk/...", "plugins/...", "cmd/poise-plugin"},
		forbidden: []string{"github.com/hashicorp/go-plugin/..."},
		reason:    "go-plugin hangs on a plugin that does not answer; core/pluginhost and the sdk are where that is taken care of",
	},
	{
		of: []string{"plugins/..."}, forbidden: []string{"internal/..."}, tests: true,
		reason: "first-party plugins use the public sdk and nothing else: what they can do, a third party can do",
	},
	{
		of: []string{"e2e/..."}, forbidden: []string{"core/...", "sdk/...", "plugins/..."}, tests: true,
		reason: "the lab sees what users see: programs, files and the control socket",
	},
	{
		of: []string{"core/...", "sdk/...", "plugins/...", "proto/..."}, forbidden: []string{"cmd/...", "e2e/..."},
		reason: "commands and the lab are made of the rest, not the other way round",
	},
	{
		of: []string{"core/...", "sdk/...", "plugins/...", "proto/..."}, except: []string{"plugins/forwarders/f5/..."},
		forbidden: []string{"cmd/...", "e2e/..."}, tests: true,
		reason: "tests need no lab but of what they are the test of; those of the f5 forwarder have the simulated BIG-IP, which is made of nothing of ours",
	},
}

// directRules are about what packages import themselves.
var directRules = []importRule{
	{
		of: []string{"core/..."}, except: []string{"core/pluginhost/..."}, forbidden: []string{"github.com/hashicorp/go-plugin/..."}, tests: true,
		reason: "core/pluginhost is the only importer of go-plugin on this side: it bounds every call of it that can hang",
	},
	{
		of: []string{"plugins/...", "cmd/..."}, forbidden: []string{"github.com/hashicorp/go-plugin/..."}, tests: true,
		reason: "plugins are served by the sdk, which does what go-plugin leaves out",
	},
	{
		of: []string{"core/..."}, except: []string{"core/daemon"}, forbidden: []string{"core/daemon"}, tests: true,
		reason: "core/daemon puts the parts together; no part knows the whole",
	},
}

// listed is what `go list` says of a package.
type listed struct {
	ImportPath                         string
	Standard                           bool
	Imports, TestImports, XTestImports []string
}

func listPackages(t *testing.T) map[string]listed {
	t.Helper()
	command := exec.Command("go", "list", "-deps", "-test=false", "-json=ImportPath,Standard,Imports,TestImports,XTestImports", "./...")
	var problems bytes.Buffer
	command.Stderr = &problems
	out, err := command.Output()
	if err != nil {
		t.Fatalf("list the packages: %v\n%s", err, problems.String())
	}
	packages := map[string]listed{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("read the list of packages: %v", err)
		}
		packages[p.ImportPath] = p
	}
}

// matches tells whether an import path is what a rule names.
func matches(path string, patterns []string) bool {
	short, ours := strings.CutPrefix(path, module)
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		base, below := strings.CutSuffix(pattern, "...")
		base = strings.TrimSuffix(base, "/")
		name := path
		if ours && !strings.Contains(strings.SplitN(base, "/", 2)[0], ".") {
			name = short
		}
		switch {
		case base == "":
			return ours
		case below:
			return name == base || strings.HasPrefix(name, base+"/")
		}
		return name == base
	})
}

// way finds how a package comes to import what is forbidden; nil: it does not. Only
// packages of this module are followed.
func way(packages map[string]listed, from string, imports, forbidden []string, deep bool, seen map[string]bool) []string {
	for _, path := range imports {
		if matches(path, forbidden) && path != from {
			return []string{from, path}
		}
	}
	if !deep {
		return nil
	}
	for _, path := range imports {
		if !strings.HasPrefix(path, module) || seen[path] {
			continue
		}
		seen[path] = true
		if rest := way(packages, path, packages[path].Imports, forbidden, deep, seen); rest != nil {
			return append([]string{from}, rest...)
		}
	}
	return nil
}

func broken(packages map[string]listed, rule importRule, deep bool) []string {
	var out []string
	for path, p := range packages {
		if !matches(path, rule.of) || matches(path, rule.except) {
			continue
		}
		imports := slices.Clone(p.Imports)
		if rule.tests {
			imports = slices.Concat(imports, p.TestImports, p.XTestImports)
		}
		if w := way(packages, path, imports, rule.forbidden, deep, map[string]bool{path: true}); w != nil {
			out = append(out, strings.ReplaceAll(strings.Join(w, " → "), module, ""))
		}
	}
	slices.Sort(out)
	return out
}

// TestImports keeps the rules of ARCHITECTURE.md about who may import whom.
func TestImports(t *testing.T) {
	packages := listPackages(t)
	for _, rule := range importRules {
		for _, w := range broken(packages, rule, true) {
			t.Errorf("%s\n\tis not allowed: %s", w, rule.reason)
		}
	}
	for _, rule := range directRules {
		for _, w := range broken(packages, rule, false) {
			t.Errorf("%s\n\tis not allowed: %s", w, rule.reason)
		}
	}
	for _, path := range packages[module+"core/model"].Imports {
		if p, ok := packages[path]; ok && !p.Standard {
			t.Errorf("core/model → %s\n\tis not allowed: the nouns import the standard library only", path)
		}
	}
}

// TestImportRulesBite shows that the rules find what they forbid, also at a distance.
func TestImportRulesBite(t *testing.T) {
	packages := map[string]listed{}
	add := func(path string, imports ...string) {
		packages[module+path] = listed{ImportPath: module + path, Imports: imports}
	}
	add("core/plan", module+"core/model")
	add("core/model", module+"proto/poise/check/v1")
	add("proto/poise/check/v1", "google.golang.org/grpc")
	add("core/checker", "github.com/hashicorp/go-plugin/runner")
	add("plugins/checkers/tcp", module+"internal/version")
	for _, test := range []struct {
		rule importRule
		deep bool
		want string
	}{
		{importRules[4], true, "core/model → proto/poise/check/v1, core/plan → core/model → proto/poise/check/v1"},
		{directRules[0], false, "core/checker → github.com/hashicorp/go-plugin/runner"},
		{importRules[9], true, "plugins/checkers/tcp → internal/version"},
		{importRules[0], true, ""},
	} {
		if got := strings.Join(broken(packages, test.rule, test.deep), ", "); got != test.want {
			t.Errorf("%s: found %q, want %q", test.rule.reason, got, test.want)
		}
	}
}

package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poise-lb/poise/core/config"
	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/pluginhost"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// featureValidatePlugin is announced by a plugin that looks at its own parameters in
// Validate: an item without interface and type.
const featureValidatePlugin = "validate-plugin"

// parameterless are types of poise's own that need no parameters. Without any there is
// nothing to validate, and a restart that has a failover plugin waiting is faster by the
// start of a process.
var parameterless = map[string]bool{
	"tcp": true, "http": true, "ssl": true, "smtp": true, "dns": true, "udp": true, "ping": true,
	"bfd": true, "grpc": true, "agent": true,
}

// content is what a plugin is asked about: checks differ in their targets, but a plugin
// looks at their parameters only.
type content struct {
	Type, Parameters string
	checks           []model.Check
}

func (c *content) item() *pluginv1.ValidateItem {
	item := &pluginv1.ValidateItem{Interface: pluginv1.Interface_INTERFACE_CHECK, Type: c.Type}
	if c.Parameters != "" {
		item.ParametersJson = json.RawMessage(c.Parameters)
	}
	return item
}

// contents are those of a configuration, in its order.
func contents(c *model.Config) []*content {
	type key struct{ kind, parameters string }
	var out []*content
	found, seen := map[key]*content{}, map[model.Check]bool{}
	for _, v := range c.VirtualServers {
		for _, r := range v.RealServers {
			for _, check := range r.Checks {
				if seen[check] {
					continue
				}
				seen[check] = true
				k := key{check.Type, check.Parameters}
				if found[k] == nil {
					found[k] = &content{Type: check.Type, Parameters: check.Parameters}
					out = append(out, found[k])
				}
				found[k].checks = append(found[k].checks, check)
			}
		}
	}
	return out
}

// inquiry is what one plugin is asked.
type inquiry struct {
	settings model.Plugin
	spec     pluginhost.Spec
	// candidates are what it may be shown; shown what it was, nil for its own parameters.
	candidates []*content
	shown      []*content
	found      pluginhost.Inspection
	err        error
}

// inspection has the plugins look at a configuration.
type inspection struct {
	options Options
	result  *config.Result
	loaded  *loaded
	inspect inspector
	start   bool
	seen    map[config.Problem]bool
}

// run adds problems and fills the catalog.
func (i inspection) run(ctx context.Context) {
	all := contents(&i.loaded.config)
	var inquiries []*inquiry
	usable := i.verify()
	for _, p := range builtin {
		if q := i.ofBuiltin(p, all, usable); q != nil {
			inquiries = append(inquiries, q)
		}
	}
	for _, set := range i.loaded.config.Plugins {
		if isBuiltin(set.Name) || instanceOf(&i.loaded.config, set.Name) != nil {
			continue
		}
		if !usable[set.Name] {
			i.loaded.catalog.unasked[set.Name] = true
			continue
		}
		if q := i.inquire(process{name: set.Name}, set); q != nil {
			q.candidates = all
			inquiries = append(inquiries, q)
		}
	}
	i.ask(ctx, inquiries)
	for _, q := range inquiries {
		i.take(q)
	}
	i.unknownTypes(all)
	i.appliances(ctx, usable)
}

// verify looks at the settings of plugins without starting one, and says whom of them
// can be started.
func (i inspection) verify() map[string]bool {
	usable := map[string]bool{}
	for _, set := range i.loaded.config.Plugins {
		usable[set.Name] = true
		if set.Path == "" && !isBuiltin(set.Name) && instanceOf(&i.loaded.config, set.Name) == nil {
			usable[set.Name] = false
			i.plugin(set.Name, "", config.Error, fmt.Sprintf("plugin %s has no path, and poise has no plugin of that name%s: write path: /usr/libexec/poise/plugins/%s",
				set.Name, config.Meant(set.Name, builtinNames()), set.Name))
			continue
		}
		spec, err := i.options.spec(&i.loaded.config, processNamed(&i.loaded.config, set.Name))
		if err != nil {
			continue // poised does not start without poise-plugin, and says so
		}
		for _, f := range pluginhost.Verify(spec) {
			severity := config.Error
			if f.Later {
				severity = config.Warning
			} else {
				usable[set.Name] = false
			}
			i.plugin(set.Name, "/"+f.Key, severity, fmt.Sprintf("plugin %s: %v", set.Name, f.Err))
		}
	}
	return usable
}

// ofBuiltin asks a process of poise's own about its checks; nil: there is nothing to ask.
func (i inspection) ofBuiltin(p process, all []*content, usable map[string]bool) *inquiry {
	set := settings(&i.loaded.config, p.name)
	configured := set.Path != "" || set.Parameters != ""
	var mine []*content
	for _, c := range all {
		if builtinChecks[c.Type] == p.name && (set.Path != "" || c.Parameters != "" || !parameterless[c.Type]) {
			mine = append(mine, c)
		}
	}
	if len(mine) == 0 && !configured {
		return nil
	}
	if verified, ok := usable[p.name]; ok && !verified {
		return nil
	}
	if set.Path != "" {
		// Another executable in the place of poise's own may offer more.
		mine = all
	}
	q := i.inquire(p, set)
	if q != nil {
		q.candidates = mine
	}
	return q
}

func (i inspection) inquire(p process, set model.Plugin) *inquiry {
	spec, err := i.options.spec(&i.loaded.config, p)
	if err != nil {
		i.plugin(p.name, "", config.Error, err.Error())
		return nil
	}
	// Privileges are for the work, not for questions. The user stays where the answer
	// depends on what he can see.
	spec.Capabilities = nil
	return &inquiry{settings: set, spec: spec}
}

// ask asks all at the same time.
func (i inspection) ask(ctx context.Context, inquiries []*inquiry) {
	ctx, cancel := context.WithTimeout(ctx, i.limit())
	defer cancel()
	var asking sync.WaitGroup
	for _, q := range inquiries {
		asking.Go(func() {
			q.found, q.err = i.inspect(ctx, q.spec, []any{q.settings.Parameters, q.candidates}, q.items)
		})
	}
	asking.Wait()
}

// startPatience bounds the wait for plugins at a start: nothing is forwarded before, and
// one that does not answer in time is asked again when it runs.
const startPatience = 5 * time.Second

// limit is how long plugins have to answer. At a start addresses may wait for this
// daemon, held by the failover plugin of the one before.
func (i inspection) limit() time.Duration {
	switch {
	case !i.start:
		return startTimeout
	case len(i.loaded.config.FailoverGroups) == 0:
		return startPatience
	}
	return max(i.loaded.config.GraceTime/2, time.Second)
}

// items are what a plugin is shown, by what it offers.
func (q *inquiry) items(info *pluginv1.DescribeResponse) []*pluginv1.ValidateItem {
	var out []*pluginv1.ValidateItem
	q.shown = nil
	if q.settings.Parameters != "" && slices.Contains(info.GetFeatures(), featureValidatePlugin) {
		q.shown = append(q.shown, nil)
		out = append(out, &pluginv1.ValidateItem{ParametersJson: json.RawMessage(q.settings.Parameters)})
	}
	offered := checkTypes(info)
	for _, c := range q.candidates {
		home := builtinChecks[c.Type]
		if home == q.spec.Name || home == "" && slices.Contains(offered, c.Type) {
			q.shown = append(q.shown, c)
			out = append(out, c.item())
		}
	}
	return out
}

// take takes a plugin's answer.
func (i inspection) take(q *inquiry) {
	name := q.spec.Name
	if q.err != nil {
		severity := config.Error
		if i.start {
			severity = config.Warning
		}
		if !isBuiltin(name) || q.settings.Path != "" {
			i.loaded.catalog.unasked[name] = true
		}
		if q.settings.Path == "" && len(q.candidates) > 0 {
			i.checks(q.candidates[0], "", severity, inspectionFailure(q.err))
		} else {
			i.plugin(name, "/path", severity, inspectionFailure(q.err))
		}
		return
	}
	i.offers(q)
	if q.shown == nil {
		q.items(q.found.Info) // the answer was known
	}
	for _, p := range q.found.Problems {
		severity := config.Error
		if !isError(p) {
			severity = config.Warning
		}
		where := strings.TrimPrefix(p.GetPath(), "/")
		if where != "" {
			where += ": "
		}
		if int(p.GetItem()) >= len(q.shown) {
			continue
		}
		if c := q.shown[p.GetItem()]; c != nil {
			i.checks(c, p.GetPath(), severity, fmt.Sprintf("check %s: %s%s", c.Type, where, p.GetMessage()))
		} else {
			i.plugin(name, "/parameters"+p.GetPath(), severity, fmt.Sprintf("plugin %s: %s%s", name, where, p.GetMessage()))
		}
	}
}

// offers puts what a plugin offers into the catalog.
func (i inspection) offers(q *inquiry) {
	name := q.spec.Name
	offered := checkTypes(q.found.Info)
	if len(offered) == 0 && !isBuiltin(name) {
		i.plugin(name, "/path", config.Error, fmt.Sprintf("plugin %s (%s) offers no checks: there is nothing for it to do here", name, q.found.Info.GetName()))
	}
	for _, t := range offered {
		home := builtinChecks[t]
		if home != "" && !isBuiltin(name) {
			i.plugin(name, "/path", config.Error, fmt.Sprintf("plugin %s offers checks of type %s, which poise has itself: a type has one plugin", name, t))
		}
		if home != "" {
			continue
		}
		if other, ok := i.loaded.catalog.offer(t, name); !ok {
			file, line := i.result.LocatePlugin(other, "")
			i.plugin(name, "/path", config.Error, fmt.Sprintf("plugins %s (%s:%d) and %s both offer checks of type %s: a type has one plugin; remove one of them", other, file, line, name, t))
		}
	}
}

// unknownTypes tells of checks that nobody offers. While a plugin has not said what it
// offers, it may be its.
func (i inspection) unknownTypes(all []*content) {
	known := i.loaded.catalog.types()
	for _, c := range all {
		if _, ok := i.loaded.catalog.plugin(c.Type); ok || builtinChecks[c.Type] != "" {
			continue
		}
		if i.loaded.catalog.complete() {
			i.checks(c, "", config.Error, fmt.Sprintf("unknown type of check %s: no plugin offers it%s (there are %s)",
				c.Type, config.Meant(c.Type, known), strings.Join(known, " ")))
		}
	}
}

// checks adds a problem of each check of a content, a line of the configuration once.
func (i inspection) checks(c *content, pointer string, s config.Severity, message string) {
	for _, check := range c.checks {
		file, line := i.result.Locate(check, pointer)
		i.add(config.Problem{File: file, Line: line, Severity: s, Message: message})
	}
}

// plugin adds a problem of a plugin's settings.
func (i inspection) plugin(name, pointer string, s config.Severity, message string) {
	file, line := i.result.LocatePlugin(name, pointer)
	i.add(config.Problem{File: file, Line: line, Severity: s, Message: message})
}

func (i inspection) add(p config.Problem) {
	if !i.seen[p] {
		i.seen[p] = true
		i.loaded.problems = append(i.loaded.problems, p)
	}
}

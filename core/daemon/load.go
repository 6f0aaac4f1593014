package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/poise-lb/poise/core/config"
	"github.com/poise-lb/poise/core/model"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// loaded is a configuration with what was found in it.
type loaded struct {
	config   model.Config
	problems []config.Problem
}

func (l loaded) hasErrors() bool {
	return slices.ContainsFunc(l.problems, func(p config.Problem) bool { return p.Severity == config.Error })
}

// of gives the problems of one severity, a line each.
func (l loaded) of(s config.Severity) []string {
	var out []string
	for _, p := range l.problems {
		if p.Severity == s {
			out = append(out, p.String())
		}
	}
	return out
}

// validator asks the plugin processes what they think of their parameters.
type validator func(ctx context.Context, name string, items []*pluginv1.ValidateItem) ([]*pluginv1.Problem, error)

// load reads the configuration, leaves out what the command line says, and has the
// plugins look at their parameters.
func load(ctx context.Context, o Options, validate validator) loaded {
	result := config.Load(o.ConfigFile, config.Options{ConfigID: o.ConfigID})
	l := loaded{config: result.Config, problems: result.Problems}
	if result.HasErrors() {
		return l
	}
	if o.OnlyFailover {
		l.config.VirtualServers, l.config.ConnectionSync = nil, nil
	}
	if o.OnlyServices {
		l.config.FailoverGroups, l.config.ConnectionSync = nil, nil
	}
	l.problems = append(l.problems, validateChecks(ctx, &result, &l.config, validate)...)
	return l
}

// parameterless are types of poise's own that take no parameters. Without any there is
// nothing to validate, and a restart that has a failover plugin waiting is faster by
// the start of a process.
var parameterless = map[string]bool{"tcp": true}

// validateChecks has the checkers look at every check, each once.
func validateChecks(ctx context.Context, result *config.Result, c *model.Config, validate validator) []config.Problem {
	var checks []model.Check
	var items []*pluginv1.ValidateItem
	seen := map[model.Check]bool{}
	for _, v := range c.VirtualServers {
		for _, r := range v.RealServers {
			for _, check := range r.Checks {
				if seen[check] {
					continue
				}
				seen[check] = true
				if check.Parameters == "" && parameterless[check.Type] {
					continue
				}
				item := &pluginv1.ValidateItem{Interface: pluginv1.Interface_INTERFACE_CHECK, Type: check.Type}
				if check.Parameters != "" {
					item.ParametersJson = json.RawMessage(check.Parameters)
				}
				checks, items = append(checks, check), append(items, item)
			}
		}
	}
	if len(items) == 0 {
		return nil
	}
	found, err := validate(ctx, checkersProcess, items)
	if err != nil {
		file, line := result.Locate(checks[0], "")
		return []config.Problem{{File: file, Line: line, Severity: config.Error,
			Message: fmt.Sprintf("the checks could not be validated: %v", err)}}
	}
	var problems []config.Problem
	for _, p := range found {
		if int(p.GetItem()) >= len(checks) {
			continue
		}
		check := checks[p.GetItem()]
		file, line := result.Locate(check, p.GetPath())
		severity := config.Error
		if p.GetSeverity() == pluginv1.Severity_SEVERITY_WARNING {
			severity = config.Warning
		}
		message := fmt.Sprintf("check %s: %s", check.Type, p.GetMessage())
		if p.GetPath() != "" {
			message = fmt.Sprintf("check %s: %s: %s", check.Type, strings.TrimPrefix(p.GetPath(), "/"), p.GetMessage())
		}
		problems = append(problems, config.Problem{File: file, Line: line, Severity: severity, Message: message})
	}
	return problems
}

// Test checks the configuration and prints what it finds. It says whether the
// configuration is good; with strict a warning is as bad as an error.
func Test(ctx context.Context, o Options, strict bool, out io.Writer) bool {
	l := load(ctx, o, pluginValidator(o, nil))
	for _, p := range l.problems {
		fmt.Fprintln(out, p)
	}
	return !l.hasErrors() && (!strict || len(l.problems) == 0)
}

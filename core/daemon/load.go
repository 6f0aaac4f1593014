package daemon

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/poise-lb/poise/core/config"
	"github.com/poise-lb/poise/core/model"
)

// loaded is a configuration with what was found in it.
type loaded struct {
	config   model.Config
	catalog  *catalog
	problems []config.Problem
	// locate finds an instance of a forwarder in the files.
	locate func(id, pointer string) (file string, line int)
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

// load reads the configuration, leaves out what the command line says, and has the
// plugins look at what is theirs. With start a plugin that cannot be asked is a warning: a
// director does not stay down because one part of it is broken.
func load(ctx context.Context, o Options, inspect inspector, start bool) loaded {
	result := config.Load(o.ConfigFile, config.Options{ConfigID: o.ConfigID})
	l := loaded{config: result.Config, catalog: newCatalog(), problems: result.Problems, locate: result.LocateForwarder}
	if result.HasErrors() {
		return l
	}
	if o.OnlyFailover {
		// An appliance without virtual servers would be emptied.
		l.config.VirtualServers, l.config.ConnectionSync, l.config.Forwarders = nil, nil, nil
	}
	if o.OnlyServices {
		l.config.FailoverGroups, l.config.ConnectionSync = nil, nil
		l.problems = append(l.problems, roleless(&result)...)
	}
	inspection{options: o, result: &result, loaded: &l, inspect: inspect, start: start, seen: map[config.Problem]bool{}}.run(ctx)
	return l
}

// roleless warns of appliances whose failover group is left out: nobody knows which director
// is to write, and two that do would undo each other's work.
func roleless(result *config.Result) (out []config.Problem) {
	for _, f := range result.Config.Forwarders {
		if f.Group == "" {
			continue
		}
		file, line := result.LocateForwarder(f.ID(), "/group")
		out = append(out, config.Problem{File: file, Line: line, Severity: config.Warning, Message: fmt.Sprintf(
			"nothing is written to %s: without failover groups (-C) group %s is never master; remove group, and let one director alone have %s", f.ID(), f.Group, f.ID())})
	}
	return out
}

// Test checks the configuration and prints what it finds. It says whether the
// configuration is good; with strict a warning is as bad as an error.
func Test(ctx context.Context, o Options, strict bool, out io.Writer) bool {
	l := load(ctx, o, newInspections(nil).inspect, false)
	for _, p := range l.problems {
		fmt.Fprintln(out, p)
	}
	return !l.hasErrors() && (!strict || len(l.problems) == 0)
}

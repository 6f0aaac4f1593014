package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/poise-lb/poise/core/config"
	"github.com/poise-lb/poise/core/control"
	"github.com/poise-lb/poise/core/model"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// Reload reads the configuration again and puts it in force. With a
// *control.ConfigError nothing has changed.
func (d *Daemon) Reload(ctx context.Context) (warnings []string, err error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.isStopping() {
		return nil, errors.New("poised is stopping: the configuration is not read again")
	}
	d.inspections.turn()
	l := load(ctx, d.options, d.inspections.inspect, false)
	if !l.hasErrors() {
		l.problems = append(l.problems, d.refuseChange(&l)...)
	}
	d.logProblems(l)
	if l.hasErrors() {
		problems := l.of(config.Error)
		d.mu.Lock()
		d.reloadErrors = problems
		d.mu.Unlock()
		d.logger.Error("reload refused, the configuration from before stays in force", "errors", len(problems))
		d.tell(time.Now(), "reload", "configuration", fmt.Sprintf("refused, nothing has changed: %s", problems[0]))
		return nil, &control.ConfigError{Problems: problems}
	}
	d.put(ctx, &l)
	return l.of(config.Warning), nil
}

// refuseChange finds what cannot change while the daemon runs.
func (d *Daemon) refuseChange(l *loaded) (out []config.Problem) {
	now, next := d.config.Load(), &l.config
	for _, f := range next.Forwarders {
		if old := instanceOf(now, f.Process()); old != nil && f.Elsewhere(*old) {
			file, line := l.locate(f.ID(), "")
			out = append(out, config.Problem{File: file, Line: line, Severity: config.Error, Message: fmt.Sprintf(
				"forwarder %s: addresses, partition, mark and instance cannot change to those of another place while poised runs: what it has made would stay where it is, and nobody would take failed real servers out there; "+
					"give the new place another name, and the old one is taken down, or restart poised if it is the same under another name", f.ID())})
		}
	}
	if now.Forwarder == next.Forwarder || !needsForwarder(now) {
		return out
	}
	return append(out, config.Problem{File: d.options.ConfigFile, Line: 1, Severity: config.Error,
		Message: fmt.Sprintf("forwarder: cannot change from %s to %s while poised runs; restart it", now.Forwarder, next.Forwarder)})
}

// put puts a configuration in force: the sets follow from the engine, the processes
// from here. A process that is not needed any more withdraws what it has set up, the
// addresses before the table.
func (d *Daemon) put(ctx context.Context, l *loaded) {
	c := &l.config
	known := d.catalog.Swap(l.catalog)
	before := d.config.Swap(c)
	d.mu.Lock()
	d.loadedAt, d.reloadErrors = time.Now(), nil
	d.mu.Unlock()
	if len(c.FailoverGroups) == 0 {
		d.stopFailover(pluginv1.StopMode_STOP_MODE_WITHDRAW)
	}
	d.engine.SetConfig(c)
	if known != nil && !known.alike(l.catalog) {
		// A check that is the same as before may be another process's.
		d.checksChanged()
	}
	if !needsForwarder(c) {
		d.sendGroups()
	}
	if err := d.metrics.Serve(c.MetricsAddress); err != nil {
		d.logger.Error("metrics are not served", "error", err)
		d.tell(time.Now(), "daemon", "metrics", err.Error())
	}

	wanted := needed(c, l.catalog, before == nil && d.ownsTable())
	least, most := restartBackoff(c)
	for _, p := range wanted {
		if running := d.process(p.name); running != nil && !replaced(before, c, p.name) && !l.catalog.lacks(p.name, running.Info()) {
			running.SetBackoff(least, most)
			running.SetBeat(beatOf(c, p.name))
			continue
		}
		_ = d.stopProcess(p.name, pluginv1.StopMode_STOP_MODE_LEAVE, tableStop) // told
		if p.name == model.DefaultForwarder {
			d.loadIPVS(ctx)
		}
		d.startProcess(c, p)
	}
	for _, running := range d.Plugins() {
		switch {
		case before != nil && instanceOf(before, running.Name) != nil && instanceOf(c, running.Name) == nil:
			d.removeAppliance(*instanceOf(before, running.Name), c)
		case slices.ContainsFunc(wanted, func(p process) bool { return p.name == running.Name }):
		case running.Name == c.Forwarder:
			d.stopTable(pluginv1.StopMode_STOP_MODE_WITHDRAW)
		default:
			_ = d.stopProcess(running.Name, pluginv1.StopMode_STOP_MODE_WITHDRAW, checkersStop) // told
		}
	}
	// To read a configuration takes more memory than to run it.
	time.AfterFunc(settleTime, debug.FreeOSMemory)
}

// settleTime is how long after a configuration is put in force the memory that it took is
// given back.
const settleTime = 3 * time.Second

// replaced tells whether the settings of a process have changed so that it has to be
// another one.
func replaced(before, after *model.Config, name string) bool {
	if before == nil {
		return false
	}
	a, b := settings(before, name), settings(after, name)
	return a.Path != b.Path || a.SHA256 != b.SHA256 || a.User != b.User || a.Parameters != b.Parameters || a.PlainText != b.PlainText ||
		!slices.Equal(a.Args, b.Args) || !slices.Equal(a.Capabilities, b.Capabilities)
}

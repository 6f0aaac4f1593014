package daemon

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/core/checker"
	"github.com/poise-lb/poise/core/control"
	"github.com/poise-lb/poise/core/failover"
	"github.com/poise-lb/poise/core/forwarder"
	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/pluginhost"
	"github.com/poise-lb/poise/internal/version"
)

// The methods of this file show the daemon to control and metrics.

// Info is what the daemon says of itself.
func (d *Daemon) Info() control.Info {
	c := d.config.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	info := control.Info{
		Version: version.Version, Pid: os.Getpid(), StartedAt: d.startedAt,
		ConfigFile: d.options.ConfigFile, ConfigLoadedAt: d.loadedAt, ReloadErrors: d.reloadErrors,
	}
	if c != nil {
		info.RouterID = c.RouterID
		if needsForwarder(c) {
			info.Forwarder = c.Forwarder
		}
	}
	return info
}

// Snapshot is the engine's last one.
func (d *Daemon) Snapshot() *model.Snapshot { return d.engine.Snapshot() }

// Plugins are the processes, sorted by name.
func (d *Daemon) Plugins() []model.PluginStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]model.PluginStatus, 0, len(d.processes))
	for _, p := range d.processes {
		out = append(out, p.Status())
	}
	slices.SortFunc(out, func(a, b model.PluginStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// process is a process that runs; nil if it does not.
func (d *Daemon) process(name string) *pluginhost.Process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.processes[name]
}

// Forwarder is what is known of the forwarder and its table.
func (d *Daemon) Forwarder() forwarder.Status {
	if c := d.config.Load(); c == nil || d.process(c.Forwarder) == nil {
		return forwarder.Status{}
	}
	return d.forwarder.Status()
}

// Instances are the counters of the VRRP instances.
func (d *Daemon) Instances() []failover.InstanceStatus {
	if d.process(failoverProcess) == nil {
		return nil
	}
	return d.failover.Instances()
}

// Checkers are what the checker processes have done.
func (d *Daemon) Checkers() map[string]checker.Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[string]checker.Stats, len(d.checkers))
	for name, c := range d.checkers {
		out[name] = c.Stats()
	}
	return out
}

// LastReload says when the configuration in force was read, and whether a newer one
// was refused since.
func (d *Daemon) LastReload() (inForceSince time.Time, refused bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.loadedAt, len(d.reloadErrors) > 0
}

// Events are those after a sequence number that are held, how many are not held any
// more, and a channel that is closed when there is another one.
func (d *Daemon) Events(after uint64) ([]model.Event, uint64, <-chan struct{}) {
	return d.engine.History().After(after)
}

// Override is what an operator last wished for a real server.
func (d *Daemon) Override(key model.RealServerKey) model.Override { return d.store.Override(key) }

// SetOverride keeps an operator's wish and puts it in force.
func (d *Daemon) SetOverride(_ context.Context, key model.RealServerKey, o model.Override) error {
	if err := d.store.SetOverride(key, o); err != nil {
		return err
	}
	d.engine.SetOverride(key, o)
	return nil
}

package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/poise-lb/poise/core/checker"
	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/pluginhost"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// executable has poise's own plugins.
func (o Options) executable() (string, error) {
	if o.PluginFile != "" {
		return o.PluginFile, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find poise-plugin beside poised: %w", err)
	}
	path := filepath.Join(filepath.Dir(self), "poise-plugin")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find poise-plugin beside poised: %w; install both in the same directory", err)
	}
	return path, nil
}

// spec says how a process is started.
func (o Options) spec(c *model.Config, p process) (pluginhost.Spec, error) {
	set := settings(c, p.name)
	interval, timeout := beatOf(c, p.name)
	s := pluginhost.Spec{
		Name: p.name, Path: set.Path, Args: set.Args, SHA256: set.SHA256, User: set.User,
		Capabilities: p.capabilities, Parameters: []byte(set.Parameters),
		RuntimeDir:   o.runtimeDirOf(p.name),
		BeatInterval: interval, BeatTimeout: timeout, Survives: p.survives, Nice: p.nice,
	}
	s.PlainText = set.PlainText
	if set.Capabilities != nil {
		s.Capabilities = set.Capabilities
	}
	if s.User == "" {
		s.User = p.user
	}
	if set.Path == "" {
		path, err := o.executable()
		if err != nil {
			return s, err
		}
		s.Path, s.Args, s.Builtin = path, []string{p.name}, true
		if f := instanceOf(c, p.name); f != nil {
			s.Args = []string{f.Type}
		}
	}
	if f := instanceOf(c, p.name); f != nil {
		s.Env = secretVariables(f.Parameters)
	}
	return s, nil
}

// secretVariables are the variables of the environment that an instance names for its
// credentials: those alone get to its process.
func secretVariables(parameters string) (out []string) {
	var named struct {
		Username string `json:"username_env"`
		Password string `json:"password_env"`
	}
	if json.Unmarshal([]byte(parameters), &named) != nil {
		return nil // the plugin says what is wrong with them
	}
	for _, name := range []string{named.Username, named.Password} {
		if value, ok := os.LookupEnv(name); ok && name != "" {
			out = append(out, name+"="+value)
		}
	}
	return out
}

// runtimeDirOf is a plugin's own directory.
func (o Options) runtimeDirOf(name string) string {
	return filepath.Join(o.RuntimeDir, "plugins", name)
}

// startProcess starts a process for good.
func (d *Daemon) startProcess(c *model.Config, p process) {
	spec, err := d.options.spec(c, p)
	if err != nil {
		d.logger.Error("plugin cannot be started", "plugin", p.name, "error", err)
		d.tell(time.Now(), "plugin", p.name, err.Error())
		return
	}
	least, most := restartBackoff(c)
	running := d.host.Start(spec, pluginhost.Backoff{Min: least, Max: most}, d.session(c, p.name))
	d.mu.Lock()
	d.processes[p.name] = running
	d.mu.Unlock()
}

// session is what is done with a process while it runs.
func (d *Daemon) session(c *model.Config, name string) pluginhost.SessionFunc {
	switch name {
	case failoverProcess:
		return func(ctx context.Context, s pluginhost.Session) error { return d.failover.Run(ctx, s) }
	case c.Forwarder:
		return func(ctx context.Context, s pluginhost.Session) error { return d.forwarder.Run(ctx, s) }
	}
	if f := instanceOf(c, name); f != nil {
		a := d.appliance(*f)
		return func(ctx context.Context, s pluginhost.Session) error { return a.Run(ctx, s) }
	}
	facade := checker.New(d.logger.Named(name), d.engine.CheckSet, func(check *model.Check) bool {
		return d.catalog.Load().processOf(check) == name
	}, d.engine.Verdicts)
	d.mu.Lock()
	d.checkers[name] = facade
	d.mu.Unlock()
	return func(ctx context.Context, s pluginhost.Session) error {
		d.catalog.Load().runs(name, s.Info())
		return d.runChecks(ctx, facade, s)
	}
}

// stopProcess ends a process, if it runs.
func (d *Daemon) stopProcess(name string, mode pluginv1.StopMode, timeout time.Duration) error {
	p := d.process(name)
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := p.Stop(ctx, mode)
	if err != nil {
		d.logger.Warn("plugin did not stop by itself", "plugin", name, "error", err)
	}
	d.mu.Lock()
	delete(d.processes, name)
	delete(d.checkers, name)
	d.mu.Unlock()
	return err
}

// stopFailover hands the addresses over. It says whether none of ours is left.
func (d *Daemon) stopFailover(mode pluginv1.StopMode) bool {
	if d.process(failoverProcess) == nil {
		return true
	}
	if mode == pluginv1.StopMode_STOP_MODE_LEAVE {
		return d.stopProcess(failoverProcess, mode, failoverStop) == nil
	}
	d.sendGroups()
	for range stopAttempts {
		// A process that is being started withdraws what it does not know yet once it has
		// its groups.
		ctx, cancel := context.WithTimeout(context.Background(), failoverStop)
		err := d.failover.Settled(ctx)
		cancel()
		if err != nil {
			d.logger.Warn("failover groups could not be withdrawn in order", "error", err)
		}
		if d.stopProcess(failoverProcess, mode, failoverStop) == nil {
			return true
		}
		if err != nil {
			break
		}
		// It died meanwhile: the next one finds in its records what there is to withdraw.
		d.startProcess(d.config.Load(), builtinProcess(failoverProcess))
	}
	_ = d.stopProcess(failoverProcess, pluginv1.StopMode_STOP_MODE_LEAVE, failoverStop) // told
	return !slices.ContainsFunc(d.engine.Snapshot().Groups, func(g model.GroupStatus) bool {
		return g.Role == model.Master || g.Role == model.UnknownRole
	})
}

// stopTable ends the forwarder; with withdraw the table is emptied of what is ours.
func (d *Daemon) stopTable(mode pluginv1.StopMode) {
	name := d.config.Load().Forwarder
	if d.process(name) == nil {
		return
	}
	if mode == pluginv1.StopMode_STOP_MODE_WITHDRAW && d.ownsTable() {
		ctx, cancel := context.WithTimeout(context.Background(), tableStop)
		defer cancel()
		if err := d.forwarder.Withdraw(ctx); err != nil {
			d.logger.Error("table is not empty", "error", err)
			mode = pluginv1.StopMode_STOP_MODE_LEAVE
		}
	}
	_ = d.stopProcess(name, mode, tableStop) // told
}

// ownsTable tells whether something in the table is, or may be, ours.
func (d *Daemon) ownsTable() bool {
	owned := d.store.Owned()
	return len(owned.Services) > 0 || owned.Sync
}

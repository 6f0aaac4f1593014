package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/pluginhost"
	"github.com/poise-lb/poise/core/store"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// executable is poise-plugin beside poised.
func executable() (string, error) {
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
		RuntimeDir:   filepath.Join(o.RuntimeDir, "plugins", p.name),
		BeatInterval: interval, BeatTimeout: timeout, Survives: p.survives,
	}
	if set.Capabilities != nil {
		s.Capabilities = set.Capabilities
	}
	if set.Path == "" {
		path, err := executable()
		if err != nil {
			return s, err
		}
		s.Path, s.Args, s.Builtin = path, []string{p.name}, true
	}
	return s, nil
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
func (d *Daemon) session(c *model.Config, name string) func(context.Context, pluginhost.Session) error {
	switch name {
	case failoverProcess:
		return func(ctx context.Context, s pluginhost.Session) error { return d.failover.Run(ctx, s) }
	case c.Forwarder:
		return func(ctx context.Context, s pluginhost.Session) error { return d.forwarder.Run(ctx, s) }
	}
	return d.runChecks
}

// stopProcess ends a process, if it runs.
func (d *Daemon) stopProcess(name string, mode pluginv1.StopMode, timeout time.Duration) {
	d.mu.Lock()
	p := d.processes[name]
	delete(d.processes, name)
	d.mu.Unlock()
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := p.Stop(ctx, mode); err != nil {
		d.logger.Warn("plugin did not stop by itself", "plugin", name, "error", err)
		return
	}
	if name == d.config.Load().Forwarder && mode == pluginv1.StopMode_STOP_MODE_WITHDRAW {
		// Nothing of ours is left in the table.
		if err := d.store.SetOwned(store.Owned{}); err != nil {
			d.logger.Warn("could not write down that nothing of ours is left", "error", err)
		}
	}
}

// pluginValidator starts a plugin without privileges, only to ask.
func pluginValidator(o Options, logger hclog.Logger) validator {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	return func(ctx context.Context, name string, items []*pluginv1.ValidateItem) ([]*pluginv1.Problem, error) {
		if name != checkersProcess {
			return nil, errors.New("no such plugin: " + name)
		}
		path, err := executable()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		return pluginhost.Validate(ctx, pluginhost.Spec{Name: name, Path: path, Args: []string{name}, Builtin: true}, items, logger)
	}
}

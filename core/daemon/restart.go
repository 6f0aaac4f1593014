package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/core/control"
	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/pluginhost"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// RestartPlugin ends a process and starts it from the executable that is there now. What
// it has set up and what its checks say stays. With an error that is a
// *control.RefusedError the process that runs goes on.
func (d *Daemon) RestartPlugin(ctx context.Context, name string) (previous string, err error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.isStopping() {
		return "", errors.New("poised is stopping: plugins are not started again")
	}
	running := d.process(name)
	if running == nil {
		return "", fmt.Errorf("no plugin %s runs", name)
	}
	c := d.config.Load()
	info, err := d.examine(ctx, c, name)
	if err != nil {
		return "", &control.RefusedError{Reason: err.Error()}
	}
	previous = running.Status().SHA256
	d.tell(time.Now(), "plugin", name, "is restarted by an operator")
	d.replaceOffers(name, info)
	_ = d.stopProcess(name, pluginv1.StopMode_STOP_MODE_LEAVE, tableStop) // told
	d.startProcess(c, processNamed(c, name))
	return previous, d.awaitRunning(ctx, name)
}

// examine looks at the executable of a process that is there now: one that could not take
// the place of the one that runs is not given it.
func (d *Daemon) examine(ctx context.Context, c *model.Config, name string) (*pluginv1.DescribeResponse, error) {
	spec, err := d.options.spec(c, processNamed(c, name))
	if err != nil {
		return nil, err
	}
	for _, f := range pluginhost.Verify(spec) {
		if !f.Later {
			return nil, fmt.Errorf("plugin %s: %w", name, f.Err)
		}
	}
	spec.Capabilities = nil
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	found, err := pluginhost.Inspect(ctx, spec, func(*pluginv1.DescribeResponse) []*pluginv1.ValidateItem { return nil }, d.logger)
	if err != nil {
		return nil, err
	}
	offered := checkTypes(found.Info)
	for _, content := range contents(c) {
		if d.ProcessOf(&content.checks[0]) == name && !slices.Contains(offered, content.Type) {
			return nil, fmt.Errorf("plugin %s (%s) offers no checks of type %s any more, and the configuration has some: it offers %s",
				name, found.Info.GetVersion(), content.Type, strings.Join(offered, " "))
		}
	}
	return found.Info, nil
}

// replaceOffers has the catalog know what the process that is started offers.
func (d *Daemon) replaceOffers(name string, info *pluginv1.DescribeResponse) {
	known := d.catalog.Load()
	for _, t := range checkTypes(info) {
		if builtinChecks[t] != "" {
			continue
		}
		if other, ok := known.offer(t, name); !ok {
			d.logger.Warn("a type has one plugin: the other one keeps it", "type", t, "plugin", other, "offered_by", name)
		}
	}
}

// awaitRunning waits until a process runs, and says why it does not.
func (d *Daemon) awaitRunning(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, pluginhost.DefaultStartTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		p := d.process(name)
		if p == nil {
			return fmt.Errorf("plugin %s could not be started: see the log", name)
		}
		s := p.Status()
		switch {
		case s.State == "running":
			return nil
		case s.LastFailure != "":
			return fmt.Errorf("plugin %s does not run: %s; it is started again and again", name, s.LastFailure)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("plugin %s does not run yet", name)
		}
	}
}

// DescribePlugin says what a process, or the one of a type, offers. One that does not run
// is started without privileges, to ask.
func (d *Daemon) DescribePlugin(ctx context.Context, name string) (control.Description, error) {
	c, known := d.config.Load(), d.catalog.Load()
	if c == nil || known == nil {
		return control.Description{}, errors.New("poised has not read its configuration yet: try again")
	}
	process, checkType := name, ""
	if !isBuiltin(name) && instanceOf(c, name) == nil && settings(c, name).Path == "" {
		process, checkType = known.processOf(&model.Check{Type: name}), name
		if process == "" {
			return control.Description{}, fmt.Errorf("there is no plugin and no type %s", name)
		}
	}
	info, err := d.describe(ctx, c, process)
	if err != nil {
		return control.Description{}, err
	}
	out := control.Description{Process: process, Name: info.GetName(), Version: info.GetVersion()}
	for _, k := range info.GetKinds() {
		if checkType == "" || k.GetInterface() == pluginv1.Interface_INTERFACE_CHECK && k.GetType() == checkType {
			out.Kinds = append(out.Kinds, control.Kind{Interface: pluginhost.InterfaceName(k.GetInterface()), Type: k.GetType(), Schema: k.GetParametersSchemaJson()})
		}
	}
	return out, nil
}

func (d *Daemon) describe(ctx context.Context, c *model.Config, process string) (*pluginv1.DescribeResponse, error) {
	if p := d.process(process); p != nil && p.Info() != nil {
		return p.Info(), nil
	}
	return d.examine(ctx, c, process)
}

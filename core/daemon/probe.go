package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/core/checker"
	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/pluginhost"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// pollInterval is how often a process is looked at that is waited for.
const pollInterval = 10 * time.Millisecond

// CheckTypes are the types that checks can have.
func (d *Daemon) CheckTypes() []string {
	if known := d.catalog.Load(); known != nil {
		return known.types()
	}
	return nil
}

// ProcessOf names the process that probes a check; empty: nobody offers its type.
func (d *Daemon) ProcessOf(check *model.Check) string {
	if known := d.catalog.Load(); known != nil {
		return known.processOf(check)
	}
	return ""
}

// Probe probes a check once, now, and names the process that did. Where the process of
// its type does not run, one is started for this, with the same privileges.
func (d *Daemon) Probe(ctx context.Context, check *model.Check) (checker.Probed, string, error) {
	name := d.ProcessOf(check)
	if name == "" {
		return checker.Probed{}, "", fmt.Errorf("no plugin offers checks of type %s", check.Type)
	}
	d.mu.Lock()
	facade := d.checkers[name]
	d.mu.Unlock()
	if facade != nil {
		if probed, err := facade.Probe(ctx, check); !errors.Is(err, checker.ErrNotRunning) {
			return probed, name, err
		}
	}
	probed, err := d.probeAlone(ctx, name, check)
	return probed, name + " (started for this probe)", err
}

// probing numbers the processes that are started for one probe.
var probing atomic.Uint64

// probeAlone starts a process for one probe.
func (d *Daemon) probeAlone(ctx context.Context, name string, check *model.Check) (checker.Probed, error) {
	if d.isStopping() {
		return checker.Probed{}, errors.New("poised is stopping: no plugin is started any more")
	}
	c := d.config.Load()
	spec, err := d.options.spec(c, processNamed(c, name))
	if err != nil {
		return checker.Probed{}, err
	}
	spec.Name = fmt.Sprintf("%s-probe%d", name, probing.Add(1))
	spec.RuntimeDir, spec.BeatTimeout, spec.Survives = d.options.runtimeDirOf(spec.Name), 0, false
	defer os.RemoveAll(spec.RuntimeDir)
	type answer struct {
		probed checker.Probed
		err    error
	}
	answered := make(chan answer, 1)
	process := d.probers.Start(spec, pluginhost.Backoff{Min: time.Hour, Max: time.Hour}, func(session context.Context, s pluginhost.Session) error {
		probed, err := checker.Probe(ctx, s.Conn(), check)
		select {
		case answered <- answer{probed, err}:
		default:
		}
		<-session.Done()
		return nil
	})
	defer func() {
		stopping, cancel := context.WithTimeout(context.Background(), checkersStop)
		defer cancel()
		_ = process.Stop(stopping, pluginv1.StopMode_STOP_MODE_LEAVE) // it has nothing to leave
	}()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case a := <-answered:
			return a.probed, a.err
		case <-tick.C:
			if failure := process.Status().LastFailure; failure != "" {
				return checker.Probed{}, fmt.Errorf("start plugin %s for the probe: %s", name, failure)
			}
		case <-ctx.Done():
			return checker.Probed{}, ctx.Err()
		}
	}
}

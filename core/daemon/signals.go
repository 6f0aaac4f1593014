package daemon

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

const (
	// failoverStop bounds the hand-over to the other director: skew and a second, time to
	// remove the addresses, and before that the restart of a process that has just died.
	// The skew of VRRPv2 is under a second.
	failoverStop = 5 * time.Second
	// stopAttempts is how often a failover process that dies on the way is started again
	// to withdraw.
	stopAttempts = 3
	tableStop    = 10 * time.Second
	checkersStop = 2 * time.Second
	// applianceStop bounds the removal of what poise has made on an appliance that is not
	// configured any more.
	applianceStop = 30 * time.Second
	// applianceEnd bounds the end of its process: what was written is saved there, which takes
	// an appliance seconds.
	applianceEnd = 10 * time.Second
)

// notifySignals takes the daemon's signals for the rest of its life: one that comes
// during the start is served after it, and one that comes during the stop does not cut
// it short.
func notifySignals() <-chan os.Signal {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	signal.Ignore(unix.SIGPIPE)
	return signals
}

// serveSignals returns when the daemon should stop.
func (d *Daemon) serveSignals(ctx context.Context, signals <-chan os.Signal, served <-chan error) {
	for {
		select {
		case s := <-signals:
			if s != unix.SIGHUP {
				d.logger.Info("stopping", "signal", s.String())
				return
			}
			notifySystemd("RELOADING=1")
			// What came of it is in log, status and events.
			_, _ = d.Reload(ctx)
			notifySystemd("READY=1")
		case err := <-served:
			d.logger.Error("the control socket is gone, stopping", "error", err)
			return
		case <-ctx.Done():
			return
		}
	}
}

// stop ends the plugins in the order that loses the fewest connections: the addresses
// go to the other director while the table still forwards, then the table is emptied.
func (d *Daemon) stop() {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	d.mu.Lock()
	d.stopping = true
	for _, a := range d.appliances {
		// Who takes over writes from now on; what is there stays.
		a.Hold()
	}
	d.mu.Unlock()
	mode := func(leave bool) pluginv1.StopMode {
		if leave {
			return pluginv1.StopMode_STOP_MODE_LEAVE
		}
		return pluginv1.StopMode_STOP_MODE_WITHDRAW
	}
	table := mode(d.options.LeaveTable)
	if !d.stopFailover(mode(d.options.LeaveAddresses)) {
		// An address without a table would swallow what the clients send.
		d.logger.Error("the virtual addresses may still be here, so the table stays: remove both by hand, or start poised again")
		table = pluginv1.StopMode_STOP_MODE_LEAVE
	}
	d.stopTable(table)
	var ending sync.WaitGroup
	for _, p := range d.Plugins() {
		timeout := checkersStop
		if instanceOf(d.config.Load(), p.Name) != nil {
			timeout = applianceEnd
		}
		ending.Go(func() { _ = d.stopProcess(p.Name, pluginv1.StopMode_STOP_MODE_LEAVE, timeout) }) // told
	}
	ending.Wait()
	d.probers.Close()
	d.host.Close()
	d.logger.Info("stopped")
}

func (d *Daemon) isStopping() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}

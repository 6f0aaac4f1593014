package daemon

import (
	"context"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

const (
	// failoverStop bounds the hand-over to the other director: skew and a second, and
	// time to remove the addresses. The skew of VRRPv2 is under a second.
	failoverStop = 4 * time.Second
	tableStop    = 10 * time.Second
	checkersStop = 2 * time.Second
)

// serveSignals returns when the daemon should stop.
func (d *Daemon) serveSignals(ctx context.Context, served <-chan error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	signal.Ignore(unix.SIGPIPE)
	defer signal.Stop(signals)
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
	mode := func(leave bool) pluginv1.StopMode {
		if leave {
			return pluginv1.StopMode_STOP_MODE_LEAVE
		}
		return pluginv1.StopMode_STOP_MODE_WITHDRAW
	}
	d.stopProcess(failoverProcess, mode(d.options.LeaveAddresses), failoverStop)
	d.stopProcess(d.config.Load().Forwarder, mode(d.options.LeaveTable), tableStop)
	for _, p := range d.Plugins() {
		d.stopProcess(p.Name, pluginv1.StopMode_STOP_MODE_LEAVE, checkersStop)
	}
	d.host.Close()
	d.logger.Info("stopped")
}

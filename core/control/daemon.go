package control

import (
	"context"
	"strings"
	"time"

	"github.com/poise-lb/poise/core/failover"
	"github.com/poise-lb/poise/core/forwarder"
	"github.com/poise-lb/poise/core/model"
)

// Daemon is what the API shows and steers. Its methods may be called at the same time
// from many goroutines; what they return is not changed afterwards.
type Daemon interface {
	Info() Info
	// Snapshot is the engine's last one; nil until there is one.
	Snapshot() *model.Snapshot
	Plugins() []model.PluginStatus
	Forwarder() forwarder.Status
	// Instances are the counters of the instances that run.
	Instances() []failover.InstanceStatus
	// Events gives the events after a sequence number that are still held, oldest first,
	// and how many are not held any more. more is closed when there is another one.
	Events(after uint64) (events []model.Event, missed uint64, more <-chan struct{})
	// Override is what SetOverride stored last for a real server.
	Override(key model.RealServerKey) model.Override
	// SetOverride stores an operator's wish; the zero value takes it back. It is on disk
	// when SetOverride returns.
	SetOverride(ctx context.Context, key model.RealServerKey, o model.Override) error
	// Reload reads the configuration again and puts it in force. With a *ConfigError
	// nothing has changed.
	Reload(ctx context.Context) (warnings []string, err error)
}

// Info is what the daemon says of itself.
type Info struct {
	Version   string
	Pid       int
	StartedAt time.Time
	RouterID  string
	// ConfigFile is what it was configured from, ConfigLoadedAt when that was last read
	// without errors.
	ConfigFile     string
	ConfigLoadedAt time.Time
	// ReloadErrors is why the last reload was refused, a problem each.
	ReloadErrors []string
	// Forwarder is the kind of forwarder that runs: "ipvs"; empty: none.
	Forwarder string
}

// ConfigError says that a configuration has errors.
type ConfigError struct {
	// Problems are "FILE:LINE: error: what", one each.
	Problems []string
}

// Error gives a problem a line.
func (e *ConfigError) Error() string { return strings.Join(e.Problems, "\n") }

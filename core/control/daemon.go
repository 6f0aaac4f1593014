package control

import (
	"context"
	"strings"
	"time"

	"github.com/poise-lb/poise/core/checker"
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
	// Appliances are the forwarders beside it, sorted by name.
	Appliances() []Appliance
	// Differences compares what a forwarder should hold with what it holds; empty: all of
	// them. A *RefusedError: there is none of that name.
	Differences(ctx context.Context, name string) ([]Comparison, error)
	// Import reads what an appliance forwards. A *RefusedError: there is none of that name,
	// or it has nothing to import from.
	Import(ctx context.Context, name, scope string) (yaml string, notes []string, err error)
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
	// Checkers are what the checker processes have done, by their names.
	Checkers() map[string]checker.Stats
	// CheckTypes are the types that checks can have, sorted.
	CheckTypes() []string
	// ProcessOf names the process that probes a check; empty: nobody offers its type.
	ProcessOf(check *model.Check) string
	// Probe probes a check once, now, and names the process that did. A
	// *checker.ParameterError is about the check, any other error about the process.
	Probe(ctx context.Context, check *model.Check) (probed checker.Probed, process string, err error)
	// RestartPlugin starts a process that runs anew. With a *RefusedError nothing has
	// changed.
	RestartPlugin(ctx context.Context, name string) (previousSHA256 string, err error)
	// DescribePlugin says what a process, or the one of a type, offers.
	DescribePlugin(ctx context.Context, name string) (Description, error)
}

// Appliance is a forwarder beside the director's own.
type Appliance struct {
	Instance model.ForwarderInstance
	// Held is why nothing is written to it now; empty: it is.
	Held   string
	Status forwarder.Status
}

// Comparison is what a forwarder should hold against what it holds.
type Comparison struct {
	// Forwarder is "ipvs" or "f5:lab".
	Forwarder string
	// Reason is why nothing can be said, or nothing is written; empty: neither.
	Reason string
	// Compared says that it was compared: with what this director would write, where
	// nothing is written.
	Compared    bool
	Differences []forwarder.Difference
}

// Description is what a plugin offers.
type Description struct {
	// Process is its name in status, Name and Version what it calls itself.
	Process, Name, Version string
	Kinds                  []Kind
}

// Kind is one thing that a plugin offers.
type Kind struct {
	// Interface is "check", "forward" or "failover", Type its name in configurations.
	Interface, Type string
	// Schema is the JSON Schema of its parameters; empty: none to show.
	Schema []byte
}

// RefusedError says why nothing was done.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

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

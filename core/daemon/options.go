package daemon

import (
	"errors"
	"os"

	"github.com/hashicorp/go-hclog"
)

// Options are what the command line says.
type Options struct {
	// ConfigFile is a keepalived.conf, or a .yaml, .toml or .json of poise's own.
	ConfigFile string
	// ConfigID keeps lines of a keepalived.conf that start with @ID.
	ConfigID string
	// StateDir holds what outlives the daemon, RuntimeDir what lives while it runs.
	StateDir   string
	RuntimeDir string
	// LogLevel is hclog's; LogDetail means debug.
	LogLevel  string
	LogDetail bool
	LogJSON   bool
	// OnlyFailover leaves the virtual servers out, OnlyServices the failover groups.
	OnlyFailover bool
	OnlyServices bool
	// LeaveTable and LeaveAddresses: on stop the data plane stays.
	LeaveTable     bool
	LeaveAddresses bool
	// PluginFile is the executable of poise's own plugins; empty: poise-plugin beside poised.
	PluginFile string
	// PidFile takes the process id; empty: none.
	PidFile string
}

// ErrConfig says that the configuration has errors; they have been printed.
var ErrConfig = errors.New("the configuration has errors")

func (o Options) logger() hclog.Logger {
	level := hclog.LevelFromString(o.LogLevel)
	if o.LogDetail && (level == hclog.NoLevel || level > hclog.Debug) {
		level = hclog.Debug
	}
	return hclog.New(&hclog.LoggerOptions{Name: "poised", Level: level, Output: os.Stderr, JSONFormat: o.LogJSON})
}

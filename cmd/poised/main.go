// Command poised is the daemon: it reads the configuration, runs the plugins and
// keeps what should be and what is the same.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/core/daemon"
	"github.com/poise-lb/poise/internal/version"
)

func main() {
	if os.Getenv("GOGC") == "" {
		// What a smaller heap takes in time is little.
		debug.SetGCPercent(50)
	}
	command := newCommand()
	if err := command.ExecuteContext(context.Background()); err != nil {
		var quiet *exitError
		if !errors.As(err, &quiet) {
			fmt.Fprintf(os.Stderr, "poised: %v\n", err)
		}
		os.Exit(1)
	}
}

// exitError ends with status 1 without a further message: all has been said.
type exitError struct{ error }

const help = `poised keeps services reachable: it programs IPVS, checks real servers and runs VRRP.

It runs in the foreground and logs to stderr. SIGTERM stops it cleanly: the virtual
addresses go to the other director first, then the table is emptied. SIGHUP reads the
configuration again; a file with errors changes nothing.

FILE is a keepalived.conf, or poise's own .yaml, .toml or .json. Without -f it is
/etc/poise/poise.yaml, else /etc/keepalived/keepalived.conf.`

func newCommand() *cobra.Command {
	o := daemon.Options{}
	var test string
	var strict bool
	command := &cobra.Command{
		Use: "poised [-f FILE]", Short: "keep services reachable: IPVS, health checks, VRRP", Long: help,
		Args: noArguments, SilenceUsage: true, SilenceErrors: true, Version: version.Version,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.ConfigFile == "" {
				o.ConfigFile = defaultConfig()
			}
			if cmd.Flags().Changed("config-test") {
				if !daemon.Test(cmd.Context(), o, strict, os.Stderr) {
					return &exitError{errors.New("bad configuration")}
				}
				return nil
			}
			err := daemon.Run(cmd.Context(), o)
			if errors.Is(err, daemon.ErrConfig) {
				return &exitError{err}
			}
			return err
		},
	}
	f := command.Flags()
	f.SortFlags = false
	f.StringVarP(&o.ConfigFile, "use-file", "f", "", "configuration `FILE`")
	f.StringVarP(&test, "config-test", "t", "", "check the configuration and exit: 0 good, 1 bad; needs no privileges and no interfaces")
	f.Lookup("config-test").NoOptDefVal = "stderr"
	f.BoolVar(&strict, "strict", false, "with -t: warnings are errors")
	f.StringVar(&o.StateDir, "state-dir", "/var/lib/poise", "`DIR` of what outlives the daemon: overrides, what it made")
	f.StringVar(&o.RuntimeDir, "runtime-dir", "/run/poise", "`DIR` of what lives while it runs: the control socket; another daemon needs another one")
	f.StringVar(&o.LogLevel, "log-level", "info", "trace, debug, info, warn or error")
	f.BoolVar(&o.LogJSON, "log-json", false, "log lines are JSON")
	f.StringVarP(&o.ConfigID, "config-id", "i", "", "keep lines of a keepalived.conf that start with @`ID`")
	f.BoolVarP(&o.OnlyFailover, "vrrp", "P", false, "run failover groups only, no virtual servers")
	f.BoolVarP(&o.OnlyServices, "check", "C", false, "run virtual servers and checks only, no failover groups")
	f.BoolVarP(&o.LeaveAddresses, "dont-release-vrrp", "V", false, "on stop leave the virtual addresses where they are")
	f.BoolVarP(&o.LeaveTable, "dont-release-ipvs", "I", false, "on stop leave the IPVS table as it is")
	f.StringVarP(&o.PidFile, "pid", "p", "", "write the process id to `FILE`")
	addAccepted(command, &o)
	command.SetHelpCommand(&cobra.Command{Hidden: true})
	command.CompletionOptions.HiddenDefaultCmd = true
	return command
}

// noArguments refuses what is no flag: most likely a file without -f.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q is no flag: a configuration file is given as -f %s", args[0], args[0])
	}
	return nil
}

// addAccepted takes the flags of keepalived that service files have and that mean
// nothing here, or always hold: poised never forks, logs to stderr, and has no log
// facility.
func addAccepted(command *cobra.Command, o *daemon.Options) {
	f := command.Flags()
	none := func(name, short, why string) {
		f.BoolP(name, short, false, "accepted for keepalived's sake: "+why)
	}
	none("dont-fork", "n", "poised never forks")
	none("log-console", "l", "poised always logs to stderr")
	f.BoolVarP(&o.LogDetail, "log-detail", "D", false, "log in detail (the level debug)")
	none("no-syslog", "G", "poised does not use syslog")
	none("dump-conf", "d", "see poise config convert")
	none("dont-respawn", "R", "plugins are always started again")
	none("release-vips", "X", "addresses that are not ours to hold are always removed at start")
	none("no-bfd", "B", "BFD sessions are those of BFD checks and nothing else: remove these to have none")
	for _, x := range []struct{ name, short, why string }{
		{"log-facility", "S", "poised does not use syslog"},
		{"vrrp_pid", "r", "the plugin has no pid file; see poise plugin list"},
		{"checkers_pid", "c", "the plugin has no pid file; see poise plugin list"},
		{"bfd_pid", "b", "the plugin has no pid file; see poise plugin list"},
	} {
		f.StringP(x.name, x.short, "", "accepted for keepalived's sake: "+x.why)
	}
}

// defaultConfig is poise's own file if there is one, else keepalived's.
func defaultConfig() string {
	const own, keepalived = "/etc/poise/poise.yaml", "/etc/keepalived/keepalived.conf"
	if _, err := os.Stat(own); err == nil {
		return own
	}
	return keepalived
}

// Command poise is the operator's command: it shows and steers a running poised over
// its control socket, and looks at configuration files.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	if !errors.Is(err, errSaid) {
		fmt.Fprintf(os.Stderr, "poise: %v\n", err)
	}
	os.Exit(exitStatus(err))
}

// exitError ends with another status than 1.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func exitStatus(err error) int {
	var other *exitError
	if errors.As(err, &other) {
		return other.code
	}
	return 1
}

// errSaid ends with status 1 without a further message: all has been said.
var errSaid = errors.New("all has been said")

const help = `poise shows and steers a running poised on this director.

It speaks to the control socket in poised's runtime directory, which only the user of
the daemon (root) may open. The commands under "poise config" need no daemon.

A virtual server VS is named as status names it, or shorter where that is only one:
  "TCP 192.0.2.100:80", tcp/192.0.2.100:80, 192.0.2.100:80, "FWM 3", fwm/3
A real server RS likewise:
  192.0.2.1:80, 192.0.2.1`

const examples = `  poise status
  poise drain 192.0.2.100:80 192.0.2.1:80 --deadline 60s --wait
  poise ready 192.0.2.100:80 192.0.2.1:80
  poise events -f
  poise probe -v 192.0.2.100:80 192.0.2.1:80
  poise diff f5:lab
  poise config check /etc/keepalived/keepalived.conf`

func newCommand() *cobra.Command {
	c := &client{}
	root := &cobra.Command{
		Use: "poise", Short: "show and steer a running poised", Long: help, Example: examples,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&c.runtimeDir, "runtime-dir", "/run/poise", "poised's runtime `DIR`")
	root.AddGroup(
		&cobra.Group{ID: "show", Title: "Look:"},
		&cobra.Group{ID: "steer", Title: "Steer:"},
		&cobra.Group{ID: "file", Title: "Without a daemon:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, sub := range commands {
			sub.GroupID = group
			root.AddCommand(sub)
		}
	}
	add("show", newStatus(c), newEvents(c), newProbe(c), newDiff(c), newF5(c), newPlugin(c))
	add("steer", newDrain(c), newReady(c), newMaint(c), newWeight(c), newReload(c))
	add("file", newConfig(), newVersion())
	root.SetHelpCommandGroupID("file")
	root.SetCompletionCommandGroupID("file")
	return root
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version of this command", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version.Version) },
	}
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/sdk/plugintest/conform"
)

// testFlags are the flags of `poise plugin test`.
type testFlags struct {
	tls, full, touch, anyAnswer, advisory, noSource, watched, list bool
	kind, target, parameters, settings                             string
	args, only                                                     []string
}

func newPluginTest() *cobra.Command {
	var f testFlags
	cmd := &cobra.Command{
		Use: "test PATH", Short: "check that a plugin's executable keeps to the contract",
		Long: `Runs an executable as poised does, as the user of this command, and checks the
contract of plugins: one line for each requirement, and status 1 if one is not met. It needs
no daemon.

What can be said of a check without knowing it is little: name its type, parameters that are
good and a target that is up with them. The target is reached through a relay on the
loopback, which is made to refuse, hang and talk nonsense.`,
		Example: `  poise plugin test ./poise-check-redis --type redis --target 127.0.0.1:6379
  poise plugin test ./check.py --tls=false --type mysql --target 127.0.0.1:3306 --parameters '{"user":"poise"}'
  poise plugin test --list`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.list {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.list {
				for _, r := range conform.Requirements() {
					fmt.Fprintf(cmd.OutOrStdout(), "%-16s %s\n", r.Name, r.Says)
				}
				return nil
			}
			o, err := f.options(args[0])
			if err != nil {
				return err
			}
			o.Report = func(r conform.Result) { fmt.Fprintln(cmd.OutOrStdout(), clean(r.String())) }
			results, err := conform.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			count := map[conform.Outcome]int{}
			for _, r := range results {
				count[r.Outcome]++
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d met, %d not met, %d not checked\n", count[conform.Passed], count[conform.Failed], count[conform.Skipped])
			if n := count[conform.Failed]; n > 0 {
				return fmt.Errorf("%s: %d of %d requirements are not met", args[0], n, len(results))
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.tls, "tls", true, "speak TLS on the socket, as without `tls: false` in the configuration")
	flags.StringVar(&f.kind, "type", "", "`TYPE` of check to probe with")
	flags.StringVar(&f.target, "target", "", "`ADDRESS` that is up, with :PORT if the type has one")
	flags.StringVar(&f.parameters, "parameters", "", "parameters of the check, as `JSON`")
	flags.StringVar(&f.settings, "settings", "", "parameters of the plugin itself, as `JSON`")
	flags.StringArrayVar(&f.args, "arg", nil, "argument `ARG` of the executable; may be given again")
	flags.BoolVar(&f.anyAnswer, "any-answer", false, "whatever accepts a connection is up for this type")
	flags.BoolVar(&f.advisory, "advisory", false, "a target of this type that fails is unknown, not down")
	flags.BoolVar(&f.noSource, "no-source", false, "probes of this type have no source address")
	flags.BoolVar(&f.watched, "watched", false, "results of this type come by themselves, not on a schedule")
	flags.BoolVar(&f.touch, "touch", false, "change a forwarder's table: for one in memory, or a machine that may lose its own")
	flags.BoolVar(&f.full, "full", false, "take minutes: 10,000 probes, longer silences")
	flags.StringSliceVar(&f.only, "only", nil, "check these `REQUIREMENTS` alone")
	flags.BoolVar(&f.list, "list", false, "list the requirements and run nothing")
	return cmd
}

func (f *testFlags) options(path string) (conform.Options, error) {
	o := conform.Options{
		Path: path, Args: f.args, PlainText: !f.tls, Parameters: f.settings, Touch: f.touch, Full: f.full, Only: f.only,
	}
	for flag, text := range map[string]string{"parameters": f.parameters, "settings": f.settings} {
		if text != "" && !json.Valid([]byte(text)) {
			return o, fmt.Errorf("--%s %s is not JSON", flag, strconv.Quote(text))
		}
	}
	if f.kind == "" {
		if f.target != "" || f.parameters != "" || f.anyAnswer || f.advisory || f.noSource || f.watched {
			return o, errors.New("--target, --parameters, --any-answer, --advisory, --no-source and --watched are of a type: name it with --type")
		}
		return o, nil
	}
	t := conform.Type{Parameters: f.parameters, AnyAnswer: f.anyAnswer, Advisory: f.advisory, NoSource: f.noSource, Watched: f.watched}
	if f.target != "" {
		var err error
		if t.Target, err = netip.ParseAddrPort(f.target); err != nil {
			addr, err := netip.ParseAddr(strings.Trim(f.target, "[]"))
			if err != nil {
				return o, fmt.Errorf("--target %s is neither ADDRESS:PORT nor an address", strconv.Quote(f.target))
			}
			t.Target = netip.AddrPortFrom(addr, 0)
		}
	}
	o.Types = map[string]conform.Type{f.kind: t}
	return o, nil
}

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/core/config"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "check and convert configuration files"}
	cmd.AddCommand(newConfigCheck(), newConfigConvert())
	return cmd
}

func newConfigCheck() *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use: "check FILE", Short: "say what is wrong with a configuration file", Args: cobra.ExactArgs(1),
		Long: `Reads a keepalived.conf, .yaml, .toml or .json, and prints what is wrong with it as
FILE:LINE: error|warning: what, and what to do. The status is 1 if there are errors.
It needs no daemon, no privileges and none of the interfaces. "poised -t" checks the same
and asks the plugins about their parameters too.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := config.Load(args[0], config.Options{})
			printProblems(cmd, r)
			switch {
			case r.HasErrors():
				return errSaid
			case r.HasWarnings() && strict:
				return errSaid
			case r.HasWarnings():
				fmt.Fprintf(cmd.OutOrStdout(), "%s: good, with %s\n", args[0], count(uint64(len(r.Problems)), "warning"))
			default:
				fmt.Fprintf(cmd.OutOrStdout(), "%s: good\n", args[0])
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings are errors")
	return cmd
}

func newConfigConvert() *cobra.Command {
	return &cobra.Command{
		Use: "convert FILE", Short: "print a configuration as poise's own YAML", Args: cobra.ExactArgs(1),
		Long: `Reads a configuration and prints poise's own YAML that means the same. What a
keepalived.conf says that poise does not use is told as a warning and left out; a file
with errors is not converted.`,
		Example: "  poise config convert /etc/keepalived/keepalived.conf > /etc/poise/poise.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			r := config.Load(args[0], config.Options{})
			printProblems(cmd, r)
			if r.HasErrors() {
				return errSaid
			}
			return config.WriteYAML(cmd.OutOrStdout(), r.Config)
		},
	}
}

func printProblems(cmd *cobra.Command, r config.Result) {
	for _, p := range r.Problems {
		fmt.Fprintln(cmd.ErrOrStderr(), p)
	}
}

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

func newPlugin(c *client) *cobra.Command {
	cmd := &cobra.Command{Use: "plugin", Short: "look at plugins, restart and pin them"}
	cmd.AddCommand(newPluginList(c), newPluginShow(c), newPluginRestart(c), newPluginPin(c), newPluginTest())
	return cmd
}

func newPluginList(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the plugin processes", Args: cobra.NoArgs,
		Long: `Lists the plugin processes: what they do, how often they were started again and why,
and the user and capabilities they run with.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.status(cmd.Context())
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), renderPlugins(s.GetPlugins(), time.Now()))
			return err
		},
	}
}

func newPluginShow(c *client) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use: "show NAME|TYPE", Short: "show a plugin, and the parameters of its types of checks", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completePluginsAndTypes,
		Long: `Shows a plugin process, or the one of a type of check: its executable with the hash of
what runs, its user and capabilities, what it has done, and what it offers with the
parameters. One that does not run is started without privileges, only to ask.`,
		Example: `  poise plugin show checkers
  poise plugin show http`,
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			var answer *controlv1.DescribePluginResponse
			err = c.call(cmd.Context(), reloadTime, func(ctx context.Context, d controlv1.ControlServiceClient) error {
				answer, err = d.DescribePlugin(ctx, &controlv1.DescribePluginRequest{Name: args[0]})
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), answer, "  ")
			}
			_, err = io.WriteString(cmd.OutOrStdout(), renderPlugin(answer, time.Now()))
			return err
		},
	}
	out.addTo(cmd)
	return cmd
}

func newPluginRestart(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "restart NAME", Short: "start a plugin process anew, from the executable that is there now", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completePlugins,
		Long: `Ends a plugin process and starts it anew. Table, addresses and verdicts stay as they
are; the new process is told what the checks said. An executable that was replaced is used
from here on, if it can be: one that is not the pinned one, that others than root could
replace, or that does not offer what the configuration has is refused, and the process that
runs goes on.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), reloadTime, func(ctx context.Context, d controlv1.ControlServiceClient) error {
				r, err := d.RestartPlugin(ctx, &controlv1.RestartPluginRequest{Name: args[0]})
				if err != nil {
					return err
				}
				p := r.GetPlugin()
				text := fmt.Sprintf("%s runs: process %d, version %s", p.GetName(), p.GetPid(), p.GetVersion())
				switch {
				case p.GetSha256() == "":
				case p.GetSha256() == r.GetPreviousSha256():
					text += ", the same executable"
				default:
					text += ", another executable: sha256 " + p.GetSha256()
				}
				fmt.Fprintln(cmd.OutOrStdout(), clean(text))
				return nil
			})
		},
	}
}

func newPluginPin(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "pin NAME", Short: "print the sha256 of a plugin's executable for the configuration", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completePlugins,
		Long: `Prints the lines that pin a plugin to the executable that is there now: put into the
configuration, they keep poised from ever running another one.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.status(cmd.Context())
			if err != nil {
				return err
			}
			for _, p := range s.GetPlugins() {
				if p.GetName() != args[0] {
					continue
				}
				sum, err := fileSum(p.GetPath())
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "plugins:\n  %s:\n    sha256: \"%s\"\n", p.GetName(), sum)
				if running := p.GetSha256(); running != "" && running != sum {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s was replaced since it was started: what runs has the sha256 %s; poise plugin restart %s has the new one run\n",
						clean(p.GetPath()), running, p.GetName())
				}
				return nil
			}
			return fmt.Errorf("no plugin %s runs: see poise plugin list", args[0])
		},
	}
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("hash the executable: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hash the executable %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// renderPlugin is one plugin for people.
func renderPlugin(r *controlv1.DescribePluginResponse, now time.Time) string {
	var page page
	p := r.GetPlugin()
	text := fmt.Sprintf("plugin %s: ", p.GetName())
	if p.GetState() == "" {
		text += "does not run: the configuration does not need it"
	} else if text += p.GetState(); p.GetPid() != 0 {
		text += fmt.Sprintf(", process %d for %s", p.GetPid(), since(p.GetStartedAt(), now))
	}
	page.line("%s", text)
	own := p.GetVersion()
	if r.GetOwnName() != "" && r.GetOwnName() != p.GetName() {
		own = r.GetOwnName() + " " + own
	}
	for _, x := range [][2]string{
		{"version", own}, {"executable", p.GetPath()}, {"sha256 of what runs", p.GetSha256()}, {"user", p.GetUser()},
		{"capabilities", strings.Join(p.GetCapabilities(), " ")}, {"trouble", p.GetTrouble()}, {"last failure", p.GetLastFailure()},
	} {
		if x[1] != "" {
			page.line("  %s: %s", x[0], x[1])
		}
	}
	if p.GetState() != "" && len(p.GetCapabilities()) == 0 {
		page.line("  capabilities: none")
	}
	if p.GetChecks() > 0 {
		page.line("  %s: %s, %d without success, %d left out because the one before had not returned",
			count(p.GetChecks(), "check"), count(p.GetProbes(), "probe"), p.GetProbeFailures(), p.GetProbesOverdue())
	}
	for _, k := range r.GetKinds() {
		page.section("%s %s", k.GetInterface(), k.GetType())
		page.lines(schemaTable(k.GetParametersSchemaJson()))
	}
	return page.String()
}

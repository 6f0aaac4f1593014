package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// completeTime is what a shell waits for words.
const completeTime = time.Second

// completeServers completes VS and RS with what status has.
func (c *client) completeServers(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	s := c.statusForShell(cmd.Context())
	var out []string
	switch len(args) {
	case 0:
		for _, v := range s.GetVirtualServers() {
			// A shell takes a space for the end of the word.
			out = append(out, strings.ToLower(strings.ReplaceAll(v.GetName(), " ", "/")))
		}
	case 1:
		for _, v := range s.GetVirtualServers() {
			if !strings.EqualFold(strings.ReplaceAll(v.GetName(), " ", "/"), strings.ReplaceAll(args[0], " ", "/")) && !strings.HasSuffix(v.GetName(), " "+args[0]) {
				continue
			}
			for _, r := range v.GetRealServers() {
				out = append(out, r.GetName())
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeProbe completes like completeServers, and types of checks.
func (c *client) completeProbe(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	out, directive := c.completeServers(cmd, args, word)
	if len(args) == 0 {
		out = append(out, c.kinds(cmd.Context())...)
	}
	return out, directive
}

// completePlugins completes the names of processes.
func (c *client) completePlugins(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	if len(args) == 0 {
		for _, p := range c.statusForShell(cmd.Context()).GetPlugins() {
			out = append(out, p.GetName())
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completePluginsAndTypes completes types of checks too.
func (c *client) completePluginsAndTypes(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	out, directive := c.completePlugins(cmd, args, word)
	if len(args) == 0 {
		out = append(out, c.kinds(cmd.Context())...)
	}
	return out, directive
}

// completeForwarders completes the names of forwarders.
func (c *client) completeForwarders(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	if s := c.statusForShell(cmd.Context()); len(args) == 0 {
		for _, f := range append([]*controlv1.Forwarder{s.GetForwarder()}, s.GetAppliances()...) {
			if f.GetName() != "" {
				out = append(out, f.GetName())
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeF5 completes the names of BIG-IPs, without their type.
func (c *client) completeF5(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	if len(args) == 0 {
		for _, f := range c.statusForShell(cmd.Context()).GetAppliances() {
			if name, ok := strings.CutPrefix(f.GetName(), f5Prefix); ok {
				out = append(out, name)
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// kinds are the types of checks that run.
func (c *client) kinds(ctx context.Context) []string {
	var out []string
	for _, p := range c.statusForShell(ctx).GetPlugins() {
		for _, k := range p.GetKinds() {
			if kind, ok := strings.CutPrefix(k, "check/"); ok {
				out = append(out, kind)
			}
		}
	}
	return out
}

// statusForShell is empty when there is none to be had: a shell shows no errors.
func (c *client) statusForShell(ctx context.Context) *controlv1.StatusResponse {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	s, err := c.status(ctx)
	if err != nil {
		return &controlv1.StatusResponse{}
	}
	return s
}

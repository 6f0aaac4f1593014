package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

const overrideHelp = `

It is kept over restarts of poised, and of the machine, until it is taken back.`

func newDrain(c *client) *cobra.Command {
	var deadline time.Duration
	var wait bool
	cmd := &cobra.Command{
		Use: "drain VS RS", Short: "no new connections to a real server, open ones go on", Args: cobra.ExactArgs(2), ValidArgsFunction: c.completeServers,
		Long: `Gives a real server weight 0: it gets no new connections, and those that are open go
on. (With persistence, clients that have been with it may still come; see
expire_quiescent_template in docs/operations.md.) After the deadline, if there is one, it
leaves the table, and what is still open is cut. "poise ready" takes it back. On appliances
it is drained and, after the deadline, offline in the same way; what is open there goes on.

With --wait the command ends when no connection is left, active or inactive, here or on an
appliance, or when the deadline has passed; interrupting it does not end the drain.` + overrideHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := &controlv1.SetOverrideRequest{VirtualServer: args[0], RealServer: args[1], Mode: controlv1.OverrideMode_OVERRIDE_MODE_DRAIN}
			if cmd.Flags().Changed("deadline") {
				if deadline <= 0 {
					return fmt.Errorf("--deadline %s: must be more than 0", deadline)
				}
				r.DrainDeadline = durationpb.New(deadline)
			}
			answer, err := c.override(cmd, r)
			if err != nil || !wait {
				return err
			}
			w := drainWait{status: c.status, say: cmd.OutOrStdout(), poll: pollInterval, settle: settleTime, applianceSettle: applianceSettle}
			return w.run(cmd.Context(), answer.GetVirtualServer(), answer.GetRealServer())
		},
	}
	cmd.Flags().DurationVar(&deadline, "deadline", 0, "`TIME` after which it leaves the table: 60s, 5m; without it never")
	cmd.Flags().BoolVar(&wait, "wait", false, "end when no connection is left or the deadline has passed")
	return cmd
}

func newReady(c *client) *cobra.Command {
	return simpleOverride(c, controlv1.OverrideMode_OVERRIDE_MODE_READY, "ready VS RS", "take drain, maint and weight of a real server back",
		`Takes back what an operator laid over a real server: the configuration and the verdicts
of its checks decide again.`)
}

func newMaint(c *client) *cobra.Command {
	return simpleOverride(c, controlv1.OverrideMode_OVERRIDE_MODE_MAINT, "maint VS RS", "take a real server out of the table at once",
		`Takes a real server out of the table at once; connections that are open are cut. To let
them end, drain it first. On appliances it is offline, and what is open there goes on.
"poise ready" takes it back.`+overrideHelp)
}

func simpleOverride(c *client, mode controlv1.OverrideMode, use, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.ExactArgs(2), ValidArgsFunction: c.completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := c.override(cmd, &controlv1.SetOverrideRequest{VirtualServer: args[0], RealServer: args[1], Mode: mode})
			return err
		},
	}
}

func newWeight(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "weight VS RS N|default", Short: "give a real server another weight", Args: cobra.ExactArgs(3), ValidArgsFunction: c.completeServers,
		Long: `Puts a weight in the place of the configured one; "default" is the configured one again.
A drain or maintenance stays as it is.` + overrideHelp,
		Example: `  poise weight 192.0.2.100:80 192.0.2.1:80 10
  poise weight 192.0.2.100:80 192.0.2.1:80 default`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := &controlv1.SetOverrideRequest{VirtualServer: args[0], RealServer: args[1], Mode: controlv1.OverrideMode_OVERRIDE_MODE_WEIGHT_DEFAULT}
			if args[2] != "default" {
				n, err := strconv.ParseUint(args[2], 10, 31)
				if err != nil {
					return fmt.Errorf("weight %q: must be 0 to 2147483647, or default", args[2])
				}
				r.Mode, r.Weight = controlv1.OverrideMode_OVERRIDE_MODE_WEIGHT, uint32(n)
			}
			_, err := c.override(cmd, r)
			return err
		},
	}
}

// override asks for one, and says for which real server it was taken.
func (c *client) override(cmd *cobra.Command, r *controlv1.SetOverrideRequest) (answer *controlv1.SetOverrideResponse, err error) {
	err = c.call(cmd.Context(), answerTime, func(ctx context.Context, d controlv1.ControlServiceClient) error {
		answer, err = d.SetOverride(ctx, r)
		return err
	})
	if err == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "%s of %s: %s\n", answer.GetRealServer(), answer.GetVirtualServer(), said(r))
	}
	return answer, err
}

func said(r *controlv1.SetOverrideRequest) string {
	switch r.GetMode() {
	case controlv1.OverrideMode_OVERRIDE_MODE_DRAIN:
		if r.GetDrainDeadline() != nil {
			return "drained, for " + age(r.GetDrainDeadline().AsDuration())
		}
		return "drained"
	case controlv1.OverrideMode_OVERRIDE_MODE_MAINT:
		return "in maintenance"
	case controlv1.OverrideMode_OVERRIDE_MODE_WEIGHT:
		return fmt.Sprintf("weight %d", r.GetWeight())
	case controlv1.OverrideMode_OVERRIDE_MODE_WEIGHT_DEFAULT:
		return "the configured weight"
	}
	return "ready"
}

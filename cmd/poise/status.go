package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

func newStatus(c *client) *cobra.Command {
	var out output
	var verbose bool
	cmd := &cobra.Command{
		Use: "status", Short: "show the director, its services and its plugins", Args: cobra.NoArgs,
		Long: `Shows what poised knows at this moment: failover groups with their role and why,
virtual servers, real servers with their verdict and why and for how long, weights and
connections, the forwarder's table, the appliances and what they have of each virtual
server, and the plugin processes.

WEIGHT is the weight in the table now; "out": the real server is not in the table. Checks
are listed that change a weight, that a real server speaks through, that cannot be carried
out or that have had no fresh probe because of their plugin; with -v all are. A MEMBER is a
real server as an appliance has it: "enabled"; "drained", without new connections;
"offline", taken out while the connections that stand go on.
With -o json it is the StatusResponse of poise.control.v1, with every field.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			s, err := c.status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), s, "  ")
			}
			_, err = io.WriteString(cmd.OutOrStdout(), renderStatus(s, time.Now(), verbose))
			return err
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "list every check")
	out.addTo(cmd)
	return cmd
}

func (c *client) status(ctx context.Context) (s *controlv1.StatusResponse, err error) {
	err = c.call(ctx, answerTime, func(ctx context.Context, d controlv1.ControlServiceClient) error {
		s, err = d.Status(ctx, &controlv1.StatusRequest{})
		return err
	})
	return s, err
}

func newReload(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "read the configuration again", Args: cobra.NoArgs,
		Long: `Has poised read its configuration again, as SIGHUP does, and says what came of it. A
configuration with errors changes nothing: the errors are printed and the status is 1.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.call(cmd.Context(), reloadTime, func(ctx context.Context, d controlv1.ControlServiceClient) error {
				r, err := d.Reload(ctx, &controlv1.ReloadRequest{})
				if status.Code(err) == codes.InvalidArgument {
					for line := range strings.SplitSeq(status.Convert(err).Message(), "\n") {
						fmt.Fprintln(cmd.ErrOrStderr(), clean(line))
					}
					return errors.New("the configuration has errors: nothing has changed")
				}
				if err != nil {
					return err
				}
				for _, w := range r.GetWarnings() {
					fmt.Fprintln(cmd.ErrOrStderr(), clean(w))
				}
				fmt.Fprintln(cmd.OutOrStdout(), "the configuration is in force")
				return nil
			})
		},
	}
}

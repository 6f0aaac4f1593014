package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

func newEvents(c *client) *cobra.Command {
	var out output
	var follow bool
	cmd := &cobra.Command{
		Use: "events", Short: "print what happened", Args: cobra.NoArgs,
		Long: `Prints the events that poised still holds, the last 1,000, oldest first: verdicts, real
servers that went up or down, quorums, roles, changes of the table, plugins, reloads,
overrides, and what somebody else changed and poised repaired.

With -f it goes on with those to come, until it is interrupted or poised stops. With
-o json each line is an EventsResponse of poise.control.v1.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			err = c.call(cmd.Context(), 0, func(ctx context.Context, d controlv1.ControlServiceClient) error {
				stream, err := d.Events(ctx, &controlv1.EventsRequest{Follow: follow})
				if err != nil {
					return err
				}
				for {
					e, err := stream.Recv()
					if errors.Is(err, io.EOF) {
						return nil
					}
					if err != nil {
						return err
					}
					if asJSON {
						err = writeJSON(cmd.OutOrStdout(), e, "")
					} else {
						_, err = fmt.Fprintln(cmd.OutOrStdout(), renderEvent(e, time.Local))
					}
					if err != nil {
						return err
					}
				}
			})
			if cmd.Context().Err() != nil {
				return nil // interrupted: that is how -f ends
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with events to come")
	out.addTo(cmd)
	return cmd
}

// renderEvent is an event as the log has it, in the time zone of the reader.
func renderEvent(e *controlv1.EventsResponse, zone *time.Location) string {
	at := e.GetAt().AsTime().In(zone).Format("2006-01-02T15:04:05.000Z07:00")
	return clean(fmt.Sprintf("%s %s %s: %s", at, e.GetKind(), e.GetObject(), e.GetMessage()))
}

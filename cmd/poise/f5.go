package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

const (
	// f5Prefix begins the names of instances of the type f5.
	f5Prefix = "f5:"
	// importTime is what poised has to read an appliance; poised itself gives it 2 minutes.
	importTime = 150 * time.Second
)

func newF5(c *client) *cobra.Command {
	cmd := &cobra.Command{Use: "f5", Short: "take over what a BIG-IP has"}
	cmd.AddCommand(newF5Import(c))
	return cmd
}

func newF5Import(c *client) *cobra.Command {
	var partition, file string
	cmd := &cobra.Command{
		Use: "import NAME", Short: "print what a BIG-IP forwards today as poise's YAML", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeF5,
		Long: `Reads the virtual servers, pools and monitors that a BIG-IP has today, and prints poise's
YAML that means the same. NAME is the forwarder's name in the configuration: "lab" or
"f5:lab". Nothing is changed, on the BIG-IP or here.

What could not be translated, and what differs, is told on stderr as "note: OBJECT: ...":
read every line of it before the YAML is used. Without --partition it reads the partition
that poise manages.`,
		Example: `  poise f5 import lab --partition Common -O /tmp/from-lab.yaml
  poise config check /tmp/from-lab.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := f5Prefix + strings.TrimPrefix(args[0], f5Prefix)
			var answer *controlv1.ImportForwarderResponse
			err := c.call(cmd.Context(), importTime, func(ctx context.Context, d controlv1.ControlServiceClient) (err error) {
				answer, err = d.ImportForwarder(ctx, &controlv1.ImportForwarderRequest{Forwarder: name, Scope: partition})
				return err
			})
			if err != nil {
				return err
			}
			for _, n := range answer.GetNotes() {
				fmt.Fprintln(cmd.ErrOrStderr(), clean("note: "+n))
			}
			if file == "" {
				_, err = io.WriteString(cmd.OutOrStdout(), answer.GetYaml())
				return err
			}
			if err := writeNew(file, answer.GetYaml()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: written, with %s\n", file, count(uint64(len(answer.GetNotes())), "note"))
			return nil
		},
	}
	cmd.Flags().StringVar(&partition, "partition", "", "`PARTITION` to read; without it the one that poise manages")
	cmd.Flags().StringVarP(&file, "output-file", "O", "", "write the YAML to `FILE`, which must not be there yet")
	return cmd
}

// writeNew writes a file that is not there yet: what somebody has made of an import is not
// lost to the next one.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	switch {
	case errors.Is(err, os.ErrExist):
		return fmt.Errorf("%s is there already: remove it, or name another file", path)
	case err != nil:
		return fmt.Errorf("write the import: %w", err)
	}
	_, err = io.WriteString(f, text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the import: %w", err)
	}
	return nil
}

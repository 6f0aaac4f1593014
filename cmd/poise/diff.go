package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// Exit statuses of diff.
const (
	statusDiffers     = 1
	statusNotCompared = 2
)

func newDiff(c *client) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use: "diff [FORWARDER]", Short: "compare what forwarders should hold with what they hold", ValidArgsFunction: c.completeForwarders,
		Long: `Compares what each forwarder should hold now, by configuration, verdicts and overrides,
with what it holds: the kernel's table ("ipvs") and every appliance ("f5:lab"), or the one
that is named. A line is an object that is not as it should be: "missing", or "different".
What is there and is not poise's is "foreign": it is left alone, and is no difference.

Poise puts differences right by itself: what stays for more than a moment could not be put
right, and "poise status" says why. An appliance that another director writes to is compared
with what this one would write.

The status is 0 if nothing differs, 1 if something does, and 2 if nothing can be said: a
forwarder could not be compared, or poised does not answer.`,
		Example: `  poise diff
  poise diff f5:lab -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			code, err := c.diff(cmd.Context(), cmd.OutOrStdout(), strings.Join(args, ""), &out)
			switch {
			case err != nil:
				return &exitError{code: statusNotCompared, err: err}
			case code != 0:
				return &exitError{code: code, err: errSaid}
			}
			return nil
		},
	}
	// A wrong command line is no difference.
	wrong := func(err error) error {
		if err == nil {
			return nil
		}
		return &exitError{code: statusNotCompared, err: err}
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error { return wrong(cobra.MaximumNArgs(1)(cmd, args)) }
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return wrong(err) })
	out.addTo(cmd)
	return cmd
}

func (c *client) diff(ctx context.Context, w io.Writer, forwarder string, out *output) (code int, err error) {
	asJSON, err := out.json()
	if err != nil {
		return 0, err
	}
	var answer *controlv1.DiffResponse
	err = c.call(ctx, answerTime, func(ctx context.Context, d controlv1.ControlServiceClient) error {
		answer, err = d.Diff(ctx, &controlv1.DiffRequest{Forwarder: forwarder})
		return err
	})
	if err != nil {
		return 0, err
	}
	if asJSON {
		err = writeJSON(w, answer, "  ")
	} else {
		_, err = io.WriteString(w, renderDiff(answer))
	}
	return diffStatus(answer), err
}

// diffStatus is 0 if all was compared and nothing differs.
func diffStatus(r *controlv1.DiffResponse) int {
	code := 0
	for _, f := range r.GetForwarders() {
		differ, _ := countDifferences(f)
		switch {
		case differ > 0:
			return statusDiffers
		case !f.GetCompared():
			code = statusNotCompared
		}
	}
	return code
}

func countDifferences(f *controlv1.ForwarderDiff) (differ, foreign uint64) {
	for _, d := range f.GetDifferences() {
		if d.GetKind() == "foreign" {
			foreign++
		} else {
			differ++
		}
	}
	return differ, foreign
}

// renderDiff is the differences for people, an object a line.
func renderDiff(r *controlv1.DiffResponse) string {
	var p page
	t := &table{}
	t.add("WHAT", "OBJECT", "DESIRED", "ACTUAL")
	for _, f := range r.GetForwarders() {
		for _, d := range f.GetDifferences() {
			t.add(d.GetKind(), d.GetObject(), d.GetDesired(), d.GetActual())
		}
	}
	lines := t.lines("  ")
	head, lines := lines[0], lines[1:]
	if len(r.GetForwarders()) == 0 {
		p.line("no forwarder: the configuration needs none")
	}
	for _, f := range r.GetForwarders() {
		p.line("%s: %s", f.GetForwarder(), diffSummary(f))
		if n := len(f.GetDifferences()); n > 0 {
			p.line("%s", head)
			p.lines(lines[:n])
			lines = lines[n:]
		}
	}
	return p.String()
}

func diffSummary(f *controlv1.ForwarderDiff) string {
	differ, foreign := countDifferences(f)
	text := "as it should be"
	switch {
	case !f.GetCompared():
		return "NOT COMPARED: " + f.GetReason()
	case differ > 0:
		text = strings.ToUpper(count(differ, "difference"))
	}
	if foreign > 0 {
		text += fmt.Sprintf(", %d foreign left alone", foreign)
	}
	return because(text, f.GetReason())
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// probeTime is what poised has for the probes of a real server, or to start the process
// of one.
const probeTime = 2 * time.Minute

// Exit statuses of probe.
const (
	statusDown    = 1
	statusUnknown = 2
)

func newProbe(c *client) *cobra.Command {
	var out output
	var verbose bool
	cmd := &cobra.Command{
		Use: "probe {VS RS [CHECK] | TYPE [TARGET] [KEY=VALUE...]}", Short: "probe a real server, or any target, once and now", ValidArgsFunction: c.completeProbe,
		Long: `Probes once and now, by the plugin process that has the checks of that type, and says
what it found and how long it took; with -v step by step. No verdict changes by it.

VS RS: the checks that are configured for a real server, or one of them: CHECK is its
number in "poise probe VS RS", its type, or its id.

TYPE TARGET: any type of check ("poise plugin show TYPE" lists its parameters) and any
target: 192.0.2.1:80, [2001:db8::1]:80, 192.0.2.1 for a type without a port, none for a
type without a target. KEY=VALUE are parameters; a value may be JSON, and dots lead into
it: urls.0.path=/health. For all types there are timeout=3s (5s), source=ADDRESS,
interface=NAME and fwmark=N.

The status is 0 if all are up, 1 if one is down, and 2 if nothing can be said: a probe
could not be made, or poised does not answer.`,
		Example: `  poise probe 192.0.2.100:80 192.0.2.1
  poise probe -v 192.0.2.100:80 192.0.2.1 http
  poise probe -v tcp 192.0.2.1:80 timeout=1s
  poise probe -v http 192.0.2.1:80 urls.0.path=/health virtualhost=www.example.org`,
		RunE: func(cmd *cobra.Command, args []string) error {
			code, err := c.probe(cmd.Context(), cmd.OutOrStdout(), args, &out, verbose)
			switch {
			case err != nil:
				return &exitError{code: statusUnknown, err: err}
			case code != 0:
				return &exitError{code: code, err: errSaid}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "tell what happens step by step")
	out.addTo(cmd)
	return cmd
}

func (c *client) probe(ctx context.Context, w io.Writer, args []string, out *output, verbose bool) (code int, err error) {
	asJSON, err := out.json()
	if err != nil {
		return 0, err
	}
	request, err := probeRequest(args)
	if err != nil {
		return 0, err
	}
	var answer *controlv1.ProbeResponse
	err = c.call(ctx, probeTime, func(ctx context.Context, d controlv1.ControlServiceClient) error {
		answer, err = d.Probe(ctx, request)
		return err
	})
	if err != nil {
		return 0, err
	}
	if asJSON {
		err = writeJSON(w, answer, "  ")
	} else {
		_, err = io.WriteString(w, renderProbe(answer, verbose))
	}
	return probeStatus(answer), err
}

// probeStatus is 0 if all are up.
func probeStatus(r *controlv1.ProbeResponse) int {
	code := 0
	for _, x := range r.GetResults() {
		switch {
		case x.GetVerdict() == "down":
			return statusDown
		case x.GetVerdict() != "up":
			code = statusUnknown
		}
	}
	return code
}

// typeName is what no name of a virtual server looks like.
var typeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// probeRequest makes a request of the command's arguments.
func probeRequest(args []string) (*controlv1.ProbeRequest, error) {
	if len(args) == 0 {
		return nil, errors.New("nothing to probe: name a virtual and a real server, or a type of check and a target")
	}
	if typeName.MatchString(args[0]) {
		target, err := probeTarget(args[0], args[1:])
		return &controlv1.ProbeRequest{What: &controlv1.ProbeRequest_Target{Target: target}}, err
	}
	if len(args) < 2 || len(args) > 3 {
		return nil, fmt.Errorf("%s is a virtual server: name its real server after it, and perhaps one of the checks", args[0])
	}
	real := &controlv1.ProbeRealServer{VirtualServer: args[0], RealServer: args[1]}
	if len(args) == 3 {
		real.Check = args[2]
	}
	return &controlv1.ProbeRequest{What: &controlv1.ProbeRequest_RealServer{RealServer: real}}, nil
}

func probeTarget(kind string, args []string) (*controlv1.ProbeTarget, error) {
	t := &controlv1.ProbeTarget{Type: kind}
	if len(args) > 0 && !strings.Contains(args[0], "=") {
		t.Target, args = args[0], args[1:]
	}
	var parameters any
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q is not KEY=VALUE", arg)
		}
		switch key {
		case "timeout":
			d, err := time.ParseDuration(value)
			if err != nil {
				return nil, fmt.Errorf("timeout %s: not a time; write 3s or 500ms", value)
			}
			t.Timeout = durationpb.New(d)
		case "source":
			t.Source = value
		case "interface":
			t.Interface = value
		case "fwmark":
			mark, err := strconv.ParseUint(value, 0, 32)
			if err != nil {
				return nil, fmt.Errorf("fwmark %s: not a number of 32 bits", value)
			}
			t.Fwmark = uint32(mark)
		default:
			var err error
			if parameters, err = put(parameters, strings.Split(key, "."), parseValue(value)); err != nil {
				return nil, fmt.Errorf("%s: %w", arg, err)
			}
		}
	}
	if parameters == nil {
		return t, nil
	}
	var err error
	t.ParametersJson, err = json.Marshal(parameters)
	return t, err
}

// parseValue takes JSON, and anything else for text.
func parseValue(text string) any {
	var value any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&value) != nil || d.More() {
		return text
	}
	return value
}

// put puts a value at a path into what there is: a number is a place in a list, in which
// nothing may be left out.
func put(at any, path []string, value any) (any, error) {
	if len(path) == 0 {
		return value, nil
	}
	if n, err := strconv.Atoi(path[0]); err == nil {
		list, ok := at.([]any)
		if at != nil && !ok || n < 0 || n > len(list) {
			return nil, fmt.Errorf("there is no place %d here: places of a list are filled one after the other, from 0", n)
		}
		if n == len(list) {
			list = append(list, nil)
		}
		list[n], err = put(list[n], path[1:], value)
		return list, err
	}
	object, ok := at.(map[string]any)
	if at == nil {
		object = map[string]any{}
	} else if !ok {
		return nil, fmt.Errorf("%s leads into a value that has no keys", path[0])
	}
	inner, err := put(object[path[0]], path[1:], value)
	object[path[0]] = inner
	return object, err
}

// renderProbe is what the probes found for people.
func renderProbe(r *controlv1.ProbeResponse, verbose bool) string {
	var p page
	if r.GetRealServer() != "" {
		p.line("%s", r.GetRealServer())
	}
	for n, x := range r.GetResults() {
		name := strings.TrimSpace(x.GetType() + " " + x.GetTarget())
		if r.GetRealServer() != "" {
			name = fmt.Sprintf("%d %s", n+1, name)
		}
		text := because(fmt.Sprintf("%s: %s", name, strings.ToUpper(x.GetVerdict())), x.GetReason())
		if d := x.GetDuration().AsDuration(); d > 0 {
			text += " in " + d.Round(10*time.Microsecond).String()
		}
		if x.GetWeight() != "" {
			text += ", weight " + x.GetWeight()
		}
		if x.GetAdmin() != "" {
			text += ", asks for " + x.GetAdmin()
		}
		p.line("%s", text)
		if verbose {
			for _, l := range x.GetTranscript() {
				p.line("    %s", l)
			}
			if x.GetPlugin() != "" {
				p.line("    probed by plugin %s", x.GetPlugin())
			}
		}
		if x.GetKnown() != "" && !strings.HasPrefix(x.GetKnown(), x.GetVerdict()) {
			p.line("    by its schedule the check says %s", x.GetKnown())
		}
	}
	return p.String()
}

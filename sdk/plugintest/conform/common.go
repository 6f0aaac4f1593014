package conform

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// callTime bounds a call that has little to do.
const callTime = 5 * time.Second

var commonRequirements = []requirement{
	{name: "describe", says: describeSays},
	{name: "schema", says: "a schema of parameters is a JSON object", check: schema},
	{name: "validate", says: "Validate answers with problems, each with a message and the index of its item", check: validate},
	{name: "unknown-option", says: "a parameter that nobody reads is refused", check: unknownOption},
	{name: "configure", says: "Configure may be called again, and refuses parameters that nobody reads with InvalidArgument", check: configure},
	{name: "stop-mode", says: "Stop without a mode is InvalidArgument", check: stopMode},
}

const describeSays = "it starts, listens where it is told, and describes itself within a second"

// describe starts the plugin and asks what it is: nothing else can be checked without.
func describe(ctx context.Context, o Options) (kinds []*pluginv1.Kind, out Result) {
	begun := time.Now()
	out = Result{Requirement: "describe", Says: describeSays}
	r := &run{ctx: ctx, o: o}
	err := r.carryOut(requirement{check: func(r *run) (err error) {
		kinds, err = askKinds(r)
		return err
	}})
	if err != nil {
		out.Outcome, out.Detail = Failed, err.Error()
	}
	out.Took = time.Since(begun)
	return kinds, out
}

func askKinds(r *run) ([]*pluginv1.Kind, error) {
	p, err := startProcess(r.ctx, r.o, startOptions{})
	r.process = p
	if err != nil {
		return nil, err
	}
	var first *pluginv1.DescribeResponse
	quick := false
	for range 3 {
		ctx, cancel := context.WithTimeout(r.ctx, callTime)
		begun := time.Now()
		d, err := p.plugin.Describe(ctx, &pluginv1.DescribeRequest{})
		cancel()
		if err != nil {
			return nil, fmt.Errorf("describe: %w", err)
		}
		quick = quick || time.Since(begun) < time.Second
		if first != nil && !proto.Equal(first, d) {
			return nil, fmt.Errorf("describe: a second answer differs from the first")
		}
		first = d
	}
	if !quick {
		return nil, fmt.Errorf("describe: it took more than a second three times")
	}
	if first.GetName() == "" || first.GetVersion() == "" || len(first.GetKinds()) == 0 {
		return nil, fmt.Errorf("describe: name %q, version %q and %d kinds: none may be missing", first.GetName(), first.GetVersion(), len(first.GetKinds()))
	}
	for _, k := range first.GetKinds() {
		if interfaceNames[k.GetInterface()] == "" || k.GetType() == "" {
			return nil, fmt.Errorf("describe: a kind with the interface %s and the type %q", k.GetInterface(), k.GetType())
		}
	}
	return first.GetKinds(), nil
}

func schema(r *run) error {
	for _, k := range r.kinds {
		if s := k.GetParametersSchemaJson(); len(s) > 0 {
			var object map[string]json.RawMessage
			if err := json.Unmarshal(s, &object); err != nil {
				return fmt.Errorf("the schema of %s is not a JSON object: %w", k.GetType(), err)
			}
		}
	}
	return nil
}

// ask has parameters validated, before Configure.
func (r *run) ask(items ...*pluginv1.ValidateItem) ([]*pluginv1.Problem, error) {
	ctx, cancel := context.WithTimeout(r.ctx, callTime)
	defer cancel()
	answer, err := r.process.plugin.Validate(ctx, &pluginv1.ValidateRequest{Items: items})
	if err != nil {
		return nil, fmt.Errorf("validate: %w: problems are an answer, not an error", err)
	}
	for _, p := range answer.GetProblems() {
		if p.GetMessage() == "" {
			return nil, fmt.Errorf("validate: problem %v has no message", p)
		}
		if int(p.GetItem()) >= len(items) {
			return nil, fmt.Errorf("validate: problem %v is about item %d of %d", p, p.GetItem(), len(items))
		}
	}
	return answer.GetProblems(), nil
}

// refused says which items have a problem that is an error.
func refused(problems []*pluginv1.Problem, items int) []bool {
	out := make([]bool, items)
	for _, p := range problems {
		if p.GetSeverity() != pluginv1.Severity_SEVERITY_WARNING {
			out[p.GetItem()] = true
		}
	}
	return out
}

func item(k *pluginv1.Kind, kind, parameters string) *pluginv1.ValidateItem {
	return &pluginv1.ValidateItem{Interface: k.GetInterface(), Type: kind, ParametersJson: []byte(parameters)}
}

func validate(r *run) error {
	p, err := startProcess(r.ctx, r.o, startOptions{})
	r.process = p
	if err != nil {
		return err
	}
	for _, k := range r.kinds {
		t := r.o.Types[k.GetType()]
		// A bad item first, so that an index that is always 0 shows.
		items := []*pluginv1.ValidateItem{
			item(k, k.GetType()+"-unknown", ""), item(k, k.GetType(), t.Parameters), item(k, k.GetType(), `[1]`), item(k, k.GetType(), `{`),
		}
		problems, err := r.ask(items...)
		if err != nil {
			return err
		}
		got := refused(problems, len(items))
		for i, what := range []string{"an unknown type", "", "parameters that are no object", "parameters that are no JSON"} {
			if what != "" && !got[i] {
				return fmt.Errorf("%s: %s has no problem", k.GetType(), what)
			}
		}
		if _, known := r.o.Types[k.GetType()]; got[1] && (known || k.GetInterface() != pluginv1.Interface_INTERFACE_CHECK) {
			return fmt.Errorf("%s: good parameters %q are refused: %v", k.GetType(), t.Parameters, problems)
		}
	}
	return nil
}

// withUnknownKey adds a key that no plugin reads.
func withUnknownKey(parameters string) string {
	body := bytes.TrimSpace([]byte(parameters))
	if len(body) < 2 || body[0] != '{' {
		return `{"no such key":1}`
	}
	rest := bytes.TrimSpace(body[1:])
	if rest[0] == '}' {
		return `{"no such key":1}`
	}
	return `{"no such key":1,` + string(rest)
}

func unknownOption(r *run) error {
	p, err := startProcess(r.ctx, r.o, startOptions{})
	r.process = p
	if err != nil {
		return err
	}
	for _, k := range r.kinds {
		parameters := withUnknownKey(r.o.Types[k.GetType()].Parameters)
		problems, err := r.ask(item(k, k.GetType(), parameters))
		if err != nil {
			return err
		}
		if !refused(problems, 1)[0] {
			return fmt.Errorf("%s: %s is taken: what nobody reads has to be told", k.GetType(), parameters)
		}
	}
	return nil
}

func configure(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	for _, beat := range []time.Duration{shortBeat, shortBeat, time.Second} {
		if err := r.configure(r.o.Parameters, beat); err != nil {
			return fmt.Errorf("called again: %w", err)
		}
	}
	if err := r.configure(withUnknownKey(r.o.Parameters), shortBeat); status.Code(unwrapped(err)) != codes.InvalidArgument {
		return fmt.Errorf("configure with the parameters %s: %v, want InvalidArgument", withUnknownKey(r.o.Parameters), err)
	}
	return nil
}

// unwrapped is the status in an error.
func unwrapped(err error) error {
	if s, ok := status.FromError(err); ok && s != nil {
		return s.Err()
	}
	return err
}

func stopMode(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.ctx, callTime)
	defer cancel()
	if _, err := r.process.plugin.Stop(ctx, &pluginv1.StopRequest{}); status.Code(err) != codes.InvalidArgument {
		return fmt.Errorf("stop without a mode: %v, want InvalidArgument", err)
	}
	return nil
}

// badChecks are checks that cannot be carried out, by id.
func (r *run) badChecks() map[string]*checkv1.Check {
	out := map[string]*checkv1.Check{}
	make := func(id string, change func(c *checkv1.Check)) {
		c := r.check(id, r.t.Target, hour, time.Second)
		change(c)
		out[id] = c
	}
	make("unknown type", func(c *checkv1.Check) { c.Type = c.GetType() + "-unknown" })
	make("unknown key", func(c *checkv1.Check) { c.ParametersJson = []byte(withUnknownKey(r.t.Parameters)) })
	make("no JSON", func(c *checkv1.Check) { c.ParametersJson = []byte(`{"`) })
	make("no address", func(c *checkv1.Check) { c.Target = &checkv1.Target{Address: "web1.example.net", Port: 80} })
	make("no interval", func(c *checkv1.Check) { c.Schedule.Interval = nil })
	make("no timeout", func(c *checkv1.Check) { c.Schedule.Timeout = nil })
	return out
}

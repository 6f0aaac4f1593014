package conform

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// Options say what to run and how.
type Options struct {
	// Path of the executable.
	Path string
	Args []string
	// Env is added to the environment that the daemon gives a plugin.
	Env []string
	// PlainText: no TLS on the socket (`tls: false` of a plugin).
	PlainText bool
	// Parameters of the plugin itself as JSON; empty: none.
	Parameters string
	// Types are what is needed to probe, by type of check. Of a type that is not there
	// only what needs nothing is checked.
	Types map[string]Type
	// Touch lets a forwarder's table be changed. The table must be in memory, or the
	// machine one that may be lost.
	Touch bool
	// Full takes the time that soak tests take: minutes instead of seconds.
	Full bool
	// Only, unless empty, names the requirements to check.
	Only []string
	// Parallel is how many requirements are checked at once; 0: 4. Most of the time is
	// spent waiting.
	Parallel int
	// Attempts is how often a requirement is tried before it has failed; 0: once. More than
	// one is for machines that are too busy to keep time.
	Attempts int
	// Report, unless nil, gets each result when it and those before it are known.
	Report func(Result)

	// patience is for the kit's own tests; 0: the default.
	patience time.Duration
}

// Type is what the kit has to know of a type of check.
type Type struct {
	// Parameters that are good, as JSON.
	Parameters string
	// Target that a probe with these parameters finds up; invalid for a type that has none,
	// with port 0 for one that has no port.
	Target netip.AddrPort
	// AnyAnswer: what answers at all is up, so that nonsense and silence after a connection
	// are not down.
	AnyAnswer bool
	// Advisory: a target that fails says nothing of the real server: it is unknown, not down.
	Advisory bool
	// NoSource: its probes have no source address.
	NoSource bool
	// Watched: results come by themselves, not on a schedule.
	Watched bool
}

// Outcome of a requirement.
type Outcome int

// Outcomes. Skipped: it does not apply, or cannot be checked with what was given.
const (
	Passed Outcome = iota
	Failed
	Skipped
)

// String gives the word that is printed.
func (o Outcome) String() string { return [...]string{"pass", "FAIL", "skip"}[o] }

// Result is what became of one requirement.
type Result struct {
	// Requirement is its name, Subject the type it was checked for; empty: the process.
	Requirement, Subject string
	// Says is the requirement in words.
	Says    string
	Outcome Outcome
	// Detail says why, unless passed.
	Detail string
	Took   time.Duration
}

// String is the line that is printed.
func (r Result) String() string {
	name := r.Requirement
	if r.Subject != "" {
		name = r.Subject + ": " + name
	}
	text := r.Says
	if r.Detail != "" {
		text = r.Detail
	}
	return fmt.Sprintf("%s  %-28s %s", r.Outcome, name, text)
}

// requirement is one thing that a plugin has to do.
type requirement struct {
	name, says string
	// of: the interface it belongs to; unspecified: every plugin.
	of pluginv1.Interface
	// full: it takes too long for a short run.
	full bool
	// alone: it can be checked of a type that nothing is known of.
	alone bool
	check func(r *run) error
}

// Requirement names and words one.
type Requirement struct{ Name, Says string }

// Requirements are all there are, in order.
func Requirements() []Requirement {
	var out []Requirement
	for _, r := range requirements() {
		out = append(out, Requirement{r.name, r.says})
	}
	return out
}

func requirements() []requirement {
	return slices.Concat(commonRequirements, probeRequirements, setRequirements, verdictRequirements, timeRequirements,
		providerRequirements, endRequirements)
}

// skip is the error of a requirement that does not apply.
type skip struct{ reason string }

func (s skip) Error() string { return s.reason }

// Run checks every requirement. The error is of the options or the context, never of the
// plugin: what is wrong with that is in the results.
func Run(ctx context.Context, o Options) ([]Result, error) {
	all := requirements()
	for _, name := range o.Only {
		if !slices.ContainsFunc(all, func(r requirement) bool { return r.name == name }) {
			return nil, fmt.Errorf("there is no requirement %q", name)
		}
	}
	var results []Result
	add := func(r Result) {
		results = append(results, r)
		if o.Report != nil {
			o.Report(r)
		}
	}
	kinds, first := describe(ctx, o)
	if first.Outcome == Failed || len(o.Only) == 0 || slices.Contains(o.Only, first.Requirement) {
		add(first)
	}
	if first.Outcome == Failed {
		return results, ctx.Err()
	}
	type job struct {
		q       requirement
		subject *pluginv1.Kind
		done    chan Result
	}
	var jobs []job
	for _, q := range all {
		if q.name == first.Requirement || len(o.Only) > 0 && !slices.Contains(o.Only, q.name) {
			continue
		}
		for _, subject := range subjects(q, kinds, o.Types) {
			jobs = append(jobs, job{q, subject, make(chan Result, 1)})
		}
	}
	next := make(chan job, len(jobs))
	for _, j := range jobs {
		next <- j
	}
	close(next)
	parallel := o.Parallel
	if parallel <= 0 {
		parallel = 4
	}
	for range parallel {
		go func() {
			for j := range next {
				r := one(ctx, o, j.q, kinds, j.subject)
				for n := 1; n < o.Attempts && r.Outcome == Failed && ctx.Err() == nil; n++ {
					r = one(ctx, o, j.q, kinds, j.subject)
				}
				j.done <- r
			}
		}()
	}
	for _, j := range jobs {
		r := <-j.done
		if ctx.Err() == nil {
			add(r)
		}
	}
	return results, ctx.Err()
}

// subjects are what a requirement is checked for: the process, or each type of its
// interface. Of checks it is the types that are known; of others what can be.
func subjects(q requirement, kinds []*pluginv1.Kind, types map[string]Type) []*pluginv1.Kind {
	if q.of == pluginv1.Interface_INTERFACE_UNSPECIFIED {
		return []*pluginv1.Kind{nil}
	}
	var out []*pluginv1.Kind
	for _, k := range kinds {
		_, known := types[k.GetType()]
		if k.GetInterface() == q.of && (q.of != isCheck || known || len(types) == 0 && (q.alone || q.name == "probe")) {
			out = append(out, k)
		}
	}
	return out
}

func one(ctx context.Context, o Options, q requirement, kinds []*pluginv1.Kind, subject *pluginv1.Kind) Result {
	begun := time.Now()
	out := Result{Requirement: q.name, Says: q.says}
	r := &run{ctx: ctx, o: o, kinds: kinds, kind: subject}
	if subject != nil {
		out.Subject = interfaceNames[subject.GetInterface()] + "/" + subject.GetType()
		r.t, r.known = o.Types[subject.GetType()]
	}
	err := error(skip{"only in a full run"})
	if !q.full || o.Full {
		err = r.carryOut(q)
	}
	out.Took = time.Since(begun)
	var skipped skip
	switch {
	case errors.As(err, &skipped):
		out.Outcome, out.Detail = Skipped, skipped.reason
	case err != nil:
		out.Outcome, out.Detail = Failed, err.Error()
	}
	return out
}

var interfaceNames = map[pluginv1.Interface]string{
	pluginv1.Interface_INTERFACE_CHECK: "check", pluginv1.Interface_INTERFACE_FORWARD: "forward",
	pluginv1.Interface_INTERFACE_FAILOVER: "failover",
}

// Failures are the results that failed.
func Failures(results []Result) []Result {
	return slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Outcome != Failed })
}

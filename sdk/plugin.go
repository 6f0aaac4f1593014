package sdk

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/hashicorp/go-hclog"

	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// Plugin is everything one executable offers. At least one of the maps has an entry;
// their keys are the types that configurations name ("tcp", "ipvs", "vrrp").
type Plugin struct {
	// Name as operators see it, lower case.
	Name string
	// Version of the plugin, for people.
	Version string
	// Checkers by type.
	Checkers map[string]Checker
	// Forwarder and its type; at most one in a process.
	Forwarder     Forwarder
	ForwarderType string
	// Failover and its type; at most one in a process.
	Failover     Failover
	FailoverType string
}

// Settings are what the daemon tells a plugin process in Configure.
type Settings struct {
	// Name of the process in status and logs.
	Name string
	// Parameters of the plugin itself as JSON; empty: none.
	Parameters json.RawMessage
	// RuntimeDir is this plugin's own directory; the process that replaces this one
	// gets the same.
	RuntimeDir string
	// BeatInterval is how often beats are due.
	BeatInterval time.Duration
	// Logger writes to the daemon's log.
	Logger hclog.Logger
}

// Problem is one finding in parameters.
type Problem struct {
	// Path is a JSON pointer (RFC 6901); empty for the whole.
	Path string
	// Message says what is wrong and what to do.
	Message string
	// Warning: the parameters can be used all the same.
	Warning bool
}

// Validator is an optional ability of a Checker, Forwarder or Failover: a look at
// parameters without side effects.
type Validator interface {
	Validate(parameters json.RawMessage) []Problem
}

// Schemer is an optional ability: the JSON Schema of the parameters.
type Schemer interface {
	Schema() json.RawMessage
}

// Checker makes probers of one type of check.
type Checker interface {
	// Parse reads the parameters of a check, once for each check, and says what is
	// wrong with them. It has no side effects.
	Parse(parameters json.RawMessage) (Prober, error)
}

// Prober probes targets with one set of parameters. Each check has one of its own.
type Prober interface {
	// Probe makes one attempt and returns by the context's deadline. It is called for
	// one probe of a check at a time; `poise probe` calls it beside that, on another
	// Prober. A panic is an error of this probe and of nothing else.
	Probe(ctx context.Context, target Target) Result
}

// Configurer is an optional ability of a Checker: settings of the plugin process. It is
// called before anything else, and again when settings change. Without it the process
// takes no parameters of its own.
type Configurer interface {
	Configure(ctx context.Context, s Settings) error
}

// SettingsValidator is an optional ability of who takes settings (a Configurer, a
// Forwarder, a Failover): a look at the parameters of the plugin process without side
// effects, before Configure and without privileges.
type SettingsValidator interface {
	ValidateSettings(parameters json.RawMessage) []Problem
}

// Starter is an optional ability of a Prober, for many probes at little cost: Start
// begins a probe and returns at once, and done is called with its result, once, from any
// goroutine, by the context's deadline. The scheduler calls it in place of Probe, for all
// probes of one moment one after the other.
type Starter interface {
	Start(ctx context.Context, target Target, done func(Result))
}

// Watcher is an optional ability of a Prober whose result comes by itself: a file that
// changes, a session that breaks. Watch is called once for the life of the check, in
// place of Probe on a schedule; each report is a verdict at once, without retries. It
// returns soon after ctx is done. Probe is still what `poise probe` calls.
type Watcher interface {
	Watch(ctx context.Context, target Target, report func(Result))
}

// Closer is an optional ability of a Prober that holds something between probes: Close is
// called when its check has ended and no probe of it runs.
type Closer interface {
	Close()
}

// Target is what to probe, and from where.
type Target struct {
	// Addr has port 0 where the type has none, and is invalid where the type has no target.
	Addr netip.AddrPort
	// Source is the local address, invalid for any; its port 0: any.
	Source netip.AddrPort
	// Interface to probe through; empty: any.
	Interface string
	// FWMark of the probe's packets; 0: none.
	FWMark uint32
	// Timeout is the time the probe has in all, which the context's deadline may be short of
	// by the moment that it waited for its turn.
	Timeout time.Duration
	// Known is what the check says now; the zero value before its first verdict.
	Known Known
	// Trace takes a line of a transcript; never nil.
	Trace func(format string, args ...any)
}

// Known is what a check says. Its outcome is Up or Down, or Unknown before the first
// verdict: a probe that could not be made changes nothing of it.
type Known struct {
	Outcome Outcome
	Weight  Weight
	Admin   Admin
	// Inferred: no probe of this check has said it; it was in the table when the daemon
	// started, or another check has said it of the same real server.
	Inferred bool
}

// Outcome is what one probe found.
type Outcome uint8

// Outcomes. Unknown: the probe could not be made, for a reason that is not the
// target's.
const (
	Unknown Outcome = iota
	Up
	Down
)

// Result is what one probe found.
type Result struct {
	Outcome Outcome
	// Reason is for people: "connect: connection refused". Required unless up.
	Reason string
	// Weight is what the check does to the real server's weight.
	Weight Weight
	// Admin is what the real server asks for itself.
	Admin Admin
	// Partial, of a result that is up: one step of several has succeeded. It ends a row of
	// failures and leaves an up verdict up, but what is not up becomes so only by a result
	// that is not partial.
	Partial bool
}

// WeightMode says how a Weight is meant.
type WeightMode uint8

// Modes of a weight: added to the real server's, in its place, or a percentage of it.
const (
	AddWeight WeightMode = iota
	SetWeight
	ScaleWeight
)

// Weight is what a check does to a real server's weight; the zero value: nothing. With
// several checks each adds its difference from the real server's weight.
type Weight struct {
	Mode  WeightMode
	Value int64
}

// Admin is what a real server asks for itself.
type Admin uint8

// Ready: nothing special. Drain: no new connections, those that are there go on.
// Maintenance: out of the table.
const (
	Ready Admin = iota
	Drain
	Maintenance
)

// Forwarder holds a table of virtual servers; the methods are those of
// poise.forward.v1.ForwardService, whose comments are the contract.
type Forwarder interface {
	// Configure is called before anything else, and again when settings change.
	Configure(ctx context.Context, s Settings) error
	Observe(ctx context.Context) (*forwardv1.ObserveResponse, error)
	Apply(ctx context.Context, r *forwardv1.ApplyRequest) (*forwardv1.ApplyResponse, error)
	// Watch reports until ctx is done: beats every Settings.BeatInterval from the loop
	// that compares and repairs, counters every interval, drift when it is repaired.
	Watch(ctx context.Context, interval time.Duration, report func(*forwardv1.WatchResponse) error) error
	// Stop ends the work; see poise.plugin.v1.PluginService.Stop.
	Stop(ctx context.Context, mode pluginv1.StopMode) error
}

// ServiceValidator is an optional ability of a Forwarder (the feature validate-service): it
// says what of a virtual server its platform cannot do, before anything is applied. It has
// no side effects. Paths are in the field names of poise.forward.v1.VirtualServer:
// "/scheduler", "/real_servers/2/method"; below "/parameters_json" they go on into the
// forwarder's own parameters: "/parameters_json/snat".
type ServiceValidator interface {
	ValidateService(v *forwardv1.VirtualServer) []Problem
}

// MemberKeeper is an optional ability of a Forwarder (the feature members): it is also sent
// real servers that are down (offline), and a sorry server that is not needed, because its
// platform keeps them.
type MemberKeeper interface {
	KeepsMembers()
}

// Marker is an optional ability of a Forwarder (the feature marks): its platform keeps the
// mark of an owner, so that it knows by itself what is ours. What bears the mark and is not
// wanted is removed.
type Marker interface {
	MarksItsOwn()
}

// Holder is an optional ability of a Forwarder (the feature hold): it leaves its platform to
// another director until the next Apply. Earlier requests are forgotten.
type Holder interface {
	Hold(ctx context.Context) error
}

// Importer is an optional ability of a Forwarder (the feature import): it describes what
// forwards today, so that poise can take it over. It changes nothing.
type Importer interface {
	Import(ctx context.Context, r *forwardv1.ImportRequest) (*forwardv1.ImportResponse, error)
}

// Failover runs failover groups; the contract is in poise.failover.v1.
type Failover interface {
	// Configure is called before anything else, and again when settings change.
	Configure(ctx context.Context, s Settings) error
	// Run is called once for the life of the process. It takes sets of groups from sets,
	// and reports. coreLost is closed when the daemon is gone (its stream broke or the
	// parent process changed): reports go nowhere from then on, and Run returns when it
	// has handed over or withdrawn, within the grace time; the process then exits.
	// ctx is done only when Stop has returned.
	Run(ctx context.Context, sets <-chan *failoverv1.SetGroups, coreLost <-chan struct{}, report func(*failoverv1.RunResponse)) error
	// Stop ends the work; see poise.plugin.v1.PluginService.Stop.
	Stop(ctx context.Context, mode pluginv1.StopMode) error
}

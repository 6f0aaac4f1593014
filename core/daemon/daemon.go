package daemon

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/poise-lb/poise/core/checker"
	"github.com/poise-lb/poise/core/config"
	"github.com/poise-lb/poise/core/control"
	"github.com/poise-lb/poise/core/engine"
	"github.com/poise-lb/poise/core/failover"
	"github.com/poise-lb/poise/core/forwarder"
	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/observe"
	"github.com/poise-lb/poise/core/plan"
	"github.com/poise-lb/poise/core/pluginhost"
	"github.com/poise-lb/poise/core/store"
	"github.com/poise-lb/poise/internal/version"
)

// adoptWait is how long checks wait for the table to be read, so that they start from
// what is forwarding; a forwarder that is not there must not keep them for ever.
const adoptWait = 3 * time.Second

// Daemon is a running poised.
type Daemon struct {
	options   Options
	logger    hclog.Logger
	startedAt time.Time

	store  *store.Store
	engine *engine.Engine
	host   *pluginhost.Host
	// probers runs processes that live for one probe.
	probers   *pluginhost.Host
	forwarder *forwarder.Forwarder
	// table is the engine's last set.
	table model.ForwardSet
	// appliances by the names of their processes.
	appliances map[string]*forwarder.Forwarder
	failover   *failover.Failover
	metrics    *observe.Server

	// adopted is closed when the table has been read, applied when it is what it should
	// be for the first time.
	adopted, applied         chan struct{}
	adoptedOnce, appliedOnce sync.Once

	config  atomic.Pointer[model.Config]
	catalog atomic.Pointer[catalog]

	// inspections are what plugins said of the configurations that were read.
	inspections *inspections

	// reloading is held while a configuration is put in force, and from the stop on.
	reloading sync.Mutex

	mu        sync.Mutex
	processes map[string]*pluginhost.Process
	checkers  map[string]*checker.Checker
	// stopping: no set and no configuration is put in force any more.
	stopping     bool
	loadedAt     time.Time
	reloadErrors []string
	groups       *model.GroupSet
}

// Run is poised: it returns when ctx is done or a signal has stopped it. An error says
// why it could not start.
func Run(ctx context.Context, o Options) error {
	d := &Daemon{
		options: o, logger: o.logger(), startedAt: time.Now(),
		inspections: newInspections(o.logger()),
		processes:   map[string]*pluginhost.Process{}, checkers: map[string]*checker.Checker{}, appliances: map[string]*forwarder.Forwarder{},
		adopted: make(chan struct{}), applied: make(chan struct{}),
	}
	// From here on a signal waits until it can be served.
	signals := notifySignals()
	if _, err := o.executable(); err != nil {
		return err
	}
	listener, err := control.Listen(o.RuntimeDir)
	if err != nil {
		return err
	}
	defer listener.Close()
	l := load(ctx, o, d.inspections.inspect, true)
	d.logProblems(l)
	if l.hasErrors() {
		return ErrConfig
	}
	d.store, err = d.openStore()
	if err != nil {
		return err
	}
	defer d.store.Close()
	if o.PidFile != "" {
		if err := os.WriteFile(o.PidFile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
			return fmt.Errorf("write the pid file: %w", err)
		}
		defer os.Remove(o.PidFile)
	}
	d.newParts()
	stopEngine := d.runEngine()
	defer stopEngine()
	d.engine.SetOverrides(d.store.Overrides())

	// A reload that comes before the first configuration is in force waits for it.
	d.reloading.Lock()
	server := control.NewServer(d)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		stopping, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		server.Stop(stopping)
	}()

	d.metrics = observe.NewServer(d.logger.Named("metrics"), d)
	defer d.metrics.Close()
	d.put(ctx, &l)
	d.reloading.Unlock()
	d.engine.Record(time.Now(), "daemon", "poised", fmt.Sprintf("started: version %s, %s", version.Version, o.ConfigFile))
	d.logger.Info("started", "version", version.Version, "config", o.ConfigFile,
		"virtual_servers", len(l.config.VirtualServers), "failover_groups", len(l.config.FailoverGroups))
	go d.tellReady(ctx)
	d.serveSignals(ctx, signals, served)
	notifySystemd("STOPPING=1")
	d.stop()
	return nil
}

// openStore opens the state directory and tells what it found.
func (d *Daemon) openStore() (*store.Store, error) {
	s, problems, err := store.Open(d.options.StateDir)
	if err != nil {
		return nil, err
	}
	for _, p := range problems {
		d.logger.Warn(p)
	}
	return s, nil
}

// newParts makes engine and facades and joins them: outputs of the one are inputs of
// the other.
func (d *Daemon) newParts() {
	d.engine = engine.New(engine.Outputs{
		Forward: d.setTable,
		Checks:  d.checksChanged,
		Groups:  d.setGroups,
	})
	d.forwarder = forwarder.New(d.logger.Named("forwarder"), ownership{d.store, d.config.Load},
		func() time.Duration { return d.config.Load().ReconcileInterval },
		forwarder.Handlers{
			Adopt:   d.adopt,
			Applied: d.tableApplied,
			Repaired: func(repairs []string, at time.Time) {
				for _, r := range repairs {
					d.tell(at, "drift", "table", r)
				}
			},
			Failed:    func(object, message string) { d.tell(time.Now(), "table", object, message) },
			Recovered: func() { d.tell(time.Now(), "table", "table", "nothing is wrong any more") },
		})
	d.host = pluginhost.New(pluginhost.Options{
		RuntimeDir: d.options.RuntimeDir, Logger: d.logger,
		OnEvent: func(name, message string) { d.tell(time.Now(), "plugin", name, message) },
	})
	d.probers = pluginhost.New(pluginhost.Options{RuntimeDir: d.options.RuntimeDir, Logger: d.logger})
	d.failover = failover.New(d.logger.Named("failover"), failover.Handlers{
		Role:   d.engine.Role,
		Notice: func(object, message string, at time.Time) { d.tell(at, "notice", object, message) },
	})
}

// runEngine runs the engine and logs its history; the function it returns ends both.
func (d *Daemon) runEngine() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { d.engine.Run(ctx) })
	running.Go(func() { d.logHistory(ctx) })
	running.Go(func() { d.watchCheckers(ctx) })
	return func() { cancel(); running.Wait() }
}

// tell records an event; the log has it too.
func (d *Daemon) tell(at time.Time, kind, object, message string) {
	d.engine.Record(at, kind, object, message)
}

func (d *Daemon) adopt(services []model.Service) {
	owned := d.store.Owned()
	d.engine.Adopt("", services, owned.RealServers)
	d.adoptedOnce.Do(func() { close(d.adopted) })
}

func (d *Daemon) tableApplied(r forwarder.Result) {
	if r.Operations > 0 {
		d.tell(r.At, "table", fmt.Sprintf("generation %d", r.Generation), fmt.Sprintf("applied: %d %s", r.Operations, plural(r.Operations, "change")))
	}
	if r.Wanted > 0 && r.Failed >= r.Wanted {
		// Nothing would be forwarded: no reason to become master yet.
		return
	}
	d.appliedOnce.Do(func() {
		close(d.applied)
		d.sendGroups()
	})
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

func (d *Daemon) setTable(s model.ForwardSet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return
	}
	c := d.config.Load()
	d.table = s
	d.forwarder.Set(plan.ForPrimary(s, c.Forwarder))
	for _, f := range s.Forwarders {
		d.setAppliance(f)
	}
}

func (d *Daemon) checksChanged() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.checkers {
		c.Changed()
	}
}

// setGroups keeps the groups back until the table is there: a director must not become
// master before it can forward.
func (d *Daemon) setGroups(s model.GroupSet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return
	}
	d.groups = &s
	select {
	case <-d.applied:
		d.failover.Set(s)
	default:
		if !needsForwarder(d.config.Load()) {
			d.failover.Set(s)
		}
	}
}

// sendGroups gives the failover process the groups that were kept back.
func (d *Daemon) sendGroups() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.groups != nil {
		d.failover.Set(*d.groups)
	}
}

// runChecks serves a checker process, once it is known what is forwarding.
func (d *Daemon) runChecks(ctx context.Context, c *checker.Checker, s pluginhost.Session) error {
	if config := d.config.Load(); needsForwarder(config) || len(config.Forwarders) > 0 {
		select {
		case <-d.adopted:
		case <-time.After(adoptWait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return c.Run(ctx, s)
}

// tellReady tells systemd that the director forwards, or that it does not seem to.
func (d *Daemon) tellReady(ctx context.Context) {
	if needsForwarder(d.config.Load()) {
		select {
		case <-d.applied:
		case <-time.After(startTimeout):
			d.logger.Warn("the table is not in force yet; failover groups wait for it: see poise status")
		case <-ctx.Done():
		}
	}
	notifySystemd("READY=1")
}

func (d *Daemon) logProblems(l loaded) {
	for _, p := range l.problems {
		if p.Severity == config.Error {
			d.logger.Error(p.String())
		} else {
			d.logger.Warn(p.String())
		}
	}
}

// logHistory writes every event to the log, in the words of `poise events`.
func (d *Daemon) logHistory(ctx context.Context) {
	last := uint64(0)
	for {
		events, missed, more := d.engine.History().After(last)
		if missed > 0 {
			d.logger.Warn("events came faster than the log could take them", "missed", missed)
		}
		for _, e := range events {
			d.logger.Info(e.Kind + " " + e.Object + ": " + e.Message)
			last = e.Sequence
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}

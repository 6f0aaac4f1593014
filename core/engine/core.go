package engine

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/plan"
)

// core is the engine without its goroutine and without a clock: inputs and a time in,
// what is to be published out.
type core struct {
	config  *model.Config
	servers []server
	// index finds a virtual server, users the real servers of a check.
	index map[model.ServiceKey]int
	users map[model.CheckID][]user

	verdicts  map[model.CheckID]plan.Known
	overrides map[model.RealServerKey]model.Override
	roles     map[string]model.RoleState
	// adoptions wait for a configuration; adopted are the virtual servers that have been.
	adoptions   []*adoption
	adopted     map[model.ServiceKey]bool
	adoptedFrom map[string]bool

	// What was published last. A generation of 0: nothing.
	forward model.ForwardSet
	checks  model.CheckSet
	groups  model.GroupSet

	// What the step that is under way has gathered.
	changed   bool
	newConfig bool
	flips     map[model.CheckID]plan.Known // what was known before, of checks that spoke
	explained map[model.CheckID]bool       // checks of real servers whose change is told
	events    []model.Event
}

// server is a virtual server with what was decided for it last.
type server struct {
	plan     plan.VirtualServer
	memory   plan.Memory
	decision plan.Decision
	// decided: there is a decision, perhaps of the configuration before.
	decided bool
	dirty   bool
}

// user is a real server that has a check: its virtual server's and its own index.
type user struct{ server, real int }

// input is one thing that happened.
type input func(c *core, now time.Time)

// output is what a step has to publish; nil and false: nothing new.
type output struct {
	forward  *model.ForwardSet
	checks   bool
	groups   *model.GroupSet
	snapshot *model.Snapshot
	events   []model.Event
	// next is when something changes by itself; zero: never.
	next time.Time
}

func newCore() *core {
	return &core{
		verdicts: map[model.CheckID]plan.Known{},
		adopted:  map[model.ServiceKey]bool{}, adoptedFrom: map[string]bool{},
		overrides: map[model.RealServerKey]model.Override{},
		roles:     map[string]model.RoleState{},
	}
}

// step takes inputs in, in their order, and then decides once.
func (c *core) step(inputs []input, now time.Time) output {
	c.changed, c.newConfig, c.events = false, false, nil
	c.flips, c.explained = map[model.CheckID]plan.Known{}, map[model.CheckID]bool{}
	for _, in := range inputs {
		in(c, now)
	}
	for i := range c.servers {
		if next := c.servers[i].decision.Next; !next.IsZero() && !now.Before(next) {
			c.touch(i)
		}
	}
	var out output
	if c.config != nil && c.changed {
		out.forward = c.decide(now)
		if c.newConfig {
			out.checks, out.groups = c.publishChecks(), c.publishGroups()
		}
		out.snapshot = c.snapshot(now)
	}
	c.tellVerdicts(now)
	out.events = c.events
	for i := range c.servers {
		if next := c.servers[i].decision.Next; !next.IsZero() && (out.next.IsZero() || next.Before(out.next)) {
			out.next = next
		}
	}
	return out
}

// touch has a virtual server decided anew at the end of the step.
func (c *core) touch(i int) { c.servers[i].dirty, c.changed = true, true }

// decide brings every virtual server that is touched up to date, and gives the set of
// them all if it differs from the last one.
func (c *core) decide(now time.Time) *model.ForwardSet {
	in := plan.Input{Overrides: c.overrides, Verdicts: c.verdicts, Now: now}
	differs := c.forward.Generation == 0 || len(c.servers) != len(c.forward.Services)
	for i := range c.servers {
		s := &c.servers[i]
		if !s.dirty {
			continue
		}
		before := s.decision.Status
		decision, memory := s.plan.Decide(in, s.memory)
		c.tellServer(s.decided, &before, &decision, now)
		s.decision, s.memory, s.decided, s.dirty = decision, memory, true, false
		differs = differs || !sameService(&c.forward.Services[i], &decision.Service)
	}
	sync, masters := plan.Sync(c.config, c.roles), plan.Masters(c.config, c.roles)
	if !differs && sameSync(c.forward.Sync, sync) && slices.Equal(c.forward.Masters, masters) &&
		slices.Equal(c.forward.Forwarders, c.config.Forwarders) {
		return nil
	}
	set := model.ForwardSet{Generation: c.forward.Generation + 1, Services: make([]model.Service, len(c.servers)), Sync: sync,
		Forwarders: c.config.Forwarders, Masters: masters}
	for i := range c.servers {
		set.Services[i] = c.servers[i].decision.Service
	}
	c.forward = set
	return &set
}

// publishChecks says whether the set of checks is a new one. What is known of a check
// does not make it one.
func (c *core) publishChecks() bool {
	servers := make([]plan.VirtualServer, len(c.servers))
	for i := range c.servers {
		servers[i] = c.servers[i].plan
	}
	list := plan.Checks(servers)
	same := func(a, b model.DesiredCheck) bool { return a.ID == b.ID }
	if c.checks.Generation > 0 && slices.EqualFunc(list, c.checks.Checks, same) {
		return false
	}
	c.checks = model.CheckSet{Generation: c.checks.Generation + 1, Checks: list}
	return true
}

// checkSet is the set of checks with what is known of each now.
func (c *core) checkSet() model.CheckSet {
	set := model.CheckSet{Generation: c.checks.Generation, Checks: slices.Clone(c.checks.Checks)}
	for i := range set.Checks {
		set.Checks[i].Known, set.Checks[i].Inferred = c.known(set.Checks[i].ID)
	}
	return set
}

func (c *core) publishGroups() *model.GroupSet {
	set := model.GroupSet{Generation: c.groups.Generation + 1, Groups: c.config.FailoverGroups, GraceTime: c.config.GraceTime}
	if c.groups.Generation > 0 && sameGroups(&set, &c.groups) {
		return nil
	}
	c.groups = set
	return &set
}

func (c *core) snapshot(now time.Time) *model.Snapshot {
	s := &model.Snapshot{
		At: now, ForwardGeneration: c.forward.Generation, Sync: c.forward.Sync,
		Services: make([]model.ServiceStatus, len(c.servers)),
		Groups:   make([]model.GroupStatus, len(c.config.FailoverGroups)),
	}
	for i := range c.servers {
		s.Services[i] = c.servers[i].decision.Status
	}
	for i := range c.config.FailoverGroups {
		g := &c.config.FailoverGroups[i]
		s.Groups[i] = model.GroupStatus{Config: g, RoleState: c.roles[g.Name]}
	}
	return s
}

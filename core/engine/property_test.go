package engine

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/plan"
)

// Small worlds: few enough objects that configurations share some and lack others.
const (
	worldServices = 4
	worldReals    = 5
	worldGroups   = 2
)

func worldKey(n int) model.ServiceKey {
	return model.ServiceKey{Addr: netip.MustParseAddr("192.0.2.100"), Port: uint16(80 + n), Protocol: model.TCP}
}

func worldAddr(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + n)}), 80)
}

// drawConfig draws a configuration, without hysteresis: with it the order of events
// matters, and is meant to.
func drawConfig(t *rapid.T, name string) *model.Config {
	draw := func(what string, n int) int { return rapid.IntRange(0, n).Draw(t, name+" "+what) }
	flag := func(what string) bool { return rapid.Bool().Draw(t, name+" "+what) }
	c := &model.Config{GraceTime: time.Duration(draw("grace", 2)) * time.Second}
	for _, n := range rapid.Permutation(numbers(worldServices)).Draw(t, name+" services")[:draw("number of services", worldServices)] {
		v := model.VirtualServer{Key: worldKey(n), Scheduler: "rr", Quorum: uint32(1 + draw("quorum", 4))}
		if flag("sorry") {
			v.Sorry = &model.SorryServer{Addr: worldAddr(draw("sorry address", worldReals)), Inhibit: flag("sorry inhibit")}
		}
		for _, r := range rapid.Permutation(numbers(worldReals)).Draw(t, name+" reals")[:draw("number of reals", worldReals)] {
			real := model.RealServer{Addr: worldAddr(r), Weight: uint32(draw("weight", 3)), InhibitOnFailure: flag("inhibit"), Alpha: flag("alpha")}
			for range draw("checks", 2) {
				check := model.Check{Type: "tcp", Target: model.Target{Addr: worldAddr(draw("target", worldReals))}}
				if !slices.Contains(real.Checks, check) {
					real.Checks = append(real.Checks, check)
				}
			}
			v.RealServers = append(v.RealServers, real)
		}
		c.VirtualServers = append(c.VirtualServers, v)
	}
	for n := range draw("groups", worldGroups) {
		c.FailoverGroups = append(c.FailoverGroups, model.FailoverGroup{Name: fmt.Sprint("G", n)})
	}
	if flag("sync") {
		c.ConnectionSync = &model.ConnectionSync{Group: "G0", Interface: "eth0"}
	}
	return c
}

func numbers(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func worldChecks() []model.Check {
	var out []model.Check
	for n := range worldReals + 1 {
		out = append(out, model.Check{Type: "tcp", Target: model.Target{Addr: worldAddr(n)}})
	}
	return out
}

func drawVerdict(t *rapid.T) model.Verdict {
	return model.Verdict{
		State:  rapid.SampledFrom([]model.State{model.Up, model.Down, model.Unknown}).Draw(t, "state"),
		Reason: "said so", Since: start.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "since")) * time.Second),
		Weight: model.Weight{Mode: model.WeightMode(rapid.Uint8Range(0, 2).Draw(t, "mode")), Value: rapid.Int64Range(-2, 2).Draw(t, "verdict's weight")},
		Admin:  model.Admin(rapid.Uint8Range(0, 2).Draw(t, "admin")),
	}
}

func drawOverride(t *rapid.T) model.Override {
	o := model.Override{Admin: model.Admin(rapid.IntRange(0, 2).Draw(t, "admin"))}
	if rapid.Bool().Draw(t, "has weight") {
		w := rapid.Uint32Range(0, 3).Draw(t, "override's weight")
		o.Weight = &w
	}
	if o.Admin == model.Drain && rapid.Bool().Draw(t, "has deadline") {
		o.Deadline = start.Add(time.Duration(rapid.IntRange(-5, 5).Draw(t, "deadline")) * time.Second)
	}
	return o
}

// drawEvents draws at most one event for each thing: a verdict for a check, a role for
// a group, an override for a real server.
func drawEvents(t *rapid.T) []input {
	var out []input
	for _, check := range worldChecks() {
		if rapid.Bool().Draw(t, "has verdict") {
			verdicts := map[model.CheckID]model.Verdict{check.ID(): drawVerdict(t)}
			out = append(out, func(c *core, _ time.Time) { c.takeVerdicts(verdicts) })
		}
	}
	for n := range worldGroups {
		role := model.RoleState{Role: model.Role(rapid.IntRange(0, 3).Draw(t, "role"))}
		out = append(out, func(c *core, now time.Time) { c.setRole(fmt.Sprint("G", n), role, now) })
	}
	for range rapid.IntRange(0, 3).Draw(t, "overrides") {
		// Distinct real servers, or the order would matter.
		key := model.RealServerKey{Service: worldKey(len(out) % worldServices), Addr: worldAddr(len(out) % worldReals)}
		o := drawOverride(t)
		out = append(out, func(c *core, now time.Time) { c.setOverride(key, o, now) })
	}
	return out
}

func configured(config *model.Config) *core {
	c := newCore()
	c.step([]input{func(c *core, now time.Time) { c.setConfig(config, now) }}, start)
	return c
}

// desired is all that is published, without generations.
type desired struct {
	Services []model.Service
	Sync     *model.DesiredSync
	Checks   []model.DesiredCheck
	Groups   []model.FailoverGroup
	Grace    time.Duration
	Status   *model.Snapshot
}

func (c *core) desired() desired {
	s := c.snapshot(start)
	s.ForwardGeneration = 0
	return desired{c.forward.Services, c.forward.Sync, c.checkSet().Checks, c.groups.Groups, c.groups.GraceTime, s}
}

// Events that concern different things may come in any order, in any number of steps.
func TestOrderOfEventsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config := drawConfig(t, "A")
		events := drawEvents(t)
		one, other := configured(config), configured(config)
		one.step(events, start)
		for _, in := range rapid.Permutation(events).Draw(t, "order") {
			other.step([]input{in}, start)
		}
		if a, b := one.desired(), other.desired(); !reflect.DeepEqual(a, b) {
			t.Fatalf("in one step:\n%+v\none by one:\n%+v", a, b)
		}
	})
}

// A reload from A to B ends where a start with B does, once the same is known.
func TestReloadIsAStartButForHealth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawConfig(t, "A"), drawConfig(t, "B")
		reloaded := configured(a)
		reloaded.step(drawEvents(t), start)
		reloaded.step([]input{func(c *core, now time.Time) { c.setConfig(b, now) }}, start)
		started := configured(b)

		// Every check, group and real server of the world says where it stands.
		var all []input
		for _, check := range worldChecks() {
			v := drawVerdict(t)
			if v.State == model.Unknown {
				v.State = model.Up
			}
			// A verdict said again keeps the time of the first: from the other side it is new.
			other := model.Verdict{State: model.Up + model.Down - v.State}
			all = append(all, func(c *core, _ time.Time) {
				c.takeVerdicts(map[model.CheckID]model.Verdict{check.ID(): other})
				c.takeVerdicts(map[model.CheckID]model.Verdict{check.ID(): v})
			})
		}
		for n := range worldGroups {
			role := model.RoleState{Role: model.Role(rapid.IntRange(1, 3).Draw(t, "role"))}
			all = append(all, func(c *core, now time.Time) { c.setRole(fmt.Sprint("G", n), role, now) })
		}
		overrides := map[model.RealServerKey]model.Override{{Service: worldKey(0), Addr: worldAddr(0)}: drawOverride(t)}
		all = append(all, func(c *core, now time.Time) { c.setOverrides(overrides, now) })
		reloaded.step(all, start)
		started.step(all, start)
		if a, b := reloaded.desired(), started.desired(); !reflect.DeepEqual(a, b) {
			t.Fatalf("reloaded:\n%+v\nstarted:\n%+v", a, b)
		}
	})
}

// Whatever is found in the table, wished for or said, nothing is published but what the
// configuration has.
func TestNothingForeignIsPublished(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawConfig(t, "A"), drawConfig(t, "B")
		c := newCore()
		c.step([]input{func(c *core, now time.Time) { c.adopt(&adoption{services: drawTable(t)}, now) }}, start)
		c.step([]input{func(c *core, now time.Time) { c.setConfig(a, now) }}, start)
		c.step(drawEvents(t), start)
		checkOurs(t, c, a)
		c.step(append(drawEvents(t), func(c *core, now time.Time) { c.setConfig(b, now) }), start)
		checkOurs(t, c, b)
	})
}

func drawTable(t *rapid.T) []model.Service {
	var out []model.Service
	for n := range worldServices + 2 {
		if !rapid.Bool().Draw(t, "is in the table") {
			continue
		}
		s := model.Service{Key: worldKey(n), Scheduler: "wlc"}
		for r := range worldReals + 3 {
			if rapid.Bool().Draw(t, "has real server") {
				s.Destinations = append(s.Destinations, model.Destination{Addr: worldAddr(r), Weight: rapid.Uint32Range(0, 2).Draw(t, "actual weight")})
			}
		}
		out = append(out, s)
	}
	return out
}

func checkOurs(t *rapid.T, c *core, config *model.Config) {
	if len(c.forward.Services) != len(config.VirtualServers) {
		t.Fatalf("%d services, %d are configured", len(c.forward.Services), len(config.VirtualServers))
	}
	checks := map[model.Check]bool{}
	for i, s := range c.forward.Services {
		v := config.VirtualServers[i]
		if s.Key != v.Key || s.Scheduler != v.Scheduler {
			t.Fatalf("service %+v in the place of %+v", s, v)
		}
		ours := map[netip.AddrPort]bool{}
		for _, r := range v.RealServers {
			ours[r.Addr] = true
			for _, check := range r.Checks {
				checks[check] = true
			}
		}
		if v.Sorry != nil {
			ours[v.Sorry.Addr] = true
		}
		for _, d := range s.Destinations {
			if !ours[d.Addr] || d.Weight > plan.MaxWeight {
				t.Fatalf("destination %+v of %+v", d, v)
			}
			delete(ours, d.Addr) // once is enough
		}
	}
	for _, check := range c.checkSet().Checks {
		if !checks[check.Check] {
			t.Fatalf("check %+v", check)
		}
		delete(checks, check.Check)
	}
	if len(checks) > 0 {
		t.Fatalf("checks %v are missing", checks)
	}
	if len(c.groups.Groups) != len(config.FailoverGroups) {
		t.Fatalf("groups %v", c.groups.Groups)
	}
}

// Deciding everything anew changes nothing that the events have not, and a generation
// grows just when the set differs.
func TestGenerationsGrowWhenSetsDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := configured(drawConfig(t, "A"))
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			before, checks, groups := c.forward, c.checks, c.groups
			events := drawEvents(t)
			if rapid.IntRange(0, 3).Draw(t, "reload") == 0 {
				config := drawConfig(t, "B")
				events = append(events, func(c *core, now time.Time) { c.setConfig(config, now) })
			}
			out := c.step(events, start)
			differs := !reflect.DeepEqual(before.Services, c.forward.Services) || !reflect.DeepEqual(before.Sync, c.forward.Sync)
			if grew := c.forward.Generation == before.Generation+1; grew != differs || grew != (out.forward != nil) || !grew && c.forward.Generation != before.Generation {
				t.Fatalf("generation %d after %d:\n%+v\nafter\n%+v", c.forward.Generation, before.Generation, c.forward, before)
			}
			if grew := c.checks.Generation > checks.Generation; grew != !reflect.DeepEqual(checks.Checks, c.checks.Checks) || grew != out.checks {
				t.Fatalf("generation %d after %d:\n%+v\nafter\n%+v", c.checks.Generation, checks.Generation, c.checks, checks)
			}
			if grew := c.groups.Generation > groups.Generation; grew == sameGroups(&c.groups, &groups) || grew != (out.groups != nil) {
				t.Fatalf("generation %d after %d:\n%+v\nafter\n%+v", c.groups.Generation, groups.Generation, c.groups, groups)
			}
			again := c.step([]input{func(c *core, _ time.Time) {
				for i := range c.servers {
					c.touch(i)
				}
			}}, start)
			if again.forward != nil || again.checks || again.groups != nil || len(again.events) > 0 {
				t.Fatalf("deciding anew gave %+v", again)
			}
		}
	})
}

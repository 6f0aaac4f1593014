package engine

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/plan"
)

// What a real server asks for itself, and the weight that it says, outlive a reload that
// changes its check, and a second one before that has a verdict.
func TestReloadHandsDownWhatChecksSaid(t *testing.T) {
	configs := map[string]string{
		"a":    "virtual TCP 192.0.2.100:80 rr DR\n  real 192.0.2.1:80 100 check\n",
		"b":    "virtual TCP 192.0.2.100:80 rr DR\n  real 192.0.2.1:80 100 check retries=3\n",
		"c":    "virtual TCP 192.0.2.100:80 rr DR\n  real 192.0.2.1:80 100 check retries=4\n",
		"none": "virtual TCP 192.0.2.100:80 rr DR\n  real 192.0.2.1:80 100\n",
	}
	for _, says := range []struct {
		name    string
		verdict model.Verdict
		inTable bool
		weight  uint32
	}{
		{"maint", model.Verdict{State: model.Up, Admin: model.Maintenance}, false, 0},
		{"drain", model.Verdict{State: model.Up, Admin: model.Drain}, true, 0},
		{"weight", model.Verdict{State: model.Up, Weight: model.Weight{Mode: model.SetWeight, Value: 8}}, true, 8},
		{"share", model.Verdict{State: model.Up, Weight: model.Weight{Mode: model.ScaleWeight, Value: 50}}, true, 50},
	} {
		t.Run(says.name, func(t *testing.T) {
			c, now := newCore(), start
			reload := func(name string) output {
				now = now.Add(time.Second)
				config := parseConfig(t, configs[name])
				return c.step([]input{func(c *core, now time.Time) { c.setConfig(config, now) }}, now)
			}
			only := func() model.RealServerStatus { return c.snapshot(now).Services[0].RealServers[0] }
			id := func() model.CheckID { return c.servers[0].plan.RealServers[0].Checks[0] }
			say := func(v model.Verdict) output {
				v.Since = now
				return c.step([]input{func(c *core, _ time.Time) { c.takeVerdicts(map[model.CheckID]model.Verdict{id(): v}) }}, now)
			}
			reload("a")
			out := say(says.verdict)
			if told := eventsOf(out, "verdict"); (says.verdict.Admin != model.Ready) != strings.Contains(told, "asks for "+says.verdict.Admin.String()) {
				t.Errorf("events of the verdict: %q", told)
			}
			first := id()
			for _, next := range []string{"b", "c"} {
				reload(next)
				if id() == first {
					t.Fatal("the check is the same one")
				}
				if r := only(); r.InTable != says.inTable || r.Weight != says.weight {
					t.Errorf("after reload %s: in table %v, weight %d; want %v, %d", next, r.InTable, r.Weight, says.inTable, says.weight)
				}
				if known := c.checkSet().Checks[0]; !known.Inferred || known.Known.Weight != says.verdict.Weight || known.Known.Admin != says.verdict.Admin {
					t.Errorf("after reload %s its process is told %+v", next, known)
				}
			}
			say(model.Verdict{State: model.Up})
			if r := only(); !r.InTable || r.Weight != 100 {
				t.Errorf("after its own verdict: in table %v, weight %d", r.InTable, r.Weight)
			}
			say(says.verdict)
			reload("none")
			if r := only(); !r.InTable || r.Weight != 100 {
				t.Errorf("without the check: in table %v, weight %d", r.InTable, r.Weight)
			}
		})
	}
}

// A check of another type is no successor.
func TestNothingIsHandedDownToAnotherType(t *testing.T) {
	c := newCore()
	config := parseConfig(t, "virtual TCP 192.0.2.100:80 rr DR\n  real 192.0.2.1:80 100 check\n")
	other := parseConfig(t, "virtual TCP 192.0.2.100:80 rr DR\n  real 192.0.2.1:80 100 check\n")
	other.VirtualServers[0].RealServers[0].Checks[0].Type = "other"
	c.step([]input{func(c *core, now time.Time) { c.setConfig(config, now) }}, start)
	id := c.servers[0].plan.RealServers[0].Checks[0]
	c.step([]input{func(c *core, now time.Time) {
		c.takeVerdicts(map[model.CheckID]model.Verdict{id: {State: model.Up, Admin: model.Maintenance}})
		c.setConfig(other, now)
	}}, start)
	if said := c.servers[0].memory.Said; len(said) != 0 {
		t.Errorf("handed down: %v", said)
	}
	key := plan.CheckOf{Addr: netip.MustParseAddrPort("192.0.2.1:80"), ID: id}
	if v := c.servers[0].memory.CarriedFor(key.Addr, key.ID); v.Admin != model.Ready {
		t.Errorf("carried: %+v", v)
	}
}

func eventsOf(out output, kind string) string {
	var all []string
	for _, e := range out.events {
		if e.Kind == kind {
			all = append(all, e.Message)
		}
	}
	return strings.Join(all, "\n")
}

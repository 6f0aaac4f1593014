package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poise-lb/poise/core/model"
)

var (
	now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	key = model.ServiceKey{Addr: netip.MustParseAddr("192.0.2.100"), Port: 80, Protocol: model.TCP}
)

func addr(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 80)
}

// real gives real server n of weight w with checks on these ports.
func real(n int, w uint32, ports ...uint16) model.RealServer {
	r := model.RealServer{Addr: addr(n), Weight: w, Forwarding: model.Forwarding{Method: model.DR}}
	for _, p := range ports {
		r.Checks = append(r.Checks, model.Check{Type: "tcp", Target: model.Target{Addr: netip.AddrPortFrom(addr(n).Addr(), p)}})
	}
	return r
}

func inhibit(r model.RealServer) model.RealServer { r.InhibitOnFailure = true; return r }
func alpha(r model.RealServer) model.RealServer   { r.Alpha = true; return r }

func policy(p model.OnUnknown, r model.RealServer) model.RealServer {
	for i := range r.Checks {
		r.Checks[i].OnUnknown = p
	}
	return r
}

func server(list ...model.RealServer) model.VirtualServer {
	return model.VirtualServer{Key: key, Scheduler: "rr", Quorum: 1, RealServers: list}
}

func withSorry(v model.VirtualServer, inhibit bool) model.VirtualServer {
	v.Sorry = &model.SorryServer{Addr: addr(99), Forwarding: model.Forwarding{Method: model.NAT}, Inhibit: inhibit}
	return v
}

func withQuorum(v model.VirtualServer, quorum, hysteresis uint32) model.VirtualServer {
	v.Quorum, v.Hysteresis = quorum, hysteresis
	return v
}

// check is the check of real server n on a port.
type check struct {
	n    int
	port uint16
}

func (c check) id() model.CheckID { return real(c.n, 0, c.port).Checks[0].ID() }

func says(s model.State) Known { return Known{}.Fold(model.Verdict{State: s, Since: now}) }

// table writes destinations as "1=100 2=0": the last byte of the address and the weight.
func table(s model.Service) string {
	var out []string
	for _, d := range s.Destinations {
		out = append(out, fmt.Sprintf("%d=%d", d.Addr.Addr().As4()[3], d.Weight))
	}
	return strings.Join(out, " ")
}

func TestDecide(t *testing.T) {
	up, down, unknown := says(model.Up), says(model.Down), says(model.Unknown)
	ten := uint32(10)
	carriedDown := map[netip.AddrPort]model.Verdict{addr(1): {State: model.Down, Reason: "before"}}
	carriedUp := map[netip.AddrPort]model.Verdict{addr(1): {State: model.Up}}
	does := func(w model.Weight, a model.Admin) Known {
		return Known{}.Fold(model.Verdict{State: model.Up, Weight: w, Admin: a})
	}
	sets := func(n int64) Known { return does(model.Weight{Mode: model.SetWeight, Value: n}, model.Ready) }
	scales := func(n int64) Known { return does(model.Weight{Mode: model.ScaleWeight, Value: n}, model.Ready) }
	asks := func(a model.Admin) Known { return does(model.Weight{}, a) }
	weighs := func(n int64) Known {
		return Known{}.Fold(model.Verdict{State: model.Up, Weight: model.Weight{Value: n}})
	}
	for _, c := range []struct {
		name      string
		server    model.VirtualServer
		verdicts  map[check]Known
		overrides map[int]model.Override
		memory    Memory
		want      string
		quorum    bool
		states    string
	}{
		{"no checks: up", server(real(1, 5)), nil, nil, Memory{}, "1=5", true, "up"},
		{"no verdict yet: in the table", server(real(1, 5, 80)), nil, nil, Memory{}, "1=5", true, "unknown"},
		{"up", server(real(1, 5, 80)), map[check]Known{{1, 80}: up}, nil, Memory{}, "1=5", true, "up"},
		{"down: out", server(real(1, 5, 80), real(2, 6, 80)), map[check]Known{{1, 80}: down}, nil, Memory{}, "2=6", true, "down unknown"},
		{"down and inhibited: weight 0", server(inhibit(real(1, 5, 80)), real(2, 6, 80)), map[check]Known{{1, 80}: down}, nil, Memory{}, "1=0 2=6", true, "down unknown"},
		{"one of two checks down", server(real(1, 5, 80, 81), real(2, 6)), map[check]Known{{1, 80}: up, {1, 81}: down}, nil, Memory{}, "2=6", true, "down up"},
		{"one of two checks without verdict", server(real(1, 5, 80, 81)), map[check]Known{{1, 80}: up}, nil, Memory{}, "1=5", true, "unknown"},
		{"unknown keeps down", server(real(1, 5, 80)), map[check]Known{{1, 80}: down.Fold(unknown.Said)}, nil, Memory{}, "", false, "down"},
		{"unknown keeps up, for alpha too", server(alpha(real(1, 5, 80))), map[check]Known{{1, 80}: up.Fold(unknown.Said)}, nil, Memory{}, "1=5", true, "up"},
		{"alpha without verdict: out", server(alpha(real(1, 5, 80))), nil, nil, Memory{}, "", false, "unknown"},
		{"alpha whose first probe could not be made: out", server(alpha(real(1, 5, 80))), map[check]Known{{1, 80}: unknown}, nil, Memory{}, "", false, "unknown"},
		{"alpha with one of two verdicts: out", server(alpha(real(1, 5, 80, 81))), map[check]Known{{1, 80}: up}, nil, Memory{}, "", false, "unknown"},
		{"alpha without verdict, inhibited: weight 0", server(inhibit(alpha(real(1, 5, 80)))), nil, nil, Memory{}, "1=0", false, "unknown"},
		{"alpha without checks: up", server(alpha(real(1, 5))), nil, nil, Memory{}, "1=5", true, "up"},
		{"all down, no sorry server: the service stays, empty", server(real(1, 5, 80)), map[check]Known{{1, 80}: down}, nil, Memory{}, "", false, "down"},

		{"carried down", server(real(1, 5, 80), real(2, 6)), nil, nil, Memory{Carried: carriedDown}, "2=6", true, "down up"},
		{"carried down ends with the first verdict", server(real(1, 5, 80)), map[check]Known{{1, 80}: up}, nil, Memory{Carried: carriedDown}, "1=5", true, "up"},
		{"carried down stands for the check that is left", server(real(1, 5, 80, 81)), map[check]Known{{1, 80}: up}, nil, Memory{Carried: carriedDown}, "", false, "down"},
		{"carried down outlives a probe that could not be made", server(real(1, 5, 80)), map[check]Known{{1, 80}: unknown}, nil, Memory{Carried: carriedDown}, "", false, "down"},
		{"carried up keeps alpha in", server(alpha(real(1, 5, 80))), nil, nil, Memory{Carried: carriedUp}, "1=5", true, "up"},
		{"carried up does not hide a verdict", server(real(1, 5, 80)), map[check]Known{{1, 80}: down}, nil, Memory{Carried: carriedUp}, "", false, "down"},

		{"drain: weight 0", server(real(1, 5), real(2, 6)), nil, map[int]model.Override{1: {Admin: model.Drain}}, Memory{}, "1=0 2=6", true, "up up"},
		{"drain before its deadline", server(real(1, 5), real(2, 6)), nil, map[int]model.Override{1: {Admin: model.Drain, Deadline: now.Add(1)}}, Memory{}, "1=0 2=6", true, "up up"},
		{"drain at its deadline: out", server(real(1, 5), real(2, 6)), nil, map[int]model.Override{1: {Admin: model.Drain, Deadline: now}}, Memory{}, "2=6", true, "up up"},
		{"maintenance: out", server(inhibit(real(1, 5)), real(2, 6)), nil, map[int]model.Override{1: {Admin: model.Maintenance}}, Memory{}, "2=6", true, "up up"},
		{"maintenance of one that is down and inhibited: out", server(inhibit(real(1, 5, 80)), real(2, 6)), map[check]Known{{1, 80}: down}, map[int]model.Override{1: {Admin: model.Maintenance}}, Memory{}, "2=6", true, "down up"},
		{"drain of one that is down: out", server(real(1, 5, 80), real(2, 6)), map[check]Known{{1, 80}: down}, map[int]model.Override{1: {Admin: model.Drain}}, Memory{}, "2=6", true, "down up"},
		{"operator's weight", server(real(1, 5)), nil, map[int]model.Override{1: {Weight: &ten}}, Memory{}, "1=10", true, "up"},
		{"operator's weight while drained", server(real(1, 5), real(2, 6)), nil, map[int]model.Override{1: {Admin: model.Drain, Weight: &ten}}, Memory{}, "1=0 2=6", true, "up up"},
		{"operator's weight while down", server(real(1, 5, 80)), map[check]Known{{1, 80}: down}, map[int]model.Override{1: {Weight: &ten}}, Memory{}, "", false, "down"},
		{"verdicts add weight", server(real(1, 5, 80, 81)), map[check]Known{{1, 80}: weighs(3), {1, 81}: weighs(-1)}, nil, Memory{}, "1=7", true, "up"},
		{"verdicts take all weight: in the table, no quorum", server(real(1, 5, 80)), map[check]Known{{1, 80}: weighs(-9)}, nil, Memory{}, "1=0", false, "up"},
		{"verdict's weight on the operator's", server(real(1, 5, 80)), map[check]Known{{1, 80}: weighs(3)}, map[int]model.Override{1: {Weight: &ten}}, Memory{}, "1=13", true, "up"},

		{"a verdict sets the weight", server(real(1, 5, 80)), map[check]Known{{1, 80}: sets(8)}, nil, Memory{}, "1=8", true, "up"},
		{"two verdicts set it: their differences add up", server(real(1, 5, 80, 81)), map[check]Known{{1, 80}: sets(8), {1, 81}: sets(18)}, nil, Memory{}, "1=21", true, "up"},
		{"a verdict sets it to 0: in the table", server(real(1, 5, 80)), map[check]Known{{1, 80}: sets(0)}, nil, Memory{}, "1=0", false, "up"},
		{"a set weight stands for the operator's", server(real(1, 5, 80)), map[check]Known{{1, 80}: sets(8)}, map[int]model.Override{1: {Weight: &ten}}, Memory{}, "1=8", true, "up"},
		{"a percentage, rounded up", server(real(1, 5, 80)), map[check]Known{{1, 80}: scales(30)}, nil, Memory{}, "1=2", true, "up"},
		{"a percentage of the operator's weight", server(real(1, 5, 80)), map[check]Known{{1, 80}: scales(150)}, map[int]model.Override{1: {Weight: &ten}}, Memory{}, "1=15", true, "up"},
		{"the real server asks for a drain", server(real(1, 5, 80), real(2, 6)), map[check]Known{{1, 80}: asks(model.Drain)}, nil, Memory{}, "1=0 2=6", true, "up up"},
		{"the real server asks for maintenance", server(real(1, 5, 80), real(2, 6)), map[check]Known{{1, 80}: asks(model.Maintenance)}, nil, Memory{}, "2=6", true, "up up"},
		{"the stronger of two wishes", server(real(1, 5, 80), real(2, 6)), map[check]Known{{1, 80}: asks(model.Drain)}, map[int]model.Override{1: {Admin: model.Maintenance}}, Memory{}, "2=6", true, "up up"},
		{"a real server's drain stays beside a sorry server", withSorry(server(real(1, 1, 80)), false), map[check]Known{{1, 80}: asks(model.Drain)}, nil, Memory{QuorumUp: true}, "1=0 99=1", false, "up"},
		{"unknown that counts as down", server(policy(model.CountDown, real(1, 5, 80)), real(2, 6)), map[check]Known{{1, 80}: up.Fold(unknown.Said)}, nil, Memory{}, "2=6", true, "down up"},
		{"unknown that counts as up", server(policy(model.CountUp, real(1, 5, 80))), map[check]Known{{1, 80}: down.Fold(unknown.Said)}, nil, Memory{}, "1=5", true, "up"},
		{"no verdict yet counts as what it is", server(alpha(policy(model.CountUp, real(1, 5, 80)))), nil, nil, Memory{}, "", false, "unknown"},
		{"back from unknown", server(policy(model.CountDown, real(1, 5, 80))), map[check]Known{{1, 80}: up.Fold(unknown.Said).Fold(up.Said)}, nil, Memory{}, "1=5", true, "up"},

		{"quorum lost, no sorry server: nothing changes", withQuorum(server(real(1, 1, 80), real(2, 1)), 2, 0), map[check]Known{{1, 80}: down}, nil, Memory{QuorumUp: true}, "2=1", false, "down up"},
		{"quorum lost: sorry in the place of who is up", withSorry(withQuorum(server(real(1, 1, 80), real(2, 1)), 2, 0), false), map[check]Known{{1, 80}: down}, nil, Memory{QuorumUp: true}, "99=1", false, "down up"},
		{"quorum lost: inhibited stay", withSorry(server(inhibit(real(1, 1, 80))), false), map[check]Known{{1, 80}: down}, nil, Memory{QuorumUp: true}, "1=0 99=1", false, "down"},
		{"quorum lost: drained stay", withSorry(server(real(1, 1)), false), nil, map[int]model.Override{1: {Admin: model.Drain}}, Memory{QuorumUp: true}, "1=0 99=1", false, "up"},
		{"quorum: no sorry server", withSorry(server(real(1, 1)), false), nil, nil, Memory{}, "1=1", true, "up"},
		{"quorum: inhibited sorry server at weight 0", withSorry(server(real(1, 1)), true), nil, nil, Memory{}, "1=1 99=0", true, "up"},
		{"quorum lost: inhibited sorry server at weight 1", withSorry(server(real(1, 1, 80)), true), map[check]Known{{1, 80}: down}, nil, Memory{}, "99=1", false, "down"},
		{"alpha start: sorry server until the first verdict", withSorry(server(alpha(real(1, 1, 80))), false), nil, nil, Memory{}, "99=1", false, "unknown"},
		{"all weights 0: never a quorum", withSorry(server(real(1, 0), real(2, 0)), false), nil, nil, Memory{QuorumUp: true}, "99=1", false, "up up"},
		{"hysteresis: up stays up", withQuorum(server(real(1, 2), real(2, 2, 80)), 3, 1), map[check]Known{{2, 80}: down}, nil, Memory{QuorumUp: true}, "1=2", true, "up down"},
		{"hysteresis: down stays down", withQuorum(server(real(1, 3), real(2, 3, 80)), 3, 1), map[check]Known{{2, 80}: down}, nil, Memory{}, "1=3", false, "up down"},
		{"hysteresis: gained", withQuorum(server(real(1, 4)), 3, 1), nil, nil, Memory{}, "1=4", true, "up"},
		{"hysteresis: lost", withQuorum(server(real(1, 1)), 3, 1), nil, nil, Memory{QuorumUp: true}, "1=1", false, "up"},
		{"drain counts for the quorum", withSorry(withQuorum(server(real(1, 1), real(2, 1)), 2, 0), false), nil, map[int]model.Override{1: {Admin: model.Drain}}, Memory{QuorumUp: true}, "1=0 99=1", false, "up up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := Input{Verdicts: map[model.CheckID]Known{}, Overrides: map[model.RealServerKey]model.Override{}, Now: now}
			for k, v := range c.verdicts {
				id := k.id()
				for _, r := range c.server.RealServers {
					for _, configured := range r.Checks {
						if configured.Target.Addr == netip.AddrPortFrom(addr(k.n).Addr(), k.port) {
							id = configured.ID() // with its policy
						}
					}
				}
				in.Verdicts[id] = v
			}
			for n, o := range c.overrides {
				in.Overrides[model.RealServerKey{Service: key, Addr: addr(n)}] = o
			}
			v := Prepare(&c.server)
			d, memory := v.Decide(in, c.memory)
			if got := table(d.Service); got != c.want {
				t.Errorf("table is %q, want %q", got, c.want)
			}
			if d.Status.QuorumUp != c.quorum || memory.QuorumUp != c.quorum {
				t.Errorf("quorum is %v, remembered as %v, want %v", d.Status.QuorumUp, memory.QuorumUp, c.quorum)
			}
			var states []string
			for _, r := range d.Status.RealServers {
				states = append(states, r.State.String())
			}
			if got := strings.Join(states, " "); got != c.states {
				t.Errorf("states are %q, want %q", got, c.states)
			}
		})
	}
}

func TestSorryServerWithARealServersAddress(t *testing.T) {
	v := withSorry(server(real(1, 7, 80), real(2, 1)), true)
	v.Sorry.Addr = addr(1)
	p := Prepare(&v)
	for _, c := range []struct {
		name  string
		state model.State
		drain bool
		want  string
	}{
		{"serving as real server", model.Up, false, "1=7 2=1"},
		{"down", model.Down, false, "2=1 1=0"},
		{"needed", model.Up, true, "1=1 2=0"},
	} {
		in := Input{Verdicts: map[model.CheckID]Known{check{1, 80}.id(): says(c.state)}, Overrides: map[model.RealServerKey]model.Override{}, Now: now}
		if c.drain {
			for _, n := range []int{1, 2} {
				in.Overrides[model.RealServerKey{Service: key, Addr: addr(n)}] = model.Override{Admin: model.Drain}
			}
		}
		d, _ := p.Decide(in, Memory{})
		if got := table(d.Service); got != c.want {
			t.Errorf("%s: table is %q, want %q", c.name, got, c.want)
		}
	}
}

func TestReasonAndSince(t *testing.T) {
	at := func(s int, state model.State, reason string) Known {
		return Known{}.Fold(model.Verdict{State: state, Reason: reason, Since: now.Add(time.Duration(s) * time.Second)})
	}
	for _, c := range []struct {
		name     string
		a, b     Known
		reason   string
		since    int
		noMoment bool
	}{
		{"the first that went down decides", at(5, model.Down, "late"), at(3, model.Down, "early"), "early", 3, false},
		{"one that is down decides over one that is up later", at(5, model.Down, "refused"), at(9, model.Up, ""), "refused", 5, false},
		{"the last that came up decides", at(5, model.Up, ""), at(9, model.Up, "connected"), "connected", 9, false},
		{"without any verdict", Known{}, Known{}, notProbed, 0, true},
		{"what could not be probed says why", Known{}, at(4, model.Unknown, "no local address"), notProbed, 0, true},
	} {
		v := server(real(1, 1, 80, 81))
		p := Prepare(&v)
		d, _ := p.Decide(Input{Verdicts: map[model.CheckID]Known{check{1, 80}.id(): c.a, check{1, 81}.id(): c.b}, Now: now}, Memory{})
		got := d.Status.RealServers[0]
		since := now.Add(time.Duration(c.since) * time.Second)
		if c.noMoment {
			since = time.Time{}
		}
		if got.Reason != c.reason || !got.Since.Equal(since) {
			t.Errorf("%s: %q since %v, want %q since %v", c.name, got.Reason, got.Since, c.reason, since)
		}
	}
}

func TestNextIsTheEarliestDeadline(t *testing.T) {
	v := server(real(1, 1), real(2, 1), real(3, 1), real(4, 1))
	p := Prepare(&v)
	overrides := map[model.RealServerKey]model.Override{
		{Service: key, Addr: addr(1)}: {Admin: model.Drain, Deadline: now.Add(20 * time.Second)},
		{Service: key, Addr: addr(2)}: {Admin: model.Drain, Deadline: now.Add(10 * time.Second)},
		{Service: key, Addr: addr(3)}: {Admin: model.Drain, Deadline: now.Add(-time.Second)},
		{Service: key, Addr: addr(4)}: {Admin: model.Maintenance, Deadline: now.Add(time.Second)},
	}
	for _, c := range []struct{ at, want time.Duration }{{0, 10 * time.Second}, {10 * time.Second, 20 * time.Second}} {
		d, _ := p.Decide(Input{Overrides: overrides, Now: now.Add(c.at)}, Memory{})
		if !d.Next.Equal(now.Add(c.want)) {
			t.Errorf("at %v next is %v, want %v", c.at, d.Next.Sub(now), c.want)
		}
	}
	if d, _ := p.Decide(Input{Overrides: overrides, Now: now.Add(time.Minute)}, Memory{}); !d.Next.IsZero() {
		t.Errorf("next is %v after all deadlines, want never", d.Next)
	}
}

func TestServiceHasWhatIsConfigured(t *testing.T) {
	v := server(real(1, 5))
	v.SchedulerFlags = []string{"flag-1"}
	v.Persistence = model.Persistence{Timeout: time.Minute, Prefix: 24, Engine: "sip"}
	v.OnePacket = true
	v.RealServers[0].UpperThreshold, v.RealServers[0].LowerThreshold = 9, 8
	p := Prepare(&v)
	d, _ := p.Decide(Input{Now: now}, Memory{})
	want := model.Service{
		Key: key, Scheduler: "rr", SchedulerFlags: []string{"flag-1"}, Persistence: v.Persistence, OnePacket: true,
		Destinations: []model.Destination{{Addr: addr(1), Weight: 5, Forwarding: model.Forwarding{Method: model.DR}, UpperThreshold: 9, LowerThreshold: 8}},
	}
	if diff := cmp.Diff(want, d.Service, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestWeight(t *testing.T) {
	w := func(n uint32) *uint32 { return &n }
	for _, c := range []struct {
		configured uint32
		override   model.Override
		verdicts   int64
		want       uint32
	}{
		{5, model.Override{}, 0, 5},
		{5, model.Override{}, 3, 8},
		{5, model.Override{}, -6, 0},
		{5, model.Override{Weight: w(0)}, 0, 0},
		{5, model.Override{Weight: w(7)}, -2, 5},
		{5, model.Override{Admin: model.Drain}, 9, 0},
		{5, model.Override{Admin: model.Maintenance, Weight: w(7)}, 9, 0},
		{MaxWeight, model.Override{}, 1, MaxWeight},
		{1<<32 - 1, model.Override{}, -1, MaxWeight - 1},
		{0, model.Override{}, 1<<63 - 1, MaxWeight},
		{MaxWeight, model.Override{}, -1 << 63, 0},
	} {
		if got := Weight(Base(c.configured, c.override), c.override.Admin, c.verdicts); got != c.want {
			t.Errorf("Weight(%d, %v, %d) = %d, want %d", c.configured, c.override, c.verdicts, got, c.want)
		}
	}
}

func TestWeightIsInRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := server(real(1, rapid.Uint32().Draw(t, "configured"), 80, 81))
		p := Prepare(&v)
		in := Input{Now: now, Verdicts: map[model.CheckID]Known{}}
		for _, id := range p.RealServers[0].Checks {
			in.Verdicts[id] = Known{}.Fold(model.Verdict{State: model.Up, Weight: model.Weight{
				Mode: model.WeightMode(rapid.Uint8Range(0, 2).Draw(t, "mode")), Value: rapid.Int64().Draw(t, "verdict"),
			}})
		}
		d, _ := p.Decide(in, Memory{})
		if w := d.Status.RealServers[0].Weight; w > MaxWeight {
			t.Fatalf("weight %d", w)
		}
	})
}

func TestChecksAreDeduplicated(t *testing.T) {
	a, b := server(real(1, 1, 80), real(2, 1, 80)), server(real(1, 1, 80, 81))
	b.Key.Port = 81
	checks := Checks([]VirtualServer{Prepare(&a), Prepare(&b)})
	seen := map[model.Check]bool{}
	for i, c := range checks {
		if c.ID != c.Check.ID() || c.Known != (model.Verdict{}) || seen[c.Check] {
			t.Errorf("check %+v", c)
		}
		if i > 0 && checks[i-1].ID >= c.ID {
			t.Errorf("check %s is not in order", c.ID)
		}
		seen[c.Check] = true
	}
	if len(checks) != 3 {
		t.Errorf("%d checks, want 3", len(checks))
	}
}

func TestSyncFollowsTheRole(t *testing.T) {
	sync := model.ConnectionSync{Group: "VG", Interface: "eth0", ID: 51}
	for role, want := range map[model.Role]model.SyncRole{
		model.UnknownRole: model.SyncBackup, model.Backup: model.SyncBackup, model.Fault: model.SyncBackup, model.Master: model.SyncMaster,
	} {
		got := Sync(&model.Config{ConnectionSync: &sync}, map[string]model.RoleState{"VG": {Role: role}, "other": {Role: model.Master}})
		if got == nil || got.Role != want || got.Sync != sync {
			t.Errorf("role %v: %+v, want %v", role, got, want)
		}
	}
	if got := Sync(&model.Config{}, nil); got != nil {
		t.Errorf("connection sync that is not configured: %+v", got)
	}
}

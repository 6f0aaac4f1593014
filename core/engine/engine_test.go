package engine

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// receiver takes what an engine publishes, as the facades do, and lets a test wait.
type receiver struct {
	t      *testing.T
	engine *Engine

	mu      sync.Mutex
	forward []model.ForwardSet
	groups  []model.GroupSet
	checks  int
	changed chan struct{}
}

// run starts an engine that ends with the test.
func run(t *testing.T) *receiver {
	r := &receiver{t: t, changed: make(chan struct{}, 1)}
	r.engine = New(Outputs{
		Forward: func(s model.ForwardSet) { r.take(func() { r.forward = append(r.forward, s) }) },
		Checks:  func() { r.take(func() { r.checks++ }) },
		Groups:  func(s model.GroupSet) { r.take(func() { r.groups = append(r.groups, s) }) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { r.engine.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

func (r *receiver) take(f func()) {
	r.mu.Lock()
	f()
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// await waits until the newest table is as wanted.
func (r *receiver) await(what string, is func(model.ForwardSet) bool) model.ForwardSet {
	r.t.Helper()
	limit := time.After(10 * time.Second)
	for {
		if set, ok := r.newest(); ok && is(set) {
			return set
		}
		select {
		case <-r.changed:
		case <-limit:
			set, _ := r.newest()
			r.t.Fatalf("no table with %s; the newest is %+v", what, set)
		}
	}
}

func (r *receiver) newest() (model.ForwardSet, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.forward) == 0 {
		return model.ForwardSet{}, false
	}
	return r.forward[len(r.forward)-1], true
}

func destinations(n int) func(model.ForwardSet) bool {
	return func(s model.ForwardSet) bool { return len(s.Services[0].Destinations) == n }
}

const small = `
virtual TCP 192.0.2.100:80 rr DR
  real 192.0.2.1:80 1 check
  real 192.0.2.2:80 1 check
group VG
sync VG eth0 51
`

func down(c model.Check) map[model.CheckID]model.Verdict {
	return map[model.CheckID]model.Verdict{c.ID(): {State: model.Down, Reason: "refused", Since: time.Now()}}
}

func TestEnginePublishes(t *testing.T) {
	r := run(t)
	if s := r.engine.Snapshot(); s == nil || len(s.Services) != 0 {
		t.Fatalf("snapshot before there is a configuration: %+v", s)
	}
	config := parseConfig(t, small)
	r.engine.SetConfig(config)
	// SetConfig returns when all is published.
	set, ok := r.newest()
	if !ok || set.Generation != 1 || !destinations(2)(set) || set.Sync.Role != model.SyncBackup {
		t.Fatalf("table is %+v", set)
	}
	if r.checks != 1 || len(r.groups) != 1 || r.groups[0].GraceTime != 3*time.Second {
		t.Fatalf("checks %d, groups %+v", r.checks, r.groups)
	}
	if s := r.engine.CheckSet(); s.Generation != 1 || len(s.Checks) != 2 || s.Checks[0].Known.State != model.Unknown {
		t.Fatalf("checks are %+v", s)
	}

	check := config.VirtualServers[0].RealServers[0].Checks[0]
	r.engine.Verdicts(down(check))
	r.await("one real server", destinations(1))
	r.engine.Role("VG", model.RoleState{Role: model.Master})
	r.await("sync as master", func(s model.ForwardSet) bool { return s.Sync.Role == model.SyncMaster })

	for _, c := range r.engine.CheckSet().Checks {
		if want := map[bool]model.State{true: model.Down, false: model.Unknown}[c.ID == check.ID()]; c.Known.State != want {
			t.Errorf("%s is known as %v, want %v", c.Check, c.Known, want)
		}
		if c.Inferred {
			t.Errorf("%s: what it said itself counts as inferred", c.Check)
		}
	}
	r.engine.SetConfig(parseConfig(t, small))
	s := r.engine.Snapshot()
	if s.ForwardGeneration != 3 || s.Sync.Role != model.SyncMaster || s.Services[0].RealServers[0].State != model.Down || s.Groups[0].Role != model.Master {
		t.Errorf("snapshot after a reload of the same: %+v", s)
	}
	if r.checks != 1 || len(r.groups) != 1 {
		t.Errorf("a reload of the same gave new sets: %d of checks, %d of groups", r.checks, len(r.groups))
	}
}

func TestOverrideIsPublishedOnReturn(t *testing.T) {
	r := run(t)
	config := parseConfig(t, small)
	key := model.RealServerKey{Service: config.VirtualServers[0].Key, Addr: config.VirtualServers[0].RealServers[0].Addr}
	kept := map[model.RealServerKey]model.Override{key: {Admin: model.Drain}}
	r.engine.SetOverrides(kept)
	delete(kept, key)
	r.engine.SetConfig(config)
	if set, _ := r.newest(); set.Services[0].Destinations[0].Weight != 0 {
		t.Fatalf("drain that was kept over a restart: %+v", set)
	}
	r.engine.SetOverride(key, model.Override{})
	if set, _ := r.newest(); set.Services[0].Destinations[0].Weight != 1 {
		t.Fatalf("after ready: %+v", set)
	}
	if got := r.engine.Snapshot().Services[0].RealServers[0]; got.Weight != 1 || got.Override.Admin != model.Ready {
		t.Fatalf("snapshot has %+v", got)
	}
}

// Adopt returns when the table that follows from it is published: the forwarder applies
// right after it.
func TestAdoptIsPublishedOnReturn(t *testing.T) {
	r := run(t)
	config := parseConfig(t, small)
	r.engine.SetConfig(config)
	v := config.VirtualServers[0]
	r.engine.Adopt("", []model.Service{{Key: v.Key, Scheduler: "rr", Destinations: []model.Destination{{Addr: v.RealServers[1].Addr, Weight: 1}}}}, nil)
	set, _ := r.newest()
	if !destinations(1)(set) || set.Services[0].Destinations[0].Addr != v.RealServers[1].Addr {
		t.Fatalf("table is %+v", set)
	}
}

// With the real servers of the last configuration, one that is missing from the table
// and was not configured then is new, not taken out.
func TestAdoptKnowsWhatIsNew(t *testing.T) {
	r := run(t)
	config := parseConfig(t, small)
	r.engine.SetConfig(config)
	v := config.VirtualServers[0]
	r.engine.Adopt("", []model.Service{{Key: v.Key, Scheduler: "rr"}}, []model.RealServerKey{{Service: v.Key, Addr: v.RealServers[0].Addr}})
	set, _ := r.newest()
	if !destinations(1)(set) || set.Services[0].Destinations[0].Addr != v.RealServers[1].Addr {
		t.Fatalf("table is %+v, want the new real server only", set)
	}
	for _, c := range r.engine.CheckSet().Checks {
		want := model.Unknown
		if c.Check == v.RealServers[0].Checks[0] {
			want = model.Down
		}
		if c.Known.State != want || c.Inferred != (want == model.Down) {
			t.Errorf("%s is known as %v, want %v", c.Check, c.Known, want)
		}
	}
}

// A drain ends by itself, without anybody's event.
func TestDeadlineWakesTheEngine(t *testing.T) {
	r := run(t)
	config := parseConfig(t, small)
	r.engine.SetConfig(config)
	key := model.RealServerKey{Service: config.VirtualServers[0].Key, Addr: config.VirtualServers[0].RealServers[0].Addr}
	deadline := time.Now().Add(50 * time.Millisecond)
	r.engine.SetOverride(key, model.Override{Admin: model.Drain, Deadline: deadline})
	r.await("one real server", destinations(1))
	if time.Now().Before(deadline) {
		t.Error("out of the table before the deadline")
	}
}

// Nothing that an output does not take keeps inputs waiting, and nobody waits for an
// engine that has stopped.
func TestStoppedEngineKeepsNobodyWaiting(t *testing.T) {
	e := New(Outputs{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { e.Run(ctx); close(done) }()
	e.SetConfig(parseConfig(t, small))
	cancel()
	<-done
	returned := make(chan struct{})
	go func() {
		e.SetConfig(parseConfig(t, small))
		e.Verdicts(nil)
		e.Role("VG", model.RoleState{})
		_ = e.CheckSet()
		close(returned)
	}()
	select {
	case <-returned:
	case <-time.After(10 * time.Second):
		t.Fatal("a call to an engine that has stopped does not return")
	}
}

// Many at once: what is published last is what was said last, generations only grow, and
// a burst is not worked off one by one.
func TestManyAtOnce(t *testing.T) {
	r := run(t)
	config := largeConfig(10, 10)
	r.engine.SetConfig(config)
	const rounds = 50
	var group sync.WaitGroup
	for i := range config.VirtualServers {
		group.Go(func() {
			for round := range rounds {
				state := model.Up
				if round%2 == 0 || i%2 == 0 && round == rounds-1 {
					state = model.Down
				}
				verdicts := map[model.CheckID]model.Verdict{}
				for _, real := range config.VirtualServers[i].RealServers {
					verdicts[real.Checks[0].ID()] = model.Verdict{State: state, Since: time.Now()}
				}
				r.engine.Verdicts(verdicts)
				_ = r.engine.Snapshot().ForwardGeneration
				_ = r.engine.CheckSet()
			}
		})
	}
	group.Wait()
	r.await("every other service empty", func(s model.ForwardSet) bool {
		for i := range s.Services {
			if want := 10 * (i % 2); len(s.Services[i].Destinations) != want {
				return false
			}
		}
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range r.forward {
		if s.Generation != uint64(i+1) {
			t.Fatalf("set %d has generation %d", i, s.Generation)
		}
	}
}

// largeConfig has services of real servers with a check each.
func largeConfig(services, reals int) *model.Config {
	c := &model.Config{}
	for i := range services {
		v := model.VirtualServer{Key: model.ServiceKey{Addr: netip.MustParseAddr("192.0.2.100"), Port: uint16(1 + i), Protocol: model.TCP}, Scheduler: "rr", Quorum: 1}
		for j := range reals {
			n := i*reals + j
			addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 80)
			v.RealServers = append(v.RealServers, model.RealServer{Addr: addr, Weight: 1, Checks: []model.Check{{Type: "tcp", Target: model.Target{Addr: addr}}}})
		}
		c.VirtualServers = append(c.VirtualServers, v)
	}
	return c
}

func BenchmarkStep(b *testing.B) {
	for _, size := range []struct{ services, reals int }{{1, 10_000}, {100, 100}, {2000, 5}} {
		config := largeConfig(size.services, size.reals)
		name := fmt.Sprintf("%dx%d", size.services, size.reals)
		all := map[model.CheckID]model.Verdict{}
		for _, v := range config.VirtualServers {
			for _, r := range v.RealServers {
				all[r.Checks[0].ID()] = model.Verdict{State: model.Up}
			}
		}
		one := config.VirtualServers[0].RealServers[0].Checks[0].ID()
		b.Run("verdict/"+name, func(b *testing.B) {
			c := configured(config)
			for i := 0; b.Loop(); i++ {
				v := model.Verdict{State: model.Up + model.State(i%2)}
				c.step([]input{func(c *core, _ time.Time) { c.takeVerdicts(map[model.CheckID]model.Verdict{one: v}) }}, start)
			}
		})
		b.Run("everything/"+name, func(b *testing.B) {
			c := configured(config)
			for i := 0; b.Loop(); i++ {
				for id, v := range all {
					v.State = model.Up + model.State(i%2)
					all[id] = v
				}
				c.step([]input{func(c *core, _ time.Time) { c.takeVerdicts(all) }}, start)
			}
		})
		b.Run("reload/"+name, func(b *testing.B) {
			c := configured(config)
			c.step([]input{func(c *core, _ time.Time) { c.takeVerdicts(all) }}, start)
			for b.Loop() {
				c.step([]input{func(c *core, now time.Time) { c.setConfig(config, now) }}, start)
			}
		})
	}
}

// BenchmarkVerdictToTable is the way from a verdict to the forwarder's facade, the
// goroutine included.
func BenchmarkVerdictToTable(b *testing.B) {
	config := largeConfig(100, 100)
	published := make(chan struct{}, 1)
	e := New(Outputs{Forward: func(model.ForwardSet) { published <- struct{}{} }})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go e.Run(ctx)
	e.SetConfig(config)
	<-published
	one := config.VirtualServers[0].RealServers[0].Checks[0].ID()
	for i := 0; b.Loop(); i++ {
		e.Verdicts(map[model.CheckID]model.Verdict{one: {State: model.Down - model.State(i%2)}})
		<-published
	}
}

package f5

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/bigip"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// double is a pair in a device group.
func double(t *testing.T, o bigip.PairOptions, more map[string]any) (*scene, *bigip.Pair) {
	t.Helper()
	o.Options = options()
	if o.Group == "" {
		o.Group = "failover-group"
	}
	p := bigip.NewPair(o)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	p.AddForeign("lab", "Common", "other")
	s := &scene{t: t, units: p.Units(), dir: t.TempDir(), more: more, foreign: map[*bigip.Unit][]byte{p.A: p.A.Foreign(), p.B: p.B.Foreign()}}
	s.start(p.CA())
	return s, p
}

// synced waits until the pair has the same and what is wanted.
func (s *scene) synced(p *bigip.Pair, list ...*forwardv1.VirtualServer) {
	s.t.Helper()
	for _, u := range p.Units() {
		s.eventually(u, list...)
	}
	deadline := time.Now().Add(20 * time.Second)
	for !p.InSync() {
		if time.Now().After(deadline) {
			s.t.Fatal("the pair is not in sync")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// alarmed waits until the forwarder says so.
func (s *scene) alarmed(part string) {
	s.t.Helper()
	s.says(part+" in it", func(told string) bool { return strings.Contains(told, part) })
}

// calm waits until the forwarder says that nothing is wrong.
func (s *scene) calm() {
	s.t.Helper()
	s.says("nothing", func(told string) bool { return told == "" })
}

// says waits until what the forwarder says is right.
func (s *scene) says(want string, right func(told string) bool) {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		s.f.mu.Lock()
		told := s.f.told
		s.f.mu.Unlock()
		if right(told) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the forwarder says %q, want %s", told, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// writes are requests that change something of ours.
func writes(u *bigip.Unit) (n int) {
	for _, r := range u.Requests() {
		if r.Method != "GET" && strings.HasPrefix(r.Kind, "ltm/") {
			n++
		}
	}
	return n
}

func TestPair(t *testing.T) {
	for _, automatic := range []bool{false, true} {
		s, p := double(t, bigip.PairOptions{AutoSync: automatic, SyncDelay: 100 * time.Millisecond}, nil)
		s.watch()
		s.done(web(1, 3))
		s.synced(p, web(1, 3))
		if n := writes(p.B); n > 0 {
			t.Errorf("%d writes to the standby unit", n)
		}
		p.SwitchOver()
		v := web(1, 3)
		v.RealServers[0].Offline = true
		s.done(v)
		s.synced(p, v)
		if n := writes(p.B); n == 0 {
			t.Error("nothing was written to the unit that is active now")
		}
	}
}

func TestNobodyActive(t *testing.T) {
	s, p := double(t, bigip.PairOptions{}, nil)
	s.watch()
	s.done(web(1, 2))
	s.synced(p, web(1, 2))
	for _, x := range []struct {
		active []*bigip.Unit
		says   string
	}{{nil, "no unit is active"}, {p.Units(), "both units say that they are active"}} {
		p.SetActive(x.active...)
		p.A.ClearRequests()
		p.B.ClearRequests()
		s.apply(web(1, 4))
		s.alarmed(x.says)
		if n := writes(p.A) + writes(p.B); n > 0 {
			t.Errorf("%s: %d writes", x.says, n)
		}
	}
	p.SetActive(p.B)
	s.synced(p, web(1, 4))
}

// A person has changed something on the other unit: it is not written over.
func TestChangesOfTheOther(t *testing.T) {
	s, p := double(t, bigip.PairOptions{}, nil)
	s.watch()
	s.done(web(1, 2))
	s.synced(p, web(1, 2))
	p.B.Must("POST", "ltm/pool", map[string]any{"name": "by-hand", "partition": "other"})
	s.apply(web(1, 3))
	s.eventually(p.A, web(1, 3))
	s.alarmed("may have changes that")
	s.f.mu.Lock()
	if !s.f.syncing {
		t.Error("the pair is not looked at again")
	}
	s.f.mu.Unlock()
	if _, err := p.B.Apply("GET", "ltm/pool/~other~by-hand", nil); err != nil {
		t.Errorf("what was changed by hand is gone: %v", err)
	}
	p.B.Must("POST", "cm", map[string]any{"command": "run", "utilCmdArgs": "config-sync to-group failover-group"})
	s.calm()
	for _, u := range p.Units() {
		u.Must("DELETE", "ltm/pool/~other~by-hand", nil)
	}
}

// The device group cannot be read when a pair is to be synced: it is synced later.
func TestGroupUnreadable(t *testing.T) {
	t.Parallel()
	s, p := double(t, bigip.PairOptions{}, map[string]any{"request_timeout": "1s"})
	s.done(web(1, 3)) // nobody watches: nothing is synced
	s.f.pair.foundAt = time.Time{}
	fault := p.A.Fault(bigip.Fault{Kind: bigip.HTML503, Path: "/mgmt/tm/cm/device-group"})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if pending, err := s.f.pair.settle(ctx, s.f.pair.units[0], time.Minute); !pending || err == nil {
		t.Errorf("the group cannot be read: pending %v, %v", pending, err)
	}
	fault.Clear()
	s.watch()
	s.synced(p, web(1, 3))
}

// The units switch over in the middle of an Apply, after each of its requests in turn.
func TestSwitchInApply(t *testing.T) {
	t.Parallel()
	s, p := double(t, bigip.PairOptions{}, nil)
	s.watch()
	before, after := []*forwardv1.VirtualServer{web(1, 3)}, []*forwardv1.VirtualServer{web(1, 2), web(2, 3)}
	after[0].RealServers[0].Offline = true
	for k := range 30 {
		s.apply(before...)
		s.synced(p, before...)
		active := p.A
		if p.A.FailoverState() != bigip.Active {
			active = p.B
		}
		f := active.Fault(bigip.Fault{Kind: bigip.Failover, After: k, Times: 1})
		s.apply(after...)
		s.synced(p, after...)
		f.Clear()
		before, after = after, before
	}
}

// The peer is gone: the other one is written to.
func TestOneUnitGone(t *testing.T) {
	s, p := double(t, bigip.PairOptions{}, map[string]any{"request_timeout": "500ms"})
	s.watch()
	s.done(web(1, 2))
	s.synced(p, web(1, 2))
	p.A.Close()
	p.SetActive(p.B)
	s.apply(web(1, 3))
	s.eventually(p.B, web(1, 3))
	if err := p.A.Start(p.A.Addr()); err != nil {
		t.Fatal(err)
	}
	s.synced(p, web(1, 3))
}

// A process that died between its commit and the config-sync: the next one has it synced.
func TestKilledBeforeSync(t *testing.T) {
	s, p := double(t, bigip.PairOptions{}, nil)
	s.done(web(1, 3)) // nobody watches: nothing is synced
	if p.InSync() {
		t.Fatal("the pair is in sync already: nothing to show")
	}
	s.start(p.CA())
	s.watch()
	s.done(web(1, 3))
	s.synced(p, web(1, 3))
}

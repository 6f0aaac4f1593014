package forwarder

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poise-lb/poise/core/model"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// spare is a set with a real server that is up, one that is offline and a sorry server
// that is not needed.
func spare(generation uint64) model.ForwardSet {
	s := set(generation, 80)
	s.Services[0].Parameters = `{"snat":"none"}`
	s.Services[0].Spare = []model.Destination{
		{Addr: netip.MustParseAddrPort("192.0.2.2:80"), Weight: 7, Offline: true},
		{Addr: netip.MustParseAddrPort("192.0.2.9:80"), Weight: 1, Sorry: true},
	}
	return s
}

// Only who keeps members is sent those that take no connections.
func TestSpareMembersAreSentWithTheFeatureOnly(t *testing.T) {
	for _, c := range []struct {
		features []string
		want     []string
	}{
		{nil, []string{"192.0.2.1"}},
		{[]string{featureHold, featureImport}, []string{"192.0.2.1"}},
		{[]string{featureMembers}, []string{"192.0.2.1", "192.0.2.2 offline", "192.0.2.9 sorry"}},
	} {
		f := newFake()
		facade, r, _, _ := start(t, f, &memory{}, c.features...)
		receive(t, r.adopted)
		if got, want := facade.Status().Members, slices.Contains(c.features, featureMembers); got != want {
			t.Errorf("features %v: keeps members: %v", c.features, got)
		}
		facade.Set(spare(1))
		receive(t, r.applied)
		f.set(func() {
			sent := f.requests[0].GetVirtualServers()[0]
			var got []string
			for _, d := range sent.GetRealServers() {
				text := d.GetAddress()
				if d.GetOffline() {
					text += " offline"
				}
				if d.GetSorry() {
					text += " sorry"
				}
				got = append(got, text)
			}
			if !slices.Equal(got, c.want) || string(sent.GetParametersJson()) != `{"snat":"none"}` {
				t.Errorf("features %v: sent %v with %s, want %v", c.features, got, sent.GetParametersJson(), c.want)
			}
		})
	}
}

// A forwarder without the feature is not told that the sorry server is one: it has a real
// server like others.
func TestASorryServerThatServesIsOneOfTheTable(t *testing.T) {
	s := spare(1)
	s.Services[0].Destinations = []model.Destination{{Addr: netip.MustParseAddrPort("192.0.2.9:80"), Weight: 1, Sorry: true}}
	for _, members := range []bool{false, true} {
		d := encodeSet(s, members).GetVirtualServers()[0].GetRealServers()[0]
		if d.GetAddress() != "192.0.2.9" || d.GetWeight() != 1 || d.GetSorry() != members {
			t.Errorf("members %v: %v", members, d)
		}
	}
}

func TestHold(t *testing.T) {
	f := newFake()
	f.object = []*forwardv1.ObjectError{{Key: encodeKey(key(80)), Message: "no unit is active"}}
	facade, r, _, _ := start(t, f, &memory{}, featureHold)
	facade.Set(set(1, 80))
	receive(t, r.applied)
	receive(t, r.failed)
	if want, writes := facade.Wanted(); want.Generation != 1 || !writes {
		t.Errorf("wanted %d, written %v before the hold", want.Generation, writes)
	}
	facade.Hold()
	// What was wrong is another director's now.
	if got := receive(t, r.failed); got != "recovered" {
		t.Errorf("told %q, want recovered", got)
	}
	f.set(func() {
		f.object = nil
		last := f.requests[len(f.requests)-1]
		if !last.GetHold() || len(last.GetVirtualServers()) != 0 || last.GetReconcileInterval().AsDuration() != time.Second {
			t.Errorf("sent %v, want one to hold", last)
		}
	})
	if _, writes := facade.Wanted(); writes {
		t.Error("says that it writes while it is held")
	}
	facade.Set(set(2, 80))
	for receive(t, r.applied) != 2 {
	}
	f.set(func() {
		if last := f.requests[len(f.requests)-1]; last.GetHold() || len(last.GetVirtualServers()) != 1 {
			t.Errorf("sent %v after the hold", last)
		}
	})
}

// A process that is started while another director writes is told so, and sent no table.
func TestAHeldForwarderStartsHeld(t *testing.T) {
	f := newFake()
	first, r, done, _ := start(t, f, &memory{}, featureHold)
	first.Set(set(1, 80))
	receive(t, r.applied)
	first.Hold()
	close(f.watch)
	receive(t, done)
	again := newFake()
	s := serve(t, again)
	s.features = []string{featureHold}
	go func() { _ = first.Run(t.Context(), s) }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		var sent []*forwardv1.ApplyRequest
		again.set(func() { sent = slices.Clone(again.requests) })
		if len(sent) > 0 {
			if !sent[0].GetHold() {
				t.Errorf("the new process was sent %v", sent[0])
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the new process was sent nothing within 10 s")
		}
	}
}

// One without the feature is sent nothing, and writes nothing new.
func TestHoldWithoutTheFeature(t *testing.T) {
	f := newFake()
	facade, r, _, _ := start(t, f, &memory{})
	receive(t, r.adopted)
	facade.Hold()
	facade.Set(set(4, 80))
	if g := receive(t, r.applied); g != 4 {
		t.Errorf("applied generation %d, want 4", g)
	}
	f.set(func() {
		for _, sent := range f.requests {
			if sent.GetHold() || sent.GetGeneration() != 4 {
				t.Errorf("sent %v", sent)
			}
		}
	})
}

// A hold that cannot be told is tried again.
func TestAFailedHoldIsTriedAgain(t *testing.T) {
	f := newFake()
	f.refuse = errors.New("no unit answers")
	facade, r, _, _ := start(t, f, &memory{}, featureHold)
	facade.Hold()
	if got, want := receive(t, r.failed), "table: hold: no unit answers"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	f.set(func() { f.refuse = nil })
	if got := receive(t, r.failed); got != "recovered" {
		t.Errorf("told %q, want recovered", got)
	}
}

// What is wrong with no virtual server is wrong with connection sync, which an appliance
// has none of.
func TestErrorsOfTheWhole(t *testing.T) {
	for want, features := range map[string][]string{
		"connection sync: no unit is active; the disk is full": nil,
		"appliance: no unit is active; the disk is full":       {featureMembers},
	} {
		f := newFake()
		f.object = []*forwardv1.ObjectError{{Message: "no unit is active"}, {Message: "the disk is full"}}
		facade, r, _, _ := start(t, f, &memory{}, features...)
		facade.Set(set(1, 80))
		if got := receive(t, r.failed); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
}

func TestCompare(t *testing.T) {
	member := func(addr string, change ...func(*model.Destination)) model.Destination {
		d := model.Destination{Addr: netip.MustParseAddrPort(addr), Weight: 10}
		for _, c := range change {
			c(&d)
		}
		return d
	}
	weight := func(n uint32) func(*model.Destination) { return func(d *model.Destination) { d.Weight = n } }
	offline := func(d *model.Destination) { d.Offline = true }
	sorry := func(d *model.Destination) { d.Sorry = true }
	service := func(port uint16, list ...model.Destination) model.Service {
		return model.Service{Key: key(port), Scheduler: "wrr", Destinations: list}
	}
	const one, two, vs = "192.0.2.1:80", "192.0.2.2:80", "TCP 192.0.2.100:80"
	tunnel := member(one, func(d *model.Destination) {
		d.Forwarding = model.Forwarding{Method: model.TUN, Tunnel: model.Tunnel{Type: "gue", Port: 6080}}
		d.UpperThreshold = 100
	})
	persistent := service(80)
	persistent.Persistence = model.Persistence{Timeout: 5 * time.Minute, Prefix: 24, Engine: "sip"}
	persistent.SchedulerFlags, persistent.OnePacket = []string{"flag-1"}, true
	for _, c := range []struct {
		name     string
		want, is []model.Service
		members  bool
		marks    bool
		out      []Difference
	}{
		{name: "somebody else's in the place of ours", marks: true, members: true, want: []model.Service{service(80, member(one))},
			is:  []model.Service{{Key: key(80), Scheduler: "wrr", Foreign: true, Destinations: []model.Destination{member(one)}}},
			out: []Difference{{vs, Missing, "wrr", "somebody else's: wrr"}}},
		{name: "ours, and not wanted any more", marks: true, members: true, is: []model.Service{service(80)},
			out: []Difference{{vs, Different, "", "ours: wrr"}}},
		{name: "nothing at all"},
		{name: "the same", want: []model.Service{service(80, member(one), member(two))}, is: []model.Service{service(80, member(two), member(one))}},
		{name: "a virtual server is not there", want: []model.Service{service(80, member(one))},
			out: []Difference{{vs, Missing, "wrr", ""}}},
		{name: "foreign ones come last", want: []model.Service{service(81), service(80)}, is: []model.Service{service(90), service(91)},
			out: []Difference{
				{"TCP 192.0.2.100:81", Missing, "wrr", ""}, {vs, Missing, "wrr", ""},
				{"TCP 192.0.2.100:90", Foreign, "", "wrr"}, {"TCP 192.0.2.100:91", Foreign, "", "wrr"},
			}},
		{name: "another service", want: []model.Service{persistent}, is: []model.Service{service(80)},
			out: []Difference{{vs, Different, "wrr flag-1, persistence 5m0s/24 sip, one packet", "wrr"}}},
		{name: "members", want: []model.Service{service(80, member(one), member(two, weight(0)))}, is: []model.Service{service(80, member(two), member("192.0.2.3:80"))},
			out: []Difference{
				{vs + " " + one, Missing, "weight 10, NAT", ""}, {vs + " " + two, Different, "weight 0, NAT", "weight 10, NAT"},
				{vs + " 192.0.2.3:80", Different, "", "weight 10, NAT"},
			}},
		{name: "forwarding", want: []model.Service{service(80, tunnel)}, is: []model.Service{service(80, member(one))},
			out: []Difference{{vs + " " + one, Different, "weight 10, TUN gue port 6080, limit 100", "weight 10, NAT"}}},
		{name: "offline as wanted, whatever it weighs", members: true,
			want: []model.Service{{Key: key(80), Scheduler: "wrr", Spare: []model.Destination{member(one, offline)}}},
			is:   []model.Service{service(80, member(one, offline, weight(1)))}},
		{name: "not offline", members: true,
			want: []model.Service{{Key: key(80), Scheduler: "wrr", Spare: []model.Destination{member(one, offline)}}},
			is:   []model.Service{service(80, member(one))},
			out:  []Difference{{vs + " " + one, Different, "offline, NAT", "weight 10, NAT"}}},
		{name: "offline, and should not be", members: true, want: []model.Service{service(80, member(one))}, is: []model.Service{service(80, member(one, offline))},
			out: []Difference{{vs + " " + one, Different, "weight 10, NAT", "offline, NAT"}}},
		{name: "offline and gone", members: true,
			want: []model.Service{{Key: key(80), Scheduler: "wrr", Spare: []model.Destination{member(one, offline)}}}, is: []model.Service{service(80)}},
		{name: "the sorry server is gone", members: true,
			want: []model.Service{{Key: key(80), Scheduler: "wrr", Spare: []model.Destination{member(one, sorry)}}}, is: []model.Service{service(80)},
			out: []Difference{{vs + " " + one, Missing, "sorry server, NAT", ""}}},
		{name: "spare members are nobody's who keeps none", want: []model.Service{{Key: key(80), Scheduler: "wrr", Spare: []model.Destination{member(one, offline)}}},
			is: []model.Service{service(80)}},
		{name: "a table does not know a sorry server for one", want: []model.Service{service(80, member(one, sorry, weight(1)))}, is: []model.Service{service(80, member(one, weight(1)))}},
		{name: "but knows what it weighs", want: []model.Service{service(80, member(one, sorry, weight(1)))}, is: []model.Service{service(80, member(one, weight(0)))},
			out: []Difference{{vs + " " + one, Different, "weight 1, NAT", "weight 0, NAT"}}},
	} {
		if diff := cmp.Diff(c.out, Compare(c.want, c.is, c.members, c.marks)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

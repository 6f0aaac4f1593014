package f5

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/bigip"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// verdict is the event of a real server.
func verdict(r *real, state string) func(*controlv1.EventsResponse) bool {
	return func(e *controlv1.EventsResponse) bool {
		return e.GetKind() == "real_server" && e.GetObject() == serviceName+" "+r.address+":80" && strings.HasPrefix(e.GetMessage(), state)
	}
}

// applied is the first event of a forwarder's table after a verdict, by their times: it may be
// told before the verdict. "" is the director's own.
func applied(forwarder string, verdict *controlv1.EventsResponse) func(*controlv1.EventsResponse) bool {
	return func(e *controlv1.EventsResponse) bool {
		return !e.GetAt().AsTime().Before(verdict.GetAt().AsTime()) && e.GetKind() == "table" && strings.HasPrefix(e.GetObject(), forwarder+"generation ") && strings.HasPrefix(e.GetMessage(), "applied")
	}
}

// flip has a real server die or come back, and gives its verdict's event.
func (s *scene) flip(e *events, i int, up bool) *controlv1.EventsResponse {
	s.t.Helper()
	state := map[bool]string{true: "up", false: "down"}[up]
	before := e.last()
	if up {
		s.reals[i].up()
	} else {
		s.reals[i].down()
	}
	v := e.next(before, patience, verdict(s.reals[i], state))
	if v == nil {
		s.t.Fatalf("no verdict %s of %s", state, s.reals[i].address)
	}
	return v
}

func median(list []time.Duration) time.Duration {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// TestVerdictReachesBoth: a real server that dies leaves the director's own table and is
// forced offline on the BIG-IP within 100 ms of its verdict, by the daemon's own times, and
// comes back the same way.
func TestVerdictReachesBoth(t *testing.T) {
	s := newScene(t)
	s.both()
	e := s.watch()
	const rounds = 7
	took := map[string][]time.Duration{}
	for round := range 2 * rounds {
		up := round%2 == 1
		v := s.flip(e, 0, up)
		state := map[bool]string{true: "up", false: "down"}[up]
		for name, forwarder := range map[string]string{"director": "", "BIG-IP": "f5:lab "} {
			a := e.next(0, patience, applied(forwarder, v))
			if a == nil {
				t.Fatalf("the verdict %s has not reached the %s", state, name)
			}
			took[name+" "+state] = append(took[name+" "+state], a.GetAt().AsTime().Sub(v.GetAt().AsTime()))
		}
		if up != s.enabled(pool, 0) || up == s.offline(pool, 0) || !s.enabled(pool, 1) {
			t.Fatalf("%s: %s is %v on the BIG-IP, %s is %v", state, s.reals[0].address, s.member(pool, 0), s.reals[1].address, s.member(pool, 1))
		}
		// The connections of before are the device's to go on with: the member stays.
		if s.member(pool, 0) == nil {
			t.Fatal("the member has left its pool")
		}
	}
	for what, list := range took {
		t.Logf("from the verdict to the %s: %s in the median of %v", what, median(list), list)
		if len(list) != rounds || median(list) > 100*time.Millisecond {
			t.Errorf("from the verdict to the %s: %s in the median of %v, want 100 ms at most", what, median(list), list)
		}
	}
}

// TestDirectorGoesOn: while the BIG-IP does not answer, or answers nonsense, verdicts reach
// the director's own table at once, and the BIG-IP has the last state when it is back.
func TestDirectorGoesOn(t *testing.T) {
	for _, fault := range []bigip.Fault{{Kind: bigip.Hang}, {Kind: bigip.HTML503}} {
		t.Run(string(fault.Kind), func(t *testing.T) {
			s := newScene(t)
			s.both()
			e := s.watch()
			f := s.unit.Fault(fault)
			var took []time.Duration
			for round := range 7 {
				v := s.flip(e, 0, round%2 == 1)
				a := e.next(0, patience, applied("", v))
				if a == nil {
					t.Fatal("the verdict has not reached the director's own table")
				}
				took = append(took, a.GetAt().AsTime().Sub(v.GetAt().AsTime()))
			}
			t.Logf("from the verdict to the director's own table: %s in the median of %v", median(took), took)
			if median(took) > 100*time.Millisecond {
				t.Errorf("from the verdict to the director's own table: %s in the median of %v, want 100 ms at most", median(took), took)
			}
			if f.Hits() == 0 || !s.enabled(pool, 0) {
				t.Errorf("the fault has hit %d requests, and the BIG-IP has %v: nothing was to get through", f.Hits(), s.member(pool, 0))
			}
			f.Clear()
			waitFor(t, "the BIG-IP has the last state", func() bool { return s.offline(pool, 0) && s.enabled(pool, 1) && s.settled() })
		})
	}
}

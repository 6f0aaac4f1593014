package fsm

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// director is a group with what it has done to the world.
type director struct {
	group    *Group
	address  netip.Addr
	settings []Settings
	alive    bool
	holds    []bool
}

type advert struct {
	at       Time
	from     *director
	instance int
	priority uint8
}

// world is a network without loss, on which an advert takes a millisecond.
type world struct {
	t         *rapid.T
	now       Time
	directors []*director
	flying    []advert
	// rivals is since when more than one director is master; 0: not now.
	rivals Time
}

const latency = time.Millisecond

func drawSettings(t *rapid.T, n int, priority uint8) []Settings {
	s := Settings{
		Priority: priority, Interval: time.Duration(rapid.IntRange(1, 3).Draw(t, "interval")) * time.Second,
		DownAdverts: rapid.IntRange(1, 4).Draw(t, "down"), Repeat: rapid.IntRange(1, 5).Draw(t, "repeat"),
		Delay:   time.Duration(rapid.IntRange(0, 6).Draw(t, "delay")) * time.Second,
		Refresh: time.Duration(rapid.IntRange(0, 2).Draw(t, "refresh")) * time.Second,
	}
	all := make([]Settings, n)
	for i := range all {
		all[i] = s
		all[i].Name = string(rune('a' + i))
	}
	return all
}

func (w *world) start(d *director) {
	d.group = New(d.settings)
	d.alive, d.holds = true, make([]bool, len(d.settings))
	var e Start
	for i := range d.settings {
		e.Links = append(e.Links, Link{Instance: i, Source: d.address})
	}
	w.step(d, e)
}

func (w *world) step(d *director, e Event) {
	for _, a := range d.group.Step(w.now, e) {
		switch a.Kind {
		case SendAdvert:
			if a.Priority != 0 && a.Priority != d.settings[a.Instance].Priority {
				w.t.Fatalf("advert with priority %d", a.Priority)
			}
			w.flying = append(w.flying, advert{w.now + latency, d, a.Instance, a.Priority})
		case AddAddresses:
			d.holds[a.Instance] = true
		case RemoveAddresses:
			if !d.holds[a.Instance] {
				w.t.Fatalf("%s removes addresses it does not hold", d.address)
			}
			d.holds[a.Instance] = false
		case Announce:
			if !d.holds[a.Instance] {
				w.t.Fatalf("%s announces addresses it does not hold", d.address)
			}
		}
	}
	for i, holds := range d.holds {
		if holds != d.group.Holds(i) {
			w.t.Fatalf("%s: after %T addresses are held: %v, the state says %v", d.address, e, holds, d.group.Holds(i))
		}
	}
}

func (w *world) masters() (masters []*director) {
	for _, d := range w.directors {
		if d.alive && d.group.Role() == Master {
			masters = append(masters, d)
		}
	}
	return masters
}

// run lets the world go on until a time.
func (w *world) run(end Time) {
	for {
		next := end
		for _, d := range w.directors {
			if t := d.next(); t != 0 {
				next = min(next, t)
			}
		}
		for _, a := range w.flying {
			next = min(next, a.at)
		}
		w.now = max(w.now, next)
		if w.now >= end {
			return
		}
		flying := w.flying
		w.flying = nil
		for _, a := range flying {
			if a.at > w.now {
				w.flying = append(w.flying, a)
				continue
			}
			for _, d := range w.directors {
				if d.alive && d != a.from {
					w.step(d, Heard{Instance: a.instance, Source: a.from.address, Priority: a.priority})
				}
			}
		}
		for _, d := range w.directors {
			if t := d.next(); t != 0 && t <= w.now {
				w.step(d, Timer{})
				if again := d.next(); again != 0 && again <= w.now {
					w.t.Fatalf("%s: a timer asks for another one at once", d.address)
				}
			}
		}
		w.checkRivals()
	}
}

// checkRivals: two masters hear of each other in one latency, and the worse one yields.
func (w *world) checkRivals() {
	switch many := len(w.masters()) > 1; {
	case !many:
		w.rivals = 0
	case w.rivals == 0:
		w.rivals = w.now
	case w.now-w.rivals > 3*latency:
		w.t.Fatalf("two masters for %s", w.now-w.rivals)
	}
}

func (d *director) next() Time {
	if !d.alive {
		return 0
	}
	return d.group.Next()
}

// TestElections: whatever directors come and go, there is one master soon, and none has
// a greater priority.
func TestElections(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, now: epoch}
		instances := rapid.IntRange(1, 3).Draw(t, "instances")
		common := drawSettings(t, instances, 1)
		wait := common[0].MasterDown() + 2*time.Second
		for i := range rapid.IntRange(2, 4).Draw(t, "directors") {
			settings := slices.Clone(common)
			priority := uint8(rapid.IntRange(1, 254).Draw(t, "priority"))
			for j := range settings {
				settings[j].Priority = priority
			}
			w.directors = append(w.directors, &director{address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), settings: settings})
		}
		for _, d := range w.directors {
			w.start(d)
		}
		for range rapid.IntRange(1, 6).Draw(t, "rounds") {
			w.run(w.now + time.Duration(rapid.IntRange(0, 9000).Draw(t, "pause"))*time.Millisecond)
			d := rapid.SampledFrom(w.directors).Draw(t, "director")
			switch rapid.SampledFrom([]string{"kill", "withdraw", "start", "fault"}).Draw(t, "what") {
			case "kill":
				d.alive = false
			case "withdraw":
				if d.alive {
					w.step(d, Withdraw{"stopped"})
				}
			case "start":
				if !d.alive || d.group.Gone() {
					w.start(d)
				}
			case "fault":
				if d.alive {
					w.step(d, Link{Instance: 0, Source: d.address, Fault: "interface is down"})
					w.step(d, Link{Instance: 0, Source: d.address})
				}
			}
		}
		w.run(w.now + 2*wait)
		var best *director
		for _, d := range w.directors {
			if d.alive && !d.group.Leaving() && (best == nil || d.priority() > best.priority()) {
				best = d
			}
		}
		masters := w.masters()
		switch {
		case best == nil && len(masters) == 0:
		case best == nil || len(masters) != 1:
			t.Fatalf("%d masters", len(masters))
		case best.priority() != masters[0].priority():
			t.Fatalf("%s is master, and %s has a greater priority", masters[0].address, best.address)
		}
		for _, d := range w.directors {
			if d.alive && d.group.Role() != Master && slices.Contains(d.holds, true) {
				t.Fatalf("%s holds addresses as %s", d.address, d.group.Role())
			}
		}
	})
}

func (d *director) priority() uint8 { return d.settings[0].Priority }

// TestAnyEvents: no order of events, however late, breaks the bookkeeping of addresses,
// and a group that was handed over in between goes on as if it had not been.
func TestAnyEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, now: epoch}
		n := rapid.IntRange(1, 3).Draw(t, "instances")
		settings := drawSettings(t, n, uint8(rapid.IntRange(1, 255).Draw(t, "priority")))
		d := &director{address: own, settings: settings}
		w.directors = []*director{d}
		w.start(d)
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			w.now += time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond
			i := rapid.IntRange(0, n-1).Draw(t, "instance")
			switch rapid.IntRange(0, 7).Draw(t, "event") {
			case 0, 1, 2:
				w.step(d, Timer{})
			case 3, 4:
				source := netip.AddrFrom4([4]byte{192, 0, 2, rapid.Byte().Draw(t, "source")})
				w.step(d, Heard{i, source, rapid.Byte().Draw(t, "priority")})
			case 5:
				w.step(d, Link{i, own, rapid.SampledFrom([]string{"", "down"}).Draw(t, "fault")})
			case 6:
				w.step(d, AddressLost{i})
			case 7:
				state := d.group.State()
				restored, err := Restore(d.settings, state)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(restored.State(), state) || restored.Next() != d.group.Next() {
					t.Fatalf("restored as %+v from %+v", restored.State(), state)
				}
				d.group = restored
				continue
			}
			role := d.group.Role()
			if late := w.now - d.group.Instance(i).LastAdvert; role == Master && late >= settings[i].Patience() {
				t.Fatalf("master with an advert that is %s old", late)
			}
		}
		w.step(d, Withdraw{"end"})
		w.now += 3 * time.Second
		w.step(d, Timer{})
		if !d.group.Gone() || slices.Contains(d.holds, true) || d.group.Next() != 0 {
			t.Fatalf("not gone 3 s after a withdrawal: %+v", d.group.State())
		}
	})
}

func TestRestoreRefusesWhatDoesNotFit(t *testing.T) {
	s := []Settings{defaults("a")}
	for _, state := range []State{{}, {Role: 7, Instances: make([]Instance, 1)}, {Instances: make([]Instance, 2)}} {
		if _, err := Restore(s, state); err == nil {
			t.Errorf("restored from %+v", state)
		}
	}
}

func TestOffsets(t *testing.T) {
	for n := 1; n <= 10; n++ {
		for i := range n {
			if i > 0 && offset(i, n) <= offset(i-1, n) {
				t.Errorf("announcement %d of %d is not after the one before", i, n)
			}
		}
		if offset(0, n) != 0 {
			t.Errorf("the first of %d announcements is not at once", n)
		}
		if n > 1 && offset(n-1, n) != spread {
			t.Errorf("the last of %d announcements is at %s", n, offset(n-1, n))
		}
	}
}

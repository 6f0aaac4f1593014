package fsm

import (
	"fmt"
	"net/netip"
	"time"
)

// Settle is how long the addresses stay after a better master was heard: its
// gratuitous ARPs follow its first advert within a millisecond or two, and requests
// that were on their way until then are still answered.
const Settle = 20 * time.Millisecond

// farewell is how long after its skew a withdrawing master waits for a new one.
const farewell = time.Second

// Group is the state machine of a failover group. Its methods are not safe for
// concurrent use.
type Group struct {
	settings []Settings
	state    State
	actions  []Action
}

// New makes a group, which waits for Start.
func New(settings []Settings) *Group {
	return &Group{settings: settings, state: State{Instances: make([]Instance, len(settings))}}
}

// Restore makes a group that goes on from a state with as many instances.
func Restore(settings []Settings, state State) (*Group, error) {
	if len(state.Instances) != len(settings) {
		return nil, fmt.Errorf("restore a group of %d instances from a state of %d", len(settings), len(state.Instances))
	}
	if state.Role > Fault {
		return nil, fmt.Errorf("restore a group: role %d is none", state.Role)
	}
	return &Group{settings: settings, state: state.clone()}, nil
}

// Step takes an event at a time that is not before that of the last one, and returns
// what to do; the slice is valid until the next Step.
func (g *Group) Step(now Time, event Event) []Action {
	g.actions = g.actions[:0]
	g.checkLate(now)
	switch e := event.(type) {
	case Start:
		g.start(now, e)
	case Link:
		g.link(now, e)
	case Heard:
		g.heard(now, e)
	case Timer:
		g.timer(now)
	case Configure:
		g.configure(e)
	case AddressLost:
		if g.Holds(e.Instance) {
			g.do(Action{Kind: AddAddresses, Instance: e.Instance})
			g.do(Action{Kind: Announce, Instance: e.Instance})
		}
	case Withdraw:
		g.withdraw(now, e.Reason)
	}
	return g.actions
}

func (g *Group) do(a Action) { g.actions = append(g.actions, a) }

func (g *Group) change(role Role, reason string) {
	g.state.Role = role
	g.do(Action{Kind: ChangeRole, Role: role, Reason: reason})
}

// name prefixes a reason where it would not be clear whose it is.
func (g *Group) name(i int) string {
	if len(g.settings) == 1 {
		return ""
	}
	return g.settings[i].Name + ": "
}

// fault is the first instance's that has one.
func (g *Group) fault() string {
	for i, in := range g.state.Instances {
		if in.Fault != "" {
			return g.name(i) + in.Fault
		}
	}
	return ""
}

func (g *Group) start(now Time, e Start) {
	for _, l := range e.Links {
		in := &g.state.Instances[l.Instance]
		in.Source, in.Fault = l.Source, l.Fault
	}
	switch fault := g.fault(); {
	case fault != "":
		g.change(Fault, fault)
	case e.Adopt:
		g.becomeMaster(now, "went on as master: the last advert was our own and is young enough")
	default:
		g.becomeBackup(now, "started")
	}
}

func (g *Group) becomeBackup(now Time, reason string) {
	for i := range g.state.Instances {
		in, s := &g.state.Instances[i], g.settings[i]
		in.Master, in.MasterPriority, in.HeardAt, in.Left, in.PreemptAt = netip.Addr{}, 0, 0, false, 0
		in.Down = now + s.MasterDown()
		if s.owner() {
			in.Down = now
		}
	}
	g.change(Backup, reason)
}

func (g *Group) becomeMaster(now Time, reason string) {
	for i := range g.state.Instances {
		in := &g.state.Instances[i]
		in.Release, in.PreemptAt, in.Left = 0, 0, false
		in.Master, in.MasterPriority, in.HeardAt = netip.Addr{}, 0, 0
		in.NextAdvert = now
		in.BecameMaster++
		g.advertise(now, i)
	}
	for i := range g.state.Instances {
		g.do(Action{Kind: AddAddresses, Instance: i})
	}
	for i := range g.state.Instances {
		g.state.Instances[i].Announcing = Announcing{Began: now}
		g.announce(now, i)
	}
	g.change(Master, reason)
}

// advertise sends an advert and keeps to the grid of the adverts before.
func (g *Group) advertise(now Time, i int) {
	in, s := &g.state.Instances[i], g.settings[i]
	g.do(Action{Kind: SendAdvert, Instance: i, Priority: s.Priority})
	in.LastAdvert = now
	if in.NextAdvert += s.Interval; in.NextAdvert <= now {
		in.NextAdvert = now + s.Interval
	}
}

func (g *Group) announce(now Time, i int) {
	a := &g.state.Instances[i].Announcing
	g.do(Action{Kind: Announce, Instance: i})
	a.Sent++
	a.Last = now
	// After a late timer one announcement does for all that are due.
	for next := a.next(g.settings[i]); next != 0 && next <= now; next = a.next(g.settings[i]) {
		a.Sent++
	}
}

// release removes the addresses of an instance that holds them.
func (g *Group) release(i int) {
	if in := &g.state.Instances[i]; in.Release != 0 || g.state.Role == Master {
		in.Release = 0
		g.do(Action{Kind: RemoveAddresses, Instance: i})
	}
}

// checkLate steps back if this master has been silent for so long that a peer may have
// taken over.
func (g *Group) checkLate(now Time) {
	if g.state.Role != Master {
		return
	}
	for i, in := range g.state.Instances {
		late := now - in.LastAdvert
		if late < g.settings[i].Patience() {
			continue
		}
		for j := range g.state.Instances {
			g.release(j)
		}
		g.becomeBackup(now, fmt.Sprintf("%sown last advert is %s old: this process or machine stood still", g.name(i), round(late)))
		for j := range g.state.Instances {
			// An owner too has to listen first: its peer is master by now.
			g.state.Instances[j].Down = now + g.settings[j].MasterDown()
		}
		return
	}
}

func (g *Group) link(now Time, e Link) {
	in := &g.state.Instances[e.Instance]
	before := g.fault()
	in.Source, in.Fault = e.Source, e.Fault
	after := g.fault()
	if g.state.Leaving {
		if e.Fault != "" {
			g.release(e.Instance)
			g.finish()
		}
		return
	}
	switch {
	case after != "" && g.state.Role != Fault:
		for i := range g.state.Instances {
			if g.state.Role == Master {
				g.do(Action{Kind: SendAdvert, Instance: i})
			}
			g.release(i)
		}
		g.change(Fault, after)
	case after == "" && before != "":
		g.becomeBackup(now, "fault is over: "+before)
	}
}

func (g *Group) configure(e Configure) {
	for i, s := range e.Settings {
		in, old := &g.state.Instances[i], g.settings[i]
		if in.Down != 0 {
			in.Down += s.MasterDown() - old.MasterDown()
		}
	}
	g.settings = e.Settings
}

func (g *Group) withdraw(now Time, reason string) {
	if g.state.Leaving {
		return
	}
	g.state.Leaving = true
	if g.state.Role != Master {
		for i := range g.state.Instances {
			g.release(i)
		}
		return
	}
	for i := range g.state.Instances {
		in, s := &g.state.Instances[i], g.settings[i]
		g.do(Action{Kind: SendAdvert, Instance: i})
		in.Release = now + s.Skew() + farewell
	}
	g.state.Role, g.state.Farewell = Backup, reason
}

// finish tells the role of a leaving group when it has let go of all addresses.
func (g *Group) finish() {
	if g.Gone() && g.state.Farewell != "" {
		g.change(Backup, g.state.Farewell)
		g.state.Farewell = ""
	}
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

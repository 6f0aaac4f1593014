package fsm

import (
	"math"
	"net/netip"
	"slices"
	"time"
)

// State is all a group remembers; it can be handed to another process.
type State struct {
	Role Role
	// Leaving: the group has withdrawn or is about to have.
	Leaving bool
	// Farewell is why a master leaves; it is told when the addresses have gone.
	Farewell  string
	Instances []Instance
}

// Instance is what is remembered of one instance. Times are 0 where they are not set.
type Instance struct {
	// Source and Fault are those of the last Link.
	Source netip.Addr
	Fault  string
	// Down is when the master is taken for dead.
	Down Time
	// Master and MasterPriority are those of the advert heard at HeardAt; Left says
	// that it was the last of that master.
	Master         netip.Addr
	MasterPriority uint8
	HeardAt        Time
	Left           bool
	// PreemptAt is when a master of lower priority has been let be long enough.
	PreemptAt Time
	// NextAdvert and LastAdvert of a master.
	NextAdvert Time
	LastAdvert Time
	// Release is when addresses are removed that are held without being master.
	Release Time
	// Announcing is the schedule of announcements of a master.
	Announcing Announcing
	// BecameMaster counts.
	BecameMaster uint64
}

// Announcing is a schedule of announcements.
type Announcing struct {
	Began Time
	Sent  int
	Last  Time
}

// spread is the time from the first announcement of a round to the last. A Linux
// neighbour that changed its entry less than a second ago ignores announcements, so
// they have to go on for longer than that.
const spread = 2 * time.Second

// offset is when the i-th of n announcements is due: the first at once, the next ones
// close to it, the last after spread (for five: 0, 0.25, 0.71, 1.3, 2 s).
func offset(i, n int) time.Duration {
	if n < 2 {
		return 0
	}
	return time.Duration(float64(spread) * math.Pow(float64(i)/float64(n-1), 1.5))
}

// next is when the next announcement is due, or 0.
func (a Announcing) next(s Settings) Time {
	switch {
	case a.Sent < s.Repeat:
		return a.Began + offset(a.Sent, s.Repeat)
	case s.Delay > 0 && a.Sent < 2*s.Repeat:
		return a.Began + max(s.Delay, spread+spread/8) + offset(a.Sent-s.Repeat, s.Repeat)
	case s.Refresh > 0:
		return a.Last + s.Refresh
	}
	return 0
}

func (s State) clone() State {
	s.Instances = slices.Clone(s.Instances)
	return s
}

// Holds says whether the instance's addresses belong on their interfaces.
func (g *Group) Holds(instance int) bool {
	return g.state.Role == Master || g.state.Instances[instance].Release != 0
}

// Role is the group's.
func (g *Group) Role() Role { return g.state.Role }

// Leaving says that the group was withdrawn.
func (g *Group) Leaving() bool { return g.state.Leaving }

// Gone says that the group was withdrawn and holds no address any more.
func (g *Group) Gone() bool {
	return g.state.Leaving && g.state.Role != Master &&
		!slices.ContainsFunc(g.state.Instances, func(in Instance) bool { return in.Release != 0 })
}

// Instance is what is known of an instance.
func (g *Group) Instance(i int) Instance { return g.state.Instances[i] }

// State is a copy of all the group remembers.
func (g *Group) State() State { return g.state.clone() }

// Next is when the group wants a Timer; 0: not until something happens.
func (g *Group) Next() Time {
	var next Time
	sooner := func(t Time) {
		if t != 0 && (next == 0 || t < next) {
			next = t
		}
	}
	var ready Time
	for i, in := range g.state.Instances {
		sooner(in.Release)
		if g.state.Role == Master {
			sooner(in.NextAdvert)
			sooner(in.Announcing.next(g.settings[i]))
		}
		ready = max(ready, in.Down)
	}
	if g.state.Role == Backup && !g.state.Leaving {
		sooner(ready)
	}
	return next
}

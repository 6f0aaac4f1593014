package fsm

import (
	"fmt"
	"time"
)

func (g *Group) heard(now Time, e Heard) {
	in := &g.state.Instances[e.Instance]
	if e.Source == in.Source {
		return // An echo of our own.
	}
	switch {
	case g.state.Leaving:
		if e.Priority > 0 && in.Release != 0 {
			in.Release = min(in.Release, now+Settle)
		}
	case g.state.Role == Master:
		g.heardAsMaster(now, e)
	case g.state.Role == Backup:
		g.heardAsBackup(now, e)
	}
}

func (g *Group) heardAsBackup(now Time, e Heard) {
	in, s := &g.state.Instances[e.Instance], g.settings[e.Instance]
	if e.Priority == 0 {
		if in.Master.IsValid() && e.Source != in.Master {
			return
		}
		in.Down = min(in.Down, now+s.Skew())
		in.Master, in.MasterPriority, in.HeardAt, in.Left, in.PreemptAt = e.Source, 0, now, true, 0
		return
	}
	in.Master, in.MasterPriority, in.HeardAt, in.Left = e.Source, e.Priority, now, false
	switch {
	case e.Priority >= s.Priority || s.NoPreempt && !s.owner():
		in.Down = now + s.MasterDown()
		in.PreemptAt = 0
	case s.PreemptDelay > 0 && !s.owner():
		if in.PreemptAt == 0 {
			in.PreemptAt = now + s.PreemptDelay
		}
		if in.PreemptAt > in.Down {
			in.Down = min(now+s.MasterDown(), in.PreemptAt)
		}
	}
	// Otherwise the advert is as good as none: the timer goes on.
}

func (g *Group) heardAsMaster(now Time, e Heard) {
	in, s := &g.state.Instances[e.Instance], g.settings[e.Instance]
	switch {
	case e.Priority == 0:
		// Another one was master too, and leaves: the addresses are ours alone again.
		in.NextAdvert = now
		g.advertise(now, e.Instance)
		g.announceAgain(now, e.Instance)
	case e.Priority > s.Priority, e.Priority == s.Priority && in.Source.Less(e.Source):
		g.yield(now, e)
	default:
		g.do(Action{Kind: Warn, Instance: e.Instance, Reason: fmt.Sprintf("%s with priority %d is master too, ours is %d", e.Source, e.Priority, s.Priority)})
		in.NextAdvert = now
		g.advertise(now, e.Instance)
		g.announceAgain(now, e.Instance)
	}
}

// announceAgain starts the announcements anew unless they have just begun.
func (g *Group) announceAgain(now Time, i int) {
	in := &g.state.Instances[i]
	if now-in.Announcing.Began > spread {
		in.Announcing = Announcing{Began: now}
		g.announce(now, i)
	}
}

// yield leaves the role to a better master.
func (g *Group) yield(now Time, e Heard) {
	for i := range g.state.Instances {
		in, s := &g.state.Instances[i], g.settings[i]
		in.Release = now + Settle
		in.Down = now + s.MasterDown()
		if i != e.Instance {
			// Nothing better was heard here, so the better one is told to take it.
			g.do(Action{Kind: SendAdvert, Instance: i})
		}
	}
	in := &g.state.Instances[e.Instance]
	in.Master, in.MasterPriority, in.HeardAt = e.Source, e.Priority, now
	g.change(Backup, fmt.Sprintf("%sbetter master %s with priority %d", g.name(e.Instance), e.Source, e.Priority))
}

func (g *Group) timer(now Time) {
	for i := range g.state.Instances {
		if in := &g.state.Instances[i]; in.Release != 0 && in.Release <= now {
			g.release(i)
			g.finish()
		}
	}
	switch {
	case g.state.Leaving:
	case g.state.Role == Master:
		for i := range g.state.Instances {
			in := &g.state.Instances[i]
			if in.NextAdvert <= now {
				g.advertise(now, i)
			}
			if next := in.Announcing.next(g.settings[i]); next != 0 && next <= now {
				g.announce(now, i)
			}
		}
	case g.state.Role == Backup:
		last := 0
		for i, in := range g.state.Instances {
			if in.Down > now {
				return
			}
			if in.Down > g.state.Instances[last].Down {
				last = i
			}
		}
		g.becomeMaster(now, g.name(last)+g.why(now, last))
	}
}

// why says why an instance wants to be master.
func (g *Group) why(now Time, i int) string {
	in, s := g.state.Instances[i], g.settings[i]
	silence := now - in.HeardAt
	switch {
	case in.Left:
		return fmt.Sprintf("master %s left", in.Master)
	case in.Master.IsValid() && silence < 2*s.Interval && in.MasterPriority < s.Priority:
		return fmt.Sprintf("own priority %d is greater than the %d of %s", s.Priority, in.MasterPriority, in.Master)
	case in.Master.IsValid():
		return fmt.Sprintf("no advert from %s for %s", in.Master, silence.Round(100*time.Microsecond))
	case s.owner():
		return "owner of the addresses"
	}
	return "no master was heard"
}

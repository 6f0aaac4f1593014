package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/plan"
)

// Reasons of states that were carried over.
const (
	carriedReload  = "it was up before the reload, its new check has no verdict yet"
	adoptedUp      = "adopted: it was in the table"
	adoptedAbsent  = "adopted: it was not in the table"
	adoptedInhibit = "adopted: it had weight 0 in the table"
)

// carry takes the states of real servers over a reload that gives them other checks,
// until those have verdicts: a reload never puts one back that was down, nor takes one
// out that was up.
func (c *core) carry(v *plan.VirtualServer, before *model.ServiceStatus) map[netip.AddrPort]model.Verdict {
	var carried map[netip.AddrPort]model.Verdict
	var states map[netip.AddrPort]*model.RealServerStatus
	for i := range v.RealServers {
		r := &v.RealServers[i]
		pending, down := c.standing(r)
		if !pending {
			continue
		}
		if states == nil {
			states = byAddress(before)
		}
		old := states[r.Config.Addr]
		if old == nil || old.State == model.Unknown {
			continue
		}
		// One whose own check still says down needs nothing carried.
		if old.State == model.Down && down {
			continue
		}
		verdict := model.Verdict{State: old.State, Reason: old.Reason, Since: old.Since}
		if old.State == model.Up {
			verdict.Reason = carriedReload
		}
		if carried == nil {
			carried = map[netip.AddrPort]model.Verdict{}
		}
		carried[r.Config.Addr] = verdict
	}
	return carried
}

// standing says whether a real server has a check that was neither up nor down yet, and
// whether it has one that is down.
func (c *core) standing(r *plan.RealServer) (pending, down bool) {
	for _, id := range r.Checks {
		switch c.verdicts[id].Held.State {
		case model.Unknown:
			pending = true
		case model.Down:
			down = true
		}
	}
	return pending, down
}

func byAddress(s *model.ServiceStatus) map[netip.AddrPort]*model.RealServerStatus {
	out := make(map[netip.AddrPort]*model.RealServerStatus, len(s.RealServers))
	for i := range s.RealServers {
		out[s.RealServers[i].Config.Addr] = &s.RealServers[i]
	}
	return out
}

// handDown takes what checks said of weight and admin over a reload that puts others of
// their type in their place: a real server that asked to be left alone still does.
func (c *core) handDown(v *plan.VirtualServer, before *server) map[plan.CheckOf]model.Verdict {
	old := make(map[netip.AddrPort]*plan.RealServer, len(before.plan.RealServers))
	for i := range before.plan.RealServers {
		old[before.plan.RealServers[i].Config.Addr] = &before.plan.RealServers[i]
	}
	var out map[plan.CheckOf]model.Verdict
	for i := range v.RealServers {
		r := &v.RealServers[i]
		was := old[r.Config.Addr]
		if was == nil {
			continue
		}
		var gone []int
		for j, id := range was.Checks {
			if !slices.Contains(r.Checks, id) {
				gone = append(gone, j)
			}
		}
		for j, id := range r.Checks {
			if c.verdicts[id].Held.State != model.Unknown {
				continue
			}
			from := id
			if !slices.Contains(was.Checks, id) {
				n := slices.IndexFunc(gone, func(n int) bool { return was.Config.Checks[n].Type == r.Config.Checks[j].Type })
				if n < 0 {
					continue
				}
				from = was.Checks[gone[n]]
				gone = slices.Delete(gone, n, n+1)
			}
			said := c.verdicts[from].Held
			if said.State == model.Unknown {
				said = before.memory.Said[plan.CheckOf{Addr: r.Config.Addr, ID: from}]
			}
			if said.Weight == (model.Weight{}) && said.Admin == model.Ready {
				continue
			}
			if out == nil {
				out = map[plan.CheckOf]model.Verdict{}
			}
			out[plan.CheckOf{Addr: r.Config.Addr, ID: id}] = model.Verdict{Weight: said.Weight, Admin: said.Admin}
		}
	}
	return out
}

// known is what is known of a check: what it said, or else what was carried over for
// all its real servers alike. Where they differ nothing is known, so that its first
// probe decides.
func (c *core) known(id model.CheckID) (v model.Verdict, inferred bool) {
	if held := c.verdicts[id].Held; held.State != model.Unknown {
		return held, false
	}
	alike := true
	for i, u := range c.users[id] {
		s := &c.servers[u.server]
		carried := s.memory.CarriedFor(s.plan.RealServers[u.real].Config.Addr, id)
		if i > 0 && carried.State != v.State {
			return model.Verdict{}, false
		}
		alike = alike && (i == 0 || carried.Weight == v.Weight && carried.Admin == v.Admin)
		v = model.Verdict{State: carried.State, Weight: carried.Weight, Admin: carried.Admin}
	}
	if !alike || v.State == model.Unknown {
		v.Weight, v.Admin = model.Weight{}, model.Ready
	}
	return v, v.State != model.Unknown
}

// adoption is what was found in the table at start.
type adoption struct {
	// forwarder whose table it was; empty: the director's own.
	forwarder string
	services  []model.Service
	// configured are the real servers of the configuration that was in force when the
	// table was made; nil: not known.
	configured map[model.RealServerKey]bool
}

// adopt takes what is in the table before anything is applied as provisional states, so
// that a start disturbs nothing that is forwarding. Each forwarder counts once, and so
// does each virtual server.
func (c *core) adopt(a *adoption, now time.Time) {
	if c.adoptedFrom[a.forwarder] {
		return
	}
	c.adoptedFrom[a.forwarder] = true
	c.adoptions = append(c.adoptions, a)
	c.applyAdoption(now)
}

// applyAdoption waits for a configuration.
func (c *core) applyAdoption(now time.Time) {
	if c.config == nil {
		return
	}
	for _, a := range c.adoptions {
		for i := range a.services {
			actual := &a.services[i]
			n, ok := c.index[actual.Key]
			if !ok || c.adopted[actual.Key] {
				continue
			}
			c.adopted[actual.Key] = true
			c.adoptService(n, a, actual, now)
		}
	}
	c.adoptions = nil
}

func (c *core) adoptService(n int, a *adoption, actual *model.Service, now time.Time) {
	s := &c.servers[n]
	v := s.plan.Config
	found := make(map[netip.AddrPort]*model.Destination, len(actual.Destinations))
	for i := range actual.Destinations {
		found[actual.Destinations[i].Addr] = &actual.Destinations[i]
	}
	carried := map[netip.AddrPort]model.Verdict{}
	present, serving := 0, false
	for i := range v.RealServers {
		r := &v.RealServers[i]
		destination := found[r.Addr]
		if destination != nil {
			present++
			serving = serving || destination.Weight > 0
		}
		if len(r.Checks) == 0 {
			continue
		}
		if verdict := c.adoptRealServer(a, v, r, destination, len(found) > 0, now); verdict.State != model.Unknown {
			carried[r.Addr] = verdict
		}
	}
	s.memory.Carried = carried
	// Which side of the hysteresis it was on: real servers that take connections are in
	// the table while there is a quorum, or where no sorry server takes their place.
	s.memory.QuorumUp = serving
	c.touch(n)
	c.tell(now, "table", v.Key.String(), fmt.Sprintf("adopted: %d of %d real servers are in it", present, len(v.RealServers)))
}

// adoptRealServer gives the provisional state of one real server, Unknown for none.
func (c *core) adoptRealServer(a *adoption, v *model.VirtualServer, r *model.RealServer, found *model.Destination, content bool, now time.Time) model.Verdict {
	key := model.RealServerKey{Service: v.Key, Addr: r.Addr}
	override := c.overrides[key]
	switch {
	case found != nil && found.Weight == 0 && r.InhibitOnFailure && plan.Weight(plan.Base(r.Weight, override), override.Admin, 0) > 0:
		return model.Verdict{State: model.Down, Reason: adoptedInhibit, Since: now}
	case found != nil:
		return model.Verdict{State: model.Up, Reason: adoptedUp, Since: now}
	case plan.Removed(override, now):
		// The operator took it out: that says nothing of its health.
		return model.Verdict{}
	case a.configured == nil && content, a.configured[key]:
		return model.Verdict{State: model.Down, Reason: adoptedAbsent, Since: now}
	}
	// New in the configuration, or the table says nothing.
	return model.Verdict{}
}

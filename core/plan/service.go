package plan

import (
	"net/netip"
	"slices"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// VirtualServer is a configured virtual server, prepared for decisions.
type VirtualServer struct {
	Config      *model.VirtualServer
	RealServers []RealServer
	checks      int // of all real servers together
}

// RealServer is a configured real server with the identities of its checks.
type RealServer struct {
	Config *model.RealServer
	Checks []model.CheckID
}

// Prepare works out the identities of all checks, once for a configuration. The
// configuration must not change afterwards.
func Prepare(config *model.VirtualServer) VirtualServer {
	v := VirtualServer{Config: config, RealServers: make([]RealServer, len(config.RealServers))}
	for i := range config.RealServers {
		r := &config.RealServers[i]
		v.RealServers[i] = RealServer{Config: r, Checks: make([]model.CheckID, len(r.Checks))}
		v.checks += len(r.Checks)
		for j, c := range r.Checks {
			v.RealServers[i].Checks[j] = c.ID()
		}
	}
	return v
}

// Input is what a decision depends on besides the configuration.
type Input struct {
	Overrides map[model.RealServerKey]model.Override
	Verdicts  map[model.CheckID]Known
	Now       time.Time
}

// Memory is what a decision needs from the one before it. The zero value is that of a
// virtual server that is decided for the first time.
type Memory struct {
	// QuorumUp is on which side of the hysteresis the quorum is.
	QuorumUp bool
	// Carried are states of real servers from before their checks had verdicts.
	Carried map[netip.AddrPort]model.Verdict
	// Said are weight and admin that were said by the checks in whose place those of now are;
	// they count until these have verdicts.
	Said map[CheckOf]model.Verdict
}

// CheckOf is a check as a part of one real server.
type CheckOf struct {
	Addr netip.AddrPort
	ID   model.CheckID
}

// CarriedFor is what stands in for a check that has not been up or down yet; its state is
// Unknown where nothing of that is known.
func (m *Memory) CarriedFor(addr netip.AddrPort, id model.CheckID) model.Verdict {
	out := m.Carried[addr]
	said := m.Said[CheckOf{addr, id}]
	out.Weight, out.Admin = said.Weight, said.Admin
	return out
}

// Decision is what should be of one virtual server.
type Decision struct {
	// Service is what a forwarder should hold.
	Service model.Service
	// Status is the same for people, with the reasons.
	Status model.ServiceStatus
	// Weight is what counts for the quorum.
	Weight uint64
	// Next is when the decision changes by itself; zero: never.
	Next time.Time
}

// Decide says what should be of the virtual server now.
func (v *VirtualServer) Decide(in Input, prev Memory) (Decision, Memory) {
	d := Decision{Status: model.ServiceStatus{Config: v.Config, RealServers: make([]model.RealServerStatus, len(v.RealServers))}}
	checks := make([]model.CheckStatus, v.checks)
	for i := range v.RealServers {
		r := &v.RealServers[i]
		s := &d.Status.RealServers[i]
		s.Config = r.Config
		s.Override = in.Overrides[model.RealServerKey{Service: v.Config.Key, Addr: r.Config.Addr}]
		n := len(r.Checks)
		s.Checks, checks = checks[:n:n], checks[n:]
		base := Base(r.Config.Weight, s.Override)
		verdict := fold(r, base, in.Verdicts, &prev, s.Checks)
		s.State, s.Reason, s.Since, s.Admin = verdict.State, verdict.Reason, verdict.Since, max(s.Override.Admin, verdict.admin)
		gone := Removed(s.Override, in.Now) || verdict.admin == model.Maintenance
		switch {
		case gone:
		case alive(s):
			s.InTable, s.Weight = true, Weight(base, s.Admin, verdict.weight)
			d.Weight += uint64(s.Weight)
		case r.Config.InhibitOnFailure:
			s.InTable = true
		}
		if at := s.Override.Deadline; s.Override.Admin == model.Drain && !at.IsZero() && !gone {
			if d.Next.IsZero() || at.Before(d.Next) {
				d.Next = at
			}
		}
	}
	next := prev
	next.QuorumUp = quorum(prev.QuorumUp, d.Weight, v.Config.Quorum, v.Config.Hysteresis)
	d.Status.QuorumUp = next.QuorumUp
	d.Status.SorryActive = !next.QuorumUp && v.Config.Sorry != nil
	if d.Status.SorryActive {
		stepAside(d.Status.RealServers)
	}
	d.Service = v.service(&d.Status)
	return d, next
}

// alive says that a real server counts as up.
func alive(s *model.RealServerStatus) bool {
	return s.State == model.Up || s.State == model.Unknown && !s.Config.Alpha
}

// quorum says whether there is a quorum, given whether there was one.
func quorum(up bool, weight uint64, quorum, hysteresis uint32) bool {
	q, h := uint64(quorum), uint64(hysteresis)
	switch {
	case weight == 0:
		return false
	case up:
		// weight >= q - h, written so that it holds for any numbers.
		return weight+h >= q
	default:
		return weight >= q+h
	}
}

// stepAside takes the real servers that are up out of the table, in favour of the
// sorry server. A drained one stays, or its connections would be cut.
func stepAside(list []model.RealServerStatus) {
	for i := range list {
		s := &list[i]
		if s.InTable && alive(s) && s.Admin != model.Drain {
			s.InTable, s.Weight = false, 0
		}
	}
}

// service is the table's form of a decision.
func (v *VirtualServer) service(s *model.ServiceStatus) model.Service {
	c := v.Config
	out := model.Service{
		Key: c.Key, Scheduler: c.Scheduler, SchedulerFlags: c.SchedulerFlags, Persistence: c.Persistence, OnePacket: c.OnePacket,
		Destinations: make([]model.Destination, 0, len(s.RealServers)+1), Carriers: c.Carriers,
	}
	for i := range s.RealServers {
		r := &s.RealServers[i]
		d := model.Destination{
			Addr: r.Config.Addr, Weight: r.Weight, Forwarding: r.Config.Forwarding,
			UpperThreshold: r.Config.UpperThreshold, LowerThreshold: r.Config.LowerThreshold,
		}
		switch {
		case r.InTable:
			out.Destinations = append(out.Destinations, d)
		case len(c.Carriers) > 0:
			d.Offline, d.Weight = true, Base(r.Config.Weight, r.Override)
			out.Spare = append(out.Spare, d)
		}
	}
	if c.Sorry != nil && (s.SorryActive || c.Sorry.Inhibit) {
		out.Destinations = addSorry(out.Destinations, c.Sorry, s.SorryActive)
	}
	if c.Sorry != nil && len(c.Carriers) > 0 {
		spareSorry(&out, c.Sorry)
	}
	return out
}

// spareSorry keeps the sorry server among the members while it is not needed. An address
// is there once: whoever takes connections has it.
func spareSorry(s *model.Service, sorry *model.SorryServer) {
	same := func(d model.Destination) bool { return d.Addr == sorry.Addr }
	if slices.ContainsFunc(s.Destinations, same) {
		s.Spare = slices.DeleteFunc(s.Spare, same)
		return
	}
	if !slices.ContainsFunc(s.Spare, same) {
		s.Spare = append(s.Spare, model.Destination{Addr: sorry.Addr, Weight: 1, Forwarding: sorry.Forwarding, Sorry: true})
	}
}

// addSorry adds the sorry server: with weight 1 where it is needed, else 0. It may have
// the address of a real server; a table holds an address once, and whoever takes
// connections has it.
func addSorry(list []model.Destination, sorry *model.SorryServer, active bool) []model.Destination {
	d := model.Destination{Addr: sorry.Addr, Forwarding: sorry.Forwarding, Sorry: true}
	if active {
		d.Weight = 1
	}
	for i := range list {
		if list[i].Addr == sorry.Addr {
			if active {
				list[i] = d
			}
			return list
		}
	}
	return append(list, d)
}

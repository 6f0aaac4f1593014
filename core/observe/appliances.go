package observe

import (
	"net/netip"

	"github.com/poise-lb/poise/core/control"
	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/plan"
)

// states are those of model.Destination.MemberState.
var states = []string{"enabled", "drained", "offline"}

// appliances name virtual servers as the configuration does, whatever address they have
// there, so that what is said of one goes together with its verdicts.
func (s sink) appliances(snapshot *model.Snapshot, list []control.Appliance) {
	for i := range list {
		a := &list[i]
		id := a.Instance.ID()
		s.put(applianceDesired, float64(a.Status.DesiredGeneration), id)
		s.put(applianceApplied, float64(a.Status.AppliedGeneration), id)
		s.put(applianceErrors, float64(len(a.Status.Errors)), id)
		s.put(applianceRepairs, float64(a.Status.Repairs), id)
		s.put(applianceHeld, number(a.Held != ""), id)
		if a.Status.Platform != "" {
			s.put(applianceForeign, float64(s.carried(snapshot, id, a.Status.Services)), id)
		} // else it has never been read, and nothing is known to be there or not to be
	}
}

// carried gives what an appliance has of each virtual server that it is to carry, and says
// how many others it has.
func (s sink) carried(snapshot *model.Snapshot, id string, services []model.Service) (others int) {
	observed := make(map[model.ServiceKey]*model.Service, len(services))
	for i := range services {
		if services[i].Foreign {
			others++
			continue
		}
		observed[services[i].Key] = &services[i]
	}
	for i := range snapshot.Services {
		v := snapshot.Services[i].Config
		for _, c := range v.Carriers {
			if c.Forwarder != id {
				continue
			}
			key, name := plan.CarriedKey(v.Key, c), v.Key.String()
			o := observed[key]
			delete(observed, key)
			s.put(appliancePresent, number(o != nil), id, name)
			if o == nil {
				continue
			}
			s.traffic(applianceServerTraffic, o.Counters, id, name)
			seen := make(map[netip.AddrPort]bool, len(o.Destinations))
			for j := range o.Destinations {
				// One that is there twice would spoil the scrape.
				if d := &o.Destinations[j]; !seen[d.Addr] {
					seen[d.Addr] = true
					s.member(d, id, name)
				}
			}
		}
	}
	return others + len(observed)
}

func (s sink) member(d *model.Destination, id, virtual string) {
	real := d.Addr.String()
	for _, state := range states {
		s.put(memberState, number(d.MemberState() == state), id, virtual, real, state)
	}
	s.put(memberActive, float64(d.Counters.ActiveConnections), id, virtual, real)
	s.traffic(memberTraffic, d.Counters, id, virtual, real)
}

package plan

import (
	"slices"

	"github.com/poise-lb/poise/core/model"
)

// ForPrimary is the part of a set that the forwarder of the configuration itself holds.
func ForPrimary(set model.ForwardSet, forwarder string) model.ForwardSet {
	out := set
	out.Services = nil
	for i := range set.Services {
		s := set.Services[i]
		if len(s.Carriers) > 0 {
			c, ok := carrier(s.Carriers, forwarder)
			if !ok {
				continue
			}
			s.Parameters = c.Parameters
		}
		s.Carriers, s.Spare = nil, nil
		out.Services = append(out.Services, s)
	}
	return out
}

// ForInstance is the part of a set that an appliance holds, under the addresses that the
// virtual servers have there. held: its failover group is not master here, so that another
// director writes and this one must not.
func ForInstance(set model.ForwardSet, f model.ForwarderInstance) (out model.ForwardSet, held bool) {
	out = model.ForwardSet{Generation: set.Generation}
	for i := range set.Services {
		s := set.Services[i]
		c, ok := carrier(s.Carriers, f.ID())
		if !ok {
			continue
		}
		s.Key, s.Parameters, s.Carriers = CarriedKey(s.Key, c), c.Parameters, nil
		out.Services = append(out.Services, s)
	}
	return out, f.Group != "" && !slices.Contains(set.Masters, f.Group)
}

// CarriedKey is the key that a virtual server has on a carrier.
func CarriedKey(key model.ServiceKey, c model.Carrier) model.ServiceKey {
	if c.Addr.IsValid() {
		key.Addr, key.IPv6 = c.Addr, c.Addr.Is6()
	}
	return key
}

func carrier(list []model.Carrier, forwarder string) (model.Carrier, bool) {
	for _, c := range list {
		if c.Forwarder == forwarder {
			return c, true
		}
	}
	return model.Carrier{}, false
}

// Configured is a virtual server as a forwarder holds it while all its real servers are up,
// with its sorry server.
func Configured(v *model.VirtualServer) model.Service {
	s := model.ServiceStatus{RealServers: make([]model.RealServerStatus, len(v.RealServers))}
	for i := range v.RealServers {
		r := &v.RealServers[i]
		s.RealServers[i] = model.RealServerStatus{Config: r, InTable: true, Weight: min(r.Weight, MaxWeight)}
	}
	return (&VirtualServer{Config: v}).service(&s)
}

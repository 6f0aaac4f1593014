package ipvs

import (
	cloudflare "github.com/cloudflare/ipvs"
	"github.com/cloudflare/ipvs/netmask"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
)

// libraryService is a service as the library writes it.
func libraryService(s table.Service) cloudflare.Service {
	out := cloudflare.Service{
		Address: s.Key.Addr, Port: s.Key.Port, Protocol: cloudflare.Protocol(s.Key.Protocol), FWMark: s.Key.Mark,
		Family: cloudflare.INET, Netmask: netmask.MaskFrom(s.Prefix, 32),
		Scheduler: s.Scheduler, Flags: cloudflare.Flags(s.Flags), Timeout: s.Timeout,
	}
	if s.Key.IPv6 {
		out.Family, out.Netmask = cloudflare.INET6, netmask.MaskFrom(s.Prefix, 128)
	}
	return out
}

func libraryDestination(d table.Destination) cloudflare.Destination {
	out := cloudflare.Destination{
		Address: d.Addr.Addr(), Port: d.Addr.Port(), FwdMethod: cloudflare.ForwardType(d.Method), Weight: d.Weight,
		UpperThreshold: d.UpperThreshold, LowerThreshold: d.LowerThreshold, Family: cloudflare.INET,
		TunnelType: cloudflare.TunnelType(d.Tunnel.Type), TunnelPort: d.Tunnel.Port, TunnelFlags: cloudflare.TunnelFlags(d.Tunnel.Checksum),
	}
	if d.Addr.Addr().Is6() {
		out.Family = cloudflare.INET6
	}
	return out
}

package kernel

import (
	"net/netip"

	"github.com/cloudflare/ipvs"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
)

func decodeService(s ipvs.Service) table.Service {
	return table.Service{
		Key: table.Key{
			Addr: s.Address, Port: s.Port, Protocol: table.Protocol(s.Protocol),
			Mark: s.FWMark, IPv6: s.Family == ipvs.INET6,
		},
		Scheduler: s.Scheduler, Flags: table.Flags(s.Flags), Timeout: s.Timeout,
		Prefix: s.Netmask.Bits(),
	}.Normal()
}

func decodeDestination(d ipvs.DestinationExtended) table.Real {
	r := table.Real{
		Destination: table.Destination{
			Addr: netip.AddrPortFrom(d.Address, d.Port), Weight: d.Weight, Method: table.Method(d.FwdMethod),
			Tunnel:         table.Tunnel{Type: table.TunnelType(d.TunnelType), Port: d.TunnelPort, Checksum: uint16(d.TunnelFlags)},
			UpperThreshold: d.UpperThreshold, LowerThreshold: d.LowerThreshold,
		},
		Counters: decodeStats(d.Stats, d.Stats64),
	}
	r.Destination = r.Normal()
	r.Counters.ActiveConnections, r.Counters.InactiveConnections = d.ActiveConnections, d.InactiveConnections
	return r
}

// decodeStats takes the 64-bit counters where the kernel has them (Linux 4.1).
func decodeStats(narrow, wide ipvs.Stats) table.Counters {
	if wide == (ipvs.Stats{}) {
		wide = narrow
	}
	return table.Counters{
		Connections: wide.Connections, PacketsIn: wide.IncomingPackets, PacketsOut: wide.OutgoingPackets,
		BytesIn: wide.IncomingBytes, BytesOut: wide.OutgoingBytes,
	}
}

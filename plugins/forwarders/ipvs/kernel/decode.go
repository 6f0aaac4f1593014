package kernel

import (
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

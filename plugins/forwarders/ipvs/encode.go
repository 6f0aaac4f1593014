package ipvs

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

func encodeState(state table.State, platform string) *forwardv1.ObserveResponse {
	out := &forwardv1.ObserveResponse{Platform: platform, VirtualServers: make([]*forwardv1.VirtualServer, len(state.Services))}
	for i := range state.Services {
		out.VirtualServers[i] = encodeVirtual(&state.Services[i])
	}
	for _, s := range state.Syncs {
		out.ConnectionSyncs = append(out.ConnectionSyncs, encodeSync(s))
	}
	return out
}

func encodeKey(k table.Key) *forwardv1.ServiceKey {
	out := &forwardv1.ServiceKey{Port: uint32(k.Port), Fwmark: k.Mark, Family: forwardv1.Family_FAMILY_IPV4}
	if k.IPv6 {
		out.Family = forwardv1.Family_FAMILY_IPV6
	}
	if k.Mark != 0 {
		return out
	}
	out.Address = k.Addr.String()
	switch k.Protocol {
	case table.TCP:
		out.Protocol = forwardv1.Protocol_PROTOCOL_TCP
	case table.UDP:
		out.Protocol = forwardv1.Protocol_PROTOCOL_UDP
	case table.SCTP:
		out.Protocol = forwardv1.Protocol_PROTOCOL_SCTP
	}
	return out
}

func encodeVirtual(v *table.Virtual) *forwardv1.VirtualServer {
	s := v.Service
	out := &forwardv1.VirtualServer{
		Key: encodeKey(s.Key), Scheduler: s.Scheduler, OnePacket: s.Flags&table.OnePacket != 0,
		PersistenceEngine: s.Engine, Counters: encodeCounters(v.Counters),
		RealServers: make([]*forwardv1.RealServer, len(v.Reals)),
	}
	for _, name := range []string{"flag-1", "flag-2", "flag-3"} {
		if s.Flags&schedulerFlags[name] != 0 {
			out.SchedulerFlags = append(out.SchedulerFlags, name)
		}
	}
	if s.Flags&table.Persistent != 0 {
		out.PersistenceTimeout = durationpb.New(time.Duration(s.Timeout) * time.Second)
		whole := s.Key.IPv6 && s.Prefix == 128 || !s.Key.IPv6 && s.Prefix == 32
		if !whole && s.Prefix > 0 {
			out.PersistencePrefix = uint32(s.Prefix)
		}
	}
	for i := range v.Reals {
		out.RealServers[i] = encodeReal(&v.Reals[i])
	}
	return out
}

func encodeReal(r *table.Real) *forwardv1.RealServer {
	out := &forwardv1.RealServer{
		Address: r.Addr.Addr().String(), Port: uint32(r.Addr.Port()), Weight: r.Weight,
		UpperThreshold: r.UpperThreshold, LowerThreshold: r.LowerThreshold, Counters: encodeCounters(r.Counters),
	}
	switch r.Method {
	case table.DR:
		out.Method = forwardv1.Method_METHOD_DR
	case table.NAT:
		out.Method = forwardv1.Method_METHOD_NAT
	case table.TUN:
		out.Method = forwardv1.Method_METHOD_TUN
		encodeTunnel(out, r.Tunnel)
	}
	return out
}

func encodeTunnel(out *forwardv1.RealServer, t table.Tunnel) {
	switch t.Type {
	case table.IPIP:
		out.TunnelType = forwardv1.TunnelType_TUNNEL_TYPE_IPIP
		return
	case table.GUE:
		out.TunnelType = forwardv1.TunnelType_TUNNEL_TYPE_GUE
		out.TunnelPort = uint32(t.Port)
	case table.GRE:
		out.TunnelType = forwardv1.TunnelType_TUNNEL_TYPE_GRE
	}
	switch t.Checksum {
	case table.ChecksumNone:
		out.TunnelChecksum = forwardv1.TunnelChecksum_TUNNEL_CHECKSUM_NONE
	case table.ChecksumFull:
		out.TunnelChecksum = forwardv1.TunnelChecksum_TUNNEL_CHECKSUM_FULL
	case table.ChecksumRemote:
		out.TunnelChecksum = forwardv1.TunnelChecksum_TUNNEL_CHECKSUM_REMOTE
	}
}

func encodeCounters(c table.Counters) *forwardv1.Counters {
	return &forwardv1.Counters{
		Connections: c.Connections, PacketsIn: c.PacketsIn, PacketsOut: c.PacketsOut,
		BytesIn: c.BytesIn, BytesOut: c.BytesOut,
		ActiveConnections: c.ActiveConnections, InactiveConnections: c.InactiveConnections,
	}
}

func encodeSync(s table.Sync) *forwardv1.ConnectionSync {
	out := &forwardv1.ConnectionSync{
		Role: forwardv1.SyncRole_SYNC_ROLE_MASTER, Interface: s.Interface, SyncId: uint32(s.ID),
		MaxLength: uint32(s.MaxLength), Port: uint32(s.Port), Ttl: uint32(s.TTL),
	}
	if s.Role == table.Backup {
		out.Role = forwardv1.SyncRole_SYNC_ROLE_BACKUP
	}
	if s.Group.IsValid() {
		out.Group = s.Group.String()
	}
	return out
}

package forwarder

import (
	"fmt"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/core/model"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// encodeSet leaves spare members out where the forwarder keeps none.
func encodeSet(set model.ForwardSet, members bool) *forwardv1.ApplyRequest {
	out := &forwardv1.ApplyRequest{Generation: set.Generation, VirtualServers: make([]*forwardv1.VirtualServer, len(set.Services))}
	for i := range set.Services {
		out.VirtualServers[i] = encodeService(&set.Services[i], members)
	}
	if set.Sync != nil {
		out.ConnectionSync = encodeSync(*set.Sync)
	}
	return out
}

// Encode is a service as a forwarder that keeps members is sent it.
func Encode(s *model.Service) *forwardv1.VirtualServer { return encodeService(s, true) }

func encodeService(s *model.Service, members bool) *forwardv1.VirtualServer {
	list := s.Destinations
	if members {
		list = slices.Concat(list, s.Spare)
	}
	out := &forwardv1.VirtualServer{
		Key: encodeKey(s.Key), Scheduler: s.Scheduler, SchedulerFlags: s.SchedulerFlags,
		PersistencePrefix: uint32(s.Persistence.Prefix), PersistenceEngine: s.Persistence.Engine,
		OnePacket: s.OnePacket, RealServers: make([]*forwardv1.RealServer, len(list)),
	}
	if s.Parameters != "" {
		out.ParametersJson = []byte(s.Parameters)
	}
	if s.Persistence.Timeout > 0 {
		out.PersistenceTimeout = durationpb.New(s.Persistence.Timeout)
	}
	for i, d := range list {
		out.RealServers[i] = &forwardv1.RealServer{
			Address: d.Addr.Addr().String(), Port: uint32(d.Addr.Port()), Weight: d.Weight,
			Method: methods[d.Forwarding.Method], TunnelType: tunnelTypes[d.Forwarding.Tunnel.Type],
			TunnelPort: uint32(d.Forwarding.Tunnel.Port), TunnelChecksum: tunnelChecksums[d.Forwarding.Tunnel.Checksum],
			UpperThreshold: d.UpperThreshold, LowerThreshold: d.LowerThreshold,
		}
		if members {
			out.RealServers[i].Offline, out.RealServers[i].Sorry = d.Offline, d.Sorry
		}
	}
	return out
}

var (
	methods = map[model.Method]forwardv1.Method{
		model.DR: forwardv1.Method_METHOD_DR, model.NAT: forwardv1.Method_METHOD_NAT, model.TUN: forwardv1.Method_METHOD_TUN,
	}
	tunnelTypes = map[string]forwardv1.TunnelType{
		"gue": forwardv1.TunnelType_TUNNEL_TYPE_GUE, "gre": forwardv1.TunnelType_TUNNEL_TYPE_GRE,
	}
	tunnelChecksums = map[string]forwardv1.TunnelChecksum{
		"csum": forwardv1.TunnelChecksum_TUNNEL_CHECKSUM_FULL, "remcsum": forwardv1.TunnelChecksum_TUNNEL_CHECKSUM_REMOTE,
	}
	protocols = map[model.Protocol]forwardv1.Protocol{
		model.TCP: forwardv1.Protocol_PROTOCOL_TCP, model.UDP: forwardv1.Protocol_PROTOCOL_UDP, model.SCTP: forwardv1.Protocol_PROTOCOL_SCTP,
	}
	syncRoles = map[model.SyncRole]forwardv1.SyncRole{
		model.SyncMaster: forwardv1.SyncRole_SYNC_ROLE_MASTER, model.SyncBackup: forwardv1.SyncRole_SYNC_ROLE_BACKUP,
	}
)

// reverse finds the key of a value; the zero key if there is none.
func reverse[K, V comparable](m map[K]V, value V) K {
	for k, v := range m {
		if v == value {
			return k
		}
	}
	var none K
	return none
}

func encodeKey(k model.ServiceKey) *forwardv1.ServiceKey {
	out := &forwardv1.ServiceKey{Port: uint32(k.Port), Protocol: protocols[k.Protocol], Fwmark: k.FWMark, Family: forwardv1.Family_FAMILY_IPV4}
	if k.Addr.IsValid() {
		out.Address = k.Addr.String()
	}
	if k.IPv6 {
		out.Family = forwardv1.Family_FAMILY_IPV6
	}
	return out
}

func decodeKey(k *forwardv1.ServiceKey) (model.ServiceKey, error) {
	out := model.ServiceKey{
		Port: uint16(k.GetPort()), Protocol: reverse(protocols, k.GetProtocol()), FWMark: k.GetFwmark(),
		IPv6: k.GetFamily() == forwardv1.Family_FAMILY_IPV6,
	}
	if k.GetAddress() != "" {
		addr, err := netip.ParseAddr(k.GetAddress())
		if err != nil {
			return out, fmt.Errorf("virtual server's address: %w", err)
		}
		out.Addr = addr
	}
	return out, nil
}

// decodeServices leaves out what makes no sense: the process is not trusted to.
func decodeServices(list []*forwardv1.VirtualServer) []model.Service {
	out := make([]model.Service, 0, len(list))
	for _, v := range list {
		key, err := decodeKey(v.GetKey())
		if err != nil {
			continue
		}
		s := model.Service{
			Key: key, Scheduler: v.GetScheduler(), SchedulerFlags: v.GetSchedulerFlags(), OnePacket: v.GetOnePacket(), Foreign: v.GetForeign(),
			Persistence: model.Persistence{Timeout: v.GetPersistenceTimeout().AsDuration(), Prefix: uint8(v.GetPersistencePrefix()), Engine: v.GetPersistenceEngine()},
			Counters:    decodeCounters(v.GetCounters()),
		}
		for _, r := range v.GetRealServers() {
			addr, err := netip.ParseAddr(r.GetAddress())
			if err != nil {
				continue
			}
			s.Destinations = append(s.Destinations, model.Destination{
				Addr: netip.AddrPortFrom(addr, uint16(r.GetPort())), Weight: r.GetWeight(),
				Forwarding: model.Forwarding{Method: reverse(methods, r.GetMethod()), Tunnel: model.Tunnel{
					Type: reverse(tunnelTypes, r.GetTunnelType()), Port: uint16(r.GetTunnelPort()),
					Checksum: reverse(tunnelChecksums, r.GetTunnelChecksum()),
				}},
				UpperThreshold: r.GetUpperThreshold(), LowerThreshold: r.GetLowerThreshold(), Counters: decodeCounters(r.GetCounters()),
				Offline: r.GetOffline(), Sorry: r.GetSorry(),
			})
		}
		out = append(out, s)
	}
	return out
}

func decodeCounters(c *forwardv1.Counters) model.Counters {
	return model.Counters{
		Connections: c.GetConnections(), PacketsIn: c.GetPacketsIn(), PacketsOut: c.GetPacketsOut(),
		BytesIn: c.GetBytesIn(), BytesOut: c.GetBytesOut(),
		ActiveConnections: c.GetActiveConnections(), InactiveConnections: c.GetInactiveConnections(),
	}
}

func encodeSync(d model.DesiredSync) *forwardv1.ConnectionSync {
	out := &forwardv1.ConnectionSync{
		Role: syncRoles[d.Role], Interface: d.Sync.Interface, SyncId: uint32(d.Sync.ID),
		MaxLength: uint32(d.Sync.MaxLength), Port: uint32(d.Sync.Port), Ttl: uint32(d.Sync.TTL),
	}
	if d.Sync.Multicast.IsValid() {
		out.Group = d.Sync.Multicast.String()
	}
	return out
}

func decodeSyncs(list []*forwardv1.ConnectionSync) []model.DesiredSync {
	out := make([]model.DesiredSync, 0, len(list))
	for _, s := range list {
		group, _ := netip.ParseAddr(s.GetGroup())
		out = append(out, model.DesiredSync{Role: reverse(syncRoles, s.GetRole()), Sync: model.ConnectionSync{
			Interface: s.GetInterface(), ID: uint8(s.GetSyncId()), MaxLength: uint16(s.GetMaxLength()),
			Port: uint16(s.GetPort()), TTL: uint8(s.GetTtl()), Multicast: group,
		}})
	}
	return out
}

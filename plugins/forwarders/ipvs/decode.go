package ipvs

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

const (
	// maxPersistence is the kernel's limit as ipvsadm knows it: what is longer overflows.
	maxPersistence = 31 * 24 * time.Hour
	// maxWeight is the kernel's: it is signed there.
	maxWeight = 1<<31 - 1
	// maxName is the length of names of schedulers, persistence engines and interfaces.
	maxName = 15
)

// decodeRequest translates a request. What no kernel could take is left out and refused:
// a virtual server whose own settings are wrong is left as it is, a real server that is
// wrong is not added.
func decodeRequest(r *forwardv1.ApplyRequest) (*table.Want, []*forwardv1.ObjectError) {
	want := &table.Want{Owned: map[table.Key]bool{}, SyncOwned: map[table.Role]bool{}}
	var refused []*forwardv1.ObjectError
	for _, k := range r.GetOwned() {
		key, err := decodeKey(k)
		if err != nil {
			refused = append(refused, &forwardv1.ObjectError{Key: k, Message: fmt.Sprintf("owned key: %v", err)})
			continue
		}
		want.Owned[key] = true
	}
	seen := map[table.Key]bool{}
	for _, v := range r.GetVirtualServers() {
		service, err := decodeService(v)
		if err == nil && seen[service.Key] {
			err = fmt.Errorf("%s is in the request twice", service.Key)
		}
		if err != nil {
			delete(want.Owned, service.Key)
			refused = append(refused, &forwardv1.ObjectError{Key: v.GetKey(), Message: fmt.Sprintf("not applied: %v", err)})
			continue
		}
		seen[service.Key] = true
		reals, bad := decodeReals(v, service)
		refused = append(refused, bad...)
		want.Services = append(want.Services, table.Virtual{Service: service, Reals: reals})
	}
	if s := r.GetConnectionSync(); s != nil {
		sync, err := decodeSync(s)
		if err != nil {
			refused = append(refused, &forwardv1.ObjectError{Message: fmt.Sprintf("connection sync is not applied: %v", err)})
			return want, refused
		}
		want.Sync = &sync
	}
	if r.GetConnectionSyncOwned() {
		want.SyncOwned[table.Master], want.SyncOwned[table.Backup] = true, true
	}
	return want, refused
}

var protocols = map[forwardv1.Protocol]table.Protocol{
	forwardv1.Protocol_PROTOCOL_TCP: table.TCP, forwardv1.Protocol_PROTOCOL_UDP: table.UDP, forwardv1.Protocol_PROTOCOL_SCTP: table.SCTP,
}

func decodeKey(k *forwardv1.ServiceKey) (table.Key, error) {
	key := table.Key{Mark: k.GetFwmark()}
	switch k.GetFamily() {
	case forwardv1.Family_FAMILY_IPV4:
	case forwardv1.Family_FAMILY_IPV6:
		key.IPv6 = true
	default:
		return key, fmt.Errorf("the key of a virtual server has no family")
	}
	if key.Mark != 0 {
		if k.GetAddress() != "" || k.GetPort() != 0 || k.GetProtocol() != forwardv1.Protocol_PROTOCOL_UNSPECIFIED {
			return key, fmt.Errorf("the key of firewall mark %d has an address, port or protocol too", key.Mark)
		}
		return key, nil
	}
	addr, err := decodeAddr(k.GetAddress(), k.GetPort())
	if err != nil {
		return key, fmt.Errorf("address of a virtual server: %w", err)
	}
	if addr.Addr().Is6() != key.IPv6 {
		return key, fmt.Errorf("address %s of a virtual server is not of its family", addr.Addr())
	}
	protocol, ok := protocols[k.GetProtocol()]
	if !ok {
		return key, fmt.Errorf("virtual server %s has no protocol that IPVS knows", addr)
	}
	key.Addr, key.Port, key.Protocol = addr.Addr(), addr.Port(), protocol
	return key, nil
}

func decodeAddr(address string, port uint32) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr = addr.Unmap()
	switch {
	case addr.Zone() != "":
		return netip.AddrPort{}, fmt.Errorf("%s has a zone, which IPVS does not know", addr)
	case port > 65535:
		return netip.AddrPort{}, fmt.Errorf("port %d of %s is above 65535", port, addr)
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}

var schedulerFlags = map[string]table.Flags{"flag-1": table.Scheduler1, "flag-2": table.Scheduler2, "flag-3": table.Scheduler3}

func decodeService(v *forwardv1.VirtualServer) (table.Service, error) {
	key, err := decodeKey(v.GetKey())
	s := table.Service{Key: key, Scheduler: v.GetScheduler(), Prefix: int(v.GetPersistencePrefix()), Engine: v.GetPersistenceEngine()}
	if err != nil {
		return s, err
	}
	if s.Scheduler == "" || len(s.Scheduler) > maxName {
		return s, fmt.Errorf("scheduler %q of %s: a name has 1 to %d letters", s.Scheduler, key, maxName)
	}
	for _, name := range v.GetSchedulerFlags() {
		flag, ok := schedulerFlags[name]
		if !ok {
			return s, fmt.Errorf("scheduler flag %q of %s: there are flag-1, flag-2 and flag-3", name, key)
		}
		s.Flags |= flag
	}
	if v.GetOnePacket() {
		s.Flags |= table.OnePacket
	}
	timeout := v.GetPersistenceTimeout().AsDuration()
	bits := 32
	if key.IPv6 {
		bits = 128
	}
	switch {
	case timeout < 0 || timeout > maxPersistence || timeout%time.Second != 0:
		return s, fmt.Errorf("persistence timeout %v of %s: give whole seconds up to %v", timeout, key, maxPersistence)
	case s.Prefix > bits:
		return s, fmt.Errorf("persistence prefix %d of %s: an address has %d bits", s.Prefix, key, bits)
	case s.Engine != "" && timeout == 0:
		return s, fmt.Errorf("persistence engine %s of %s has no effect without a persistence timeout: give one", s.Engine, key)
	case len(s.Engine) > maxName:
		return s, fmt.Errorf("persistence engine %q of %s: a name has at most %d letters", s.Engine, key, maxName)
	case timeout > 0:
		s.Flags |= table.Persistent
		s.Timeout = uint32(timeout / time.Second)
	}
	if s.Prefix == 0 {
		s.Prefix = bits
	}
	return s.Normal(), nil
}

func decodeReals(v *forwardv1.VirtualServer, s table.Service) (reals []table.Real, refused []*forwardv1.ObjectError) {
	seen := make(map[netip.AddrPort]bool, len(v.GetRealServers()))
	for _, r := range v.GetRealServers() {
		d, err := decodeDestination(r, s.Key)
		if err == nil && seen[d.Addr] {
			err = fmt.Errorf("%s is there twice", d.Addr)
		}
		if err != nil {
			refused = append(refused, &forwardv1.ObjectError{
				Key: v.GetKey(), RealServer: fmt.Sprintf("%s port %d", r.GetAddress(), r.GetPort()),
				Message: fmt.Sprintf("real server of %s is not applied: %v", s.Key, err),
			})
			continue
		}
		seen[d.Addr] = true
		reals = append(reals, table.Real{Destination: d})
	}
	return reals, refused
}

var methods = map[forwardv1.Method]table.Method{
	forwardv1.Method_METHOD_DR: table.DR, forwardv1.Method_METHOD_NAT: table.NAT, forwardv1.Method_METHOD_TUN: table.TUN,
}

func decodeDestination(r *forwardv1.RealServer, key table.Key) (table.Destination, error) {
	addr, err := decodeAddr(r.GetAddress(), r.GetPort())
	if err != nil {
		return table.Destination{}, err
	}
	d := table.Destination{
		Addr: addr, Weight: r.GetWeight(),
		UpperThreshold: r.GetUpperThreshold(), LowerThreshold: r.GetLowerThreshold(),
	}
	method, ok := methods[r.GetMethod()]
	switch {
	case !ok:
		return d, fmt.Errorf("%s has no forwarding method", addr)
	case addr.Addr().Is6() != key.IPv6 && method != table.TUN:
		return d, fmt.Errorf("%s is not of the virtual server's address family, which %s cannot bridge: use TUN", addr, method)
	case d.Weight > maxWeight:
		return d, fmt.Errorf("weight %d of %s is above %d", d.Weight, addr, maxWeight)
	case d.LowerThreshold > d.UpperThreshold:
		return d, fmt.Errorf("lower threshold %d of %s is above its upper threshold %d", d.LowerThreshold, addr, d.UpperThreshold)
	}
	d.Method = method
	if d.Tunnel, err = decodeTunnel(r); err != nil {
		return d, fmt.Errorf("%s: %w", addr, err)
	}
	return d.Normal(), nil
}

var checksums = map[forwardv1.TunnelChecksum]uint16{
	forwardv1.TunnelChecksum_TUNNEL_CHECKSUM_UNSPECIFIED: table.ChecksumNone, forwardv1.TunnelChecksum_TUNNEL_CHECKSUM_NONE: table.ChecksumNone,
	forwardv1.TunnelChecksum_TUNNEL_CHECKSUM_FULL: table.ChecksumFull, forwardv1.TunnelChecksum_TUNNEL_CHECKSUM_REMOTE: table.ChecksumRemote,
}

func decodeTunnel(r *forwardv1.RealServer) (table.Tunnel, error) {
	if r.GetMethod() != forwardv1.Method_METHOD_TUN {
		return table.Tunnel{}, nil
	}
	checksum, ok := checksums[r.GetTunnelChecksum()]
	if !ok {
		return table.Tunnel{}, fmt.Errorf("checksum mode %d of the tunnel is unknown", r.GetTunnelChecksum())
	}
	t := table.Tunnel{Port: uint16(r.GetTunnelPort()), Checksum: checksum}
	switch r.GetTunnelType() {
	case forwardv1.TunnelType_TUNNEL_TYPE_UNSPECIFIED, forwardv1.TunnelType_TUNNEL_TYPE_IPIP:
		return table.Tunnel{}, nil
	case forwardv1.TunnelType_TUNNEL_TYPE_GUE:
		if r.GetTunnelPort() == 0 || r.GetTunnelPort() > 65535 {
			return t, fmt.Errorf("port %d of the GUE tunnel is not in 1 to 65535", r.GetTunnelPort())
		}
		t.Type = table.GUE
	case forwardv1.TunnelType_TUNNEL_TYPE_GRE:
		if checksum == table.ChecksumRemote {
			return t, fmt.Errorf("a GRE tunnel has no remote checksum")
		}
		t.Type = table.GRE
	default:
		return t, fmt.Errorf("tunnel type %d is unknown", r.GetTunnelType())
	}
	return t, nil
}

func decodeSync(s *forwardv1.ConnectionSync) (table.Sync, error) {
	sync := table.Sync{
		Interface: s.GetInterface(), ID: uint8(s.GetSyncId()), MaxLength: uint16(s.GetMaxLength()),
		Port: uint16(s.GetPort()), TTL: uint8(s.GetTtl()),
	}
	switch s.GetRole() {
	case forwardv1.SyncRole_SYNC_ROLE_MASTER:
		sync.Role = table.Master
	case forwardv1.SyncRole_SYNC_ROLE_BACKUP:
		sync.Role = table.Backup
	default:
		return sync, fmt.Errorf("it has no role")
	}
	switch {
	case sync.Interface == "" || len(sync.Interface) > maxName:
		return sync, fmt.Errorf("interface %q: a name has 1 to %d letters", sync.Interface, maxName)
	case s.GetSyncId() > 255:
		return sync, fmt.Errorf("sync id %d is above 255", s.GetSyncId())
	case s.GetMaxLength() > 65535:
		return sync, fmt.Errorf("length %d is above 65535", s.GetMaxLength())
	case s.GetPort() > 65535:
		return sync, fmt.Errorf("port %d is above 65535", s.GetPort())
	case s.GetTtl() > 255:
		return sync, fmt.Errorf("ttl %d is above 255", s.GetTtl())
	}
	if s.GetGroup() != "" {
		group, err := netip.ParseAddr(s.GetGroup())
		if err != nil || !group.IsMulticast() || group.Zone() != "" {
			return sync, fmt.Errorf("group %q is no multicast address", s.GetGroup())
		}
		sync.Group = group.Unmap()
	}
	return sync.Normal(), nil
}

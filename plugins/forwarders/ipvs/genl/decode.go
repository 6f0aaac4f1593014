package genl

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
)

// walk calls each for the attributes inside those of one kind, for every such nest.
func walk(data []byte, kind uint16, each func(*netlink.AttributeDecoder)) error {
	outer, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return err
	}
	for outer.Next() {
		if outer.Type() != kind {
			continue
		}
		outer.Nested(func(inner *netlink.AttributeDecoder) error {
			for inner.Next() {
				each(inner)
			}
			return inner.Err()
		})
	}
	return outer.Err()
}

// decodeEngine reads a service's key and persistence engine; found is false if the
// message holds no service.
func decodeEngine(data []byte) (key table.Key, engine string, found bool, err error) {
	var addr []byte
	err = walk(data, attrService, func(ad *netlink.AttributeDecoder) {
		found = true
		switch ad.Type() {
		case svcFamily:
			key.IPv6 = ad.Uint16() == familyIPv6
		case svcProtocol:
			key.Protocol = table.Protocol(ad.Uint16())
		case svcAddr:
			addr = ad.Bytes()
		case svcPort:
			key.Port = port(ad)
		case svcMark:
			key.Mark = ad.Uint32()
		case svcEngine:
			engine = ad.String()
		}
	})
	if err != nil || !found {
		return table.Key{}, "", false, err
	}
	if key.Mark != 0 {
		return table.Key{Mark: key.Mark, IPv6: key.IPv6}, engine, true, nil
	}
	if key.Addr, err = address(addr, key.IPv6); err != nil {
		return table.Key{}, "", false, fmt.Errorf("address of a service: %w", err)
	}
	return key, engine, true, nil
}

// decodeReal reads a destination with its counters; found is false if the message holds
// none. Kernels before Linux 3.18 tell no family: it is then the service's.
func decodeReal(data []byte, ipv6 bool) (r table.Real, found bool, err error) {
	var addr []byte
	var number uint16
	var narrow, wide table.Counters
	err = walk(data, attrDest, func(ad *netlink.AttributeDecoder) {
		found = true
		switch ad.Type() {
		case destAddr:
			addr = ad.Bytes()
		case destPort:
			number = port(ad)
		case destFamily:
			ipv6 = ad.Uint16() == familyIPv6
		case destMethod:
			r.Method = table.Method(ad.Uint32())
		case destWeight:
			r.Weight = ad.Uint32()
		case destUpper:
			r.UpperThreshold = ad.Uint32()
		case destLower:
			r.LowerThreshold = ad.Uint32()
		case destActive:
			r.Counters.ActiveConnections = ad.Uint32()
		case destInactive:
			r.Counters.InactiveConnections = ad.Uint32()
		case destTunnelType:
			r.Tunnel.Type = table.TunnelType(ad.Uint8())
		case destTunnelPort:
			r.Tunnel.Port = port(ad)
		case destTunnelFlags:
			r.Tunnel.Checksum = ad.Uint16()
		case destStats:
			ad.Nested(func(ad *netlink.AttributeDecoder) error { return decodeStats(ad, &narrow, false) })
		case destStats64:
			ad.Nested(func(ad *netlink.AttributeDecoder) error { return decodeStats(ad, &wide, true) })
		}
	})
	if err != nil || !found {
		return table.Real{}, false, err
	}
	host, err := address(addr, ipv6)
	if err != nil {
		return table.Real{}, false, fmt.Errorf("address of a real server: %w", err)
	}
	r.Addr = netip.AddrPortFrom(host, number)
	r.Destination = r.Normal()
	if wide == (table.Counters{}) {
		wide = narrow
	}
	wide.ActiveConnections, wide.InactiveConnections = r.Counters.ActiveConnections, r.Counters.InactiveConnections
	r.Counters = wide
	return r, true, nil
}

// decodeStats reads counters. All are 64 bits wide in the newer attribute, and bytes in
// both.
func decodeStats(ad *netlink.AttributeDecoder, c *table.Counters, wide bool) error {
	count := func() uint64 {
		if wide {
			return ad.Uint64()
		}
		return uint64(ad.Uint32())
	}
	for ad.Next() {
		switch ad.Type() {
		case statsConnections:
			c.Connections = count()
		case statsPacketsIn:
			c.PacketsIn = count()
		case statsPacketsOut:
			c.PacketsOut = count()
		case statsBytesIn:
			c.BytesIn = ad.Uint64()
		case statsBytesOut:
			c.BytesOut = ad.Uint64()
		}
	}
	return ad.Err()
}

// decodeDaemon reads a sync daemon; found is false if the message holds none.
func decodeDaemon(data []byte) (s table.Sync, found bool, err error) {
	err = walk(data, attrDaemon, func(ad *netlink.AttributeDecoder) {
		found = true
		switch ad.Type() {
		case daemonState:
			s.Role = table.Role(ad.Uint32())
		case daemonInterface:
			s.Interface = ad.String()
		case daemonID:
			s.ID = uint8(ad.Uint32())
		case daemonMaxLength:
			s.MaxLength = ad.Uint16()
		case daemonGroup, daemonGroup6:
			s.Group, _ = netip.AddrFromSlice(ad.Bytes())
		case daemonPort:
			s.Port = ad.Uint16()
		case daemonTTL:
			s.TTL = ad.Uint8()
		}
	})
	return s, found && err == nil, err
}

// port reads a port in the network's byte order; 0 if it is none.
func port(ad *netlink.AttributeDecoder) uint16 {
	if b := ad.Bytes(); len(b) == 2 {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// address reads an address of a family; the kernel gives 16 bytes for both.
func address(b []byte, ipv6 bool) (netip.Addr, error) {
	length := 4
	if ipv6 {
		length = 16
	}
	if len(b) < length {
		return netip.Addr{}, fmt.Errorf("%d bytes where %d are due", len(b), length)
	}
	addr, _ := netip.AddrFromSlice(b[:length])
	return addr, nil
}

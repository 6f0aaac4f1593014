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

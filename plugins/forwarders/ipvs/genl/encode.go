package genl

import (
	"encoding/binary"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
)

// genlHeader is the size of a generic netlink header: command, version, reserved.
const genlHeader = 4

// version of the IPVS interface; it has never been another.
const version = 1

var commands = map[table.Kind]uint8{
	table.AddService: cmdNewService, table.EditService: cmdSetService, table.RemoveService: cmdDelService,
	table.AddDestination: cmdNewDest, table.EditDestination: cmdSetDest, table.RemoveDestination: cmdDelDest,
	table.StartSync: cmdNewDaemon, table.StopSync: cmdDelDaemon,
}

// encode gives the data of an operation's message: header and attributes.
func encode(op table.Op) []byte {
	a := newMessage(commands[op.Kind])
	switch op.Kind {
	case table.AddService, table.EditService:
		a.service(op.Service)
	case table.RemoveService:
		a.key(op.Service.Key)
	case table.AddDestination, table.EditDestination:
		a.key(op.Service.Key)
		a.destination(op.Destination)
	case table.RemoveDestination:
		a.key(op.Service.Key)
		a.nest(attrDest, func() { a.destinationKey(op.Destination) })
	case table.StartSync, table.StopSync:
		a.daemon(op.Sync)
	}
	return a
}

func newMessage(command uint8) attributes {
	return append(make(attributes, 0, 192), command, version, 0, 0)
}

// key adds what names a service.
func (a *attributes) key(k table.Key) {
	a.nest(attrService, func() { a.keyFields(k) })
}

func (a *attributes) keyFields(k table.Key) {
	a.uint16(svcFamily, family(k.IPv6))
	if k.Mark != 0 {
		a.uint32(svcMark, k.Mark)
		return
	}
	a.uint16(svcProtocol, uint16(k.Protocol))
	a.addr(svcAddr, k.Addr)
	a.port(svcPort, k.Port)
}

// service adds all of a service. Flags that are not set are cleared.
func (a *attributes) service(s table.Service) {
	a.nest(attrService, func() {
		a.keyFields(s.Key)
		a.text(svcScheduler, s.Scheduler)
		flags := a.room(svcFlags, 8)
		binary.NativeEndian.PutUint32(flags, uint32(s.Flags))
		binary.NativeEndian.PutUint32(flags[4:], ^uint32(0))
		a.uint32(svcTimeout, s.Timeout)
		if s.Key.IPv6 {
			a.uint32(svcNetmask, uint32(s.Prefix))
		} else {
			binary.BigEndian.PutUint32(a.room(svcNetmask, 4), uint32(^uint64(0)<<(32-s.Prefix)))
		}
		if s.Engine != "" {
			a.text(svcEngine, s.Engine)
		}
	})
}

func (a *attributes) destinationKey(d table.Destination) {
	a.uint16(destFamily, family(d.Addr.Addr().Is6()))
	a.addr(destAddr, d.Addr.Addr())
	a.port(destPort, d.Addr.Port())
}

// destination adds all of a destination.
func (a *attributes) destination(d table.Destination) {
	a.nest(attrDest, func() {
		a.destinationKey(d)
		a.uint32(destMethod, uint32(d.Method))
		a.uint32(destWeight, d.Weight)
		a.uint32(destUpper, d.UpperThreshold)
		a.uint32(destLower, d.LowerThreshold)
		a.uint8(destTunnelType, uint8(d.Tunnel.Type))
		a.port(destTunnelPort, d.Tunnel.Port)
		a.uint16(destTunnelFlags, d.Tunnel.Checksum)
	})
}

// daemon adds a sync daemon. A length of 0 is left to the kernel.
func (a *attributes) daemon(s table.Sync) {
	a.nest(attrDaemon, func() {
		a.uint32(daemonState, uint32(s.Role))
		a.text(daemonInterface, s.Interface)
		a.uint32(daemonID, uint32(s.ID))
		if s.MaxLength != 0 {
			a.uint16(daemonMaxLength, s.MaxLength)
		}
		switch {
		case s.Group.Is4():
			a.addr(daemonGroup, s.Group)
		case s.Group.Is6():
			a.addr(daemonGroup6, s.Group)
		}
		a.uint16(daemonPort, s.Port)
		a.uint8(daemonTTL, s.TTL)
	})
}

func family(ipv6 bool) uint16 {
	if ipv6 {
		return familyIPv6
	}
	return familyIPv4
}

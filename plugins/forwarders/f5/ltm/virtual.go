package ltm

import (
	"fmt"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// virtual makes the virtual server, its address and its protocol profile.
func (b *builder) virtual() {
	o, p, six := b.options, b.parameters, b.at.IP.Is6()
	translated := b.forwarding == forwardv1.Method_METHOD_NAT
	v := Virtual{
		Path: full(o.Partition, b.out.Name), Destination: b.at, Mask: maskText(six, b.at.IP.BitLen()),
		Source: sourceText(b.at.Address, o.DefaultDomain), Protocol: b.protocol, Pool: b.out.Pool.Path,
		SNATType: "none", TranslateAddress: translated, TranslatePort: translated && !b.everyPort(), SourcePort: "preserve",
		ConnectionLimit: p.ConnectionLimit, Mirror: p.Mirror, ServiceDownImmediateAction: "none", Enabled: true,
		VLANs: p.VLANs, VLANsEnabled: len(p.VLANs) > 0, Mark: b.ours(),
	}
	v.DestinationText = full(o.Partition, b.at.text(o.DefaultDomain))
	switch p.SNAT {
	case "none", "automap":
		v.SNATType = p.SNAT
	default:
		v.SNATType, v.SNATPool = "snat", p.SNAT
	}
	if b.out.Persistence != nil {
		v.Persist = []string{b.out.Persistence.Path}
	}
	profile := b.profile()
	v.Profiles = []ProfileReference{{Path: profile, Context: "all"}}
	b.out.Virtual = v
	b.out.Address = VirtualAddress{
		Path: full(o.Partition, b.at.Address.text(o.DefaultDomain)), Address: b.at.Address, Mask: v.Mask,
		ARP: !p.SameAddress, ICMPEcho: "enabled", AutoDelete: true, Enabled: true, Mark: b.ours(),
	}
	if p.SameAddress {
		b.out.Address.ICMPEcho, b.out.Address.RouteAdvertisement = "disabled", "disabled"
	}
}

func (b *builder) ours() Mark { return Mark{Description: b.options.describe()} }

// sourceText is the network of all clients.
func sourceText(a Address, domain int) string {
	zero := "0.0.0.0"
	if a.IP.Is6() {
		zero = "::"
	}
	if a.Domain != domain {
		zero += fmt.Sprintf("%%%d", a.Domain)
	}
	return zero + "/0"
}

// everyPort tells whether connections to every port are carried, to the same port.
func (b *builder) everyPort() bool {
	for _, r := range b.from.GetRealServers() {
		if r.GetPort() != 0 {
			return false
		}
	}
	return b.at.Port == 0
}

// profile makes the protocol profile, which virtual servers with the same protocol and
// forwarding method share.
func (b *builder) profile() string {
	mark := b.ours()
	if b.from.GetOnePacket() && b.protocol == "udp" {
		u := UDP{Path: full(b.options.Partition, prefix+"udp_ops"), IdleTimeout: udpIdle, DatagramLoadBalancing: true, Mark: mark}
		b.near("ops", "/one_packet", "one-packet scheduling is datagramLoadBalancing of a UDP profile on a BIG-IP, which reads datagrams where IPVS passes them on")
		if b.forwarding != forwardv1.Method_METHOD_NAT {
			b.refuse("/one_packet", "one-packet scheduling needs a UDP profile on a BIG-IP and %s a fastL4 profile: use NAT", methodName(b.forwarding))
		}
		b.out.UDP = &u
		return u.Path
	}
	if b.from.GetOnePacket() {
		b.refuse("/one_packet", "one-packet scheduling is for UDP: leave it out")
	}
	f := FastL4{IdleTimeout: tcpIdle, TCPCloseTimeout: tcpClose, PVAAcceleration: "full", Mark: mark}
	if b.protocol == "udp" {
		f.IdleTimeout = udpIdle
	}
	kind := "nat"
	switch b.forwarding {
	case forwardv1.Method_METHOD_DR:
		kind, f.LooseClose = "dr", true
	case forwardv1.Method_METHOD_TUN:
		kind, f.LooseClose, f.PVAAcceleration = "tun", true, "none"
	}
	f.Path = full(b.options.Partition, prefix+"fastl4_"+b.protocol+"_"+kind)
	b.out.FastL4 = &f
	return f.Path
}

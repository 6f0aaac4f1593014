package ltm

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	"github.com/poise-lb/poise/sdk"
)

// Timeouts that IPVS has unless it is told others; the device's are shorter.
const (
	tcpIdle  = "900"
	tcpClose = "120"
	udpIdle  = "300"
)

// Wanted is what a partition should hold of ours.
type Wanted struct {
	Options Options
	// Virtuals sorted by name.
	Virtuals []WantedVirtual
	// Kept are refused virtual servers that we may have made earlier: of them the device
	// keeps what it has, but real servers take no connections that should take none.
	Kept map[string]map[Endpoint]Intent
}

// WantedVirtual is a virtual server and what belongs to it. The objects hold what we have
// an opinion of; paths of members are made when nodes are known.
type WantedVirtual struct {
	Key *forwardv1.ServiceKey
	// Name of its objects.
	Name        string
	Pool        Pool
	Virtual     Virtual
	Address     VirtualAddress
	Persistence *Persistence
	// Exactly one is set.
	FastL4 *FastL4
	UDP    *UDP
	// Near are the mappings in use that are not exact.
	Near []Refusal
	// intents are what all its real servers should do, those that are left out too.
	intents map[Endpoint]Intent
}

// Want translates a request. A virtual server with a refusal that is not a warning is not
// wanted, but kept.
func Want(request []*forwardv1.VirtualServer, options Options) (Wanted, []Refusal) {
	w := Wanted{Options: options, Kept: map[string]map[Endpoint]Intent{}}
	var refusals []Refusal
	for _, v := range request {
		one, refused := options.want(v)
		if one.Name != "" && len(refused) > 0 {
			w.Kept[one.Name] = one.intents
		}
		refusals = append(refusals, refused...)
		if len(refused) == 0 {
			w.Virtuals = append(w.Virtuals, one)
		}
	}
	slices.SortStableFunc(w.Virtuals, func(a, b WantedVirtual) int { return strings.Compare(a.Name, b.Name) })
	refusals = append(refusals, w.agree()...)
	for _, v := range w.Virtuals {
		refusals = append(refusals, v.Near...)
	}
	return w, refusals
}

// agree refuses virtual servers that contradict each other.
func (w *Wanted) agree() []Refusal {
	count, silent := map[string]int{}, map[Address]bool{}
	for _, v := range w.Virtuals {
		count[v.Name]++
		silent[v.Address.Address] = silent[v.Address.Address] || !v.Address.ARP
	}
	var refusals []Refusal
	w.Virtuals = slices.DeleteFunc(w.Virtuals, func(v WantedVirtual) bool {
		path, message := "", ""
		switch {
		case count[v.Name] > 1:
			message = fmt.Sprintf("%s is there twice: remove one", v.Name)
		case w.Kept[v.Name] != nil:
			message = fmt.Sprintf("%s is there twice, the other time refused: remove one", v.Name)
		case v.Address.ARP && silent[v.Address.Address]:
			path, message = "/parameters_json/same_address", fmt.Sprintf("another virtual server on %s says same_address, and the address is announced or it is not: say it for all of them", v.Address.Address.IP)
		default:
			return false
		}
		refusals = append(refusals, Refusal{Key: v.Key, Path: path, Message: message})
		if w.Kept[v.Name] == nil {
			w.Kept[v.Name] = v.intents
		}
		return true
	})
	return refusals
}

// Validate says what of a virtual server the device cannot do, and, as warnings, what it
// does nearly. What has no error, Want can do.
func Validate(v *forwardv1.VirtualServer, options Options) []sdk.Problem {
	one, refused := options.want(v)
	var out []sdk.Problem
	for _, r := range append(refused, one.Near...) {
		out = append(out, sdk.Problem{Path: r.Path, Message: r.Message, Warning: r.Warning})
	}
	return out
}

// want translates one virtual server. Without refusals the result is complete; with some
// it has a name if the key can be read, and the members that could be.
func (o Options) want(v *forwardv1.VirtualServer) (WantedVirtual, []Refusal) {
	b := &builder{options: o, from: v, out: WantedVirtual{Key: v.GetKey(), intents: map[Endpoint]Intent{}}}
	if !b.key() {
		return b.out, b.refusals
	}
	parameters, refused := ParseParameters(v.GetParametersJson(), o.Partition)
	for _, r := range refused {
		b.refuse(r.Path, "%s", r.Message)
	}
	b.parameters = parameters
	b.out.Pool = Pool{
		Path: full(o.Partition, b.out.Name), ServiceDownAction: "none", AllowNAT: true, AllowSNAT: true,
		Mark: Mark{Description: o.describe("scheduler", v.GetScheduler())},
	}
	b.method()
	b.members()
	b.scheduler()
	b.persistence()
	b.virtual()
	return b.out, b.refusals
}

// builder makes one WantedVirtual.
type builder struct {
	options    Options
	from       *forwardv1.VirtualServer
	parameters Parameters
	at         Endpoint
	protocol   string
	forwarding forwardv1.Method
	out        WantedVirtual
	refusals   []Refusal
}

func (b *builder) refuse(path, format string, args ...any) {
	b.refusals = append(b.refusals, Refusal{Key: b.from.GetKey(), Path: path, Message: fmt.Sprintf(format, args...)})
}

// near accepts a mapping that is not exact if it was asked for.
func (b *builder) near(name, path, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(b.options.Approximate, name) && !slices.Contains(b.parameters.Approximate, name) {
		b.refuse(path, "%s; to accept that, add %q to `approximate` of the virtual server or the instance", text, name)
		return
	}
	b.out.Near = append(b.out.Near, Refusal{Key: b.from.GetKey(), Path: path, Message: text, Warning: true})
}

// Name is the name of the objects of a virtual server: poise_tcp_192.0.2.1_80,
// poise_udp_2001-db8--1_53. IPv6 addresses have dashes for colons.
func name(protocol string, ip netip.Addr, port uint16) string {
	return fmt.Sprintf("%s%s_%s_%d", prefix, protocol, strings.ReplaceAll(ip.String(), ":", "-"), port)
}

// prefix of the names of all our objects.
const prefix = "poise_"

// key reads the key; without one there is nothing to say about anything else.
func (b *builder) key() bool {
	k := b.from.GetKey()
	before := len(b.refusals)
	if k.GetFwmark() != 0 {
		b.refuse("/key/fwmark", "a firewall mark is a state of the director's netfilter, which a BIG-IP does not have: name address, port and protocol")
		return false
	}
	ip, err := netip.ParseAddr(k.GetAddress())
	switch {
	case err != nil || ip.Zone() != "" || ip.Is4In6():
		b.refuse("/key/address", "%q is not an address", k.GetAddress())
		return false
	case ip.Is6() != (k.GetFamily() == forwardv1.Family_FAMILY_IPV6) || k.GetFamily() == forwardv1.Family_FAMILY_UNSPECIFIED:
		b.refuse("/key/family", "%s is not of this family", ip)
	case ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast() || ip.IsLinkLocalUnicast():
		b.refuse("/key/address", "%s cannot be the address of a virtual server of a BIG-IP", ip)
	}
	if k.GetPort() > 65535 {
		b.refuse("/key/port", "%d is not a port", k.GetPort())
	}
	switch k.GetProtocol() {
	case forwardv1.Protocol_PROTOCOL_TCP:
		b.protocol = "tcp"
	case forwardv1.Protocol_PROTOCOL_UDP:
		b.protocol = "udp"
	case forwardv1.Protocol_PROTOCOL_SCTP:
		b.refuse("/key/protocol", "SCTP is not carried by this forwarder: which profile of the BIG-IP fits it is not known; leave the virtual server to IPVS")
	default:
		b.refuse("/key/protocol", "the protocol is missing")
	}
	if len(b.refusals) > before {
		return false
	}
	b.at = Endpoint{Address: Address{IP: ip, Domain: b.options.RouteDomain}, Port: uint16(k.GetPort())}
	b.out.Name = name(b.protocol, ip, b.at.Port)
	return true
}

// method finds the one forwarding method: the device translates for a virtual server, not
// for a member.
func (b *builder) method() {
	servers := b.from.GetRealServers()
	b.forwarding = forwardv1.Method_METHOD_NAT
	var tunnel forwardv1.TunnelType
	for i, r := range servers {
		at := fmt.Sprintf("/real_servers/%d", i)
		t := r.GetTunnelType()
		if t == forwardv1.TunnelType_TUNNEL_TYPE_UNSPECIFIED || r.GetMethod() != forwardv1.Method_METHOD_TUN {
			t = forwardv1.TunnelType_TUNNEL_TYPE_IPIP
		}
		switch r.GetMethod() {
		case forwardv1.Method_METHOD_NAT, forwardv1.Method_METHOD_DR, forwardv1.Method_METHOD_TUN:
		default:
			b.refuse(at+"/method", "the forwarding method is missing")
			return
		}
		if i == 0 {
			b.forwarding, tunnel = r.GetMethod(), t
		}
		switch {
		case r.GetMethod() != b.forwarding:
			b.refuse(at+"/method", "a BIG-IP translates addresses for a virtual server as a whole: give all its real servers, the sorry server too, one forwarding method")
		case t == forwardv1.TunnelType_TUNNEL_TYPE_GUE:
			b.refuse(at+"/tunnel_type", "a BIG-IP has no GUE tunnels to pool members: use IP-in-IP or GRE")
		case t != tunnel:
			b.refuse(at+"/tunnel_type", "the real servers of one virtual server have one type of tunnel on a BIG-IP")
		case r.GetMethod() == forwardv1.Method_METHOD_TUN && r.GetTunnelChecksum() > forwardv1.TunnelChecksum_TUNNEL_CHECKSUM_NONE:
			b.refuse(at+"/tunnel_checksum", "tunnels of a BIG-IP to pool members have no such checksum: leave it out")
		}
	}
	if b.forwarding == forwardv1.Method_METHOD_TUN {
		b.out.Pool.Profiles = []string{"/Common/ipip"}
		if tunnel == forwardv1.TunnelType_TUNNEL_TYPE_GRE {
			b.out.Pool.Profiles = []string{"/Common/gre"}
		}
	}
	if b.forwarding != forwardv1.Method_METHOD_NAT {
		b.out.Pool.AllowNAT, b.out.Pool.AllowSNAT = false, false
		if b.parameters.SNAT != "none" {
			b.refuse("/parameters_json/snat", "real servers with %s answer clients directly, which source address translation prevents: leave snat out or use NAT", methodName(b.forwarding))
		}
	}
}

func methodName(m forwardv1.Method) string { return strings.TrimPrefix(m.String(), "METHOD_") }

// persistence makes the source-addr profile, for persistence and for hashing schedulers.
func (b *builder) persistence() {
	v := b.from
	if v.GetPersistenceEngine() != "" {
		b.refuse("/persistence_engine", "persistence engine %s needs a virtual server of the BIG-IP that reads the protocol, which poise does not make: leave the virtual server to IPVS", v.GetPersistenceEngine())
	}
	hashed := v.GetScheduler() == "sh" || v.GetScheduler() == "mh"
	timeout := v.GetPersistenceTimeout()
	if timeout != nil && (!timeout.IsValid() || timeout.GetSeconds() < 0 || timeout.GetNanos() != 0 || timeout.AsDuration() > maxPersistence) {
		b.refuse("/persistence_timeout", "must be whole seconds, at most %d days", maxPersistence/(24*time.Hour))
		return
	}
	bits := b.at.IP.BitLen()
	if int(v.GetPersistencePrefix()) > bits || v.GetPersistencePrefix() > 128 {
		b.refuse("/persistence_prefix", "must be 0 (all) to %d, not %d", bits, v.GetPersistencePrefix())
		return
	}
	seconds := timeout.GetSeconds()
	if seconds == 0 && !hashed {
		return
	}
	p := Persistence{
		Path: full(b.options.Partition, b.out.Name), Timeout: fmt.Sprint(seconds), Mask: "none", HashAlgorithm: "default",
		Mirror: b.parameters.Mirror, Mark: Mark{Description: b.options.describe()},
	}
	if seconds == 0 {
		p.Timeout, p.Description = "180", b.options.describe("hash", v.GetScheduler())
	}
	if hashed {
		p.HashAlgorithm = "carp"
	}
	if prefix := int(v.GetPersistencePrefix()); seconds > 0 && prefix != 0 && prefix != bits {
		p.Mask = maskText(b.at.IP.Is6(), prefix)
	}
	if seconds > 0 && b.at.Port == 0 {
		b.near("persistence_port_0", "/persistence_timeout", "persistence over all ports is matchAcrossServices on a BIG-IP, which also joins other virtual servers of the address")
		p.MatchAcrossServices = true
	}
	b.out.Persistence = &p
}

// maxPersistence is what IPVS takes: the same virtual server may be on both.
const maxPersistence = 31 * 24 * time.Hour

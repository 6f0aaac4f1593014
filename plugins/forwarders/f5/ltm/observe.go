package ltm

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// Observe tells in poise's words what a partition holds, ours or not, as far as there are
// words for it: virtual servers of TCP, UDP and SCTP on one address. Counters are those of
// State.Stats.
func Observe(s State, o Owner) []*forwardv1.VirtualServer {
	var out []*forwardv1.VirtualServer
	for i := range s.Virtuals {
		v := &s.Virtuals[i]
		if partitionOf(v.Path) != s.Partition {
			continue
		}
		if one, _ := s.observe(v, o); one != nil {
			out = append(out, one)
		}
	}
	return out
}

var protocols = map[string]forwardv1.Protocol{
	"tcp": forwardv1.Protocol_PROTOCOL_TCP, "udp": forwardv1.Protocol_PROTOCOL_UDP, "sctp": forwardv1.Protocol_PROTOCOL_SCTP,
}

// observe translates a virtual server; nil and the reason if there are no words for it.
func (s *State) observe(v *Virtual, o Owner) (*forwardv1.VirtualServer, string) {
	ip := v.Destination.IP
	protocol, ok := protocols[v.Protocol]
	switch {
	case !ip.IsValid():
		return nil, "its destination " + strconv.Quote(v.DestinationText) + " is not an address and port"
	case !ok:
		return nil, "it carries the protocol " + v.Protocol + ", and virtual servers are TCP, UDP or SCTP"
	case ip.IsUnspecified():
		return nil, "it is for every address"
	}
	if bits, all, ok := maskBits(v.Mask); ok && bits != all {
		return nil, "it is for a network, and virtual servers are on one address"
	}
	out := &forwardv1.VirtualServer{
		Key:       &forwardv1.ServiceKey{Address: ip.String(), Port: uint32(v.Destination.Port), Protocol: protocol, Family: forwardv1.Family_FAMILY_IPV4},
		OnePacket: s.perDatagram(v), Foreign: !o.Owns(v.Mark), Counters: counters(s.Stats.Virtuals[v.Path]),
	}
	if ip.Is6() {
		out.Key.Family = forwardv1.Family_FAMILY_IPV6
	}
	pool := s.poolAt(v.Pool)
	out.Scheduler = s.scheduler(v, pool, o)
	s.observePersistence(v, out, o)
	if pool == nil {
		return out, ""
	}
	method, tunnel := forwarding(v, pool)
	weights := observedWeights(pool, o)
	for i, m := range pool.Members {
		if !m.Endpoint.IP.IsValid() {
			continue
		}
		r := &forwardv1.RealServer{
			Address: m.Endpoint.IP.String(), Port: uint32(m.Endpoint.Port), Weight: weights[i], Method: method, TunnelType: tunnel,
			UpperThreshold: clamp(m.ConnectionLimit), Offline: m.Intent == Offline, Sorry: o.note(m.Description, "sorry") != "",
			Counters: counters(s.Stats.Members[pool.Path][m.Path]),
		}
		if out.Scheduler == "ovf" && r.UpperThreshold == r.Weight {
			r.UpperThreshold = 0
		}
		out.RealServers = append(out.RealServers, r)
	}
	return out, ""
}

func counters(c *forwardv1.Counters) *forwardv1.Counters {
	if c == nil {
		return nil
	}
	return proto.CloneOf(c)
}

func clamp(n int) uint32 { return uint32(min(max(n, 0), maxWeight)) }

func (s *State) poolAt(path string) *Pool {
	i := slices.IndexFunc(s.Pools, func(p Pool) bool { return p.Path == path })
	if i < 0 || path == "" {
		return nil
	}
	return &s.Pools[i]
}

func (s *State) persistenceOf(v *Virtual) *Persistence {
	i := slices.IndexFunc(s.Persistences, func(p Persistence) bool { return slices.Contains(v.Persist, p.Path) })
	if i < 0 {
		return nil
	}
	return &s.Persistences[i]
}

func (s *State) perDatagram(v *Virtual) bool {
	return slices.ContainsFunc(s.UDPs, func(u UDP) bool {
		return u.DatagramLoadBalancing && slices.ContainsFunc(v.Profiles, func(p ProfileReference) bool { return p.Path == u.Path })
	})
}

func forwarding(v *Virtual, p *Pool) (forwardv1.Method, forwardv1.TunnelType) {
	for _, tunnel := range p.Profiles {
		switch name := baseName(tunnel); {
		case v.TranslateAddress:
		case strings.Contains(name, "gre"):
			return forwardv1.Method_METHOD_TUN, forwardv1.TunnelType_TUNNEL_TYPE_GRE
		case strings.Contains(name, "ipip"):
			return forwardv1.Method_METHOD_TUN, forwardv1.TunnelType_TUNNEL_TYPE_IPIP
		}
	}
	if !v.TranslateAddress {
		return forwardv1.Method_METHOD_DR, forwardv1.TunnelType_TUNNEL_TYPE_UNSPECIFIED
	}
	return forwardv1.Method_METHOD_NAT, forwardv1.TunnelType_TUNNEL_TYPE_UNSPECIFIED
}

// modes are what schedulers are on the device.
var modes = map[string]string{
	"rr": "round-robin", "wrr": "ratio-member", "lc": "least-connections-member", "wlc": "ratio-least-connections-member",
	"sed": "ratio-least-connections-member", "nq": "ratio-least-connections-member",
	"sh": "round-robin", "mh": "round-robin", "fo": "round-robin", "ovf": "round-robin",
}

// scheduler is what the pool's description says, if the pool does that, or what comes
// nearest.
func (s *State) scheduler(v *Virtual, p *Pool, o Owner) string {
	if p == nil {
		return "rr"
	}
	carp := false
	if profile := s.persistenceOf(v); profile != nil {
		carp = profile.HashAlgorithm == "carp"
	}
	said := o.note(p.Description, "scheduler")
	hashed, ordered := said == "sh" || said == "mh", said == "fo" || said == "ovf"
	if modes[said] == p.LoadBalancingMode && hashed == carp && (!ordered || p.MinActiveMembers == 1) {
		return said
	}
	if p.LoadBalancingMode == "round-robin" && carp {
		return "sh"
	}
	name, _ := nearest(p.LoadBalancingMode)
	return name
}

// nearest is the scheduler for a mode, and whether it is the same.
func nearest(mode string) (string, bool) {
	switch mode {
	case "round-robin":
		return "rr", true
	case "ratio-member":
		return "wrr", true
	case "ratio-node", "ratio-session":
		return "wrr", false
	case "least-connections-member":
		return "lc", true
	case "least-connections-node", "least-sessions":
		return "lc", false
	case "ratio-least-connections-member":
		return "wlc", true
	}
	return "wlc", false
}

func (s *State) observePersistence(v *Virtual, out *forwardv1.VirtualServer, o Owner) {
	p := s.persistenceOf(v)
	if p == nil || o.note(p.Description, "hash") != "" && (out.Scheduler == "sh" || out.Scheduler == "mh") {
		return
	}
	seconds, err := strconv.ParseInt(p.Timeout, 10, 32)
	if err != nil || seconds < 0 {
		seconds = int64(maxPersistence.Seconds())
	}
	out.PersistenceTimeout = &durationpb.Duration{Seconds: seconds}
	if bits, all, ok := maskBits(p.Mask); ok && bits != all && all == v.Destination.IP.BitLen() {
		out.PersistencePrefix = uint32(bits)
	}
}

// observedWeights are the weights that descriptions tell, as long as the ratios are those
// that come of them; else the ratios.
func observedWeights(p *Pool, o Owner) []uint32 {
	said := make([]uint64, len(p.Members))
	known := true
	for i, m := range p.Members {
		n, err := strconv.ParseUint(o.note(m.Description, "weight"), 10, 31)
		known = known && err == nil
		if o.note(m.Description, "sorry") == "" {
			said[i] = n
		}
	}
	ratios, _ := reduce(said)
	if !strings.HasPrefix(p.LoadBalancingMode, "ratio-") {
		ratios = slices.Repeat([]int{1}, len(said))
	}
	out := make([]uint32, len(p.Members))
	for i, m := range p.Members {
		sorry := o.note(m.Description, "sorry") != ""
		out[i] = clamp(m.Ratio)
		switch {
		case m.Intent == Drained:
			out[i] = 0
		case known && sorry:
			n, _ := strconv.ParseUint(o.note(m.Description, "weight"), 10, 31)
			out[i] = uint32(n)
		case known && ratios[i] == m.Ratio && (said[i] > 0 || m.Intent == Offline):
			out[i] = uint32(said[i])
		}
	}
	return out
}

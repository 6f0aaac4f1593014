package ltm

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

const (
	// maxRatio is what F5's own declarative interface takes.
	maxRatio = 100
	// maxWeight is the kernel's, which is what proto says too.
	maxWeight = 1<<31 - 1
	// realGroup is the priority group of real servers where there are groups; that of a
	// sorry server is 0.
	realGroup = 10
)

// members makes a member of each real server, without what the scheduler has to say.
func (b *builder) members() {
	seen := map[Endpoint]bool{}
	for i, r := range b.from.GetRealServers() {
		at := fmt.Sprintf("/real_servers/%d", i)
		e, ok := b.endpoint(r, at)
		if !ok {
			continue
		}
		if seen[e] {
			b.refuse(at+"/address", "%s is there twice", netip.AddrPortFrom(e.IP, e.Port))
			continue
		}
		seen[e] = true
		m := Member{
			Endpoint: e, Ratio: 1, ConnectionLimit: int(r.GetUpperThreshold()), Intent: intentFor(r), Monitor: "default", RateLimit: "disabled",
			Description: b.options.describe("weight", strconv.FormatUint(uint64(r.GetWeight()), 10)),
		}
		if r.GetSorry() {
			m.Description = b.options.describe("weight", strconv.FormatUint(uint64(r.GetWeight()), 10), "sorry", "yes")
		}
		if r.GetWeight() > maxWeight {
			b.refuse(at+"/weight", "must be 0 to %d, not %d", maxWeight, r.GetWeight())
		}
		if r.GetLowerThreshold() != 0 {
			b.refuse(at+"/lower_threshold", "a BIG-IP takes connections again as soon as there are fewer than the limit: leave lower_threshold (lthreshold) out")
		}
		if r.GetUpperThreshold() > maxLimit {
			b.refuse(at+"/upper_threshold", "must be 0 (none) to %d, not %d", maxLimit, r.GetUpperThreshold())
		}
		b.out.intents[e] = m.Intent
		b.out.Pool.Members = append(b.out.Pool.Members, m)
	}
	slices.SortFunc(b.out.Pool.Members, func(a, c Member) int { return compareEndpoints(a.Endpoint, c.Endpoint) })
}

func compareEndpoints(a, b Endpoint) int {
	if c := a.IP.Compare(b.IP); c != 0 {
		return c
	}
	if a.Domain != b.Domain {
		return a.Domain - b.Domain
	}
	return int(a.Port) - int(b.Port)
}

// intentFor is what a real server should do. A sorry server's priority group keeps
// connections from it, not its weight.
func intentFor(r *forwardv1.RealServer) Intent {
	switch {
	case r.GetOffline():
		return Offline
	case r.GetWeight() == 0 && !r.GetSorry():
		return Drained
	}
	return Enabled
}

func (b *builder) endpoint(r *forwardv1.RealServer, at string) (Endpoint, bool) {
	ip, err := netip.ParseAddr(r.GetAddress())
	e := Endpoint{Address: Address{IP: ip, Domain: b.options.RouteDomain}, Port: uint16(r.GetPort())}
	switch {
	case err != nil || ip.Zone() != "" || ip.Is4In6():
		b.refuse(at+"/address", "%q is not an address", r.GetAddress())
	case ip.IsLoopback() || ip.IsUnspecified():
		b.refuse(at+"/address", "%s is the director itself (local node): a BIG-IP serves nothing itself", ip)
	case ip.IsMulticast() || ip.IsLinkLocalUnicast():
		b.refuse(at+"/address", "%s cannot be a real server of a BIG-IP", ip)
	case ip.Is6() != b.at.IP.Is6():
		b.refuse(at+"/address", "%s is of another address family than the virtual server %s: tunnels of a BIG-IP to pool members do not join families", ip, b.at.IP)
	case r.GetPort() > 65535:
		b.refuse(at+"/port", "%d is not a port", r.GetPort())
	case b.forwarding != forwardv1.Method_METHOD_NAT && e.Port != b.at.Port:
		b.refuse(at+"/port", "with %s the real server gets packets as clients send them, to port %d and not %d: use the same port or NAT", methodName(b.forwarding), b.at.Port, e.Port)
	case b.forwarding == forwardv1.Method_METHOD_NAT && e.Port == 0 && b.at.Port != 0:
		b.refuse(at+"/port", "the port of the real server is missing")
	case b.forwarding == forwardv1.Method_METHOD_NAT && b.at.Port == 0 && e.Port != 0 && b.mixedPorts():
		b.refuse(at+"/port", "a BIG-IP translates ports for a virtual server as a whole: give all real servers a port, or none")
	default:
		return e, true
	}
	return e, false
}

func (b *builder) mixedPorts() bool {
	return slices.ContainsFunc(b.from.GetRealServers(), func(r *forwardv1.RealServer) bool { return r.GetPort() == 0 })
}

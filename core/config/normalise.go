package config

import (
	"net/netip"
	"slices"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// defaultPersistence is the timeout of a persistence that names none.
const defaultPersistence = 360 * time.Second

// normaliser puts right what does not fit together in a virtual server. What
// keepalived puts right in a file that runs today is a warning there and an error in
// poise's own format.
type normaliser struct {
	*draft
	severity Severity
}

func (n normaliser) fix(at place, format string, args ...any) {
	n.add(at, n.severity, format, args...)
}

// service finishes v, whose parts stand where the places say. It is false if nothing
// is left to serve.
func (n normaliser) service(at, sorryAt place, realServers []place, v *model.VirtualServer) bool {
	zeroPort := v.Key.FWMark == 0 && v.Key.Port == 0
	if zeroPort && v.Persistence.Timeout == 0 {
		n.fix(at, "virtual server %s has no port, which takes persistence: a persistence timeout of 360 s is set", v.Key)
		v.Persistence.Timeout = defaultPersistence
	}
	if v.OnePacket && v.Key.Protocol != model.UDP && v.Key.FWMark == 0 {
		n.fix(at, "one-packet scheduling (ops) of virtual server %s is for UDP only and has no effect: remove it", v.Key)
		v.OnePacket = false
	}
	n.realServers(realServers, v)
	if v.Sorry != nil {
		n.port(sorryAt, v, "sorry server", &v.Sorry.Addr, v.Sorry.Forwarding)
		if v.Sorry.Addr.Addr().Is6() != v.Key.IPv6 && v.Sorry.Forwarding.Method != model.TUN {
			n.fix(sorryAt, "sorry server %s is not of the family of virtual server %s, which only TUN can do: it is left out", v.Sorry.Addr.Addr(), v.Key)
			v.Sorry = nil
		}
	}
	if len(v.RealServers) == 0 {
		n.fix(at, "virtual server %s has no real servers: it is left out", v.Key)
		return false
	}
	n.quorum(at, v)
	slices.Sort(v.SchedulerFlags)
	v.SchedulerFlags = slices.Compact(v.SchedulerFlags)
	return true
}

func (n normaliser) realServers(places []place, v *model.VirtualServer) {
	var kept []model.RealServer
	first := map[netip.AddrPort]place{}
	for i, r := range v.RealServers {
		at := places[i]
		if r.Addr.Addr().Is6() != v.Key.IPv6 && r.Forwarding.Method != model.TUN {
			n.fix(at, "real server %s is not of the family of virtual server %s, which only TUN can do: it is left out", r.Addr.Addr(), v.Key)
			continue
		}
		n.port(at, v, "real server", &r.Addr, r.Forwarding)
		if before, ok := first[r.Addr]; ok {
			n.fix(at, "real server %s is there already (%s:%d): the second is left out", r.Addr, before.file, before.line)
			continue
		}
		if r.LowerThreshold > r.UpperThreshold && r.UpperThreshold > 0 {
			n.warnf(at, "the lower connection threshold %d of real server %s is above its upper one %d", r.LowerThreshold, r.Addr, r.UpperThreshold)
		}
		first[r.Addr] = at
		kept = append(kept, r)
	}
	v.RealServers = kept
}

// port gives a real or sorry server the port that its forwarding method demands: DR
// and TUN leave the packet's port alone, so it is the virtual server's.
func (n normaliser) port(at place, v *model.VirtualServer, what string, a *netip.AddrPort, f model.Forwarding) {
	want := v.Key.Port
	switch {
	case a.Port() == want || f.Method == model.NAT && a.Port() != 0:
		return
	case v.Key.FWMark != 0:
		n.fix(at, "%s %s has a port, which %s cannot change for a firewall mark: the port is cleared", what, a, f.Method)
	case a.Port() != 0:
		n.fix(at, "%s %s has another port than virtual server %s, which %s cannot change: the port is set to %d", what, a, v.Key, f.Method, want)
	}
	*a = netip.AddrPortFrom(a.Addr(), want)
}

func (n normaliser) quorum(at place, v *model.VirtualServer) {
	var sum uint64
	for _, r := range v.RealServers {
		sum += uint64(r.Weight)
	}
	if sum == 0 {
		n.warnf(at, "all real servers of virtual server %s have weight 0: it takes no connections and never has its quorum", v.Key)
	}
	if reachable := max(sum, 1); uint64(v.Quorum) > reachable {
		n.fix(at, "quorum %d of virtual server %s is more than its real servers weigh together: it is set to %d", v.Quorum, v.Key, reachable)
		v.Quorum = uint32(reachable)
	}
	if v.Hysteresis >= v.Quorum {
		n.fix(at, "hysteresis %d of virtual server %s is not less than its quorum %d: it is set to %d", v.Hysteresis, v.Key, v.Quorum, v.Quorum-1)
		v.Hysteresis = v.Quorum - 1
	}
}

package config

import (
	"fmt"
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

// fix tells what does not fit, and where that is only a warning, how it is put right.
func (n normaliser) fix(at place, remedy, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if n.severity == Warning {
		message += ": " + remedy
	}
	n.add(at, n.severity, "%s", message)
}

// service finishes v, whose parts stand where the places say, and tells which of its real
// servers are left, by their indices. It is false if nothing is left to serve.
func (n normaliser) service(at, sorryAt place, realServers []place, v *model.VirtualServer) ([]int, bool) {
	zeroPort := v.Key.FWMark == 0 && v.Key.Port == 0
	if zeroPort && v.Persistence.Timeout == 0 {
		n.fix(at, "a persistence timeout of 360 s is set", "virtual server %s has no port, which takes persistence", v.Key)
		v.Persistence.Timeout = defaultPersistence
	}
	if v.OnePacket && v.Key.Protocol != model.UDP && v.Key.FWMark == 0 {
		n.fix(at, "it has no effect", "one-packet scheduling of virtual server %s, which is for UDP only", v.Key)
		v.OnePacket = false
	}
	left := n.realServers(realServers, v)
	if v.Sorry != nil {
		n.port(sorryAt, v, "sorry server", &v.Sorry.Addr, v.Sorry.Forwarding)
		if v.Sorry.Addr.Addr().Is6() != v.Key.IPv6 && v.Sorry.Forwarding.Method != model.TUN {
			n.fix(sorryAt, "it is left out", "sorry server %s is not of the family of virtual server %s, which only TUN can do", v.Sorry.Addr.Addr(), v.Key)
			v.Sorry = nil
		}
	}
	if len(v.RealServers) == 0 {
		n.fix(at, "it is left out", "virtual server %s has no real servers", v.Key)
		return nil, false
	}
	n.quorum(at, v)
	slices.Sort(v.SchedulerFlags)
	v.SchedulerFlags = slices.Compact(v.SchedulerFlags)
	return left, true
}

func (n normaliser) realServers(places []place, v *model.VirtualServer) []int {
	var kept []model.RealServer
	var left []int
	first := map[netip.AddrPort]place{}
	for i, r := range v.RealServers {
		at := places[i]
		if r.Addr.Addr().Is6() != v.Key.IPv6 && r.Forwarding.Method != model.TUN {
			n.fix(at, "it is left out", "real server %s is not of the family of virtual server %s, which only TUN can do", r.Addr.Addr(), v.Key)
			continue
		}
		n.port(at, v, "real server", &r.Addr, r.Forwarding)
		if before, ok := first[r.Addr]; ok {
			n.fix(at, "the second is left out", "real server %s is there already (%s:%d)", r.Addr, before.file, before.line)
			continue
		}
		if r.LowerThreshold > r.UpperThreshold && r.UpperThreshold > 0 {
			n.warnf(at, "the lower connection threshold %d of real server %s is above its upper one %d", r.LowerThreshold, r.Addr, r.UpperThreshold)
		}
		first[r.Addr] = at
		kept, left = append(kept, r), append(left, i)
	}
	v.RealServers = kept
	return left
}

// port gives a real or sorry server the port that its forwarding method demands: DR
// and TUN leave the packet's port alone, so it is the virtual server's.
func (n normaliser) port(at place, v *model.VirtualServer, what string, a *netip.AddrPort, f model.Forwarding) {
	want := v.Key.Port
	switch {
	case a.Port() == want || f.Method == model.NAT && a.Port() != 0:
		return
	case v.Key.FWMark != 0:
		n.fix(at, "the port is cleared", "%s %s has a port, which %s cannot change for a firewall mark", what, a, f.Method)
	case a.Port() != 0:
		n.fix(at, fmt.Sprintf("the port is set to %d", want), "%s %s has another port than virtual server %s, which %s cannot change", what, a, v.Key, f.Method)
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
		n.fix(at, fmt.Sprintf("it is set to %d", reachable), "quorum %d of virtual server %s is more than its real servers weigh together, %d", v.Quorum, v.Key, reachable)
		v.Quorum = uint32(reachable)
	}
	if v.Hysteresis >= v.Quorum {
		n.fix(at, fmt.Sprintf("it is set to %d", v.Quorum-1), "hysteresis %d of virtual server %s is not less than its quorum %d", v.Hysteresis, v.Key, v.Quorum)
		v.Hysteresis = v.Quorum - 1
	}
}

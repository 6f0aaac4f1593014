package ltm

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// Import tells in poise's words what the partition of a state holds, ours or not, with the
// checks nearest to what watches it, and in notes what is left out or differs. Pools,
// profiles and monitors of other partitions are used if the state has them.
func Import(s State, o Owner, monitors []Monitor) ([]*forwardv1.ImportedVirtualServer, []*forwardv1.ImportNote) {
	i := &importer{s: &s, o: o, monitors: map[string]Monitor{}, noted: map[string]bool{}}
	for _, m := range monitors {
		i.monitors[m.Path] = m
	}
	virtuals := slices.Clone(s.Virtuals)
	slices.SortStableFunc(virtuals, func(a, b Virtual) int { return strings.Compare(a.Path, b.Path) })
	var out []*forwardv1.ImportedVirtualServer
	for k := range virtuals {
		if partitionOf(virtuals[k].Path) != s.Partition {
			continue
		}
		if one := i.virtual(&virtuals[k]); one != nil {
			out = append(out, one)
		}
	}
	return out, i.notes
}

type importer struct {
	s        *State
	o        Owner
	monitors map[string]Monitor
	notes    []*forwardv1.ImportNote
	// noted are notes that are there, so that a pool of several virtual servers has each
	// once.
	noted map[string]bool
}

func (i *importer) note(object, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if key := object + " " + text; !i.noted[key] {
		i.noted[key] = true
		i.notes = append(i.notes, &forwardv1.ImportNote{Object: object, Message: text})
	}
}

func (i *importer) virtual(v *Virtual) *forwardv1.ImportedVirtualServer {
	for _, kind := range []string{"ipForward", "l2Forward", "reject", "internal", "dhcpRelay"} {
		if slices.Contains(v.Other, kind) {
			i.note(v.Path, "left out: it is a virtual server of the kind %s, which has no pool", kind)
			return nil
		}
	}
	one, reason := i.s.observe(v, i.o)
	pool := i.s.poolAt(v.Pool)
	switch {
	case one == nil:
		i.note(v.Path, "left out: %s", reason)
		return nil
	case v.Pool == "":
		i.note(v.Path, "left out: it has no pool")
		return nil
	case pool == nil:
		i.note(v.Path, "left out: its pool %s was not found", v.Pool)
		return nil
	}
	one.Counters = nil
	i.pool(pool, one)
	i.settings(v, one)
	i.profiles(v)
	if !v.Enabled {
		i.note(v.Path, "it is disabled on the BIG-IP; poise would serve it")
	}
	return &forwardv1.ImportedVirtualServer{Origin: v.Path, VirtualServer: one, Checks: i.checks(pool)}
}

// pool looks at what of a pool differs.
func (i *importer) pool(p *Pool, one *forwardv1.VirtualServer) {
	if _, exact := nearest(p.LoadBalancingMode); !exact {
		i.note(p.Path, "load balancing mode %s has no equivalent: scheduler %s comes nearest", p.LoadBalancingMode, one.Scheduler)
	}
	if p.ServiceDownAction != "none" {
		i.note(p.Path, "action on service down %s is left out: connections to a real server that is down go on", p.ServiceDownAction)
	}
	if p.SlowRampTime > 0 && !i.o.Owns(p.Mark) {
		i.note(p.Path, "the slow ramp of %d s is left out: IPVS has none", p.SlowRampTime)
	}
	if p.QueueOnConnectionLimit {
		i.note(p.Path, "queuing at the connection limit is left out")
	}
	for _, m := range p.Members {
		i.member(p, m)
	}
	for _, r := range one.RealServers {
		r.Counters = nil
		if r.Offline {
			i.note(p.Path, "real server %s port %d is forced offline on the BIG-IP; poise has no such setting: drain it or leave it out", r.Address, r.Port)
			r.Weight, r.Offline = 0, false
		} else if r.Weight == 0 {
			i.note(p.Path, "real server %s port %d is disabled on the BIG-IP: it has weight 0", r.Address, r.Port)
		}
	}
	i.groups(p, one)
}

func (i *importer) member(p *Pool, m Member) {
	if !m.Endpoint.IP.IsValid() {
		i.note(p.Path, "member %s is left out: it has a name (%s) for an address", m.Path, m.FQDN)
	}
	if m.RateLimit != "disabled" && m.RateLimit != "0" {
		i.note(p.Path, "the rate limit %s of member %s is left out", m.RateLimit, m.Path)
	}
	if m.Monitor != "default" && m.Monitor != "" && m.Monitor != "none" {
		i.note(p.Path, "member %s has a monitor of its own (%s), which is left out", m.Path, m.Monitor)
	}
	if m.Monitor == "none" {
		i.note(p.Path, "member %s is not monitored on the BIG-IP; poise checks it like the others", m.Path)
	}
}

// groups reads priority groups: a group of one behind the others is a sorry server, one
// for each member is the scheduler fo.
func (i *importer) groups(p *Pool, one *forwardv1.VirtualServer) {
	if p.MinActiveMembers == 0 || one.Scheduler == "fo" || one.Scheduler == "ovf" {
		return
	}
	groups := map[int][]*forwardv1.RealServer{}
	var order []int
	k := 0
	for _, m := range p.Members {
		if !m.Endpoint.IP.IsValid() {
			continue
		}
		groups[m.PriorityGroup] = append(groups[m.PriorityGroup], one.RealServers[k])
		order = append(order, m.PriorityGroup)
		k++
	}
	slices.Sort(order)
	order = slices.Compact(order)
	switch {
	case len(order) < 2:
	case p.MinActiveMembers == 1 && len(order) == 2 && len(groups[order[0]]) == 1:
		groups[order[0]][0].Sorry = true
	case p.MinActiveMembers == 1 && len(order) == k && one.Scheduler == "rr":
		one.Scheduler = "fo"
		for n, group := range order {
			if r := groups[group][0]; r.Weight > 0 {
				r.Weight = uint32(n + 1)
			}
		}
	default:
		i.note(p.Path, "its priority groups (%d of them, at least %d active members) have no equivalent: all real servers are used at once", len(order), p.MinActiveMembers)
	}
}

// settings turns what only a BIG-IP knows into parameters.
func (i *importer) settings(v *Virtual, one *forwardv1.VirtualServer) {
	p := Parameters{Mirror: v.Mirror, ConnectionLimit: v.ConnectionLimit}
	switch {
	case v.SNATType == "automap":
		p.SNAT = "automap"
	case v.SNATType == "snat":
		p.SNAT = v.SNATPool
	}
	if p.SNAT != "" {
		i.note(v.Path, "source address translation %s stays on the BIG-IP: IPVS has none, and its real servers have to answer through the director (NAT) or directly (DR)", p.SNAT)
	}
	if v.VLANsEnabled && len(v.VLANs) > 0 {
		p.VLANs = v.VLANs
	} else if len(v.VLANs) > 0 {
		i.note(v.Path, "that it does not listen on %s is left out", strings.Join(v.VLANs, ", "))
	}
	if one.OnePacket {
		p.Approximate = append(p.Approximate, "ops")
	}
	if slices.Contains(Approximations, one.Scheduler) {
		p.Approximate = append(p.Approximate, one.Scheduler)
	}
	if one.PersistenceTimeout != nil && v.Destination.Port == 0 {
		p.Approximate = append(p.Approximate, "persistence_port_0")
	}
	if raw, err := json.Marshal(p); err == nil && string(raw) != "{}" {
		one.ParametersJson = raw
	}
	i.leftOut(v)
	i.persistence(v)
}

// leftOut names settings of a virtual server that poise has not.
func (i *importer) leftOut(v *Virtual) {
	for _, odd := range []struct {
		is   bool
		text string
	}{
		{v.RateLimit != "disabled" && v.RateLimit != "0", "its rate limit " + v.RateLimit + " is left out"},
		{v.Source != "" && !strings.HasSuffix(v.Source, "/0"), "that it is for clients of " + v.Source + " only is left out"},
		{v.SourcePort != "preserve", "source port " + v.SourcePort + " is left out: IPVS preserves it"},
		{v.Stateless, "that it is stateless is left out"},
		{v.FallbackPersistence != "", "fallback persistence " + v.FallbackPersistence + " is left out"},
		{v.ServiceDownImmediateAction != "none", "immediate action on service down " + v.ServiceDownImmediateAction + " is left out"},
		{len(v.Rules) > 0, "iRules are left out: " + strings.Join(v.Rules, ", ")},
		{len(v.Policies) > 0, "policies are left out: " + strings.Join(v.Policies, ", ")},
	} {
		if odd.is {
			i.note(v.Path, "%s", odd.text)
		}
	}
	for _, key := range v.Other {
		i.note(v.Path, "%s is left out", key)
	}
}

func (i *importer) persistence(v *Virtual) {
	for _, persist := range v.Persist {
		k := slices.IndexFunc(i.s.Persistences, func(p Persistence) bool { return p.Path == persist })
		if k < 0 {
			i.note(v.Path, "persistence %s is left out: only source address persistence can be translated", persist)
			continue
		}
		p := i.s.Persistences[k]
		if p.Timeout == "indefinite" {
			i.note(v.Path, "persistence without end is %d days", maxPersistence/(24*3600e9))
		}
		if p.HashAlgorithm != "default" && !i.o.Owns(p.Mark) {
			i.note(v.Path, "the hash %s of persistence %s is left out", p.HashAlgorithm, persist)
		}
		if (p.MatchAcrossServices || p.MatchAcrossVirtuals || p.MatchAcrossPools) && !i.o.Owns(p.Mark) {
			i.note(v.Path, "that persistence %s matches across services, virtual servers or pools is left out", persist)
		}
	}
}

// layer4 are profiles that a virtual server of IPVS is like, by kind and by the names of
// those that every device has.
var layer4 = []string{
	"fastl4", "tcp", "udp", "fastL4", "tcp-lan-optimized", "tcp-wan-optimized", "tcp-mobile-optimized",
	"f5-tcp-lan", "f5-tcp-wan", "f5-tcp-mobile", "f5-tcp-progressive", "tcp-legacy", "udp_decrement_ttl",
}

func (i *importer) profiles(v *Virtual) {
	for _, p := range v.Profiles {
		kind := p.Kind
		if kind == "" {
			kind = baseName(p.Path)
		}
		known := slices.ContainsFunc(i.s.FastL4s, func(f FastL4) bool { return f.Path == p.Path }) ||
			slices.ContainsFunc(i.s.UDPs, func(u UDP) bool { return u.Path == p.Path })
		switch {
		case known || slices.Contains(layer4, kind):
		case kind == "client-ssl" || strings.HasPrefix(kind, "clientssl"):
			i.note(v.Path, "it ends TLS on the BIG-IP (profile %s): without it real servers get what clients send, and have to end TLS themselves", p.Path)
		case kind == "server-ssl" || strings.HasPrefix(kind, "serverssl"):
			i.note(v.Path, "it speaks TLS to real servers (profile %s), which is left out", p.Path)
		default:
			i.note(v.Path, "profile %s (%s) is left out: connections are forwarded, not read", p.Path, path.Base(kind))
		}
	}
}

func (i *importer) checks(p *Pool) []*forwardv1.ImportedCheck {
	paths, least := parseMonitors(p.Monitor)
	if least > 0 && least < len(paths) {
		i.note(p.Path, "%d of its %d monitors are enough on the BIG-IP; with poise all checks have to be up", least, len(paths))
	}
	if len(paths) == 0 && !i.o.Owns(p.Mark) {
		i.note(p.Path, "it has no monitor, so there is no check")
	}
	var out []*forwardv1.ImportedCheck
	for _, monitor := range paths {
		m, ok := i.monitors[full(partitionOf(p.Path), monitor)]
		if !ok {
			i.note(p.Path, "monitor %s is left out: poise does not know its kind", monitor)
			continue
		}
		check, notes := m.check()
		for _, text := range notes {
			i.note(m.Path, "%s", text)
		}
		if check != nil {
			out = append(out, check)
		}
	}
	return out
}

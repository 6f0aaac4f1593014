package config

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

	"github.com/poise-lb/poise/core/model"
)

func (b *builder) services(all []model.VirtualServer) []any {
	var out []any
	for _, v := range all {
		out = append(out, b.service(v))
	}
	return out
}

func (b *builder) service(v model.VirtualServer) mapping {
	var m mapping
	if v.Key.FWMark != 0 {
		family := "inet"
		if v.Key.IPv6 {
			family = "inet6"
		}
		m = mapping{{"fwmark", v.Key.FWMark}, {"family", family}}
	} else {
		m = mapping{
			{"address", endpoint(netip.AddrPortFrom(v.Key.Addr, v.Key.Port))},
			{"protocol", strings.ToLower(v.Key.Protocol.String())},
		}
	}
	m = append(m, pair{"scheduler", v.Scheduler}, pair{"scheduler_flags", list(v.SchedulerFlags)},
		pair{"forwarding", forwarding(v.Forwarding)}, pair{"persistence", persistence(v.Persistence)},
		pair{"one_packet", v.OnePacket})
	m = append(m, carriers(v.Carriers)...)
	if v.Quorum != 1 {
		m = append(m, pair{"quorum", v.Quorum})
	}
	m = append(m, pair{"hysteresis", v.Hysteresis})
	if s := v.Sorry; s != nil {
		entry := mapping{{"address", endpoint(s.Addr)}}
		if s.Forwarding != v.Forwarding {
			entry = append(entry, pair{"forwarding", forwarding(s.Forwarding)})
		}
		m = append(m, pair{"sorry_server", append(entry, pair{"inhibit", s.Inhibit})})
	}
	checks := make([][]any, len(v.RealServers))
	for i, r := range v.RealServers {
		for _, c := range r.Checks {
			checks[i] = append(checks[i], b.check(c, r.Addr, v.Key.Port))
		}
	}
	shared := len(checks) > 0 && !slices.ContainsFunc(checks, func(c []any) bool { return !slices.Equal(c, checks[0]) })
	if shared {
		m = append(m, pair{"checks", checks[0]})
	}
	var servers []any
	for i, r := range v.RealServers {
		entry := realServerOf(r, v.Forwarding)
		if !shared {
			entry = append(entry, pair{"checks", checks[i]})
		}
		servers = append(servers, entry)
	}
	return append(m, pair{"real_servers", servers})
}

func realServerOf(r model.RealServer, above model.Forwarding) mapping {
	m := mapping{{"address", endpoint(r.Addr)}}
	if r.Weight != 1 {
		m = append(m, pair{"weight", always(r.Weight)})
	}
	if r.Forwarding != above {
		m = append(m, pair{"forwarding", forwarding(r.Forwarding)})
	}
	return append(m, pair{"upper_threshold", r.UpperThreshold}, pair{"lower_threshold", r.LowerThreshold},
		pair{"inhibit_on_failure", r.InhibitOnFailure}, pair{"alpha", r.Alpha})
}

func forwarding(f model.Forwarding) any {
	if f.Tunnel == (model.Tunnel{}) {
		return f.Method.String()
	}
	return mapping{
		{"method", f.Method.String()}, {"tunnel", f.Tunnel.Type},
		{"port", f.Tunnel.Port}, {"checksum", f.Tunnel.Checksum},
	}
}

func persistence(p model.Persistence) any {
	switch {
	case p == model.Persistence{}:
		return mapping{}
	case p.Timeout == 0:
		return mapping{{"timeout", always("0s")}, {"engine", p.Engine}}
	case p.Prefix == 0 && p.Engine == "":
		return p.Timeout
	}
	return mapping{{"timeout", p.Timeout}, {"prefix", p.Prefix}, {"engine", p.Engine}}
}

func groups(all []model.FailoverGroup) []any {
	var out []any
	for _, g := range all {
		if len(g.Instances) == 1 && g.Instances[0].Name == g.Name {
			out = append(out, instanceOf(g.Instances[0]))
			continue
		}
		var instances []any
		for _, i := range g.Instances {
			instances = append(instances, instanceOf(i))
		}
		out = append(out, mapping{{"name", g.Name}, {"instances", instances}})
	}
	return out
}

func instanceOf(i model.Instance) mapping {
	m := mapping{
		{"name", i.Name}, {"interface", i.Interface}, {"virtual_router_id", i.VirtualRouterID},
		{"priority", i.Priority}, {"advert_interval", i.AdvertInterval},
	}
	if i.NoPreempt {
		m = append(m, pair{"preempt", always(false)})
	}
	if i.PreemptDelay != 0 {
		m = append(m, pair{"preempt_delay", i.PreemptDelay})
	}
	m = append(m, pair{"down_timer_adverts", i.DownTimerAdverts})
	if i.AuthPass != "" {
		m = append(m, pair{"auth", mapping{{"pass", i.AuthPass}}})
	}
	return append(m,
		pair{"source", i.Source},
		pair{"addresses", virtualAddresses(i.Addresses)}, pair{"excluded", virtualAddresses(i.Excluded)},
		pair{"garp", mapping{
			{"repeat", always(i.GARPRepeat)}, {"delay", i.GARPDelay}, {"refresh", i.GARPRefresh},
		}})
}

func virtualAddresses(all []model.VirtualAddress) []any {
	var out []any
	for _, a := range all {
		s := a.Prefix.String()
		if a.Prefix.IsSingleIP() {
			s = a.Prefix.Addr().String()
		}
		if a == (model.VirtualAddress{Prefix: a.Prefix}) {
			out = append(out, s)
			continue
		}
		out = append(out, mapping{
			{"address", s}, {"interface", a.Interface}, {"label", a.Label},
			{"broadcast", a.Broadcast}, {"scope", a.Scope},
		})
	}
	return out
}

func plugins(all []model.Plugin) mapping {
	var out mapping
	for _, p := range all {
		m := mapping{
			{"path", p.Path}, {"args", list(p.Args)}, {"sha256", p.SHA256}, {"user", p.User},
			{"parameters", json.RawMessage(p.Parameters)},
		}
		if p.Capabilities != nil {
			m = append(m, pair{"capabilities", always(p.Capabilities)})
		}
		if p.PlainText {
			m = append(m, pair{"tls", always(false)})
		}
		out = append(out, pair{p.Name, m})
	}
	return out
}

func list(all []string) []any {
	var out []any
	for _, s := range all {
		out = append(out, s)
	}
	return out
}

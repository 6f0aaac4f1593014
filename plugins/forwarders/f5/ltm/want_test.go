package ltm_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// member is what tests look at of a member.
type member struct {
	ratio, group, limit int
	intent              ltm.Intent
}

func members(p ltm.Pool) []member {
	var out []member
	for _, m := range p.Members {
		out = append(out, member{m.Ratio, m.PriorityGroup, m.ConnectionLimit, m.Intent})
	}
	return out
}

func TestSchedulers(t *testing.T) {
	for _, test := range []struct {
		scheduler, parameters string
		weights               []uint32
		mode                  string
		active                int
		want                  []member
		carp                  bool
	}{
		{"rr", "", []uint32{3, 0, 2}, "round-robin", 0, []member{{ratio: 1}, {ratio: 1, intent: ltm.Drained}, {ratio: 1}}, false},
		{"wrr", "", []uint32{300, 0, 200}, "ratio-member", 0, []member{{ratio: 3}, {ratio: 1, intent: ltm.Drained}, {ratio: 2}}, false},
		{"wrr", `{"scale_weights":true}`, []uint32{1, 100000, 50001}, "ratio-member", 0, []member{{ratio: 1}, {ratio: 100}, {ratio: 51}}, false},
		{"lc", "", []uint32{300, 200, 1}, "least-connections-member", 0, []member{{ratio: 1}, {ratio: 1}, {ratio: 1}}, false},
		{"wlc", "", []uint32{300, 200, 100}, "ratio-least-connections-member", 0, []member{{ratio: 3}, {ratio: 2}, {ratio: 1}}, false},
		{"sed", `{"approximate":["sed"]}`, []uint32{4, 2, 2}, "ratio-least-connections-member", 0, []member{{ratio: 2}, {ratio: 1}, {ratio: 1}}, false},
		{"nq", `{"approximate":["nq"]}`, []uint32{4, 2, 2}, "ratio-least-connections-member", 0, []member{{ratio: 2}, {ratio: 1}, {ratio: 1}}, false},
		{"sh", `{"approximate":["sh"]}`, []uint32{4, 2, 2}, "round-robin", 0, []member{{ratio: 1}, {ratio: 1}, {ratio: 1}}, true},
		{"mh", `{"approximate":["mh"]}`, []uint32{4, 2, 2}, "round-robin", 0, []member{{ratio: 1}, {ratio: 1}, {ratio: 1}}, true},
		{"fo", "", []uint32{10, 30, 20}, "round-robin", 1, []member{{ratio: 1, group: 11}, {ratio: 1, group: 13}, {ratio: 1, group: 12}}, false},
		{"fo", "", []uint32{10, 10, 0}, "round-robin", 1, []member{{ratio: 1, group: 12}, {ratio: 1, group: 11}, {ratio: 1, group: 10, intent: ltm.Drained}}, false},
		{"ovf", `{"approximate":["ovf"]}`, []uint32{10, 30, 20}, "round-robin", 1, []member{{ratio: 1, group: 11, limit: 10}, {ratio: 1, group: 13, limit: 30}, {ratio: 1, group: 12, limit: 20}}, false},
	} {
		t.Run(test.scheduler, func(t *testing.T) {
			v := service("192.0.2.1", 80)
			v.Scheduler, v.ParametersJson = test.scheduler, []byte(test.parameters)
			for i, w := range test.weights {
				v.RealServers = append(v.RealServers, server("10.0.0."+string(rune('1'+i)), 80, w))
			}
			w := want(t, v).Virtuals[0]
			if w.Pool.LoadBalancingMode != test.mode || w.Pool.MinActiveMembers != test.active {
				t.Errorf("mode %s with at least %d", w.Pool.LoadBalancingMode, w.Pool.MinActiveMembers)
			}
			if got := members(w.Pool); !slices.Equal(got, test.want) {
				t.Errorf("members are %+v, want %+v", got, test.want)
			}
			if carp := w.Persistence != nil && w.Persistence.HashAlgorithm == "carp"; carp != test.carp {
				t.Errorf("carp: %v", carp)
			}
			if test.parameters != "" && !strings.Contains(test.parameters, "scale") {
				v.ParametersJson = nil
				if _, refused := ltm.Want([]*forwardv1.VirtualServer{v}, options); len(refused) != 1 || refused[0].Path != "/scheduler" || refused[0].Warning {
					t.Errorf("without approximate: %v", refused)
				}
				accepted := options
				accepted.Approximate = []string{test.scheduler}
				if _, refused := ltm.Want([]*forwardv1.VirtualServer{v}, accepted); len(refused) != 1 || !refused[0].Warning {
					t.Errorf("with approximate of the instance: %v", refused)
				}
			}
		})
	}
}

func TestSorryServer(t *testing.T) {
	v := service("192.0.2.1", 80, server("10.0.0.1", 80, 2), server("10.0.0.2", 80, 4), server("10.0.0.9", 80, 1))
	v.RealServers[0].Offline, v.RealServers[2].Sorry = true, true
	w := want(t, v).Virtuals[0]
	expected := []member{{1, 10, 0, ltm.Offline}, {2, 10, 0, ltm.Enabled}, {1, 0, 0, ltm.Enabled}}
	if got := members(w.Pool); !slices.Equal(got, expected) || w.Pool.MinActiveMembers != 1 {
		t.Errorf("members are %+v, want %+v, at least %d", got, expected, w.Pool.MinActiveMembers)
	}
	// Not needed is not drained.
	v.RealServers[2].Weight = 0
	if got := members(want(t, v).Virtuals[0].Pool)[2].intent; got != ltm.Enabled {
		t.Errorf("a sorry server that is not needed is %s", got)
	}
	v.ParametersJson = []byte(`{"on_failure":"remove"}`)
	if got := members(want(t, v).Virtuals[0].Pool); !slices.Equal(got, expected[1:]) {
		t.Errorf("with remove: %+v", got)
	}
}

func TestMethods(t *testing.T) {
	v := service("192.0.2.1", 80, server("10.0.0.1", 80, 1))
	v.RealServers[0].Method = forwardv1.Method_METHOD_DR
	w := want(t, v).Virtuals[0]
	if w.Virtual.TranslateAddress || w.Virtual.TranslatePort || w.Virtual.SNATType != "none" || !w.FastL4.LooseClose || len(w.Pool.Profiles) != 0 {
		t.Errorf("DR: %+v %+v", w.Virtual, w.FastL4)
	}
	v.RealServers[0].Method = forwardv1.Method_METHOD_TUN
	w = want(t, v).Virtuals[0]
	if w.Virtual.TranslateAddress || w.FastL4.PVAAcceleration != "none" || !slices.Equal(w.Pool.Profiles, []string{"/Common/ipip"}) {
		t.Errorf("TUN: %+v %+v", w.Virtual, w.FastL4)
	}
	v.RealServers[0].TunnelType = forwardv1.TunnelType_TUNNEL_TYPE_GRE
	if w = want(t, v).Virtuals[0]; !slices.Equal(w.Pool.Profiles, []string{"/Common/gre"}) {
		t.Errorf("GRE: %v", w.Pool.Profiles)
	}
	v = service("192.0.2.1", 80, server("10.0.0.1", 8080, 1))
	v.ParametersJson = []byte(`{"snat":"automap","mirror":true,"connection_limit":7,"vlans":["b","/P/a"],"same_address":true}`)
	w = want(t, v).Virtuals[0]
	if !w.Virtual.TranslateAddress || !w.Virtual.TranslatePort || w.Virtual.SNATType != "automap" || !w.Virtual.Mirror || w.Virtual.ConnectionLimit != 7 ||
		!slices.Equal(w.Virtual.VLANs, []string{"/Common/b", "/P/a"}) || w.Address.ARP || w.Address.ICMPEcho != "disabled" || w.Address.RouteAdvertisement != "disabled" {
		t.Errorf("NAT: %+v %+v", w.Virtual, w.Address)
	}
}

func TestPersistence(t *testing.T) {
	v := service("2001:db8::1", 0, server("2001:db8::10", 0, 1))
	v.PersistenceTimeout, v.PersistencePrefix = durationpb.New(50e9), 64
	v.ParametersJson = []byte(`{"approximate":["persistence_port_0"]}`)
	w := want(t, v).Virtuals[0]
	if p := w.Persistence; p.Timeout != "50" || p.Mask != "ffff:ffff:ffff:ffff::" || !p.MatchAcrossServices || p.OverrideConnectionLimit {
		t.Errorf("persistence: %+v", p)
	}
	if w.Name != "poise_tcp_2001-db8--1_0" || w.Virtual.DestinationText != "/P/2001:db8::1.0" || w.Virtual.TranslatePort || w.Virtual.Source != "::/0" {
		t.Errorf("virtual server: %+v", w.Virtual)
	}
}

func TestRouteDomain(t *testing.T) {
	o := options
	o.RouteDomain = 10
	w, _ := ltm.Want([]*forwardv1.VirtualServer{service("192.0.2.1", 80, server("10.0.0.1", 80, 1))}, o)
	v := w.Virtuals[0]
	if v.Virtual.DestinationText != "/P/192.0.2.1%10:80" || v.Virtual.Source != "0.0.0.0%10/0" || v.Address.Path != "/P/192.0.2.1%10" {
		t.Errorf("%+v", v.Virtual)
	}
	plan := ltm.Diff(ltm.State{Partition: "P"}, w)
	if got := plan.Transactions[0].Commands()[2].Body["members"].([]any)[0].(map[string]any)["name"]; got != "10.0.0.1%10:80" {
		t.Errorf("member %v", got)
	}
	d := newDevice()
	settle(t, d, w)
	commands := func(change func()) []ltm.Command {
		change()
		w, _ := ltm.Want([]*forwardv1.VirtualServer{service("192.0.2.1", 80, server("10.0.0.1", 80, 1), server("10.0.0.2", 80, 2))}, o)
		return ltm.Diff(state(t, d), w).Transactions[0].Commands()
	}(func() {})
	if len(commands) != 1 || commands[0].Path != "/mgmt/tm/ltm/pool/~P~poise_tcp_192.0.2.1_80" {
		t.Errorf("%+v", commands)
	}
	// The partition's own route domain goes without saying.
	o.DefaultDomain = 10
	w, _ = ltm.Want([]*forwardv1.VirtualServer{service("192.0.2.1", 80)}, o)
	if got := w.Virtuals[0].Virtual.DestinationText; got != "/P/192.0.2.1:80" {
		t.Errorf("destination %s", got)
	}
}

func TestRefusals(t *testing.T) {
	const dr, tun = forwardv1.Method_METHOD_DR, forwardv1.Method_METHOD_TUN
	for _, test := range []struct {
		path   string
		change func(v *forwardv1.VirtualServer)
	}{
		{"/key/fwmark", func(v *forwardv1.VirtualServer) {
			v.Key = &forwardv1.ServiceKey{Fwmark: 7, Family: forwardv1.Family_FAMILY_IPV4}
		}},
		{"/key/protocol", func(v *forwardv1.VirtualServer) { v.Key.Protocol = forwardv1.Protocol_PROTOCOL_SCTP }},
		{"/key/protocol", func(v *forwardv1.VirtualServer) { v.Key.Protocol = 0 }},
		{"/key/address", func(v *forwardv1.VirtualServer) { v.Key.Address = "web" }},
		{"/key/address", func(v *forwardv1.VirtualServer) { v.Key.Address = "0.0.0.0" }},
		{"/key/family", func(v *forwardv1.VirtualServer) { v.Key.Family = forwardv1.Family_FAMILY_IPV6 }},
		{"/key/port", func(v *forwardv1.VirtualServer) { v.Key.Port = 65536 }},
		{"/scheduler", func(v *forwardv1.VirtualServer) { v.Scheduler = "" }},
		{"/scheduler", func(v *forwardv1.VirtualServer) { v.Scheduler = "lblc" }},
		{"/scheduler", func(v *forwardv1.VirtualServer) { v.Scheduler = "lblcr" }},
		{"/scheduler", func(v *forwardv1.VirtualServer) { v.Scheduler = "dh" }},
		{"/scheduler", func(v *forwardv1.VirtualServer) { v.Scheduler = "twos" }},
		{"/scheduler", func(v *forwardv1.VirtualServer) { v.Scheduler = "sed" }},
		{"/scheduler_flags", func(v *forwardv1.VirtualServer) { v.SchedulerFlags = []string{"flag-1"} }},
		{"/persistence_engine", func(v *forwardv1.VirtualServer) { v.PersistenceEngine = "sip" }},
		{"/persistence_timeout", func(v *forwardv1.VirtualServer) { v.PersistenceTimeout = durationpb.New(1500e6) }},
		{"/persistence_timeout", func(v *forwardv1.VirtualServer) { v.PersistenceTimeout = durationpb.New(32 * 24 * 3600e9) }},
		{"/persistence_timeout", func(v *forwardv1.VirtualServer) {
			v.Key.Port, v.PersistenceTimeout = 0, durationpb.New(50e9)
		}},
		{"/persistence_prefix", func(v *forwardv1.VirtualServer) { v.PersistencePrefix = 33 }},
		{"/one_packet", func(v *forwardv1.VirtualServer) { v.OnePacket = true }},
		{"/one_packet", func(v *forwardv1.VirtualServer) {
			v.OnePacket, v.Key.Protocol = true, forwardv1.Protocol_PROTOCOL_UDP
		}},
		{"/real_servers", func(v *forwardv1.VirtualServer) { v.RealServers[0].Weight = 1001 }},
		{"/real_servers/1/method", func(v *forwardv1.VirtualServer) { v.RealServers[1].Method = dr }},
		{"/real_servers/0/method", func(v *forwardv1.VirtualServer) { v.RealServers[0].Method = 0 }},
		{"/real_servers/0/port", func(v *forwardv1.VirtualServer) {
			v.RealServers[0].Method, v.RealServers[1].Method, v.RealServers[0].Port = dr, dr, 8080
		}},
		{"/real_servers/0/port", func(v *forwardv1.VirtualServer) { v.RealServers[0].Port = 0 }},
		{"/real_servers/0/port", func(v *forwardv1.VirtualServer) { v.RealServers[0].Port = 65536 }},
		{"/real_servers/0/address", func(v *forwardv1.VirtualServer) { v.RealServers[0].Address = "127.0.0.1" }},
		{"/real_servers/0/address", func(v *forwardv1.VirtualServer) { v.RealServers[0].Address = "::ffff:10.0.0.1" }},
		{"/real_servers/0/address", func(v *forwardv1.VirtualServer) { v.RealServers[0].Address = "2001:db8::1" }},
		{"/real_servers/1/address", func(v *forwardv1.VirtualServer) { v.RealServers[1].Address = "10.0.0.1" }},
		{"/real_servers/0/weight", func(v *forwardv1.VirtualServer) { v.Scheduler, v.RealServers[0].Weight = "rr", 1<<31 }},
		{"/real_servers/0/lower_threshold", func(v *forwardv1.VirtualServer) { v.RealServers[0].LowerThreshold = 1 }},
		{"/real_servers/0/upper_threshold", func(v *forwardv1.VirtualServer) { v.RealServers[0].UpperThreshold = 1 << 31 }},
		{"/real_servers/1/tunnel_type", func(v *forwardv1.VirtualServer) {
			v.RealServers[0].Method, v.RealServers[1].Method, v.RealServers[1].TunnelType = tun, tun, forwardv1.TunnelType_TUNNEL_TYPE_GUE
		}},
		{"/real_servers/1/tunnel_type", func(v *forwardv1.VirtualServer) {
			v.RealServers[0].Method, v.RealServers[1].Method, v.RealServers[1].TunnelType = tun, tun, forwardv1.TunnelType_TUNNEL_TYPE_GRE
		}},
		{"/real_servers/0/tunnel_checksum", func(v *forwardv1.VirtualServer) {
			v.RealServers[0].Method, v.RealServers[1].Method, v.RealServers[0].TunnelChecksum = tun, tun, forwardv1.TunnelChecksum_TUNNEL_CHECKSUM_FULL
		}},
		{"/parameters_json/snat", func(v *forwardv1.VirtualServer) { v.ParametersJson = []byte(`{"snat":"pool"}`) }},
		{"/parameters_json/snat", func(v *forwardv1.VirtualServer) { v.ParametersJson = []byte(`{"snat":"/Other/pool"}`) }},
		{"/parameters_json/snat", func(v *forwardv1.VirtualServer) {
			v.RealServers[0].Method, v.RealServers[1].Method, v.ParametersJson = dr, dr, []byte(`{"snat":"automap"}`)
		}},
		{"/parameters_json/approximate/1", func(v *forwardv1.VirtualServer) { v.ParametersJson = []byte(`{"approximate":["sed","lblc"]}`) }},
		{"/parameters_json/on_failure", func(v *forwardv1.VirtualServer) { v.ParametersJson = []byte(`{"on_failure":"drop"}`) }},
		{"/parameters_json/connection_limit", func(v *forwardv1.VirtualServer) { v.ParametersJson = []byte(`{"connection_limit":-1}`) }},
		{"/parameters_json/vlans/1", func(v *forwardv1.VirtualServer) { v.ParametersJson = []byte(`{"vlans":["a","/Common/a"]}`) }},
		{"/parameters_json/vlans/0", func(v *forwardv1.VirtualServer) { v.ParametersJson = []byte(`{"vlans":["a b"]}`) }},
		{"/parameters_json/colour", func(v *forwardv1.VirtualServer) { v.ParametersJson = []byte(`{"colour":1}`) }},
		{"/parameters_json", func(v *forwardv1.VirtualServer) { v.ParametersJson = []byte(`{`) }},
	} {
		v := service("192.0.2.1", 80, server("10.0.0.1", 80, 1), server("10.0.0.2", 80, 2))
		test.change(v)
		w, refused := ltm.Want([]*forwardv1.VirtualServer{v}, options)
		if len(w.Virtuals) > 0 || len(refused) == 0 || !slices.ContainsFunc(refused, func(r ltm.Refusal) bool { return r.Path == test.path && !r.Warning }) {
			t.Errorf("%s: %v", test.path, refused)
			continue
		}
		for _, r := range refused {
			if r.Message == "" || strings.HasSuffix(r.Message, ".") {
				t.Errorf("%s: message %q", test.path, r.Message)
			}
		}
	}
}

func TestContradictions(t *testing.T) {
	same := service("192.0.2.1", 80)
	same.ParametersJson = []byte(`{"same_address":true}`)
	w, refused := ltm.Want([]*forwardv1.VirtualServer{service("192.0.2.1", 443), same, service("192.0.2.2", 80), service("192.0.2.3", 80), service("192.0.2.3", 80)}, options)
	if len(w.Virtuals) != 2 || w.Virtuals[0].Name != "poise_tcp_192.0.2.1_80" || len(refused) != 3 {
		t.Errorf("%+v %v", w.Virtuals, refused)
	}
}

// TestRefusedKeepsUp: what is refused stays as it is, but a real server that is down
// gets no connections.
func TestRefusedKeepsUp(t *testing.T) {
	d := newDevice()
	v := service("192.0.2.1", 80, server("10.0.0.1", 80, 1), server("10.0.0.2", 80, 2))
	settle(t, d, want(t, v))
	v.RealServers[0].Weight, v.RealServers[1].Offline = 1001, true
	w, refused := ltm.Want([]*forwardv1.VirtualServer{v}, options)
	if len(refused) != 1 {
		t.Fatal(refused)
	}
	plan := settle(t, d, w)[0]
	if plan.Count() != 1 || d.members["/P/poise_tcp_192.0.2.1_80"]["/P/10.0.0.2:80"]["state"] != "user-down" {
		t.Errorf("%+v", plan)
	}
	if len(d.kind("virtual")) != 1 {
		t.Error("the virtual server is gone")
	}
}

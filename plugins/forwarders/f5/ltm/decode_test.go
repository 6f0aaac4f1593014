package ltm_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
)

// fixture is a body recorded from a device. The recordings are beside the repository,
// not in it.
func fixture(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "..", "shared", "f5-fixtures", name))
	if os.IsNotExist(err) {
		t.Skipf("no recorded bodies of devices in ../shared/f5-fixtures beside the repository: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func recorded(t *testing.T, kind ltm.Kind, name string) ltm.State {
	t.Helper()
	s := ltm.State{Partition: "Common"}
	if err := s.Add(kind, fixture(t, name)); err != nil {
		t.Fatal(err)
	}
	return s
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestRecordedPool(t *testing.T) {
	s := recorded(t, ltm.KindPool, "ansible_load_ltm_pool.json")
	equal(t, s.Pools, []ltm.Pool{{
		Path: "/Common/test_pool", LoadBalancingMode: "round-robin", ServiceDownAction: "reselect", SlowRampTime: 10,
		AllowNAT: true, AllowSNAT: true, Monitor: "min 1 of { /Common/http /Common/inband }", Mark: ltm.Mark{Description: "test"},
	}})
}

func TestRecordedMembers(t *testing.T) {
	var members json.RawMessage = fixture(t, "ansible_pool_members_subcollection.json")
	body, err := json.Marshal(map[string]any{"items": []any{map[string]any{"fullPath": "/Common/test_pool", "membersReference": map[string]any{"items": members}}}})
	if err != nil {
		t.Fatal(err)
	}
	s := ltm.State{Partition: "Common"}
	if err := s.Add(ltm.KindPool, body); err != nil {
		t.Fatal(err)
	}
	m := s.Pools[0].Members[0]
	if m.Path != "/Common/1.1.1.1:80" || m.Endpoint.IP.String() != "1.1.1.1" || m.Endpoint.Port != 80 || m.Intent != ltm.Drained || m.Ratio != 1 || m.Monitor != "default" {
		t.Errorf("%+v", m)
	}
}

func TestRecordedVirtuals(t *testing.T) {
	s := recorded(t, ltm.KindVirtual, "otel_get_virtual_servers_response.json")
	if len(s.Virtuals) < 3 {
		t.Fatalf("%d virtual servers", len(s.Virtuals))
	}
	v := s.Virtuals[0]
	if v.Path != "/Common/test-virtual-server1" || v.Destination.IP.String() != "10.1.10.100" || v.Destination.Port != 80 || v.Pool != "/Common/dev" || !v.Enabled ||
		v.Protocol != "tcp" || v.SNATType != "none" || !v.TranslateAddress || v.Source != "0.0.0.0/0" || v.VLANsEnabled {
		t.Errorf("%+v", v)
	}
	if s.Virtuals[1].Enabled {
		t.Error("a disabled virtual server is enabled")
	}
	s = recorded(t, ltm.KindVirtual, "ansible_load_ltm_virtual_2.json")
	equal(t, s.Virtuals[0].Profiles, []ltm.ProfileReference{{Path: "/Common/fastL4", Context: "all", Kind: "fastl4"}})
	equal(t, s.Virtuals[0].VLANs, []string{"/Common/net1"})
	equal(t, s.Virtuals[0].SNATType, "automap")
}

func TestRecordedVirtualAddresses(t *testing.T) {
	for _, name := range []string{"sdk_ltm_virtual_addresses_GET.json", "ansible_load_ltm_virtual_1_address.json"} {
		v := recorded(t, ltm.KindVirtualAddress, name).VirtualAddresses[0]
		if !v.ARP || v.ICMPEcho != "enabled" || !v.AutoDelete || !v.Enabled || v.Mask != "255.255.255.255" || "/Common/"+v.Address.IP.String() != v.Path {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestRecordedProfiles(t *testing.T) {
	s := recorded(t, ltm.KindPersistence, "sdk_persistence_source-addr_GET.json")
	equal(t, s.Persistences, []ltm.Persistence{{Path: "/Common/source_addr", Timeout: "180", Mask: "none", HashAlgorithm: "default"}})
	s = recorded(t, ltm.KindPersistence, "ansible_load_ltm_profile_persistence_src_addr_1.json")
	equal(t, s.Persistences, []ltm.Persistence{{Path: "/Common/source_addr", Timeout: "180", Mask: "none", HashAlgorithm: "default"}})
	s = recorded(t, ltm.KindFastL4, "ansible_load_ltm_fastl4_profile_1.json")
	equal(t, s.FastL4s, []ltm.FastL4{{Path: "/Common/fastL4", IdleTimeout: "300", TCPCloseTimeout: "5", PVAAcceleration: "full", ResetOnTimeout: true}})
	n := recorded(t, ltm.KindNode, "ansible_load_ltm_node_1.json").Nodes[0]
	if n.Path != "/Common/foo" || n.Address.IP.String() != "1.2.3.4" || n.FQDN != "" || n.Description != "my description of node" {
		t.Errorf("%+v", n)
	}
}

func TestRecordedMonitors(t *testing.T) {
	m, err := ltm.DecodeMonitors("tcp", fixture(t, "ansible_load_ltm_monitor_tcp.json"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, m, []ltm.Monitor{{Path: "/Common/foo", Kind: "tcp", Interval: 20, Timeout: 30, Send: "this is a send string", Recv: "this is a receive string", Destination: "10.10.10.10:80", TimeUntilUp: 60}})
	if m, err = ltm.DecodeMonitors("udp", fixture(t, "ansible_load_ltm_monitor_udp.json")); err != nil || m[0].Interval != 5 || m[0].Timeout != 16 {
		t.Errorf("%+v %v", m, err)
	}
}

func TestRecordedStats(t *testing.T) {
	var s ltm.Stats
	if err := s.MemberStats("/Common/test_pool_0", fixture(t, "ts_pool_members_stats_route_domain.json")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/Common/10.10.0.2:80", "/Common/10.10.0.2%10:80"} {
		if s.Members["/Common/test_pool_0"][path] == nil {
			t.Errorf("no counters of %s: %v", path, s.Members)
		}
	}
	if err := s.MemberStats("/Common/dev", fixture(t, "otel_get_pool_members_stats_response_1.json")); err != nil || s.Members["/Common/dev"]["/Common/dev:80"] == nil {
		t.Errorf("%v %v", s.Members, err)
	}
}

// TestStats: the ends of keys differ between versions.
func TestStats(t *testing.T) {
	leaves := `{"clientside.totConns":{"value":7},"clientside.bitsIn":{"value":80},"clientside.pktsOut":{"value":3}}`
	for _, key := range []string{
		"https://localhost/mgmt/tm/ltm/virtual/~P~web/stats", "https://localhost/mgmt/tm/ltm/virtual/~P~web",
		"https://localhost/mgmt/tm/ltm/virtual/~P~web/~P~web/stats", "https://localhost/mgmt/tm/ltm/virtual/~P~web/stats?ver=16.1.2",
	} {
		var s ltm.Stats
		if err := s.VirtualStats([]byte(`{"entries":{"` + key + `":{"nestedStats":{"entries":` + leaves + `}}}}`)); err != nil {
			t.Fatal(err)
		}
		if c := s.Virtuals["/P/web"]; c.GetConnections() != 7 || c.GetBytesIn() != 10 || c.GetPacketsOut() != 3 {
			t.Errorf("%s: %v", key, s.Virtuals)
		}
	}
	var s ltm.Stats
	body := `{"entries":{"https://localhost/mgmt/tm/ltm/pool/~P~p/members/~P~2001:db8::1.80/stats":{"nestedStats":{"entries":{"nodeName":{"description":"/P/2001:db8::1"},"port":{"value":80},"serverside.curConns":{"value":4},"serverside.totConns":{"value":9}}}}}}`
	if err := s.MemberStats("/P/p", []byte(body)); err != nil {
		t.Fatal(err)
	}
	if c := s.Members["/P/p"]["/P/2001:db8::1.80"]; c.GetActiveConnections() != 4 || c.GetConnections() != 9 {
		t.Errorf("%v", s.Members)
	}
}

// TestIntent is table 1.6 of what is read and what it means.
func TestIntent(t *testing.T) {
	for _, test := range []struct {
		session, state string
		want           ltm.Intent
	}{
		{"user-enabled", "unchecked", ltm.Enabled}, {"monitor-enabled", "up", ltm.Enabled}, {"monitor-enabled", "down", ltm.Enabled},
		{"monitor-enabled", "checking", ltm.Enabled}, {"user-enabled", "fqdn-up", ltm.Enabled},
		{"user-disabled", "unchecked", ltm.Drained}, {"user-disabled", "up", ltm.Drained}, {"user-disabled", "down", ltm.Drained},
		{"user-disabled", "user-down", ltm.Offline},
	} {
		s := ltm.State{Partition: "P"}
		body := `{"items":[{"name":"p","partition":"P","membersReference":{"items":[{"name":"10.0.0.1:80","partition":"P","session":"` + test.session + `","state":"` + test.state + `"}]}}]}`
		if err := s.Add(ltm.KindPool, []byte(body)); err != nil {
			t.Fatal(err)
		}
		if got := s.Pools[0].Members[0].Intent; got != test.want {
			t.Errorf("%s, %s: %s, want %s", test.session, test.state, got, test.want)
		}
	}
}

// TestWrongTypes are told, and everything else is still read.
func TestWrongTypes(t *testing.T) {
	s := ltm.State{Partition: "P"}
	err := s.Add(ltm.KindPool, []byte(`{"items":[{"fullPath":"/P/a","slowRampTime":{}},7,{"fullPath":"/P/b","slowRampTime":"3"}]}`))
	if err == nil || err.Error() != "read pool /P/a: slowRampTime is not a number: {}" || len(s.Pools) != 2 || s.Pools[1].SlowRampTime != 3 {
		t.Errorf("%v %+v", err, s.Pools)
	}
	if err := s.Add(ltm.KindPool, []byte(`{"kind":"tm:ltm:pool:poolcollectionstate"}`)); err != nil {
		t.Errorf("a collection without items: %v", err)
	}
	if err := s.Add(ltm.KindPool, []byte(`<html>`)); err == nil {
		t.Error("HTML is not refused")
	}
}

// TestSpellings: differences that are none.
func TestSpellings(t *testing.T) {
	d := newDevice()
	v := service("2001:db8::1", 80, server("2001:db8::a", 80, 1))
	settle(t, d, want(t, v))
	virtual := d.kind("virtual")["/P/poise_tcp_2001-db8--1_80"]
	virtual["mask"], virtual["source"], virtual["destination"], virtual["connectionLimit"] = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:FFFF", "any6/0", "/P/2001:DB8:0::1.80", "0"
	pool := d.kind("pool")["/P/poise_tcp_2001-db8--1_80"]
	pool["slowRampTime"], pool["monitor"] = "0", " "
	d.kind("virtual-address")["/P/2001:db8::1"]["address"] = "2001:0db8::1"
	d.members["/P/poise_tcp_2001-db8--1_80"]["/P/2001:db8::a.80"]["address"] = "2001:DB8::A%0"
	if plan := ltm.Diff(state(t, d), want(t, v)); plan.Count() > 0 || len(plan.Refusals) > 0 {
		t.Errorf("%+v", plan)
	}
}

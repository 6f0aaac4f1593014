package ltm_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/poise-lb/poise/plugins/checkers/http"
	"github.com/poise-lb/poise/plugins/checkers/udp"
	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// importState is one virtual server of an operator with a pool and a monitor expression.
func importState(monitor string) ltm.State {
	s := ltm.State{Partition: "Common"}
	virtual := `{"items":[{"fullPath":"/Common/web","destination":"/Common/192.0.2.1:80","ipProtocol":"tcp","mask":"255.255.255.255","pool":"/Common/web-pool","enabled":true,
		"source":"0.0.0.0/0","sourcePort":"preserve","sourceAddressTranslation":{"type":"automap"},"persist":[{"name":"source_addr","partition":"Common","tmDefault":"yes"}],
		"vlansEnabled":true,"vlans":["/Common/dmz"],"profilesReference":{"items":[{"name":"tcp","partition":"Common","context":"all"}]}}]}`
	pool, _ := json.Marshal(map[string]any{"fullPath": "/Common/web-pool", "loadBalancingMode": "ratio-member", "monitor": monitor, "slowRampTime": 0,
		"membersReference": map[string]any{"items": []any{
			map[string]any{"name": "web1:80", "partition": "Common", "address": "10.0.0.1", "ratio": 3, "connectionLimit": 50},
			map[string]any{"name": "web2:80", "partition": "Common", "address": "10.0.0.2", "ratio": 1, "session": "user-disabled", "state": "unchecked"},
		}}})
	_ = s.Add(ltm.KindVirtual, []byte(virtual))
	_ = s.Add(ltm.KindPool, pool)
	_ = s.Add(ltm.KindPersistence, []byte(`{"items":[{"fullPath":"/Common/source_addr","timeout":"180","mask":"255.255.255.0"}]}`))
	return s
}

func notes(list []*forwardv1.ImportNote) string {
	var out []string
	for _, n := range list {
		out = append(out, n.Object+": "+n.Message)
	}
	return strings.Join(out, "\n")
}

func TestImport(t *testing.T) {
	monitors, err := ltm.DecodeMonitors("http", []byte(`{"items":[{"fullPath":"/Common/health","interval":5,"timeout":16,"send":"GET /health HTTP/1.1\\r\\nHost: web.example\\r\\nX-Probe: f5\\r\\nConnection: Close\\r\\n\\r\\n","recv":"^HTTP/1\\.1 200"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	found, noted := ltm.Import(importState("/Common/health "), options.Owner, monitors)
	if len(found) != 1 {
		t.Fatalf("%v\n%s", found, notes(noted))
	}
	v := found[0].VirtualServer
	if found[0].Origin != "/Common/web" || v.Scheduler != "wrr" || v.PersistenceTimeout.AsDuration().Seconds() != 180 || v.PersistencePrefix != 24 ||
		string(v.ParametersJson) != `{"snat":"automap","vlans":["/Common/dmz"]}` {
		t.Errorf("%v", found[0])
	}
	if r := v.RealServers; len(r) != 2 || r[0].Weight != 3 || r[0].UpperThreshold != 50 || r[1].Weight != 0 || r[0].Method != forwardv1.Method_METHOD_NAT {
		t.Errorf("%v", r)
	}
	check := found[0].Checks[0]
	if check.Type != "http" || check.Interval.AsDuration().Seconds() != 5 || check.Timeout.AsDuration().Seconds() != 5 {
		t.Errorf("%v", check)
	}
	var got any
	if err := json.Unmarshal(check.ParametersJson, &got); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(got); text != "map[headers:map[X-Probe:f5] urls:[map[path:/health status:[200] virtualhost:web.example]]]" {
		t.Error(text)
	}
	if _, err := http.New().Parse(check.ParametersJson); err != nil {
		t.Errorf("the http check refuses %s: %v", check.ParametersJson, err)
	}
	equal(t, notes(noted), strings.Join([]string{
		"/Common/web-pool: real server 10.0.0.2 port 80 is disabled on the BIG-IP: it has weight 0",
		"/Common/web: source address translation automap stays on the BIG-IP: IPVS has none, and its real servers have to answer through the director (NAT) or directly (DR)",
		"/Common/health: down after 16 s without a good answer: set `retries: 2` (3 failed probes, 5 s apart)",
	}, "\n"))
	// What is imported can be applied.
	want(t, v)
}

func TestImportNotes(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{`"rules":["/Common/redirect"]`, "/Common/web: iRules are left out: /Common/redirect"},
		{`"policiesReference":{"items":[{"fullPath":"/Common/waf"}]}`, "/Common/web: policies are left out: /Common/waf"},
		{`"persist":[{"name":"cookie","partition":"Common"}]`, "/Common/web: persistence /Common/cookie is left out"},
		{`"profilesReference":{"items":[{"fullPath":"/Common/http","nameReference":{"link":"https://localhost/mgmt/tm/ltm/profile/http/~Common~http?ver=16"}}]}`, "/Common/web: profile /Common/http (http) is left out"},
		{`"profilesReference":{"items":[{"fullPath":"/Common/clientssl"}]}`, "/Common/web: it ends TLS on the BIG-IP (profile /Common/clientssl)"},
		{`"disabled":true`, "/Common/web: it is disabled on the BIG-IP"},
		{`"ipForward":true`, "/Common/web: left out: it is a virtual server of the kind ipForward"},
		{`"ipProtocol":"any"`, "/Common/web: left out: it carries the protocol any"},
		{`"mask":"255.255.255.0"`, "/Common/web: left out: it is for a network"},
		{`"destination":"/Common/any:0"`, "/Common/web: left out: it is for every address"},
		{`"pool":"/Common/other"`, "/Common/web: left out: its pool /Common/other was not found"},
		{`"pool":"none"`, "/Common/web: left out: it has no pool"},
		{`"source":"10.0.0.0/8"`, "/Common/web: that it is for clients of 10.0.0.0/8 only is left out"},
		{`"fallbackPersistence":"/Common/dest_addr"`, "/Common/web: fallback persistence /Common/dest_addr is left out"},
		{`"lastHopPool":"/Common/x"`, "/Common/web: lastHopPool is left out"},
	} {
		s := importState("")
		s.Virtuals = nil
		if err := s.Add(ltm.KindVirtual, []byte(`{"fullPath":"/Common/web","destination":"/Common/192.0.2.1:80","ipProtocol":"tcp","pool":"/Common/web-pool",`+test.body+`}`)); err != nil {
			t.Fatal(err)
		}
		if _, noted := ltm.Import(s, options.Owner, nil); !strings.Contains(notes(noted), test.want) {
			t.Errorf("%s:\n%s\nwant %s", test.body, notes(noted), test.want)
		}
	}
}

func TestImportMonitors(t *testing.T) {
	for _, test := range []struct{ kind, body, check, parameters, note string }{
		{"tcp", `"send":"x","recv":"y"`, "tcp", "", "is left out: a tcp check only connects"},
		{"https", `"send":"GET /\\r\\n","recv":"ok"`, "ssl", `{"http_protocol":"1.0","urls":[{"path":"/","regex":"ok","status":["100-599"]}],"verify":false}`, "certificates are not verified"},
		{"http", `"send":"HEAD /x HTTP/1.0\\r\\n\\r\\n"`, "http", `{"http_protocol":"1.0","method":"HEAD","urls":[{"path":"/x","status":["100-599"]}]}`, "retries: 2"},
		{"http", `"send":"hello"`, "http", `{"urls":[{"path":"/","status":["100-599"]}]}`, "is not understood"},
		{"http", `"recv":"HTTP/1.1 204","reverse":"enabled"`, "http", `{"urls":[{"path":"/","status":["204"]}]}`, "it is reversed"},
		{"udp", `"send":"a\\r\\n","recv":"z"`, "udp", `{"payload":"610d0a","require_reply":true}`, "any reply is good"},
		{"gateway-icmp", `"transparent":"enabled"`, "ping", "", "it is transparent"},
		{"external", `"run":"/Common/script"`, "", "", "no check like the monitor /Common/m of kind external"},
		{"tcp", `"destination":"*:8080"`, "tcp", "", "it probes *:8080"},
		{"tcp", `"interval":10,"timeout":31`, "tcp", "", "set `retries: 2` (3 failed probes, 10 s apart)"},
	} {
		m, err := ltm.DecodeMonitors(test.kind, []byte(`{"fullPath":"/Common/m",`+test.body+`}`))
		if err != nil {
			t.Fatal(err)
		}
		found, noted := ltm.Import(importState("/Common/m"), options.Owner, m)
		if !strings.Contains(notes(noted), test.note) {
			t.Errorf("%s %s:\n%s\nwant %s", test.kind, test.body, notes(noted), test.note)
		}
		checks := found[0].Checks
		if test.check == "" {
			if len(checks) > 0 {
				t.Errorf("%s: %v", test.kind, checks)
			}
			continue
		}
		if len(checks) != 1 || checks[0].Type != test.check || string(checks[0].ParametersJson) != test.parameters {
			t.Errorf("%s %s: %v", test.kind, test.body, checks)
			continue
		}
		switch test.check {
		case "http":
			_, err = http.New().Parse(checks[0].ParametersJson)
		case "udp":
			_, err = udp.New().Parse(checks[0].ParametersJson)
		}
		if err != nil {
			t.Errorf("%s: the check refuses %s: %v", test.kind, test.parameters, err)
		}
	}
	_, noted := ltm.Import(importState("min 1 of { /Common/a /Common/b }"), options.Owner, []ltm.Monitor{{Path: "/Common/a", Kind: "tcp"}})
	if text := notes(noted); !strings.Contains(text, "1 of its 2 monitors are enough") || !strings.Contains(text, "monitor /Common/b is left out") {
		t.Error(text)
	}
}

func TestImportPoolNotes(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{`"loadBalancingMode":"fastest-node"`, "load balancing mode fastest-node has no equivalent: scheduler wlc comes nearest"},
		{`"loadBalancingMode":"least-sessions"`, "scheduler lc comes nearest"},
		{`"loadBalancingMode":"ratio-node"`, "scheduler wrr comes nearest"},
		{`"serviceDownAction":"reset"`, "action on service down reset is left out"},
		{`"slowRampTime":10`, "the slow ramp of 10 s is left out"},
		{`"queueOnConnectionLimit":"enabled"`, "queuing at the connection limit is left out"},
		{`"membersReference":{"items":[{"name":"web:80","partition":"Common","fqdn":{"tmName":"web.example"}}]}`, "member /Common/web:80 is left out: it has a name (web.example)"},
		{`"membersReference":{"items":[{"name":"web:80","partition":"Common","address":"10.0.0.1","rateLimit":"5"}]}`, "the rate limit 5 of member /Common/web:80 is left out"},
		{`"membersReference":{"items":[{"name":"web:80","partition":"Common","address":"10.0.0.1","monitor":"/Common/x"}]}`, "has a monitor of its own (/Common/x)"},
		{`"membersReference":{"items":[{"name":"web:80","partition":"Common","address":"10.0.0.1","monitor":"none"}]}`, "is not monitored on the BIG-IP"},
		{`"membersReference":{"items":[{"name":"web:80","partition":"Common","address":"10.0.0.1","session":"user-disabled","state":"user-down"}]}`, "real server 10.0.0.1 port 80 is forced offline"},
		{`"minActiveMembers":2,"membersReference":{"items":[{"name":"a:80","address":"10.0.0.1","priorityGroup":1},{"name":"b:80","address":"10.0.0.2"}]}`, "its priority groups (2 of them, at least 2 active members)"},
		{`"monitor":"none"`, "it has no monitor, so there is no check"},
	} {
		s := importState("")
		s.Pools = nil
		if err := s.Add(ltm.KindPool, []byte(`{"fullPath":"/Common/web-pool",`+test.body+`}`)); err != nil {
			t.Fatal(err)
		}
		if _, noted := ltm.Import(s, options.Owner, nil); !strings.Contains(notes(noted), "/Common/web-pool: ") || !strings.Contains(notes(noted), test.want) {
			t.Errorf("%s:\n%s\nwant %s", test.body, notes(noted), test.want)
		}
	}
}

// TestImportForwarding: nPath is DR, with a tunnel TUN.
func TestImportForwarding(t *testing.T) {
	for profiles, method := range map[string]string{`[]`: "METHOD_DR TUNNEL_TYPE_UNSPECIFIED", `["/Common/ipip"]`: "METHOD_TUN TUNNEL_TYPE_IPIP", `[{"name":"gre","partition":"Common"}]`: "METHOD_TUN TUNNEL_TYPE_GRE"} {
		s := ltm.State{Partition: "Common"}
		if err := s.Add(ltm.KindVirtual, []byte(`{"fullPath":"/Common/web","destination":"/Common/192.0.2.1:80","ipProtocol":"tcp","pool":"/Common/p","translateAddress":"disabled","translatePort":"disabled"}`)); err != nil {
			t.Fatal(err)
		}
		if err := s.Add(ltm.KindPool, []byte(`{"fullPath":"/Common/p","profiles":`+profiles+`,"membersReference":{"items":[{"name":"10.0.0.1:80","partition":"Common","address":"10.0.0.1"}]}}`)); err != nil {
			t.Fatal(err)
		}
		found, _ := ltm.Import(s, options.Owner, nil)
		if r := found[0].VirtualServer.RealServers[0]; r.Method.String()+" "+r.TunnelType.String() != method {
			t.Errorf("%s: %v", profiles, r)
		}
	}
}

// TestImportGroups: priority groups are a sorry server, or the scheduler fo, or neither.
func TestImportGroups(t *testing.T) {
	build := func(active int, groups ...int) *forwardv1.VirtualServer {
		s := importState("")
		s.Pools = nil
		var items []any
		for i, g := range groups {
			items = append(items, map[string]any{"name": fmt.Sprintf("10.0.0.%d:80", i+1), "partition": "Common", "priorityGroup": g})
		}
		body, _ := json.Marshal(map[string]any{"fullPath": "/Common/web-pool", "minActiveMembers": active, "membersReference": map[string]any{"items": items}})
		if err := s.Add(ltm.KindPool, body); err != nil {
			t.Fatal(err)
		}
		found, _ := ltm.Import(s, options.Owner, nil)
		return found[0].VirtualServer
	}
	v := build(1, 10, 10, 0)
	if v.Scheduler != "rr" || v.RealServers[0].Sorry || !v.RealServers[2].Sorry {
		t.Errorf("sorry server: %v", v)
	}
	if v = build(1, 10, 20, 5); v.Scheduler != "fo" || v.RealServers[0].Weight != 2 || v.RealServers[1].Weight != 3 || v.RealServers[2].Weight != 1 {
		t.Errorf("fo: %v", v)
	}
	if v = build(2, 10, 10, 5); v.Scheduler != "rr" || v.RealServers[2].Sorry {
		t.Errorf("neither: %v", v)
	}
}

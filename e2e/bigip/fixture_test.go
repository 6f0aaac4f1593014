package bigip_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/poise-lb/poise/e2e/bigip"
)

// recorded is the folder with bodies of real devices. It is not part of the repository.
const recorded = "../../../shared/f5-fixtures"

// fixtures says where the simulator has the like of each recorded body, and which keys a
// device of another version has or lacks.
var fixtures = []struct {
	file, path string
	// newer are keys that came after the version that was recorded; there, "a.b" is b
	// within a.
	newer []string
	// item: what is compared is the item of that name.
	item string
}{
	{file: "ansible_load_ltm_pool.json", path: "tm/ltm/pool/~Common~test_pool"},
	{file: "sdk_create_pool_response.json", path: "tm/ltm/pool/~Common~plain"},
	{file: "ansible_load_ltm_node_1.json", path: "tm/ltm/node/~Common~foo"},
	{file: "ansible_pool_members_subcollection.json", path: "tm/ltm/pool/~Common~test_pool/members/~Common~1.1.1.1:80", newer: []string{"ephemeral", "fqdn"}},
	{file: "ansible_load_ltm_virtual_1.json", path: "tm/ltm/virtual/~Common~bare", newer: virtualNewer},
	{file: "ansible_load_ltm_virtual_2.json", path: "tm/ltm/virtual/~Common~vlans?expandSubcollections=true", newer: virtualNewer},
	{file: "otel_get_virtual_servers_response.json", path: "tm/ltm/virtual", item: "test-virtual-server1"},
	{file: "otel_get_virtual_servers_response.json", path: "tm/ltm/virtual", item: "test-virtual-server2"},
	{file: "sdk_ltm_virtual_profiles_GET.json", path: "tm/ltm/virtual/~Common~test-virtual-server1/profiles", newer: []string{"items.nameReference"}},
	{file: "ansible_load_ltm_virtual_1_address.json", path: "tm/ltm/virtual-address/~Common~10.10.10.10"},
	{file: "sdk_ltm_virtual_addresses_GET.json", path: "tm/ltm/virtual-address", newer: []string{"items.spanning", "items.trafficGroupReference"}},
	{file: "ansible_load_ltm_monitor_tcp.json", path: "tm/ltm/monitor/tcp/~Common~foo", newer: []string{"defaultsFromReference"}},
	{file: "ansible_load_ltm_monitor_udp.json", path: "tm/ltm/monitor/udp/~Common~asdf", newer: []string{"defaultsFromReference"}},
	{file: "ansible_load_ltm_fastl4_profile_1.json", path: "tm/ltm/profile/fastl4/~Common~fastL4"},
	{file: "ansible_load_ltm_profile_persistence_src_addr_1.json", path: "tm/ltm/persistence/source-addr/~Common~source_addr"},
	{file: "sdk_persistence_source-addr_GET.json", path: "tm/ltm/persistence/source-addr", newer: []string{"items.appService", "items.defaultsFrom", "items.description", "items.mapProxyClass"}},
	{file: "ansible_load_ltm_snatpool.json", path: "tm/ltm/snatpool/~Common~asdasd"},
	{file: "sdk_ltm_snatpools_GET.json", path: "tm/ltm/snatpool?expandSubcollections=true", newer: []string{"items.membersReference"}},
	{file: "ansible_load_ltm_data_group_internal_string.json", path: "tm/ltm/data-group/internal/~Common~images"},
	{file: "ansible_load_net_route_domain_1.json", path: "tm/net/route-domain/~Common~0"},
	{file: "sdk_net_route_domains_GET.json", path: "tm/net/route-domain", newer: []string{"items.throughputCapacity", "items.vlansReference"}},
	{file: "ansible_load_tm_auth_partition.json", path: "tm/auth/partition/foo"},
	{file: "ansible_load_tm_cm_device_group.json", path: "tm/cm/device-group/~Common~device_trust_group"},
	{file: "ansible_load_tm_cm_traffic_group_1.json", path: "tm/cm/traffic-group/~Common~traffic-group-1"},
	{file: "sdk_cm_sync_status_GET.json", path: "tm/cm/sync-status"},
	{file: "ts_cm_sync_status.json", path: "tm/cm/sync-status", newer: []string{"entries.*.nestedStats.entries.*"}},
	{file: "ts_cm_failover_status.json", path: "tm/cm/failover-status"},
	{file: "ts_sys_ready.json", path: "tm/sys/ready"},
	{file: "ts_pool_stats.json", path: "tm/ltm/pool/~Common~test_pool/stats"},
	{file: "ts_pool_members_stats_route_domain.json", path: "tm/ltm/pool/~Common~test_pool/members/stats", newer: messages},
	{file: "otel_get_pool_members_stats_response_1.json", path: "tm/ltm/pool/~Common~test_pool/members/stats"},
}

var virtualNewer = []string{"creationTime", "lastModifiedTime", "evictionProtected", "serversslUseSni"}

var messages = func() []string {
	var out []string
	for _, name := range []string{"msgIn", "msgOut", "reqIn", "reqOut", "respIn", "respOut"} {
		out = append(out, "entries.*.nestedStats.entries.mr."+name)
	}
	return out
}()

func fixture(t *testing.T, file string) any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(recorded, file))
	if os.IsNotExist(err) {
		t.Skipf("the recorded bodies are not there: %s", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// shape is the keys of a body, all depths, with the JSON types of their values. Keys that
// are addresses are one; lists have the shapes of all their items.
func shape(v any, at string, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		out[at] = "object"
		for name, value := range v {
			if strings.HasPrefix(name, "https://") {
				name = "*"
			}
			shape(value, strings.TrimPrefix(at+"."+name, "."), out)
		}
	case []any:
		out[at] = "list"
		for _, item := range v {
			shape(item, at, out)
		}
		out[at] = "list"
	default:
		out[at] = fmt.Sprintf("%T", v)
	}
}

// stocked is a device with the like of what was recorded.
func stocked(t *testing.T) *client {
	c := dial(t, bigip.New(bigip.Options{Partitions: []string{"foo"}}))
	c.ok("PATCH", "tm/auth/partition/foo", object{"description": "my description"})
	c.ok("POST", "tm/ltm/node", object{"name": "foo", "address": "1.2.3.4", "description": "my description of node"})
	c.ok("POST", "tm/ltm/pool", object{"name": "plain"})
	c.ok("POST", "tm/ltm/pool", object{"name": "test_pool", "description": "test", "serviceDownAction": "reselect", "monitor": "min 1 of { /Common/http /Common/inband }",
		"members": []any{object{"name": "1.1.1.1:80", "session": "user-disabled"}}})
	c.ok("POST", "tm/ltm/pool", object{"name": "dev"})
	l4 := func(name, destination string, more object) {
		body := virtual(name, destination, more)
		body["partition"] = "Common"
		c.ok("POST", "tm/ltm/virtual", body)
	}
	l4("bare", "10.10.10.10:443", object{"sourceAddressTranslation": object{"type": "automap"}})
	l4("vlans", "10.10.10.10:444", object{"vlans": []any{"external"}})
	l4("test-virtual-server1", "10.1.10.100:80", object{"pool": "dev", "description": "Test Virtual Server 1", "profiles": []any{"tcp", "http"}})
	l4("test-virtual-server2", "10.1.10.100:21", object{"pool": "dev", "disabled": true})
	c.ok("POST", "tm/ltm/monitor/tcp", object{"name": "foo", "send": "this is a send string", "recv": "this is a receive string", "destination": "10.10.10.10:80"})
	c.ok("POST", "tm/ltm/monitor/udp", object{"name": "asdf", "recv": "hello world", "destination": "1.1.1.1:389"})
	c.ok("POST", "tm/ltm/snatpool", object{"name": "asdasd", "members": []any{"/Common/1.1.1.1", "/Common/2.2.2.2"}})
	c.ok("POST", "tm/ltm/data-group/internal", object{"name": "images", "type": "string", "records": []any{object{"name": ".bmp", "data": ""}}})
	return c
}

func TestShapesOfRecordedBodies(t *testing.T) {
	if _, err := os.Stat(recorded); err != nil {
		t.Skipf("the recorded bodies are not there: %s", err)
	}
	c := stocked(t)
	covered := map[string]bool{}
	for _, test := range fixtures {
		covered[test.file] = true
		t.Run(test.file+" "+test.item, func(t *testing.T) {
			want := fixture(t, test.file)
			if list, isList := want.([]any); isList {
				want = list[0]
			}
			var got any = c.ok("GET", test.path, nil)
			if test.item != "" {
				want, got = pick(t, want, test.item), pick(t, got, test.item)
			}
			compare(t, got, want, test.newer)
		})
	}
	files, err := filepath.Glob(filepath.Join(recorded, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); !covered[name] && name != "otel_post_login_response.json" && name != "observed_error_bodies.json" {
			t.Errorf("%s is compared with nothing", name)
		}
	}
}

func pick(t *testing.T, body any, name string) any {
	t.Helper()
	for _, item := range at(t, body, "items").([]any) {
		if item.(object)["name"] == name {
			return item
		}
	}
	t.Fatalf("no item %s in %v", name, body)
	return nil
}

// optional are keys that objects have when they have a value for them.
var optional = regexp.MustCompile(`(^|\.)(description|monitor|pool|poolReference(\..*)?|appService|vlans|vlansReference(\..*)?|items\.(pool.*|description|vlans.*|tag))$`)

func compare(t *testing.T, got, want any, newer []string) {
	t.Helper()
	g, w := map[string]string{}, map[string]string{}
	shape(got, "", g)
	shape(want, "", w)
	for _, name := range slices.Sorted(maps.Keys(w)) {
		if g[name] != w[name] && (g[name] != "" || !optional.MatchString(name)) {
			t.Errorf("%s is %q, recorded %q", name, g[name], w[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g)) {
		known := slices.ContainsFunc(newer, func(n string) bool { return name == n || strings.HasPrefix(name, n+".") })
		if w[name] == "" && !known && !optional.MatchString(name) {
			t.Errorf("%s is %q, not in what was recorded", name, g[name])
		}
	}
}

func TestShapeOfLogin(t *testing.T) {
	want := fixture(t, "otel_post_login_response.json")
	_, got := people(t).login("poise", "secret")
	compare(t, got, want, nil)
}

// TestObservedErrors compares the bodies of errors that devices were seen to answer with,
// with all but names and numbers equal.
func TestObservedErrors(t *testing.T) {
	list := at(t, fixture(t, "observed_error_bodies.json"), "errors").([]any)
	c := dial(t, bigip.New(bigip.Options{}))
	c.ok("POST", "tm/ltm/pool", object{"name": "test_5679"})
	c.ok("POST", "tm/ltm/pool", object{"name": "intraPool", "members": []any{object{"name": "intra2:80", "address": "10.0.0.2"}}})
	c.ok("POST", "tm/ltm/data-group/internal", object{"name": "my-datagroup", "type": "string"})
	c.ok("POST", "tm/ltm/snatpool", object{"name": "mysnatpool", "members": []any{"10.9.9.9"}})
	l4 := func(name, destination string, more object) object {
		body := virtual(name, destination, more)
		body["partition"] = "Common"
		return body
	}
	c.ok("POST", "tm/ltm/virtual", l4("server1", "10.0.0.1:80", object{"sourceAddressTranslation": object{"type": "snat", "pool": "mysnatpool"}}))
	empty, snat := c.begin(), c.begin()
	c.queue(snat, "DELETE", "tm/ltm/snatpool/~Common~mysnatpool", nil)
	requests := []struct {
		method, path string
		body         any
		fault        bigip.FaultKind
	}{
		{method: "GET", path: "tm/ltm/pool/~Common~my-pool"},
		{method: "PATCH", path: "tm/ltm/pool/~Common~test_5679/members/~Common~wrong:80", body: object{"ratio": 1}},
		{method: "GET", path: "tm/ltm/pool/~Common~test_5679/members/~Common~wrong:80"},
		{method: "POST", path: "tm/ltm/data-group/internal", body: object{"name": "my-datagroup", "type": "string"}},
		{method: "POST", path: "tm/ltm/pool", body: object{"name": "x", "partition": "nonExistent"}},
		{method: "PATCH", path: "tm/ltm/pool/~Common~test_5679", body: object{}},
		{method: "DELETE", path: "tm/ltm/node/~Common~intra2"},
		{method: "POST", path: "tm/ltm/virtual", body: l4("server2", "10.0.0.1:80", nil)},
		{method: "PATCH", path: "tm/transaction/" + empty, body: commit},
		{method: "PATCH", path: "tm/transaction/" + snat, body: commit},
		{method: "GET", path: "tm/ltm/virtual", fault: bigip.Unauthorized},
		{method: "GET", path: "tm/ltm/pool/~Common~my-pool", fault: bigip.NotRegistered},
		{method: "GET", path: "tm/ltm/pool", fault: bigip.MCPDLost},
		{method: "GET", path: "tm/ltm/pool", fault: bigip.JSON503},
		{method: "GET", path: "tm/ltm/pool", fault: bigip.HTML503},
	}
	if len(requests) != len(list) {
		t.Fatalf("%d requests for %d bodies", len(requests), len(list))
	}
	// What differs from place to place.
	loose := regexp.MustCompile(`/Common/mysnatpool|mysnatpool|\d+\.\d+\.\d+\.\d+|restOperationId:[0-9.e+]+|/tm/ltm/pool/\?`)
	for i, r := range requests {
		observed := list[i].(object)
		t.Run(observed["when"].(string), func(t *testing.T) {
			if r.fault != "" {
				c.unit.Fault(bigip.Fault{Kind: r.fault, Times: 1})
			}
			status, got := c.send(r.method, r.path, r.body)
			if float64(status) != observed["http"] {
				t.Errorf("%d, observed %v", status, observed["http"])
			}
			if text, isPage := observed["body_text_contains"].(string); isPage {
				if !strings.Contains(c.contentOfLast, text) {
					t.Errorf("%s, observed a page with %s", c.contentOfLast, text)
				}
				return
			}
			want := loose.ReplaceAllString(fmt.Sprint(observed["body"]), "…")
			if text := loose.ReplaceAllString(fmt.Sprint(got), "…"); text != want {
				t.Errorf("%s\nobserved %s", text, want)
			}
		})
	}
}

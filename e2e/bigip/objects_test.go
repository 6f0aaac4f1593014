package bigip_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/poise-lb/poise/e2e/bigip"
)

const member = "tm/ltm/pool/~lab~web/members/~lab~10.0.0.1:80"

// TestSessionAndState is the table of what is written and how it is read.
func TestSessionAndState(t *testing.T) {
	for _, test := range []struct {
		write, unmonitored, up, down string
	}{
		{"user-enabled user-up", "user-enabled unchecked", "monitor-enabled up", "monitor-enabled down"},
		{"user-disabled user-up", "user-disabled unchecked", "user-disabled up", "user-disabled down"},
		{"user-disabled user-down", "user-disabled user-down", "user-disabled user-down", "user-disabled user-down"},
	} {
		t.Run(test.write, func(t *testing.T) {
			c := lab(t)
			session, state, _ := strings.Cut(test.write, " ")
			c.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab", "members": []any{object{"name": "10.0.0.1:80"}}})
			check := func(want string) {
				t.Helper()
				m := c.ok("GET", member, nil)
				if got := fmt.Sprint(m["session"], " ", m["state"]); got != want {
					t.Errorf("reads %s, want %s", got, want)
				}
			}
			got := c.ok("PATCH", member, object{"session": session, "state": state})
			if fmt.Sprint(got["session"], " ", got["state"]) != test.unmonitored {
				t.Errorf("PATCH answers %v %v", got["session"], got["state"])
			}
			check(test.unmonitored)
			c.ok("PATCH", "tm/ltm/pool/~lab~web", object{"monitor": "/Common/tcp"})
			if state == "user-up" {
				check(strings.NewReplacer("up", "checking").Replace(test.up))
			}
			c.unit.SetHealth("ltm/pool/members", "/lab/web /lab/10.0.0.1:80", "up")
			check(test.up)
			c.unit.SetHealth("ltm/pool/members", "/lab/web /lab/10.0.0.1:80", "down")
			check(test.down)
		})
	}
}

func TestBodies(t *testing.T) {
	c := lab(t)
	got := c.ok("POST", "tm/ltm/pool/", object{"name": "web", "partition": "lab"})
	if got["kind"] != "tm:ltm:pool:poolstate" || got["fullPath"] != "/lab/web" || got["selfLink"] != "https://localhost/mgmt/tm/ltm/pool/~lab~web?ver=16.1.2" || got["slowRampTime"] != 10.0 {
		t.Errorf("made %v", got)
	}
	for _, absent := range []string{"description", "monitor", "metadata", "profiles", "members"} {
		if v, there := got[absent]; there {
			t.Errorf("%s is %v", absent, v)
		}
	}
	generation := got["generation"].(float64)
	got = c.ok("PATCH", "tm/ltm/pool/~lab~web", object{"description": "x", "slowRampTime": "0", "minActiveMembers": 1})
	if got["generation"].(float64) <= generation || got["slowRampTime"] != 0.0 || got["description"] != "x" || got["minActiveMembers"] != 1.0 || got["loadBalancingMode"] != "round-robin" {
		t.Errorf("changed to %v", got)
	}
	again := c.ok("PATCH", "tm/ltm/pool/~lab~web", object{"description": "x"})
	if again["generation"] != got["generation"] {
		t.Error("the generation rose without a change")
	}
	if got = c.ok("PATCH", "tm/ltm/pool/~lab~web", object{"description": ""}); got["description"] != nil {
		t.Errorf("description is %v", got["description"])
	}
	for write, want := range map[string]any{
		"/Common/tcp": "/Common/tcp", "tcp and /Common/http": "/Common/tcp and /Common/http ", "min 1 of { tcp http }": "min 1 of { /Common/tcp /Common/http }",
		"min 2 of /Common/tcp /Common/http": "min 2 of { /Common/tcp /Common/http }", "none": nil, "": nil,
	} {
		if got := c.ok("PATCH", "tm/ltm/pool/~lab~web", object{"monitor": write}); got["monitor"] != want {
			t.Errorf("monitor %q reads %q, want %q", write, got["monitor"], want)
		}
	}
	status, body := c.send("DELETE", "tm/ltm/pool/~lab~web", nil)
	if status != 200 || c.contentOfLast != "" {
		t.Errorf("DELETE: %d %v", status, body)
	}
	p := c.ok("POST", "tm/ltm/persistence/source-addr", object{"name": "sticky", "partition": "lab", "timeout": 50, "mask": "255.255.255.0"})
	if p["timeout"] != "50" || p["mask"] != "255.255.255.0" || p["hashAlgorithm"] != "default" || p["defaultsFrom"] != "/Common/source_addr" {
		t.Errorf("persistence %v", p)
	}
	child := c.ok("POST", "tm/ltm/persistence/source-addr", object{"name": "child", "partition": "lab", "defaultsFrom": "sticky"})
	if child["timeout"] != "50" || child["defaultsFrom"] != "/lab/sticky" {
		t.Errorf("child %v", child)
	}
}

func (c *client) members() string {
	c.Helper()
	var out []string
	items, _ := c.ok("GET", "tm/ltm/pool/~lab~web/members", nil)["items"].([]any)
	for _, item := range items {
		m := item.(object)
		out = append(out, fmt.Sprint(m["fullPath"], " ", m["ratio"], " ", m["connectionLimit"]))
	}
	return strings.Join(out, ", ")
}

func TestInlineMembers(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("keep ", keep), func(t *testing.T) {
			c := dial(t, bigip.New(bigip.Options{Partitions: []string{"lab"}, Unverified: bigip.Unverified{KeepOmittedMemberFields: keep}}))
			check := func(want string) {
				t.Helper()
				if got := c.members(); got != want {
					t.Errorf("members %s, want %s", got, want)
				}
			}
			c.ok("POST", "tm/ltm/node", object{"name": "shared", "address": "10.0.0.3"})
			c.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab", "members": []any{
				object{"name": "10.0.0.1:80", "ratio": 2, "connectionLimit": 5},
				object{"name": "web2:80", "address": "10.0.0.2"}, object{"name": "/Common/shared:80"},
			}})
			check("/Common/shared:80 1 0, /lab/10.0.0.1:80 2 5, /lab/web2:80 1 0")
			limit := 0
			if keep {
				limit = 5
			}
			first := c.ok("GET", member, nil)["generation"]
			c.ok("PATCH", "tm/ltm/pool/~lab~web", object{"members": []any{object{"name": "10.0.0.1:80", "ratio": 3}, "2001:db8::4.80"}})
			check(fmt.Sprintf("/lab/10.0.0.1:80 3 %d, /lab/2001:db8::4.80 1 0", limit))
			if c.ok("GET", member, nil)["generation"] == first {
				t.Error("the generation of a changed member did not rise")
			}
			c.ok("PATCH", "tm/ltm/pool/~lab~web", object{"description": "without members"})
			check(fmt.Sprintf("/lab/10.0.0.1:80 3 %d, /lab/2001:db8::4.80 1 0", limit))
			c.refused(400, "address", "PATCH", "tm/ltm/pool/~lab~web", object{"members": []any{object{"name": "10.0.0.1:80", "address": "10.0.0.9"}}})
			c.refused(409, "already exists", "PATCH", "tm/ltm/pool/~lab~web", object{"members": []any{"10.0.0.1:80", "10.0.0.1:80"}})
			c.ok("PATCH", "tm/ltm/pool/~lab~web", object{"members": []any{}})
			check("")
			// Nodes stay behind.
			for _, node := range []string{"~lab~10.0.0.1", "~lab~web2", "~lab~2001:db8::4"} {
				c.ok("DELETE", "tm/ltm/node/"+node, nil)
			}
		})
	}
}

func TestNodesAndAddresses(t *testing.T) {
	c := lab(t)
	c.ok("POST", "tm/net/route-domain", object{"name": "10", "id": 10})
	c.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"})
	c.ok("POST", "tm/ltm/pool/~lab~web/members", object{"name": "10.0.0.1:80", "partition": "lab"})
	c.ok("POST", "tm/ltm/pool/~lab~web/members", object{"name": "10.0.0.1%10:80", "partition": "lab"})
	got := c.ok("GET", "tm/ltm/pool/~lab~web/members/~lab~10.0.0.1%2510:80", nil)
	if got["address"] != "10.0.0.1%10" || !strings.Contains(got["selfLink"].(string), "~lab~10.0.0.1%2510:80?") {
		t.Errorf("member in a route domain: %v", got)
	}
	// Raw, %10 is another character.
	if status, _ := c.send("GET", "tm/ltm/pool/~lab~web/members/~lab~10.0.0.1%10:80", nil); status != 404 {
		t.Errorf("GET of an address that is not escaped: %d", status)
	}
	c.refused(409, "already exists in partition lab", "POST", "tm/ltm/pool/~lab~web/members", object{"name": "other:80", "address": "10.0.0.1"})
	c.refused(409, "01020066:3:", "POST", "tm/ltm/pool/~lab~web/members", object{"name": "10.0.0.1:80"})
	c.ok("POST", "tm/ltm/node", object{"name": "10.0.0.5", "address": "10.0.0.5"})
	c.refused(409, "already exists in partition Common", "POST", "tm/ltm/pool/~lab~web/members", object{"name": "10.0.0.5:80", "partition": "lab"})
	c.ok("POST", "tm/ltm/pool/~lab~web/members", object{"name": "/Common/10.0.0.5:80"})

	// A partition with a route domain of its own.
	c.ok("PATCH", "tm/auth/partition/other", object{"defaultRouteDomain": 10})
	c.refused(409, "already exists", "POST", "tm/ltm/node", object{"name": "n", "partition": "other", "address": "10.0.0.1"})
	if got := c.ok("POST", "tm/ltm/node", object{"name": "n", "partition": "other", "address": "10.0.0.6%10"}); got["address"] != "10.0.0.6" {
		t.Errorf("address %v, want it without the partition's own route domain", got["address"])
	}
	if got := c.ok("POST", "tm/ltm/node", object{"name": "zero", "partition": "other", "address": "10.0.0.6%0"}); got["address"] != "10.0.0.6%0" {
		t.Errorf("address %v", got["address"])
	}
	if got := c.ok("POST", "tm/ltm/node", object{"name": "named", "fqdn": object{"tmName": "www.example.net"}}); got["address"] != "any6" || got["state"] != "fqdn-up" {
		t.Errorf("node with a name: %v", got)
	}
}

func TestVirtualServers(t *testing.T) {
	c := lab(t)
	c.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"})
	for _, test := range []struct{ write, read, mask, source, address string }{
		{"192.0.2.1:80", "/lab/192.0.2.1:80", "255.255.255.255", "0.0.0.0/0", "~lab~192.0.2.1"},
		{"/lab/192.0.2.1:81", "/lab/192.0.2.1:81", "255.255.255.255", "0.0.0.0/0", "~lab~192.0.2.1"},
		{"2001:DB8::1.443", "/lab/2001:db8::1.443", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0", "~lab~2001:db8::1"},
		{"2001:db8::2.any", "/lab/2001:db8::2.any", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0", "~lab~2001:db8::2"},
		{"192.0.2.2:0", "/lab/192.0.2.2:0", "255.255.255.255", "0.0.0.0/0", "~lab~192.0.2.2"},
		{"0.0.0.0:0", "/lab/any:0", "any", "0.0.0.0/0", "~lab~any"},
		{"::.0", "/lab/any6.any", "any6", "::/0", "~lab~any6"},
	} {
		got := c.ok("POST", "tm/ltm/virtual", virtual("v", test.write, object{"ipProtocol": 6}))
		if got["destination"] != test.read || got["mask"] != test.mask || got["source"] != test.source || got["ipProtocol"] != "tcp" {
			t.Errorf("%s reads %v %v %v %v", test.write, got["destination"], got["mask"], got["source"], got["ipProtocol"])
		}
		c.ok("GET", "tm/ltm/virtual-address/"+test.address, nil)
		c.ok("DELETE", "tm/ltm/virtual/~lab~v", nil)
		c.refused(404, "01020036:3:", "GET", "tm/ltm/virtual-address/"+test.address, nil)
	}

	made := c.ok("POST", "tm/ltm/virtual", virtual("v", "192.0.2.1:80", object{"pool": "/lab/web", "persist": []any{object{"name": "source_addr"}}}))
	if made["enabled"] != true || made["disabled"] != nil || made["vlansDisabled"] != true {
		t.Errorf("made %v", made)
	}
	link := "https://localhost/mgmt/tm/ltm/persistence/source-addr/~Common~source_addr?ver=16.1.2"
	want := []any{object{"name": "source_addr", "partition": "Common", "tmDefault": "yes", "nameReference": object{"link": link}}}
	if fmt.Sprint(made["persist"]) != fmt.Sprint(want) {
		t.Errorf("persist %v, want %v", made["persist"], want)
	}
	for _, body := range []object{{"disabled": true}, {"enabled": false, "disabled": true}} {
		if got := c.ok("PATCH", "tm/ltm/virtual/~lab~v", body); got["disabled"] != true || got["enabled"] != nil {
			t.Errorf("%v gives %v %v", body, got["enabled"], got["disabled"])
		}
		if got := c.ok("PATCH", "tm/ltm/virtual/~lab~v", object{"enabled": true}); got["enabled"] != true || got["disabled"] != nil {
			t.Errorf("enabled gives %v %v", got["enabled"], got["disabled"])
		}
	}
	got := c.ok("PATCH", "tm/ltm/virtual/~lab~v", object{"pool": "", "persist": []any{}})
	if got["pool"] != nil || got["poolReference"] != nil || got["persist"] != nil {
		t.Errorf("detached %v %v", got["pool"], got["persist"])
	}
	if fmt.Sprint(got["profilesReference"]) != "map[isSubcollection:true link:https://localhost/mgmt/tm/ltm/virtual/~lab~v/profiles?ver=16.1.2]" {
		t.Errorf("profilesReference %v", got["profilesReference"])
	}
	c.ok("DELETE", "tm/ltm/pool/~lab~web", nil)

	// Another address: the old one goes, unless it is there for its own sake.
	c.ok("PATCH", "tm/ltm/virtual/~lab~v", object{"destination": "192.0.2.9:80"})
	c.refused(404, "", "GET", "tm/ltm/virtual-address/~lab~192.0.2.1", nil)
	c.ok("PATCH", "tm/ltm/virtual-address/~lab~192.0.2.9", object{"autoDelete": "false", "arp": "disabled"})
	c.ok("DELETE", "tm/ltm/virtual/~lab~v", nil)
	c.ok("GET", "tm/ltm/virtual-address/~lab~192.0.2.9", nil)

	// The same address on other VLANs is no conflict.
	c.ok("POST", "tm/ltm/virtual", virtual("inside", "192.0.2.7:80", object{"vlansEnabled": true, "vlans": []any{"internal"}}))
	c.ok("POST", "tm/ltm/virtual", virtual("outside", "192.0.2.7:80", object{"vlansEnabled": true, "vlans": []any{"external"}}))
	c.refused(400, "01070333:3:", "POST", "tm/ltm/virtual", virtual("both", "192.0.2.7:80", nil))
	c.ok("POST", "tm/ltm/virtual", virtual("udp", "192.0.2.7:80", object{"ipProtocol": "udp"}))
}

func TestProfilesOfAVirtualServer(t *testing.T) {
	c := lab(t)
	c.ok("POST", "tm/ltm/virtual", virtual("v", "192.0.2.1:80", object{"profiles": []any{"tcp"}}))
	const path = "tm/ltm/virtual/~lab~v/profiles"
	if got := c.ok("POST", path, object{"name": "http", "context": "all"}); got["fullPath"] != "/Common/http" || got["context"] != "all" {
		t.Errorf("added %v", got)
	}
	c.refused(400, "must have a protocol profile", "DELETE", path+"/~Common~tcp", nil)
	c.ok("DELETE", path+"/~Common~http", nil)
	c.refused(404, "", "GET", path+"/~Common~http", nil)
	if n := len(c.ok("GET", path, nil)["items"].([]any)); n != 1 {
		t.Errorf("%d profiles", n)
	}
	if got := c.ok("GET", "tm/ltm/virtual/~lab~v/policies", nil); got["items"] != nil {
		t.Errorf("policies %v", got)
	}
}

func TestQueries(t *testing.T) {
	c := lab(t)
	if got := c.ok("GET", "tm/ltm/pool", nil); got["items"] != nil || got["kind"] != "tm:ltm:pool:poolcollectionstate" {
		t.Errorf("empty collection %v", got)
	}
	for _, name := range []string{"a", "b", "c"} {
		c.ok("POST", "tm/ltm/pool", object{"name": name, "partition": "lab", "members": []any{"10.0.0.1:80"}})
	}
	c.ok("POST", "tm/ltm/pool", object{"name": "d"})
	for query, want := range map[string]string{
		"":                                "/Common/d /lab/a /lab/b /lab/c",
		"?$filter=partition+eq+lab":       "/lab/a /lab/b /lab/c",
		"?$filter=partition%20eq%20other": "",
		"?$top=2":                         "/Common/d /lab/a",
		"?$top=2&$skip=2":                 "/lab/b /lab/c",
		"?$top=2&$skip=4":                 "",
		"?$skip=1&$filter=partition+eq+lab&$select=fullPath": "/lab/b /lab/c",
	} {
		got := c.ok("GET", "tm/ltm/pool"+query, nil)
		var paths []string
		items, there := got["items"].([]any)
		for _, item := range items {
			paths = append(paths, item.(object)["fullPath"].(string))
		}
		if strings.Join(paths, " ") != want || there != (want != "") {
			t.Errorf("%s gives %v, want %s", query, paths, want)
		}
	}
	item := c.ok("GET", "tm/ltm/pool?$select=name,loadBalancingMode&$top=1", nil)["items"].([]any)[0].(object)
	if len(item) != 2 || item["name"] != "d" {
		t.Errorf("selected %v", item)
	}
	got := c.ok("GET", "tm/ltm/pool?expandSubcollections=true&$filter=partition+eq+lab", nil)
	if got["selfLink"] != "https://localhost/mgmt/tm/ltm/pool?expandSubcollections=true&$filter=partition+eq+lab&ver=16.1.2" {
		t.Errorf("selfLink %v", got["selfLink"])
	}
	if path := at(t, got["items"].([]any)[0], "membersReference", "items").([]any)[0].(object)["fullPath"]; path != "/lab/10.0.0.1:80" {
		t.Errorf("member %v", path)
	}
	// Collections of other things have pages too, and an end.
	for _, path := range []string{"tm/cm/device", "tm/sys/provision", "tm/sys", "tm/cm/device-group/device_trust_group/devices", "tm/transaction"} {
		if items := c.ok("GET", path+"?$top=10&$skip=10", nil)["items"]; items != nil {
			t.Errorf("the second page of %s has %v", path, items)
		}
	}
	if items := c.ok("GET", "tm/cm/device?$filter=partition+eq+lab", nil)["items"]; items != nil {
		t.Errorf("devices in a partition: %v", items)
	}
	// Without a partition a name is one of Common.
	c.ok("GET", "tm/ltm/pool/d", nil)
	c.refused(404, "The requested Pool (/Common/a) was not found.", "GET", "tm/ltm/pool/a", nil)
	c.ok("POST", "tm/ltm/data-group/internal", object{"name": "dg", "type": "string"})
	dg := c.ok("PATCH", "tm/ltm/data-group/internal/dg?options=records%20add%20%7B%20k%20%7B%20data%20v%20%7D%20%7D", object{})
	if fmt.Sprint(dg["records"]) != "[map[data:v name:k]]" {
		t.Errorf("records %v", dg["records"])
	}
}

func TestPartitions(t *testing.T) {
	c := lab(t)
	got := c.ok("POST", "tm/auth/partition", object{"name": "new", "description": "x"})
	if got["fullPath"] != "new" || got["partition"] != nil || got["defaultRouteDomain"] != 0.0 {
		t.Errorf("made %v", got)
	}
	c.ok("PATCH", "tm/sys/folder/~new", object{"description": "y"})
	c.ok("POST", "tm/sys/folder", object{"name": "app", "partition": "new"})
	p := c.ok("POST", "tm/ltm/pool", object{"name": "/new/app/web"})
	if p["subPath"] != "app" || p["partition"] != "new" || p["name"] != "web" {
		t.Errorf("in a folder: %v", p)
	}
	c.ok("GET", "tm/ltm/pool/~new~app~web", nil)
	c.refused(400, "not empty", "DELETE", "tm/sys/folder/~new~app", nil)
	c.ok("DELETE", "tm/ltm/pool/~new~app~web", nil)
	c.refused(400, "0107082a:3:", "DELETE", "tm/auth/partition/new", nil)
	c.ok("DELETE", "tm/sys/folder/~new~app", nil)
	c.ok("DELETE", "tm/auth/partition/new", nil)
	c.refused(404, "01020036:3:", "GET", "tm/sys/folder/~new", nil)
	c.refused(400, "cannot be deleted", "DELETE", "tm/auth/partition/Common", nil)
}

func TestStats(t *testing.T) {
	c := lab(t)
	c.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab", "members": []any{"10.0.0.1:80", "10.0.0.2:80"}})
	c.ok("POST", "tm/ltm/virtual", virtual("web", "192.0.2.1:80", object{"pool": "web"}))
	c.unit.SetStats("ltm/pool/members", "/lab/web /lab/10.0.0.1:80", object{"serverside.curConns": 7})
	c.unit.SetStats("ltm/virtual", "/lab/web", object{"clientside.totConns": 99, "status.availabilityState": "available"})
	c.ok("PATCH", member, object{"session": "user-disabled", "state": "user-down"})
	leaf := func(path, id, name, form string) any {
		t.Helper()
		return at(t, c.ok("GET", "tm/ltm/"+path+"/stats", nil), "entries", "https://localhost/mgmt/tm/ltm/"+id+"/stats", "nestedStats", "entries", name, form)
	}
	const first = "pool/~lab~web/members/~lab~10.0.0.1:80"
	for _, path := range []string{"pool/~lab~web/members", first} {
		if got := leaf(path, first, "serverside.curConns", "value"); got != 7.0 {
			t.Errorf("%s: connections %v", path, got)
		}
	}
	for name, want := range map[string]string{"status.availabilityState": "offline", "status.enabledState": "disabled", "monitorStatus": "user-down", "nodeName": "/lab/10.0.0.1", "poolName": "/lab/web"} {
		if got := leaf(first, first, name, "description"); got != want {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
	for _, path := range []string{"virtual", "virtual/~lab~web"} {
		if got := leaf(path, "virtual/~lab~web", "clientside.totConns", "value"); got != 99.0 {
			t.Errorf("%s: connections %v", path, got)
		}
	}
	if got := leaf("pool", "pool/~lab~web", "memberCnt", "value"); got != 2.0 {
		t.Errorf("%v members", got)
	}
	if got := leaf("pool/~lab~web", "pool/~lab~web", "availableMemberCnt", "value"); got != 1.0 {
		t.Errorf("%v members available", got)
	}
	leaf("node", "node/~lab~10.0.0.2", "curSessions", "value")
	c.refused(404, "not registered", "GET", "tm/ltm/snatpool/stats", nil)
	c.refused(404, "01020036:3:", "GET", "tm/ltm/pool/~lab~none/members/stats", nil)
}

func TestSystem(t *testing.T) {
	c := lab(t)
	if got := at(t, c.ok("GET", "tm/sys/version", nil), "entries", "https://localhost/mgmt/tm/sys/version/0", "nestedStats", "entries", "Version", "description"); got != "16.1.2" {
		t.Errorf("version %v", got)
	}
	if got := c.ok("GET", "tm/sys/", nil)["selfLink"]; got != "https://localhost/mgmt/tm/sys?ver=16.1.2" {
		t.Errorf("selfLink %v", got)
	}
	d := c.ok("GET", "tm/cm/device", nil)["items"].([]any)[0].(object)
	if d["selfDevice"] != "true" || d["failoverState"] != "active" || d["hostname"] != "bigip-a.example.net" {
		t.Errorf("device %v", d)
	}
	c.ok("GET", "tm/cm/device/~Common~bigip-a.example.net", nil)
	if status, _, _ := c.status(); status != "Standalone" {
		t.Errorf("sync status %s", status)
	}
	c.ok("GET", "tm/sys/provision", nil)
	if server := c.lastHeader.Get("Server"); server != "Jetty(9.4.49.v20220914)" {
		t.Errorf("Server: %s", server)
	}
}

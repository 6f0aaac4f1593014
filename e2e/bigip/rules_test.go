package bigip_test

import (
	"strings"
	"testing"

	"github.com/poise-lb/poise/e2e/bigip"
)

func lab(t *testing.T) *client {
	return dial(t, bigip.New(bigip.Options{Partitions: []string{"lab", "other"}}))
}

// refusals are requests that a device refuses, with the status and the words.
var refusals = []struct {
	name, method, path string
	body               any
	status             int
	words              string
}{
	{"unknown address", "GET", "tm/ltm/cipher/rule", nil, 404, "Public URI path not registered: /tm/ltm/cipher/rule"},
	{"unknown part of an object", "GET", "tm/ltm/pool/~lab~web/nodes", nil, 404, "Public URI path not registered: /tm/ltm/pool/?lab?web/nodes"},
	{"organizing address", "GET", "tm/ltm/monitor", nil, 404, "Public URI path not registered"},
	{"name with an escaped slash", "DELETE", "tm/ltm/pool/%2Flab%2Fweb", nil, 404, "Public URI path not registered"},
	{"body that is no JSON", "POST", "tm/ltm/pool", "{name", 400, "Found invalid JSON body in the request."},
	{"body that is no object", "POST", "tm/ltm/pool", []any{}, 400, "Found invalid JSON body in the request."},
	{"unknown property", "POST", "tm/ltm/pool", object{"name": "x", "partition": "lab", "weight": 1}, 400, `"weight" unknown property`},
	{"unknown property of a change", "PATCH", "tm/ltm/pool/~lab~web", object{"member": []any{}}, 400, `"member" unknown property`},
	{"bad choice", "PATCH", "tm/ltm/pool/~lab~web", object{"loadBalancingMode": "wlc"}, 400, `invalid property value "loadBalancingMode":"wlc"`},
	{"number out of range", "PATCH", "tm/ltm/pool/~lab~web/members/~lab~10.0.0.1:80", object{"ratio": 0}, 400, `invalid property value "ratio":0`},
	{"no number", "PATCH", "tm/ltm/pool/~lab~web", object{"slowRampTime": "soon"}, 400, `invalid property value "slowRampTime":"soon"`},
	{"null", "PATCH", "tm/ltm/virtual/~lab~web", object{"pool": nil}, 400, `invalid property value "pool":null`},
	{"false for a flag", "PATCH", "tm/ltm/virtual/~lab~web", object{"enabled": false}, 400, `invalid property value "enabled":false`},
	{"long string", "PATCH", "tm/ltm/pool/~lab~web", object{"description": strings.Repeat("x", 65536)}, 400, "01020057:3:"},
	{"nothing to change", "PATCH", "tm/ltm/pool/~lab~web", object{}, 400, "one or more properties must be specified"},
	{"only the name", "PATCH", "tm/ltm/pool/~lab~web", object{"name": "web", "partition": "lab"}, 400, "one or more properties must be specified"},
	{"another name", "PATCH", "tm/ltm/pool/~lab~web", object{"name": "web2", "description": "x"}, 400, `invalid property value "name":"web2"`},
	{"no name", "POST", "tm/ltm/pool", object{"partition": "lab"}, 400, "name"},
	{"name with a slash", "POST", "tm/ltm/pool", object{"name": "a/b", "partition": "lab"}, 400, `invalid property value "name":"a/b"`},
	{"missing partition", "POST", "tm/ltm/pool", object{"name": "x", "partition": "nowhere"}, 400, "The requested folder (/nowhere) was not found."},
	{"missing folder", "POST", "tm/ltm/pool", object{"name": "/lab/app/x"}, 400, "The requested folder (/lab/app) was not found."},
	{"name that is taken", "POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"}, 409, "01020066:3: The requested Pool (/lab/web) already exists in partition lab."},
	{"name of another profile", "POST", "tm/ltm/profile/udp", object{"name": "fast", "partition": "lab"}, 409, "01020066:3:"},
	{"missing pool", "GET", "tm/ltm/pool/~lab~none", nil, 404, "01020036:3: The requested Pool (/lab/none) was not found."},
	{"missing pool for DELETE", "DELETE", "tm/ltm/pool/~lab~none", nil, 404, "01020036:3: The requested Pool (/lab/none) was not found."},
	{"missing member", "GET", "tm/ltm/pool/~lab~web/members/~lab~x:80", nil, 404, "Object not found - /lab/x:80"},
	{"missing member for PATCH", "PATCH", "tm/ltm/pool/~lab~web/members/~lab~x:80", object{"ratio": 2}, 404, "01020036:3: The requested Pool Member (/lab/web /lab/x 80) was not found."},
	{"missing member for DELETE", "DELETE", "tm/ltm/pool/~lab~web/members/~lab~x:80", nil, 404, "01020036:3: The requested Pool Member (/lab/web /lab/x 80) was not found."},
	{"member of a missing pool", "POST", "tm/ltm/pool/~lab~none/members", object{"name": "10.0.0.9:80"}, 404, "01020036:3: The requested pool (/lab/none) was not found."},
	{"member without a port", "POST", "tm/ltm/pool/~lab~web/members", object{"name": "10.0.0.9"}, 400, `A port number or service name is missing for "10.0.0.9"`},
	{"IPv6 member with a colon", "POST", "tm/ltm/pool/~lab~web/members", object{"name": "2001:db8::9:80"}, 400, `A port number or service name is missing for "2001:db8::9:80"`},
	{"member name without an address", "POST", "tm/ltm/pool/~lab~web/members", object{"name": "web9:80"}, 400, `invalid property value "address":"web9"`},
	{"member state as it is read", "PATCH", "tm/ltm/pool/~lab~web/members/~lab~10.0.0.1:80", object{"state": "up"}, 400, `invalid property value "state":"up"`},
	{"member session as it is read", "PATCH", "tm/ltm/pool/~lab~web/members/~lab~10.0.0.1:80", object{"session": "monitor-enabled"}, 400, `invalid property value "session":"monitor-enabled"`},
	{"member address later", "PATCH", "tm/ltm/pool/~lab~web/members/~lab~10.0.0.1:80", object{"address": "10.0.0.2"}, 400, `"address" read-only`},
	{"node address later", "PATCH", "tm/ltm/node/~lab~10.0.0.1", object{"address": "10.0.0.2"}, 400, `"address" read-only`},
	{"node without an address", "POST", "tm/ltm/node", object{"name": "n", "partition": "lab"}, 400, "must have an address"},
	{"node with the address of another", "POST", "tm/ltm/node", object{"name": "n", "partition": "lab", "address": "10.0.0.1"}, 409, "01020066:3: The requested Node (/lab/n) already exists in partition lab."},
	{"node forced offline from the start", "POST", "tm/ltm/node", object{"name": "n", "partition": "lab", "address": "10.0.0.7", "state": "user-down", "session": "user-disabled"}, 400, `invalid property value "state":"user-down"`},
	{"member in another partition", "POST", "tm/ltm/pool/~lab~web/members", object{"name": "/other/10.0.0.9:80"}, 400, "01070726:3:"},
	{"virtual server with a missing pool", "POST", "tm/ltm/virtual", virtual("v", "192.0.2.9:80", object{"pool": "/lab/none"}), 404, "01020036:3: The requested Pool (/lab/none) was not found."},
	{"virtual server with a missing profile", "POST", "tm/ltm/virtual", virtual("v", "192.0.2.9:80", object{"profiles": []any{"/lab/none"}}), 404, "01020036:3: The requested"},
	{"pool with a missing monitor", "PATCH", "tm/ltm/pool/~lab~web", object{"monitor": "/lab/none"}, 404, "01020036:3: The requested monitor rule (/lab/none) was not found."},
	{"virtual server with the pool of another partition", "POST", "tm/ltm/virtual", virtual("v", "192.0.2.9:80", object{"pool": "/other/web"}), 400, "01070726:3:"},
	{"virtual server without a destination", "POST", "tm/ltm/virtual", object{"name": "v", "partition": "lab", "profiles": []any{"fastL4"}}, 400, "01070734:3:"},
	{"virtual server without a port", "POST", "tm/ltm/virtual", virtual("v", "192.0.2.9", nil), 400, `A port number or service name is missing for "192.0.2.9"`},
	{"IPv6 virtual server with a colon", "POST", "tm/ltm/virtual", virtual("v", "2001:db8::9:80", nil), 400, "A port number or service name is missing for"},
	{"virtual server without a protocol profile", "POST", "tm/ltm/virtual", virtual("v", "192.0.2.9:80", object{"profiles": []any{"http"}}), 400, "must have a protocol profile"},
	{"virtual server without profiles", "POST", "tm/ltm/virtual", virtual("v", "192.0.2.9:80", object{"profiles": []any{}}), 400, "must have a protocol profile"},
	{"profile of another protocol", "POST", "tm/ltm/virtual", virtual("v", "192.0.2.9:80", object{"profiles": []any{"udp"}}), 400, "01070097:3:"},
	{"two protocol profiles", "POST", "tm/ltm/virtual", virtual("v", "192.0.2.9:80", object{"profiles": []any{"tcp", "fastL4"}}), 400, "01070097:3:"},
	{"families mixed", "POST", "tm/ltm/virtual", virtual("v", "192.0.2.9:80", object{"source": "::/0"}), 400, "different families"},
	{"SNAT without a pool", "POST", "tm/ltm/virtual", virtual("v", "192.0.2.9:80", object{"sourceAddressTranslation": object{"type": "snat"}}), 400, "must have a pool"},
	{"stateless TCP", "POST", "tm/ltm/virtual", virtual("v", "192.0.2.9:80", object{"stateless": true}), 400, "stateless"},
	{"destination of another", "POST", "tm/ltm/virtual", virtual("v", "192.0.2.1:80", nil), 400, "01070333:3: Virtual Server /lab/v illegally shares destination address, source address, service port, ip-protocol, and vlan with Virtual Server /lab/web."},
	{"virtual address of another partition", "POST", "tm/ltm/virtual", object{"name": "v", "partition": "other", "destination": "192.0.2.1:81", "ipProtocol": "tcp", "profiles": []any{"fastL4"}}, 400, "0107176c:3: Invalid Virtual Address, the IP address 192.0.2.1%0 already exists."},
	{"address twice", "POST", "tm/ltm/virtual-address", object{"name": "second", "partition": "lab", "address": "192.0.2.1"}, 400, "0107176c:3:"},
	{"missing route domain", "POST", "tm/ltm/pool/~lab~web/members", object{"name": "10.0.0.9%7:80"}, 400, "invalid property value"},
	{"pool in use", "DELETE", "tm/ltm/pool/~lab~web", nil, 400, "01070265:3: The Pool (/lab/web) cannot be deleted because it is in use by a Virtual Server (/lab/web)."},
	{"node in use", "DELETE", "tm/ltm/node/~lab~10.0.0.1", nil, 400, "01070110:3: Node address '/lab/10.0.0.1' is referenced by a member of pool '/lab/web'."},
	{"monitor in use", "DELETE", "tm/ltm/monitor/tcp/~lab~m", nil, 400, "01070083:3: Monitor /lab/m is in use"},
	{"persistence in use", "DELETE", "tm/ltm/persistence/source-addr/~lab~sticky", nil, 400, "01070265:3:"},
	{"profile in use", "DELETE", "tm/ltm/profile/fastl4/~lab~fast", nil, 400, "01070265:3:"},
	{"snatpool in use", "DELETE", "tm/ltm/snatpool/~lab~snat", nil, 400, "01070320:3: Snatpool /lab/snat is still referenced by a virtual server."},
	{"translation in use", "DELETE", "tm/ltm/snat-translation/~lab~192.0.2.200", nil, 400, "01070265:3:"},
	{"virtual address in use", "DELETE", "tm/ltm/virtual-address/~lab~192.0.2.1", nil, 400, "01070265:3:"},
	{"parent in use", "DELETE", "tm/ltm/profile/fastl4/~Common~fastL4", nil, 400, "cannot be deleted"},
	{"partition in use", "DELETE", "tm/auth/partition/lab", nil, 400, "0107082a:3: You must remove all objects from a partition before removing the partition"},
	{"parent of a monitor later", "PATCH", "tm/ltm/monitor/tcp/~lab~m", object{"defaultsFrom": "/Common/tcp"}, 400, `"defaultsFrom" read-only`},
	{"what the device sets", "PATCH", "tm/ltm/virtual/~lab~web", object{"vsIndex": 9}, 400, `"vsIndex" read-only`},
	{"PUT", "PUT", "tm/ltm/pool/~lab~web", object{"description": "x"}, 405, "PUT"},
	{"DELETE of a collection", "DELETE", "tm/ltm/pool", nil, 400, "not for collections"},
	{"write of what is read only", "POST", "tm/net/vlan", object{"name": "v"}, 405, "reading only"},
	{"unknown query", "GET", "tm/ltm/pool?$orderby=name", nil, 400, "$orderby"},
	{"other filter", "GET", "tm/ltm/pool?$filter=name+eq+web", nil, 400, "$filter"},
	{"filter of a missing partition", "GET", "tm/ltm/pool?$filter=partition+eq+nowhere", nil, 400, "The requested folder (/nowhere) was not found."},
	{"empty snatpool", "POST", "tm/ltm/snatpool", object{"name": "s", "partition": "lab", "members": []any{}}, 400, "at least one member"},
	{"command but save", "POST", "tm/sys/config", object{"command": "load"}, 400, "save"},
}

func virtual(name, destination string, more object) object {
	body := object{"name": name, "partition": "lab", "destination": destination, "ipProtocol": "tcp", "profiles": []any{"fastL4"}}
	for k, v := range more {
		body[k] = v
	}
	return body
}

// furnish makes what refusals are about.
func furnish(c *client) {
	c.ok("POST", "tm/ltm/monitor/tcp", object{"name": "m", "partition": "lab"})
	c.ok("POST", "tm/ltm/profile/fastl4", object{"name": "fast", "partition": "lab", "defaultsFrom": "/Common/fastL4"})
	c.ok("POST", "tm/ltm/persistence/source-addr", object{"name": "sticky", "partition": "lab", "timeout": 50})
	c.ok("POST", "tm/ltm/snatpool", object{"name": "snat", "partition": "lab", "members": []any{"192.0.2.200"}})
	c.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "other"})
	c.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab", "monitor": "/lab/m", "members": []any{object{"name": "10.0.0.1:80"}}})
	c.ok("POST", "tm/ltm/virtual", virtual("web", "192.0.2.1:80", object{
		"pool": "web", "profiles": []any{object{"name": "/lab/fast"}}, "persist": []any{object{"name": "sticky", "partition": "lab", "tmDefault": "yes"}},
		"sourceAddressTranslation": object{"type": "snat", "pool": "snat"},
	}))
}

func TestRefusals(t *testing.T) {
	c := lab(t)
	furnish(c)
	before := string(c.unit.Dump())
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			sub := *c
			sub.TB = t
			body := sub.refused(test.status, test.words, test.method, test.path, test.body)
			if body["code"] != float64(test.status) {
				t.Errorf("code %v, want %d", body["code"], test.status)
			}
			if string(c.unit.Dump()) != before {
				t.Fatal("a refused request left something behind")
			}
		})
	}
}

// TestRefusalsInTransactions shows that a transaction refuses the same, with the same
// words behind its own, and leaves nothing of the commands before.
func TestRefusalsInTransactions(t *testing.T) {
	c := lab(t)
	furnish(c)
	before := string(c.unit.Dump())
	for _, test := range refusals {
		if test.method == "GET" || test.status == 405 || strings.HasPrefix(test.words, "Public URI") || strings.HasPrefix(test.words, "Found") || strings.HasPrefix(test.path, "tm/sys") {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			sub := *c
			sub.TB = t
			id := sub.begin()
			sub.queue(id, "POST", "tm/ltm/pool", object{"name": "before", "partition": "lab"})
			sub.queue(id, test.method, test.path, test.body)
			body := sub.refused(400, "transaction failed:", "PATCH", "tm/transaction/"+id, object{"state": "VALIDATING"})
			if message, _ := body["message"].(string); !strings.Contains(message, test.words) || body["apiError"] != float64(2) {
				t.Errorf("%v, want %q and apiError 2", body, test.words)
			}
			if string(c.unit.Dump()) != before {
				t.Fatal("a refused transaction left something behind")
			}
		})
	}
}

package ltm_test

import (
	"testing"

	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
)

// FuzzState reads any bodies, and plans and translates whatever came of them.
func FuzzState(f *testing.F) {
	f.Add(uint8(0), []byte(`{"items":[{"name":"p","partition":"P","monitor":"min 1 of { /Common/a }","metadata":[{"name":"poise","value":"lab"}],"membersReference":{"items":[{"name":"10.0.0.1%5:80","session":"user-disabled","state":"user-down"}]}}]}`))
	f.Add(uint8(1), []byte(`{"items":[{"fullPath":"/P/v","destination":"/P/2001:db8::1.80","ipProtocol":"tcp","pool":"/P/p","mask":"any6","source":"::%1/0","persist":[{"name":"x","partition":"P"}],"profilesReference":{"items":[{"name":"t","nameReference":{"link":"/ltm/profile/tcp/~P~t"}}]},"vlans":["a"],"description":"poise/lab scheduler wrr"}]}`))
	f.Add(uint8(2), []byte(`{"fullPath":"/","address":"any","mask":"255.0.255.0"}`))
	f.Add(uint8(3), []byte(`{"items":[{"fullPath":"x","fqdn":{"tmName":"a"}}]}`))
	f.Add(uint8(4), []byte(`{"items":"none"}`))
	f.Add(uint8(5), []byte(`{"items":[null,1,"x",[]]}`))
	w := want(f, farm()[:2]...)
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		s := ltm.State{Partition: "P"}
		kinds := ltm.Kinds()
		_ = s.Add(kinds[int(kind)%len(kinds)], body)
		plan := ltm.Diff(s, w)
		for _, transaction := range plan.Transactions {
			if n := len(transaction.Commands()); n == 0 || n > ltm.MaxCommands {
				t.Errorf("a transaction of %d commands", n)
			}
		}
		ltm.Observe(s, options.Owner)
		ltm.Import(s, options.Owner, nil)
	})
}

func FuzzStats(f *testing.F) {
	f.Add([]byte(`{"entries":{"https://localhost/mgmt/tm/ltm/virtual/~P~web/stats":{"nestedStats":{"entries":{"tmName":{"description":"/P/web"},"clientside.bitsIn":{"value":1e30}}}}}}`))
	f.Add([]byte(`{"entries":{"/members/~P~a%25:80":{"nestedStats":{"entries":{"port":{"value":-1}}}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var s ltm.Stats
		_ = s.VirtualStats(body)
		_ = s.MemberStats("/P/p", body)
	})
}

func FuzzMonitors(f *testing.F) {
	f.Add("http", []byte(`{"items":[{"fullPath":"/Common/m","send":"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n","recv":"200 OK","interval":"0","timeout":-5}]}`))
	f.Add("https", []byte(`{"fullPath":"/Common/m","send":"\r\n: x\r\n"}`))
	f.Add("udp", []byte(`{"fullPath":"/Common/m","send":"\\"}`))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		monitors, _ := ltm.DecodeMonitors(kind, body)
		var expression string
		for _, m := range monitors {
			expression += m.Path + " and "
		}
		s := importState(expression)
		ltm.Import(s, options.Owner, monitors)
	})
}

func FuzzParameters(f *testing.F) {
	f.Add([]byte(`{"approximate":["sed"],"snat":"/Common/p","on_failure":"remove","vlans":["a/b"],"connection_limit":1}`))
	f.Add([]byte(`{"vlans":["","/","//"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v := service("192.0.2.1", 80, server("10.0.0.1", 80, 1))
		v.ParametersJson = body
		valid := true
		for _, p := range ltm.Validate(v, options) {
			valid = valid && p.Warning
		}
		w, _ := ltm.Want(append(farm()[:1:1], v), options)
		_ = w
		if valid {
			want(t, v)
		}
	})
}

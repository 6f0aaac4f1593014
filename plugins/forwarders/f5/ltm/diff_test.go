package ltm_test

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

var options = ltm.Options{Partition: "P", Owner: ltm.Owner{Mark: "poise", Instance: "lab"}}

func service(address string, port uint32, servers ...*forwardv1.RealServer) *forwardv1.VirtualServer {
	family := forwardv1.Family_FAMILY_IPV4
	if strings.Contains(address, ":") {
		family = forwardv1.Family_FAMILY_IPV6
	}
	return &forwardv1.VirtualServer{
		Key:       &forwardv1.ServiceKey{Address: address, Port: port, Protocol: forwardv1.Protocol_PROTOCOL_TCP, Family: family},
		Scheduler: "wrr", RealServers: servers,
	}
}

func server(address string, port, weight uint32) *forwardv1.RealServer {
	return &forwardv1.RealServer{Address: address, Port: port, Weight: weight, Method: forwardv1.Method_METHOD_NAT}
}

// farm is 100 virtual servers of 20 real servers each.
func farm() []*forwardv1.VirtualServer {
	var out []*forwardv1.VirtualServer
	for i := range 100 {
		v := service(fmt.Sprintf("192.0.2.%d", i+1), 80)
		for k := range 20 {
			v.RealServers = append(v.RealServers, server(fmt.Sprintf("10.0.%d.%d", i, k+1), 8080, uint32(k%3)+1))
		}
		out = append(out, v)
	}
	return out
}

func want(t testing.TB, request ...*forwardv1.VirtualServer) ltm.Wanted {
	t.Helper()
	w, refusals := ltm.Want(request, options)
	for _, r := range refusals {
		if !r.Warning {
			t.Fatalf("refused: %v", r)
		}
	}
	return w
}

func state(t testing.TB, d *device) ltm.State {
	t.Helper()
	s, err := d.state("P", 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var farmMade = sync.OnceValue(func() *device {
	d := newDevice()
	w, _ := ltm.Want(farm(), options)
	if err := d.run(ltm.Diff(ltm.State{Partition: "P"}, w)); err != nil {
		panic(err)
	}
	return d
})

// farmDevice holds the farm; it is made once.
func farmDevice(t testing.TB) *device {
	t.Helper()
	return farmMade().clone()
}

// settle carries out plans until there is nothing left, which has to be soon.
func settle(t testing.TB, d *device, w ltm.Wanted) []ltm.Plan {
	t.Helper()
	var plans []ltm.Plan
	for range 3 {
		plan := ltm.Diff(state(t, d), w)
		plans = append(plans, plan)
		if err := d.run(plan); err != nil {
			t.Fatalf("the device refuses: %v", err)
		}
		if !plan.Again {
			break
		}
	}
	if plan := ltm.Diff(state(t, d), w); plan.Count() > 0 {
		t.Fatalf("not settled: %+v", plan.Transactions[0].Commands()[0])
	}
	return plans
}

func TestFarmFromNothing(t *testing.T) {
	d, w := newDevice(), want(t, farm()...)
	plan := ltm.Diff(state(t, d), w)
	if n := plan.Count(); n > 310 || n < 300 {
		t.Errorf("%d commands, want at most 3 for each of 100 pools and 10 more", n)
	}
	for i, tr := range plan.Transactions {
		made := map[string]bool{}
		for _, c := range tr.Commands() {
			made[c.Path] = true
			if name, ok := c.Body["destination"].(string); ok {
				delete(made, name)
			} else if c.Path == ltm.KindVirtualAddress.Collection() {
				made[fmt.Sprintf("/P/%s:80", c.Body["name"])] = true
			}
		}
		for name := range made {
			if strings.HasPrefix(name, "/P/") {
				t.Errorf("transaction %d makes the address of %s without it", i, name)
			}
		}
		if n := len(tr.Commands()); n > 100 {
			t.Errorf("transaction %d has %d commands", i, n)
		}
	}
	if n := len(plan.Transactions); n != 4 {
		t.Errorf("%d transactions, want 4", n)
	}
	d = farmDevice(t)
	if plan := ltm.Diff(state(t, d), w); plan.Count() > 0 || len(plan.Refusals) > 0 {
		t.Errorf("not settled: %+v", plan)
	}
	if n := len(d.kind("node")); n != 2000 {
		t.Errorf("%d nodes, want 2000", n)
	}
}

func TestOneWeight(t *testing.T) {
	d, request := farmDevice(t), farm()
	for _, weight := range []uint32{0, 5} {
		request[7].RealServers[3].Weight = weight
		plan := settle(t, d, want(t, request...))[0]
		// Begin and commit are two writes.
		if n := plan.Count(); n > 2 || len(plan.Transactions) > 1 {
			t.Errorf("weight %d: %d commands in %d transactions", weight, n, len(plan.Transactions))
		}
	}
}

func TestOfflineIsOneCommand(t *testing.T) {
	d, request := farmDevice(t), farm()
	request[7].RealServers[3].Offline = true
	plan := settle(t, d, want(t, request...))[0]
	commands := plan.Transactions[0].Commands()
	if plan.Count() != 1 || commands[0].Path != "/mgmt/tm/ltm/pool/~P~poise_tcp_192.0.2.8_80/members/~P~10.0.7.4:8080" {
		t.Fatalf("commands: %+v", commands)
	}
	if got := fmt.Sprint(commands[0].Body); got != "map[session:user-disabled state:user-down]" {
		t.Errorf("body: %s", got)
	}
	if got := commands[0].Why; got != "changed real server 10.0.7.4:8080 of pool /P/poise_tcp_192.0.2.8_80: offline, was enabled" {
		t.Errorf("why: %s", got)
	}
}

func TestAllRemoved(t *testing.T) {
	d := newDevice()
	v := service("2001:db8::1", 443, server("2001:db8::10", 443, 1), server("2001:db8::11", 443, 2))
	v.PersistenceTimeout = durationpb.New(300e9)
	settle(t, d, want(t, v, service("192.0.2.1", 80, server("10.0.0.1", 80, 1))))
	settle(t, d, want(t))
	for kind, objects := range d.objects {
		for path := range objects {
			t.Errorf("%s %s is left", kind, path)
		}
	}
}

func TestForeignInTheWay(t *testing.T) {
	request := []*forwardv1.VirtualServer{service("192.0.2.1", 80, server("10.0.0.1", 80, 1)), service("192.0.2.2", 80, server("10.0.0.2", 80, 1))}
	request[0].PersistenceTimeout = durationpb.New(60e9)
	for _, test := range []struct {
		name string
		add  func(d *device)
	}{
		{"pool", func(d *device) {
			d.kind("pool")["/P/poise_tcp_192.0.2.1_80"] = map[string]any{"fullPath": "/P/poise_tcp_192.0.2.1_80"}
		}},
		{"virtual", func(d *device) {
			d.kind("virtual")["/P/poise_tcp_192.0.2.1_80"] = map[string]any{"fullPath": "/P/poise_tcp_192.0.2.1_80", "destination": "/P/192.0.2.9:80", "ipProtocol": "tcp", "profiles": []any{}}
		}},
		{"destination", func(d *device) {
			d.kind("virtual")["/P/web"] = map[string]any{"fullPath": "/P/web", "destination": "/P/192.0.2.1:80", "ipProtocol": "tcp", "profiles": []any{},
				"metadata": []any{map[string]any{"name": "poise", "value": "other"}}}
		}},
		{"virtual address", func(d *device) {
			d.kind("virtual-address")["/P/192.0.2.1"] = map[string]any{"fullPath": "/P/192.0.2.1", "address": "192.0.2.1", "arp": "disabled"}
		}},
		{"address of another partition", func(d *device) {
			d.kind("virtual-address")["/Common/vip"] = map[string]any{"fullPath": "/Common/vip", "address": "192.0.2.1"}
		}},
		{"node", func(d *device) {
			d.kind("node")["/P/10.0.0.1"] = map[string]any{"fullPath": "/P/10.0.0.1", "address": "10.9.9.9"}
		}},
		{"virtual address by name", func(d *device) {
			d.kind("virtual-address")["/P/192.0.2.1"] = map[string]any{"fullPath": "/P/192.0.2.1", "address": "192.0.2.77"}
		}},
		{"node of another partition", func(d *device) {
			d.kind("node")["/Other/web"] = map[string]any{"fullPath": "/Other/web", "address": "10.0.0.1"}
		}},
		{"persistence", func(d *device) {
			d.kind("persistence/source-addr")["/P/poise_tcp_192.0.2.1_80"] = map[string]any{"fullPath": "/P/poise_tcp_192.0.2.1_80", "description": "poise/other"}
		}},
		{"destination that cannot be read", func(d *device) {
			d.kind("virtual")["/P/poise_tcp_192.0.2.1_80"] = map[string]any{"fullPath": "/P/poise_tcp_192.0.2.1_80", "destination": "/P/vip:80", "ipProtocol": "tcp",
				"profiles": []any{}, "description": "poise/lab"}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDevice()
			test.add(d)
			before := d.clone()
			w := want(t, request...)
			plan := ltm.Diff(state(t, d), w)
			if len(plan.Refusals) != 1 || !proto.Equal(plan.Refusals[0].Key, request[0].Key) {
				t.Fatalf("refusals: %v", plan.Refusals)
			}
			t.Log(plan.Refusals[0])
			settle(t, d, w)
			if d.kind("virtual")["/P/poise_tcp_192.0.2.2_80"] == nil {
				t.Error("the other virtual server was not made")
			}
			for _, text := range d.differs(before) {
				t.Error(text)
			}
		})
	}
}

// TestMisplaced: virtual servers of ours that have taken each other's place, or one that is
// where another has to be, are taken away first.
func TestMisplaced(t *testing.T) {
	d, w := newDevice(), want(t, service("192.0.2.1", 80), service("192.0.2.2", 80))
	settle(t, d, w)
	a, b := d.kind("virtual")["/P/poise_tcp_192.0.2.1_80"], d.kind("virtual")["/P/poise_tcp_192.0.2.2_80"]
	a["destination"], b["destination"] = b["destination"], a["destination"]
	if plans := settle(t, d, w); len(plans) != 2 || !plans[0].Again {
		t.Errorf("%d plans", len(plans))
	}
	if got := d.kind("virtual")["/P/poise_tcp_192.0.2.1_80"]["destination"]; got != "/P/192.0.2.1:80" {
		t.Errorf("destination %v", got)
	}
	d = newDevice()
	settle(t, d, w)
	v := d.kind("virtual")["/P/poise_tcp_192.0.2.1_80"]
	delete(d.kind("virtual"), "/P/poise_tcp_192.0.2.1_80")
	v["fullPath"] = "/P/poise_older_name"
	d.kind("virtual")["/P/poise_older_name"] = v
	settle(t, d, w)
	if len(d.kind("virtual")) != 2 || d.kind("virtual")["/P/poise_older_name"] != nil || d.kind("virtual-address")["/P/192.0.2.1"]["description"] != "poise/lab" {
		t.Errorf("%v", d.objects)
	}
}

// TestUsedByOthers: what a foreign virtual server has come to use stays, and that is told.
func TestUsedByOthers(t *testing.T) {
	d := newDevice()
	v := service("192.0.2.1", 80, server("10.0.0.1", 80, 1))
	v.PersistenceTimeout = durationpb.New(60e9)
	settle(t, d, want(t, v))
	theirs := maps.Clone(d.kind("virtual")["/P/poise_tcp_192.0.2.1_80"])
	maps.DeleteFunc(theirs, func(key string, _ any) bool { return key == "metadata" || key == "description" })
	theirs["fullPath"], theirs["destination"] = "/P/theirs", "/P/192.0.2.9:80"
	d.kind("virtual")["/P/theirs"] = theirs
	d.kind("virtual-address")["/P/192.0.2.9"] = map[string]any{"fullPath": "/P/192.0.2.9", "address": "192.0.2.9"}
	before := d.clone()
	settle(t, d, want(t))
	plan := ltm.Diff(state(t, d), want(t))
	if len(plan.Refusals) != 3 || plan.Refusals[0].Key != nil {
		t.Errorf("%v", plan.Refusals)
	}
	delete(before.kind("virtual"), "/P/poise_tcp_192.0.2.1_80")
	delete(before.kind("virtual-address"), "/P/192.0.2.1")
	for _, text := range d.differs(before) {
		t.Error(text)
	}
	delete(d.kind("virtual"), "/P/theirs")
	settle(t, d, want(t))
	if len(d.kind("pool")) != 0 || len(d.kind("node")) != 0 || len(d.kind("persistence/source-addr")) != 0 {
		t.Errorf("%v", d.objects)
	}
}

// TestWithout: what needs a part that failed is left out, and what needs that.
func TestWithout(t *testing.T) {
	v := service("192.0.2.1", 80, server("10.0.0.1", 80, 1))
	udp := service("192.0.2.2", 53, server("10.0.0.1", 53, 1))
	udp.Key.Protocol = forwardv1.Protocol_PROTOCOL_UDP
	plan := ltm.Diff(ltm.State{Partition: "P"}, want(t, v, udp))
	var names []string
	for _, one := range plan.Transactions[0].Alone() {
		names = append(names, one.Parts[0].Name)
	}
	equal(t, names, []string{"/P/poise_fastl4_tcp_nat", "/P/poise_fastl4_udp_nat", "/P/192.0.2.1", "poise_tcp_192.0.2.1_80", "/P/192.0.2.2", "poise_udp_192.0.2.2_53"})
	failed := map[string]bool{"/P/poise_fastl4_tcp_nat": true}
	rest, left := plan.Transactions[0].Without(failed)
	if len(rest.Parts) != 5 || len(left) != 1 || !proto.Equal(left[0].Key, v.Key) || !failed["poise_tcp_192.0.2.1_80"] {
		t.Errorf("%+v left out", left)
	}
}

// TestAnnouncing: an address falls silent before anything else is changed on it, and is
// announced after.
func TestAnnouncing(t *testing.T) {
	d, v := newDevice(), service("192.0.2.1", 80, server("10.0.0.1", 80, 1))
	settle(t, d, want(t, v))
	for _, test := range []struct{ parameters, first, last string }{
		{`{"same_address":true,"mirror":true}`, "map[arp:disabled icmpEcho:disabled]", "map[mirror:enabled]"},
		{`{}`, "map[mirror:disabled]", "map[arp:enabled icmpEcho:enabled]"},
	} {
		v.ParametersJson = []byte(test.parameters)
		commands := ltm.Diff(state(t, d), want(t, v)).Transactions[0].Commands()
		if len(commands) != 2 || fmt.Sprint(commands[0].Body) != test.first || fmt.Sprint(commands[1].Body) != test.last {
			t.Errorf("%s: %+v", test.parameters, commands)
		}
		settle(t, d, want(t, v))
	}
}

// TestSessionAndState are written together: one of them alone says something else.
func TestSessionAndState(t *testing.T) {
	d, v := newDevice(), service("192.0.2.1", 80, server("10.0.0.1", 80, 1))
	for i, step := range []struct {
		weight  uint32
		offline bool
		want    string
	}{
		{1, false, ""}, {0, false, "user-disabled user-up"}, {0, true, "user-disabled user-down"}, {0, false, "user-disabled user-up"},
		{1, false, "user-enabled user-up"}, {1, true, "user-disabled user-down"}, {1, false, "user-enabled user-up"},
	} {
		v.RealServers[0].Weight, v.RealServers[0].Offline = step.weight, step.offline
		plan := settle(t, d, want(t, v))[0]
		if i == 0 {
			continue
		}
		body := plan.Transactions[0].Commands()[0].Body
		if got := fmt.Sprint(body["session"], " ", body["state"]); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
}

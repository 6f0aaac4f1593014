package ltm_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// drawService draws from few values, so that requests overlap; not all can be done.
func drawService(t *rapid.T) *forwardv1.VirtualServer {
	six := rapid.Bool().Draw(t, "ipv6")
	address := fmt.Sprintf("192.0.2.%d", rapid.IntRange(1, 2).Draw(t, "address"))
	if six {
		address = "2001:db8::1"
	}
	v := service(address, rapid.SampledFrom([]uint32{0, 80, 81}).Draw(t, "port"))
	v.Key.Protocol = forwardv1.Protocol(rapid.IntRange(1, 2).Draw(t, "protocol"))
	v.Scheduler = rapid.SampledFrom([]string{"rr", "wrr", "lc", "wlc", "fo", "ovf", "sh", "sed", "dh"}).Draw(t, "scheduler")
	v.OnePacket = rapid.IntRange(0, 5).Draw(t, "ops") == 0
	if seconds := rapid.SampledFrom([]int64{0, 0, 50, 300}).Draw(t, "persistence"); seconds > 0 {
		v.PersistenceTimeout = &durationpb.Duration{Seconds: seconds}
		v.PersistencePrefix = rapid.SampledFrom([]uint32{0, 24}).Draw(t, "prefix")
	}
	v.ParametersJson = []byte(rapid.SampledFrom([]string{
		"", `{"approximate":["sh","sed","ovf","ops","persistence_port_0"]}`, `{"same_address":true}`, `{"on_failure":"remove"}`,
		`{"snat":"automap","scale_weights":true}`, `{"vlans":["a"],"mirror":true,"connection_limit":5}`,
	}).Draw(t, "parameters"))
	method := forwardv1.Method(rapid.IntRange(1, 3).Draw(t, "method"))
	n := rapid.IntRange(0, 6).Draw(t, "real servers")
	for i := range n {
		host := fmt.Sprintf("10.0.0.%d", i+1)
		if six {
			host = fmt.Sprintf("2001:db8::%d", i+10)
		}
		r := server(host, v.Key.Port, rapid.SampledFrom([]uint32{0, 1, 2, 3, 100, 101}).Draw(t, "weight"))
		r.Method = method
		r.Offline = rapid.IntRange(0, 3).Draw(t, "offline") == 0
		r.UpperThreshold = rapid.SampledFrom([]uint32{0, 7}).Draw(t, "upper")
		if r.Sorry = i == 5; r.Sorry {
			r.Weight = min(r.Weight, 1)
		}
		v.RealServers = append(v.RealServers, r)
	}
	return v
}

func drawRequest(t *rapid.T, name string) []*forwardv1.VirtualServer {
	return rapid.SliceOfNDistinct(rapid.Custom(drawService), 0, 5, func(v *forwardv1.VirtualServer) string { return v.Key.String() }).Draw(t, name)
}

// drawForeign adds objects of others, some of which are in our way.
func drawForeign(t *rapid.T, d *device) *device {
	before := newDevice()
	add := func(kind, path string, o map[string]any) {
		if d.kind(kind)[path] != nil || rapid.IntRange(0, 2).Draw(t, "foreign "+kind) > 0 {
			return
		}
		for _, n := range d.kind(kind) {
			if n["address"] != nil && n["address"] == o["address"] {
				return
			}
		}
		o["fullPath"] = path
		d.kind(kind)[path], before.kind(kind)[path] = o, maps.Clone(o)
	}
	add("node", "/P/web1", map[string]any{"address": "10.0.0.1", "description": "of others"})
	add("node", "/P/10.0.0.3", map[string]any{"address": "10.0.0.3"})
	add("node", "/P/10.0.0.77", map[string]any{"address": "10.0.0.77"})
	add("node", "/Common/web2", map[string]any{"address": "10.0.0.2"})
	add("pool", "/P/theirs", map[string]any{"slowRampTime": 10})
	add("pool", "/P/poise_tcp_192.0.2.2_80", map[string]any{"metadata": []any{map[string]any{"name": "poise", "value": "other"}}})
	add("persistence/source-addr", "/P/theirs", map[string]any{"timeout": "180"})
	add("profile/fastl4", "/P/poise_fastl4_udp_nat", map[string]any{"description": "poise/other"})
	add("profile/udp", "/P/udp", map[string]any{})
	add("virtual-address", "/P/192.0.2.1", map[string]any{"address": "192.0.2.1", "arp": "enabled", "icmpEcho": "enabled", "autoDelete": "false"})
	if d.kind("profile/udp")["/P/udp"] != nil && !slices.ContainsFunc(slices.Collect(maps.Values(d.kind("virtual"))), func(v map[string]any) bool {
		return v["destination"] == "/P/192.0.2.2:81" && v["ipProtocol"] == "udp"
	}) {
		add("virtual", "/P/theirs", map[string]any{"destination": "/P/192.0.2.2:81", "ipProtocol": "udp", "profiles": []any{map[string]any{"name": "udp", "partition": "P", "context": "all"}}})
		if d.kind("virtual")["/P/theirs"] != nil && d.kind("virtual-address")["/P/192.0.2.2"] == nil {
			d.kind("virtual-address")["/P/192.0.2.2"] = map[string]any{"fullPath": "/P/192.0.2.2", "address": "192.0.2.2"}
		}
	}
	return before
}

// drawDrift changes objects of ours as a person would. Of a member that was deleted, nobody
// knows any more whether its node came with it: those nodes stay.
func drawDrift(t *rapid.T, d *device) (stay map[string]bool) {
	stay = map[string]bool{}
	marked := func(o map[string]any) bool {
		return fmt.Sprint(o["description"])[:3] == "poi" && o["description"] != "poise/other"
	}
	for _, kind := range slices.Sorted(maps.Keys(d.objects)) {
		for _, path := range slices.Sorted(maps.Keys(d.kind(kind))) {
			o := d.kind(kind)[path]
			if !marked(o) || rapid.IntRange(0, 2).Draw(t, "drift of "+path) > 0 {
				continue
			}
			switch kind {
			case "pool":
				o["slowRampTime"], o["monitor"], o["loadBalancingMode"] = 10, "/Common/http ", "fastest-node"
				for name, m := range d.members[path] {
					if rapid.Bool().Draw(t, "member") {
						m["ratio"], m["state"], m["session"], m["priorityGroup"] = 9, "user-down", "user-disabled", 3
					} else {
						delete(d.members[path], name)
						stay[nodeOf(name)] = true
					}
				}
			case "virtual":
				delete(o, "enabled")
				o["disabled"], o["translatePort"] = true, "disabled"
				if rapid.Bool().Draw(t, "moved") && d.kind("virtual-address")["/P/192.0.2.200"] == nil {
					va := d.addressOf(o)
					o["destination"] = "/P/192.0.2.200:80"
					d.kind("virtual-address")["/P/192.0.2.200"] = map[string]any{"fullPath": "/P/192.0.2.200", "address": "192.0.2.200", "autoDelete": "true"}
					d.release(va)
				}
			case "virtual-address":
				o["arp"], o["autoDelete"] = "disabled", "false"
			case "profile/fastl4", "persistence/source-addr":
				o["idleTimeout"], o["timeout"] = "7", "7"
			}
		}
	}
	return stay
}

func accepted(t *rapid.T, request []*forwardv1.VirtualServer) ltm.Wanted {
	w, refusals := ltm.Want(request, options)
	for _, v := range request {
		good := true
		for _, p := range ltm.Validate(v, options) {
			good = good && p.Warning
		}
		wanted := slices.ContainsFunc(w.Virtuals, func(x ltm.WantedVirtual) bool { return proto.Equal(x.Key, v.Key) })
		refused := slices.ContainsFunc(refusals, func(r ltm.Refusal) bool { return !r.Warning && proto.Equal(r.Key, v.Key) })
		if wanted == refused {
			t.Fatalf("%v is wanted (%v) and refused (%v)", v, wanted, refused)
		}
		if alone, _ := ltm.Want([]*forwardv1.VirtualServer{v}, options); good != (len(alone.Virtuals) == 1) {
			t.Fatalf("%v is valid (%v) but not wanted", v, good)
		}
	}
	return w
}

func settleRapid(t *rapid.T, d *device, w ltm.Wanted) []ltm.Refusal {
	var refusals []ltm.Refusal
	for range 4 {
		s, err := d.state("P", 0)
		if err != nil {
			t.Fatal(err)
		}
		plan := ltm.Diff(s, w)
		refusals = plan.Refusals
		if plan.Count() == 0 {
			return refusals
		}
		if err := d.run(plan); err != nil {
			t.Fatalf("the device refuses: %v", err)
		}
	}
	s, _ := d.state("P", 0)
	t.Fatalf("does not settle: %+v", ltm.Diff(s, w).Transactions)
	return nil
}

func TestConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDevice()
		foreign := newDevice()
		if rapid.Bool().Draw(t, "foreign first") {
			foreign = drawForeign(t, d)
		}
		settleRapid(t, d, accepted(t, drawRequest(t, "before")))
		if len(foreign.objects) == 0 {
			foreign = drawForeign(t, d)
		}
		stay := drawDrift(t, d)
		request := drawRequest(t, "request")
		other := d.clone()
		w := accepted(t, request)
		refusals := settleRapid(t, d, w)
		for _, text := range d.differs(foreign) {
			t.Fatalf("foreign: %s", text)
		}
		for _, v := range w.Virtuals {
			refused := slices.ContainsFunc(refusals, func(r ltm.Refusal) bool { return proto.Equal(r.Key, v.Key) })
			if is := d.kind("virtual")["/P/"+v.Name]; !refused && (is == nil || is["destination"] != v.Virtual.DestinationText) {
				t.Fatalf("%s is not there", v.Name)
			}
		}
		slices.Reverse(request)
		settleRapid(t, other, accepted(t, request))
		if a, b := fmt.Sprint(d.objects, d.members), fmt.Sprint(other.objects, other.members); a != b {
			t.Fatalf("another order gives another result:\n%s\n%s", a, b)
		}
		// All of ours goes, and nothing else.
		settleRapid(t, d, ltm.Wanted{Options: options})
		for _, text := range d.differs(foreign) {
			t.Fatalf("foreign after the end: %s", text)
		}
		for _, v := range d.kind("virtual") {
			stay[d.addressOf(v)] = true
		}
		for kind, objects := range d.objects {
			for path, o := range objects {
				if foreign.kind(kind)[path] == nil && !stay[path] {
					t.Fatalf("%s %s is left: %v", kind, path, o)
				}
			}
		}
	})
}

// TestSilentAddress: an address that a director serves too is never announced, not even
// between two commands.
func TestSilentAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDevice()
		settleRapid(t, d, accepted(t, drawRequest(t, "before")))
		request := drawRequest(t, "request")
		for _, v := range request {
			v.ParametersJson = []byte(`{"same_address":true,"approximate":["sh","sed","ovf","ops","persistence_port_0"]}`)
		}
		w := accepted(t, request)
		s, _ := d.state("P", 0)
		plan := ltm.Diff(s, w)
		silent := map[string]bool{}
		for _, tr := range plan.Transactions {
			if err := d.run(ltm.Plan{Transactions: []ltm.Transaction{tr}}); err != nil {
				t.Fatal(err)
			}
			for path, va := range d.kind("virtual-address") {
				if va["arp"] == "disabled" {
					silent[path] = true
				} else if silent[path] {
					t.Fatalf("%s is announced again", path)
				}
			}
		}
		for _, v := range w.Virtuals {
			if va := d.kind("virtual-address")[v.Address.Path]; va["arp"] != "disabled" || va["icmpEcho"] != "disabled" {
				t.Fatalf("%s is announced: %v", v.Address.Path, va)
			}
		}
	})
}

// TestObserveTellsWhatWasWanted: what is applied reads back in poise's words.
func TestObserveTellsWhatWasWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		request := drawRequest(t, "request")
		d := newDevice()
		w := accepted(t, request)
		settleRapid(t, d, w)
		s, _ := d.state("P", 0)
		seen := ltm.Observe(s, options.Owner)
		if len(seen) != len(w.Virtuals) {
			t.Fatalf("%d virtual servers, want %d", len(seen), len(w.Virtuals))
		}
		for _, v := range seen {
			i := slices.IndexFunc(request, func(r *forwardv1.VirtualServer) bool { return proto.Equal(r.Key, v.Key) })
			expected := proto.CloneOf(request[i])
			if string(expected.ParametersJson) == `{"on_failure":"remove"}` {
				expected.RealServers = slices.DeleteFunc(expected.RealServers, func(r *forwardv1.RealServer) bool { return r.Offline })
			}
			expected.ParametersJson = nil
			for k, r := range expected.RealServers {
				if r.Method == forwardv1.Method_METHOD_TUN {
					r.TunnelType = forwardv1.TunnelType_TUNNEL_TYPE_IPIP
				}
				// Of ovf, the smaller of weight and limit is the limit.
				if v.Scheduler == "ovf" && k < len(v.RealServers) {
					r.UpperThreshold = v.RealServers[k].UpperThreshold
				}
			}
			if expected.PersistencePrefix > 0 && expected.PersistenceTimeout == nil {
				expected.PersistencePrefix = 0
			}
			if len(expected.RealServers) == 0 && len(v.RealServers) == 0 {
				expected.RealServers = v.RealServers
			}
			if !proto.Equal(v, expected) {
				t.Fatalf("observed %v\nwant     %v", v, expected)
			}
		}
	})
}

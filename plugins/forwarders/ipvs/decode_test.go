package ipvs

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/fakekernel"
	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

func TestDecodeRefuses(t *testing.T) {
	tcp, v4, v6 := forwardv1.Protocol_PROTOCOL_TCP, forwardv1.Family_FAMILY_IPV4, forwardv1.Family_FAMILY_IPV6
	change := func(f func(v *forwardv1.VirtualServer)) *forwardv1.ApplyRequest {
		v := service("rr", "192.0.2.100", 80, real("192.0.2.1", 80, 1, tun))
		f(v)
		return request(v)
	}
	key := func(k *forwardv1.ServiceKey) *forwardv1.ApplyRequest {
		return change(func(v *forwardv1.VirtualServer) { v.Key = k })
	}
	sync := func(f func(s *forwardv1.ConnectionSync)) *forwardv1.ApplyRequest {
		s := &forwardv1.ConnectionSync{Role: master, Interface: "eth0"}
		f(s)
		return syncRequest(true, s)
	}
	rs := func(f func(r *forwardv1.RealServer)) *forwardv1.ApplyRequest {
		return change(func(v *forwardv1.VirtualServer) { f(v.RealServers[0]) })
	}
	twice := service("rr", "192.0.2.100", 80, real("192.0.2.1", 80, 1, dr))
	for name, c := range map[string]struct {
		r    *forwardv1.ApplyRequest
		says string
	}{
		"no family":           {key(&forwardv1.ServiceKey{Address: "192.0.2.1", Protocol: tcp}), "no family"},
		"no address":          {key(&forwardv1.ServiceKey{Protocol: tcp, Family: v4}), "address of a virtual server"},
		"other family":        {key(&forwardv1.ServiceKey{Address: "192.0.2.1", Protocol: tcp, Family: v6}), "not of its family"},
		"zone":                {key(&forwardv1.ServiceKey{Address: "fe80::1%eth0", Protocol: tcp, Family: v6}), "zone"},
		"port":                {key(&forwardv1.ServiceKey{Address: "192.0.2.1", Port: 70000, Protocol: tcp, Family: v4}), "above 65535"},
		"no protocol":         {key(&forwardv1.ServiceKey{Address: "192.0.2.1", Family: v4}), "no protocol"},
		"mark and address":    {key(&forwardv1.ServiceKey{Address: "192.0.2.1", Fwmark: 1, Family: v4}), "firewall mark 1"},
		"no key":              {key(nil), "no family"},
		"no scheduler":        {change(func(v *forwardv1.VirtualServer) { v.Scheduler = "" }), "scheduler"},
		"long scheduler":      {change(func(v *forwardv1.VirtualServer) { v.Scheduler = strings.Repeat("x", 16) }), "1 to 15"},
		"flag":                {change(func(v *forwardv1.VirtualServer) { v.SchedulerFlags = []string{"flag-4"} }), "flag-4"},
		"fraction":            {change(func(v *forwardv1.VirtualServer) { v.PersistenceTimeout = durationpb.New(time.Millisecond) }), "whole seconds"},
		"32 days":             {change(func(v *forwardv1.VirtualServer) { v.PersistenceTimeout = durationpb.New(32 * 24 * time.Hour) }), "whole seconds up to"},
		"prefix":              {change(func(v *forwardv1.VirtualServer) { v.PersistencePrefix = 33 }), "32 bits"},
		"engine alone":        {change(func(v *forwardv1.VirtualServer) { v.PersistenceEngine = "sip" }), "persistence timeout"},
		"same key":            {request(twice, twice), "twice"},
		"same real server":    {request(service("rr", "192.0.2.100", 80, twice.RealServers[0], twice.RealServers[0])), "twice"},
		"real server address": {rs(func(r *forwardv1.RealServer) { r.Address = "web1" }), "web1"},
		"no method":           {rs(func(r *forwardv1.RealServer) { r.Method = 0 }), "forwarding method"},
		"weight":              {rs(func(r *forwardv1.RealServer) { r.Weight = 1 << 31 }), "weight"},
		"thresholds":          {rs(func(r *forwardv1.RealServer) { r.LowerThreshold = 2 }), "threshold"},
		"families":            {rs(func(r *forwardv1.RealServer) { r.Address, r.Method = "2001:db8::1", dr }), "use TUN"},
		"gue without port":    {rs(func(r *forwardv1.RealServer) { r.TunnelType = forwardv1.TunnelType_TUNNEL_TYPE_GUE }), "GUE"},
		"gre remcsum": {rs(func(r *forwardv1.RealServer) {
			r.TunnelType, r.TunnelChecksum = forwardv1.TunnelType_TUNNEL_TYPE_GRE, forwardv1.TunnelChecksum_TUNNEL_CHECKSUM_REMOTE
		}), "GRE"},
		"tunnel":         {rs(func(r *forwardv1.RealServer) { r.TunnelType = 9 }), "tunnel type 9"},
		"checksum":       {rs(func(r *forwardv1.RealServer) { r.TunnelChecksum = 9 }), "checksum mode 9"},
		"sync role":      {sync(func(s *forwardv1.ConnectionSync) { s.Role = 0 }), "role"},
		"sync interface": {sync(func(s *forwardv1.ConnectionSync) { s.Interface = "" }), "interface"},
		"sync id":        {sync(func(s *forwardv1.ConnectionSync) { s.SyncId = 256 }), "sync id 256"},
		"sync length":    {sync(func(s *forwardv1.ConnectionSync) { s.MaxLength = 65536 }), "length"},
		"sync port":      {sync(func(s *forwardv1.ConnectionSync) { s.Port = 65536 }), "port"},
		"sync ttl":       {sync(func(s *forwardv1.ConnectionSync) { s.Ttl = 256 }), "ttl"},
		"sync group":     {sync(func(s *forwardv1.ConnectionSync) { s.Group = "192.0.2.1" }), "multicast"},
	} {
		t.Run(name, func(t *testing.T) {
			_, refused := decodeRequest(c.r)
			if len(refused) != 1 || !strings.Contains(refused[0].GetMessage(), c.says) {
				t.Errorf("refused %v, want one that says %q", refused, c.says)
			}
		})
	}
}

// TestWrongServiceIsLeftAsItIs: an owned service whose new settings are wrong is not
// removed.
func TestWrongServiceIsLeftAsItIs(t *testing.T) {
	v := service("", "192.0.2.100", 80)
	r := request(v)
	r.Owned = append(r.Owned, v.GetKey())
	want, refused := decodeRequest(r)
	there := table.State{Services: []table.Virtual{{Service: table.Service{Key: table.Key{Addr: mustAddr(v), Port: 80, Protocol: table.TCP}, Scheduler: "rr", Prefix: 32}}}}
	if ops := table.Diff(*want, there); len(ops) != 0 || len(refused) != 1 {
		t.Errorf("operations %v, refused %v", ops, refused)
	}
}

// FuzzDecodeRequest: whatever is sent, what is accepted leads to a table that needs no
// second difference, and foreign services stay.
func FuzzDecodeRequest(f *testing.F) {
	full := request(service("wrr", "192.0.2.100", 80, real("192.0.2.1", 80, 3, dr), real("2001:db8::1", 80, 0, tun)), service("rr", "2001:db8::100", 443))
	full.ConnectionSync = &forwardv1.ConnectionSync{Role: master, Interface: "eth0", Group: "ff02::81"}
	full.Owned = append(full.Owned, &forwardv1.ServiceKey{Fwmark: 7, Family: forwardv1.Family_FAMILY_IPV4})
	for _, r := range []*forwardv1.ApplyRequest{request(), full} {
		seed, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r forwardv1.ApplyRequest
		if proto.Unmarshal(data, &r) != nil {
			return
		}
		want, _ := decodeRequest(&r)
		k := fakekernel.New()
		state, _ := k.Read()
		ops := table.Diff(*want, state)
		for i, err := range k.Run(ops) {
			if err != nil && want.Sync == nil {
				t.Fatalf("%s %s: %v", ops[i].Verb(), ops[i].Object(), err)
			}
		}
		state, _ = k.Read()
		encodeState(state, "")
		if again := table.Diff(*want, state); len(again) > 0 && want.Sync == nil {
			t.Fatalf("a second difference: %v", again)
		}
	})
}

func mustAddr(v *forwardv1.VirtualServer) netip.Addr {
	return netip.MustParseAddr(v.GetKey().GetAddress())
}

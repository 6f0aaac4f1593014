package table_test

import (
	"net/netip"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/fakekernel"
	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
)

// few keys, so that tables overlap.
func drawKey(t *rapid.T) table.Key {
	v6 := rapid.Bool().Draw(t, "ipv6")
	if rapid.Bool().Draw(t, "mark") {
		return table.Key{Mark: rapid.Uint32Range(1, 3).Draw(t, "fwmark"), IPv6: v6}
	}
	addr := netip.MustParseAddr("192.0.2.100")
	if v6 {
		addr = netip.MustParseAddr("2001:db8::100")
	}
	return table.Key{Addr: addr, Port: rapid.Uint16Range(80, 82).Draw(t, "port"), IPv6: v6,
		Protocol: rapid.SampledFrom([]table.Protocol{table.TCP, table.UDP, table.SCTP}).Draw(t, "protocol")}
}

func drawVirtual(t *rapid.T) table.Virtual {
	key := drawKey(t)
	s := table.Service{Key: key, Scheduler: rapid.SampledFrom([]string{"rr", "wrr", "sh"}).Draw(t, "scheduler"),
		Flags: table.Flags(rapid.Uint32Range(0, 0x3f).Draw(t, "flags")), Timeout: rapid.Uint32Range(0, 3).Draw(t, "timeout"),
		Prefix: rapid.IntRange(1, 32).Draw(t, "prefix"), Engine: rapid.SampledFrom([]string{"", "sip"}).Draw(t, "engine")}
	v := table.Virtual{Service: s.Normal()}
	v.Reals = rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) table.Real { return drawReal(t, key) }), 0, 5,
		func(r table.Real) netip.AddrPort { return r.Addr }).Draw(t, "reals")
	return v
}

func drawReal(t *rapid.T, key table.Key) table.Real {
	host := netip.AddrFrom4([4]byte{192, 0, 2, rapid.Byte().Draw(t, "host") % 8})
	if key.IPv6 {
		host = netip.AddrFrom16(netip.MustParseAddr("2001:db8::").As16()).Next()
	}
	d := table.Destination{Addr: netip.AddrPortFrom(host, rapid.Uint16Range(80, 81).Draw(t, "port")),
		Weight: rapid.Uint32Range(0, 2).Draw(t, "weight"), Method: rapid.SampledFrom([]table.Method{table.NAT, table.TUN, table.DR}).Draw(t, "method"),
		Tunnel:         table.Tunnel{Type: table.TunnelType(rapid.Uint8Range(0, 2).Draw(t, "tunnel")), Port: rapid.Uint16Range(1, 2).Draw(t, "tunnel port")},
		UpperThreshold: rapid.Uint32Range(2, 3).Draw(t, "upper"), LowerThreshold: rapid.Uint32Range(0, 2).Draw(t, "lower")}
	return table.Real{Destination: d.Normal()}
}

func drawServices(t *rapid.T, name string) []table.Virtual {
	return rapid.SliceOfNDistinct(rapid.Custom(drawVirtual), 0, 6, func(v table.Virtual) table.Key { return v.Service.Key }).Draw(t, name)
}

func drawSync(t *rapid.T, name string) *table.Sync {
	if !rapid.Bool().Draw(t, name) {
		return nil
	}
	return &table.Sync{Role: table.Role(rapid.Uint8Range(1, 2).Draw(t, "role")), Interface: rapid.SampledFrom([]string{"eth0", "eth1"}).Draw(t, "interface"),
		MaxLength: rapid.SampledFrom([]uint16{0, 900, 1472, 65535}).Draw(t, "length")}
}

// contents is a table without order.
func contents(state table.State) (map[table.Service]map[table.Destination]bool, map[table.Sync]bool) {
	services, syncs := map[table.Service]map[table.Destination]bool{}, map[table.Sync]bool{}
	for _, v := range state.Services {
		reals := map[table.Destination]bool{}
		for _, r := range v.Reals {
			reals[r.Destination] = true
		}
		services[v.Service] = reals
	}
	for _, s := range state.Syncs {
		syncs[s] = true
	}
	return services, syncs
}

// run carries out a difference; every operation has to succeed.
func run(t *rapid.T, k *fakekernel.Kernel, want table.Want) []table.Op {
	state, err := k.Read()
	if err != nil {
		t.Fatal(err)
	}
	ops := table.Diff(want, state)
	for i, err := range k.Run(ops) {
		if err != nil {
			t.Fatalf("%s %s: %v", ops[i].Verb(), ops[i].Object(), err)
		}
	}
	return ops
}

func TestDiffLeadsToWhatIsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := fakekernel.New()
		before := table.Want{Services: drawServices(t, "before"), Sync: drawSync(t, "sync before")}
		run(t, k, before)
		want := table.Want{Services: drawServices(t, "want"), Sync: drawSync(t, "sync"), Owned: map[table.Key]bool{}, SyncOwned: map[table.Role]bool{}}
		wanted, expected := map[table.Key]bool{}, table.State{Services: want.Services}
		for _, v := range want.Services {
			wanted[v.Service.Key] = true
		}
		foreign := map[table.Key]bool{}
		for _, v := range before.Services {
			owned := rapid.Bool().Draw(t, "owned")
			want.Owned[v.Service.Key] = owned
			if !owned && !wanted[v.Service.Key] {
				foreign[v.Service.Key] = true
				expected.Services = append(expected.Services, v)
			}
		}
		if before.Sync != nil {
			want.SyncOwned[before.Sync.Role] = true
		}
		ops := run(t, k, want)
		for _, op := range ops {
			if foreign[op.Service.Key] {
				t.Fatalf("%s %s, which is foreign", op.Verb(), op.Object())
			}
		}
		state, _ := k.Read()
		services, syncs := contents(state)
		if expect, _ := contents(expected); !reflect.DeepEqual(services, expect) {
			t.Fatalf("got %v\nwant %v", services, expect)
		}
		if (want.Sync == nil) != (len(syncs) == 0) || len(syncs) > 1 {
			t.Fatalf("sync daemons %v, want %v", syncs, want.Sync)
		}
		if again := table.Diff(want, state); len(again) > 0 {
			t.Fatalf("a second difference: %v", verbs(again))
		}
	})
}

// TestDiffIsMinimal: no operation can be left out, and no object is worked on twice.
func TestDiffIsMinimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := fakekernel.New()
		run(t, k, table.Want{Services: drawServices(t, "before")})
		state, _ := k.Read()
		want := table.Want{Services: drawServices(t, "want")}
		seen := map[string]bool{}
		for _, op := range table.Diff(want, state) {
			if object := op.Object(); seen[object] {
				t.Fatalf("%s is worked on twice", object)
			} else {
				seen[object] = true
			}
		}
	})
}

// TestDiffNeverEmpties: a service that has a destination with weight before and after has
// one all the time in between.
func TestDiffNeverEmpties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := fakekernel.New()
		before := table.Want{Services: drawServices(t, "before")}
		run(t, k, before)
		state, _ := k.Read()
		want := table.Want{Services: drawServices(t, "want")}
		steady := map[table.Key]bool{}
		for _, a := range before.Services {
			for _, b := range want.Services {
				steady[a.Service.Key] = steady[a.Service.Key] || a.Service.Key == b.Service.Key && serves(a) && serves(b)
			}
		}
		for _, op := range table.Diff(want, state) {
			k.Run([]table.Op{op})
			now, _ := k.Read()
			for _, v := range now.Services {
				if steady[v.Service.Key] && !serves(v) {
					t.Fatalf("%s has nobody to serve after: %s %s", v.Service.Key, op.Verb(), op.Object())
				}
			}
		}
	})
}

func serves(v table.Virtual) bool {
	for _, r := range v.Reals {
		if r.Weight > 0 {
			return true
		}
	}
	return false
}

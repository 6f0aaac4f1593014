package genl

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
)

var (
	web  = table.Key{Addr: netip.MustParseAddr("192.0.2.100"), Port: 80, Protocol: table.TCP}
	sync = table.Sync{Role: table.Backup, Interface: "eth0", ID: 51, MaxLength: 1472, Port: 8848, TTL: 1, Group: netip.MustParseAddr("224.0.0.81")}
)

// TestEncode has one message byte by byte, as linux/ip_vs.h and the kernel's policy say.
func TestEncode(t *testing.T) {
	native := binary.NativeEndian
	attr := func(kind uint16, value ...byte) []byte {
		b := native.AppendUint16(nil, uint16(4+len(value)))
		b = append(native.AppendUint16(b, kind), value...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
		return b
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	u16 := func(v uint16) []byte { return native.AppendUint16(nil, v) }
	u32 := func(v uint32) []byte { return native.AppendUint32(nil, v) }
	want := join([]byte{1, 1, 0, 0}, attr(1, join(
		attr(1, u16(2)...), attr(2, u16(6)...), attr(3, 192, 0, 2, 100), attr(4, 0, 80),
		attr(6, 'w', 'r', 'r', 0), attr(7, join(u32(1), u32(0xffffffff))...), attr(8, u32(50)...), attr(9, 255, 255, 255, 0),
	)...))
	s := table.Service{Key: web, Scheduler: "wrr", Flags: table.Persistent, Timeout: 50, Prefix: 24}
	if got := encode(table.Op{Kind: table.AddService, Service: s}); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestNetmask(t *testing.T) {
	for prefix, want := range map[int][]byte{0: {0, 0, 0, 0}, 1: {128, 0, 0, 0}, 31: {255, 255, 255, 254}, 32: {255, 255, 255, 255}} {
		message := encode(table.Op{Kind: table.EditService, Service: table.Service{Key: web, Scheduler: "rr", Prefix: prefix}})
		if got := message[len(message)-4:]; !bytes.Equal(got, want) {
			t.Errorf("prefix %d: %v", prefix, got)
		}
	}
}

func drawAddr(t *rapid.T) netip.Addr {
	if rapid.Bool().Draw(t, "ipv6") {
		b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")
		b[0] = 0x20
		return netip.AddrFrom16([16]byte(b))
	}
	return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")))
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := table.Key{Mark: rapid.Uint32().Draw(t, "mark"), IPv6: rapid.Bool().Draw(t, "family")}
		if key.Mark == 0 {
			addr := drawAddr(t)
			key = table.Key{Addr: addr, IPv6: addr.Is6(), Port: rapid.Uint16().Draw(t, "port"), Protocol: table.Protocol(rapid.Byte().Draw(t, "protocol"))}
		}
		s := table.Service{Key: key, Scheduler: "rr", Prefix: 8, Engine: rapid.StringMatching(`[a-z]{0,15}`).Draw(t, "engine")}
		got, engine, found, err := decodeEngine(encode(table.Op{Kind: table.AddService, Service: s})[genlHeader:])
		if err != nil || !found || got != key || engine != s.Engine {
			t.Fatalf("service %v: %v %q %v %v", s, got, engine, found, err)
		}
		d := table.Destination{Addr: netip.AddrPortFrom(drawAddr(t), rapid.Uint16().Draw(t, "port")), Weight: rapid.Uint32().Draw(t, "weight"),
			Method: table.Method(rapid.Uint8Range(0, 4).Draw(t, "method")), UpperThreshold: rapid.Uint32().Draw(t, "upper"), LowerThreshold: rapid.Uint32().Draw(t, "lower"),
			Tunnel: table.Tunnel{Type: table.TunnelType(rapid.Byte().Draw(t, "tunnel")), Port: rapid.Uint16().Draw(t, "port"), Checksum: rapid.Uint16().Draw(t, "checksum")}}.Normal()
		r, found, err := decodeReal(encode(table.Op{Kind: table.EditDestination, Service: s, Destination: d})[genlHeader:], key.IPv6)
		if err != nil || !found || r.Destination != d {
			t.Fatalf("destination %v: %v %v %v", d, r, found, err)
		}
		y := sync
		y.ID, y.Role, y.TTL = rapid.Byte().Draw(t, "id"), table.Role(rapid.Uint8Range(1, 2).Draw(t, "role")), rapid.Byte().Draw(t, "ttl")
		y.Port, y.MaxLength, y.Group = rapid.Uint16().Draw(t, "port"), rapid.Uint16().Draw(t, "length"), drawAddr(t)
		z, found, err := decodeDaemon(encode(table.Op{Kind: table.StartSync, Sync: y})[genlHeader:])
		if err != nil || !found || z != y {
			t.Fatalf("sync %v: %v %v %v", y, z, found, err)
		}
	})
}

func TestDecodeStats(t *testing.T) {
	stats := func(kind uint16, wide bool, add uint64) attributes {
		var a attributes
		a.nest(kind, func() {
			for i := range uint16(5) {
				v := uint64(i) + add
				if wide || i >= 3 {
					binary.NativeEndian.PutUint64(a.room(i+1, 8), v)
				} else {
					a.uint32(i+1, uint32(v))
				}
			}
		})
		return a
	}
	message := func(nests ...attributes) []byte {
		var a attributes
		a.nest(attrDest, func() {
			a.destinationKey(table.Destination{Addr: netip.MustParseAddrPort("192.0.2.1:80")})
			a.uint32(destActive, 7)
			a.uint32(destInactive, 8)
			for _, n := range nests {
				a = append(a, n...)
			}
		})
		return a
	}
	const big = 1 << 40
	for name, c := range map[string]struct {
		data []byte
		want uint64
	}{
		"both":  {message(stats(destStats, false, 10), stats(destStats64, true, big)), big},
		"older": {message(stats(destStats, false, 10)), 10},
	} {
		r, found, err := decodeReal(c.data, false)
		want := table.Counters{Connections: c.want, PacketsIn: c.want + 1, PacketsOut: c.want + 2, BytesIn: c.want + 3, BytesOut: c.want + 4, ActiveConnections: 7, InactiveConnections: 8}
		if err != nil || !found || r.Counters != want {
			t.Errorf("%s: %+v %v %v", name, r.Counters, found, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, op := range []table.Op{
		{Kind: table.AddService, Service: table.Service{Key: web, Scheduler: "rr", Engine: "sip", Prefix: 32}},
		{Kind: table.AddService, Service: table.Service{Key: table.Key{Mark: 3, IPv6: true}, Scheduler: "rr", Prefix: 64}},
		{Kind: table.AddDestination, Service: table.Service{Key: web}, Destination: table.Destination{Addr: netip.MustParseAddrPort("[2001:db8::1]:80")}},
		{Kind: table.StartSync, Sync: sync},
	} {
		f.Add(encode(op)[genlHeader:])
	}
	f.Add([]byte{4, 0, 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if k, _, found, err := decodeEngine(data); found && err == nil && k.Mark == 0 && k.Addr.Is6() != k.IPv6 {
			t.Errorf("key %v is not of its family", k)
		}
		if r, found, err := decodeReal(data, false); found && err == nil && !r.Addr.Addr().IsValid() {
			t.Errorf("destination %v has no address", r)
		}
		if _, found, err := decodeDaemon(data); found && err != nil {
			t.Error("found together with an error")
		}
	})
}

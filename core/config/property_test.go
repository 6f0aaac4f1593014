package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/poise-lb/poise/core/model"
)

// TestWriteYAML: whatever configuration there may be, it survives being written.
func TestWriteYAML(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		var out bytes.Buffer
		if err := WriteYAML(&out, c); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "a.yaml")
		if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		r := Load(path, Options{})
		if r.HasErrors() {
			t.Fatalf("%v in\n%s", r.Problems, out.String())
		}
		if !reflect.DeepEqual(r.Config, c) {
			t.Fatalf("was %+v\nis  %+v\nthrough\n%s", c, r.Config, out.String())
		}
		for _, f := range c.Forwarders {
			if _, line := r.LocateForwarder(f.ID(), ""); line < 2 {
				t.Fatalf("%s is on line %d of\n%s", f.ID(), line, out.String())
			}
		}
		for _, v := range c.VirtualServers {
			if _, line := r.LocateVirtualServer(v.Key, "", "/scheduler"); line < 2 {
				t.Fatalf("%s is on line %d of\n%s", v.Key, line, out.String())
			}
			for _, s := range v.RealServers {
				for _, check := range s.Checks {
					if _, line := r.Locate(check, ""); line < 2 {
						t.Fatalf("%v is on line %d of\n%s", check, line, out.String())
					}
				}
			}
		}
	})
}

var (
	wordGen     = rapid.StringMatching(`[a-zA-Z0-9_.:#!{}'" ~/-]{1,12}`)
	nameGen     = rapid.StringMatching(`[a-z][a-z0-9_]{0,8}`)
	durationGen = rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.Int64Range(1, 1e8).Draw(t, "microseconds")) * time.Microsecond
	})
)

func drawConfig(t *rapid.T) model.Config {
	c := model.Config{
		RouterID:          rapid.OneOf(rapid.Just(""), wordGen).Draw(t, "router id"),
		Forwarder:         rapid.SampledFrom([]string{"ipvs", "null"}).Draw(t, "forwarder"),
		GraceTime:         durationGen.Draw(t, "grace"),
		ReconcileInterval: durationGen.Draw(t, "reconcile"),
		Restart:           model.Restart{Min: durationGen.Draw(t, "min")},
	}
	c.Restart.Max = c.Restart.Min + durationGen.Draw(t, "max")
	if rapid.Bool().Draw(t, "metrics") {
		c.MetricsAddress = netip.AddrPortFrom(drawAddr(t, rapid.Bool().Draw(t, "6")), 9100)
	}
	for _, name := range drawNames(t) {
		c.Plugins = append(c.Plugins, drawPlugin(t, name))
	}
	seen := map[model.ServiceKey]bool{}
	for range rapid.IntRange(0, 3).Draw(t, "virtual servers") {
		if v := drawService(t); !seen[v.Key] {
			seen[v.Key] = true
			c.VirtualServers = append(c.VirtualServers, v)
		}
	}
	id := uint8(0)
	for _, name := range drawNames(t) {
		g := model.FailoverGroup{Name: name}
		for j := range rapid.IntRange(1, 2).Draw(t, "instances") {
			id++
			member := name
			if j > 0 || rapid.Bool().Draw(t, "named") {
				member = fmt.Sprintf("%s-%d", name, j)
			}
			g.Instances = append(g.Instances, drawInstance(t, member, id))
		}
		c.FailoverGroups = append(c.FailoverGroups, g)
	}
	drawForwarders(t, &c)
	if len(c.FailoverGroups) > 0 && rapid.Bool().Draw(t, "sync") {
		c.ConnectionSync = &model.ConnectionSync{
			Group: c.FailoverGroups[0].Name, Interface: nameGen.Draw(t, "sync interface"),
			ID: rapid.Uint8().Draw(t, "id"), MaxLength: rapid.Uint16Range(0, 65507).Draw(t, "length"),
			Port: rapid.SampledFrom([]uint16{0, 1, 65535}).Draw(t, "port"), TTL: rapid.SampledFrom([]uint8{0, 2, 255}).Draw(t, "ttl"),
		}
	}
	return c
}

func drawNames(t *rapid.T) []string {
	names := rapid.SliceOfNDistinct(nameGen, 0, 3, rapid.ID[string]).Draw(t, "names")
	slices.Sort(names)
	return names
}

func drawPlugin(t *rapid.T, name string) model.Plugin {
	p := model.Plugin{
		Name: name, Path: rapid.OneOf(rapid.Just(""), wordGen).Draw(t, "path"),
		SHA256:     rapid.SampledFrom([]string{"", fmt.Sprintf("%064d", 7)}).Draw(t, "sha"),
		User:       rapid.OneOf(rapid.Just(""), nameGen).Draw(t, "user"),
		Parameters: drawParameters(t),
	}
	p.Args = drawWords(t, "args")
	p.PlainText = rapid.Bool().Draw(t, "plain text")
	switch rapid.IntRange(0, 2).Draw(t, "capabilities") {
	case 1:
		p.Capabilities = []string{}
	case 2:
		p.Capabilities = []string{"NET_ADMIN", "NET_RAW"}
	}
	return p
}

func drawWords(t *rapid.T, label string) []string {
	all := rapid.SliceOfN(wordGen, 0, 2).Draw(t, label)
	if len(all) == 0 {
		return nil
	}
	return all
}

func drawParameters(t *rapid.T) string {
	m := map[string]any{}
	for range rapid.IntRange(0, 3).Draw(t, "parameters") {
		m[wordGen.Draw(t, "key")] = rapid.OneOf(
			rapid.Just[any](true), rapid.Just[any](nil), rapid.Just[any]([]any{1, "1", map[string]any{"a/b~": "0x1"}}),
			rapid.Map(rapid.Int64(), func(i int64) any { return i }),
			rapid.Map(rapid.Float64Range(-1e6, 1e6), func(f float64) any { return f }),
			rapid.Map(rapid.String(), func(s string) any { return s }),
		).Draw(t, "value")
	}
	if len(m) == 0 {
		return ""
	}
	b, err := json.Marshal(plainFloats(m))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func drawAddr(t *rapid.T, six bool) netip.Addr {
	n := rapid.Byte().Draw(t, "host")
	if six {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: n})
	}
	return netip.AddrFrom4([4]byte{192, 0, 2, n})
}

func drawForwarding(t *rapid.T, methods ...model.Method) model.Forwarding {
	f := model.Forwarding{Method: rapid.SampledFrom(methods).Draw(t, "method")}
	if f.Method == model.TUN {
		f.Tunnel = rapid.SampledFrom([]model.Tunnel{{}, {Type: "gue", Port: 5555, Checksum: "remcsum"}, {Type: "gre"}, {Type: "gre", Checksum: "csum"}}).Draw(t, "tunnel")
	}
	return f
}

func drawService(t *rapid.T) model.VirtualServer {
	six := rapid.Bool().Draw(t, "IPv6")
	v := model.VirtualServer{
		Key: model.ServiceKey{IPv6: six}, Quorum: 1,
		Scheduler:  rapid.SampledFrom(model.Schedulers).Draw(t, "scheduler"),
		Forwarding: drawForwarding(t, model.NAT, model.DR, model.TUN),
	}
	if rapid.Bool().Draw(t, "mark") {
		v.Key.FWMark = rapid.Uint32Range(1, 1<<32-1).Draw(t, "fwmark")
	} else {
		v.Key.Addr, v.Key.Port = drawAddr(t, six), rapid.Uint16Range(1, 65535).Draw(t, "port")
		v.Key.Protocol = rapid.SampledFrom([]model.Protocol{model.TCP, model.UDP, model.SCTP}).Draw(t, "protocol")
	}
	v.OnePacket = (v.Key.Protocol == model.UDP || v.Key.FWMark != 0) && rapid.Bool().Draw(t, "one packet")
	if rapid.Bool().Draw(t, "persistent") {
		v.Persistence = model.Persistence{
			Timeout: time.Duration(rapid.IntRange(1, maxPersistence).Draw(t, "timeout")) * time.Second,
			Prefix:  rapid.Uint8Range(0, 31).Draw(t, "prefix"),
			Engine:  rapid.SampledFrom([]string{"", "sip"}).Draw(t, "engine"),
		}
	}
	if rapid.Bool().Draw(t, "flags") {
		v.SchedulerFlags = []string{"flag-1", "flag-3"}
	}
	sum := uint64(0)
	seen := map[netip.AddrPort]bool{}
	for range rapid.IntRange(1, 4).Draw(t, "real servers") {
		r := drawReal(t, v, six)
		if !seen[r.Addr] {
			seen[r.Addr] = true
			sum += uint64(r.Weight)
			v.RealServers = append(v.RealServers, r)
		}
	}
	v.Quorum = uint32(rapid.Uint64Range(1, max(1, min(sum, 1<<32-1))).Draw(t, "quorum"))
	v.Hysteresis = rapid.Uint32Range(0, v.Quorum-1).Draw(t, "hysteresis")
	if rapid.Bool().Draw(t, "sorry") {
		f := drawForwarding(t, model.NAT, model.DR, model.TUN)
		v.Sorry = &model.SorryServer{Addr: drawTarget(t, v, f, six), Forwarding: f, Inhibit: rapid.Bool().Draw(t, "inhibit")}
	}
	return v
}

// drawTarget is an address with the port that the forwarding method allows.
func drawTarget(t *rapid.T, v model.VirtualServer, f model.Forwarding, six bool) netip.AddrPort {
	port := v.Key.Port
	if f.Method == model.NAT && rapid.Bool().Draw(t, "other port") {
		port = 8080
	}
	return netip.AddrPortFrom(drawAddr(t, six), port)
}

func drawReal(t *rapid.T, v model.VirtualServer, six bool) model.RealServer {
	f := rapid.SampledFrom([]model.Forwarding{v.Forwarding, drawForwarding(t, model.NAT, model.DR, model.TUN)}).Draw(t, "forwarding")
	r := model.RealServer{
		Addr: drawTarget(t, v, f, six), Forwarding: f,
		Weight:           rapid.SampledFrom([]uint32{0, 1, 100, maxWeight}).Draw(t, "weight"),
		InhibitOnFailure: rapid.Bool().Draw(t, "inhibit"), Alpha: rapid.Bool().Draw(t, "alpha"),
		UpperThreshold: rapid.Uint32().Draw(t, "upper"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "checks") {
		r.Checks = append(r.Checks, drawCheck(t, r.Addr.Addr(), six))
	}
	return r
}

// drawCheck is a check of any type, poise's own and others'.
func drawCheck(t *rapid.T, real netip.Addr, six bool) model.Check {
	c := model.Check{
		Type:       rapid.OneOf(rapid.SampledFrom(slices.Sorted(maps.Keys(builtinParameters))), wordGen).Draw(t, "type"),
		Parameters: drawParameters(t),
		OnUnknown:  rapid.SampledFrom([]model.OnUnknown{model.KeepVerdict, model.CountDown, model.CountUp}).Draw(t, "unknown"),
		Schedule: model.Schedule{
			Interval: durationGen.Draw(t, "interval"), Timeout: durationGen.Draw(t, "timeout"),
			Retries: rapid.Uint32Range(0, 9).Draw(t, "retries"), RetryDelay: durationGen.Draw(t, "delay"), Warmup: durationGen.Draw(t, "warmup"),
		},
	}
	if all := builtinParameters[c.Type]; len(all) > 0 && rapid.Bool().Draw(t, "real parameters") {
		c.Parameters = rapid.SampledFrom(all).Draw(t, "parameters of the type")
	}
	kind := checkTypes[c.Type]
	if kind.watched {
		c.Schedule = watchedSchedule
	}
	port := uint16(80)
	switch kind.target {
	case hasNoTarget:
		return c
	case hasNoPort:
		port = 0
	}
	addr := rapid.SampledFrom([]netip.Addr{real, drawAddr(t, six)}).Draw(t, "target")
	c.Target = model.Target{Addr: netip.AddrPortFrom(addr, port), FWMark: rapid.Uint32().Draw(t, "mark")}
	if rapid.Bool().Draw(t, "sourced") {
		c.Target.Source = netip.AddrPortFrom(drawAddr(t, six), rapid.SampledFrom([]uint16{0, 99}).Draw(t, "source port"))
		c.Target.Interface = nameGen.Draw(t, "interface")
	}
	return c
}

// builtinParameters are parameters that poise's own types of checks take.
var builtinParameters = map[string][]string{
	"tcp":   nil,
	"http":  {`{"http_protocol":"1.0"}`, `{"urls":[{"path":"/","regex":"a\\d","regex_no_match":true,"regex_options":["caseless"],"status":["200-299","404"]}]}`},
	"ssl":   {`{"enable_sni":false,"http_protocol":"1.0","min_version":"1.0","verify":false}`},
	"smtp":  {`{"helo_name":"a b"}`},
	"dns":   {`{"name":"example.com.","type":"AAAA"}`},
	"udp":   {`{"max_reply_length":9,"payload":"00FF","reply":"0X"}`, `{"payload":"1234"}`, `{"payload":"1E10"}`},
	"ping":  nil,
	"misc":  {`{"command":["/bin/true","","1","no","a b"],"dynamic":true,"secure":false,"user":"1000"}`},
	"file":  {`{"init":0,"path":"/run/weight","reverse":true,"weight":0}`, `{"init":-3,"path":"/x","weight":-254}`},
	"bfd":   {`{"idle_tx":"2s","max_hops":3,"min_rx":"300ms","multihop":true,"ttl":64}`},
	"grpc":  {`{"service":"a","tls":true}`},
	"agent": {`{"send":"a\n"}`},
}

func drawInstance(t *rapid.T, name string, id uint8) model.Instance {
	i := model.Instance{
		Name: name, Interface: nameGen.Draw(t, "interface"), VirtualRouterID: id,
		Priority:         rapid.Uint8Range(1, 254).Draw(t, "priority"),
		AdvertInterval:   time.Duration(rapid.IntRange(1, 255).Draw(t, "advert")) * time.Second,
		NoPreempt:        rapid.Bool().Draw(t, "nopreempt"),
		DownTimerAdverts: rapid.Uint8Range(1, 100).Draw(t, "adverts"),
		AuthPass:         rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[ -~]{1,8}`)).Draw(t, "pass"),
		GARPRepeat:       rapid.Uint8Range(1, 255).Draw(t, "repeat"), GARPDelay: durationGen.Draw(t, "garp delay"), GARPRefresh: durationGen.Draw(t, "refresh"),
	}
	if !i.NoPreempt {
		i.PreemptDelay = durationGen.Draw(t, "preempt delay")
	}
	for _, host := range rapid.SliceOfNDistinct(rapid.Byte(), 0, 3, rapid.ID[byte]).Draw(t, "addresses") {
		a := model.VirtualAddress{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, host}), rapid.IntRange(1, 32).Draw(t, "bits"))}
		if rapid.Bool().Draw(t, "options") {
			a.Label, a.Scope, a.Broadcast = wordGen.Draw(t, "label"), rapid.Byte().Draw(t, "scope"), drawAddr(t, false)
		}
		i.Addresses = append(i.Addresses, a)
	}
	return i
}

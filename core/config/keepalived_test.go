package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// vs is a virtual server's text with a real server's inside.
func vs(head, real string) string {
	return "virtual_server 192.0.2.1 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\n" + head +
		"\nreal_server 192.0.2.2 80 {\n" + real + "\n}\n}\n"
}

func vi(body string) string {
	return "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\n" + body + "\n}\n"
}

// TestKeepalivedMeaning reads small files and asks for one fact of the model. warned
// is the number of warnings.
func TestKeepalivedMeaning(t *testing.T) {
	server := func(c model.Config) model.VirtualServer { return c.VirtualServers[0] }
	real := func(c model.Config) model.RealServer { return c.VirtualServers[0].RealServers[0] }
	check := func(c model.Config) model.Check { return real(c).Checks[0] }
	instance := func(c model.Config) model.Instance { return c.FailoverGroups[0].Instances[0] }
	for name, test := range map[string]struct {
		text   string
		warned int
		got    func(model.Config) any
		want   any
	}{
		"TCP_CHECK's defaults": {vs("", "TCP_CHECK {\n}"), 0, func(c model.Config) any { return check(c) },
			model.Check{Type: "tcp", Target: model.Target{Addr: netip.MustParseAddrPort("192.0.2.2:80")},
				Schedule: model.Schedule{Interval: time.Minute, Timeout: 5 * time.Second, Retries: 1, RetryDelay: time.Second, Warmup: time.Minute}}},
		"TCP_CHECK's target": {vs("", "TCP_CHECK {\nconnect_ip 192.0.2.9\nconnect_port 81\nbindto 192.0.2.8\nbind_port 5\nbind_if eth1\nfwmark 7\n}"), 0,
			func(c model.Config) any { return check(c).Target },
			model.Target{Addr: netip.MustParseAddrPort("192.0.2.9:81"), Source: netip.MustParseAddrPort("192.0.2.8:5"), Interface: "eth1", FWMark: 7}},
		"the nearest setting wins": {vs("delay_loop 6\nretry 4\nconnect_timeout 7\ndelay_before_retry 8\nwarmup 9", "retry 5\ndelay_loop 0.5\nTCP_CHECK {\nretry 0\n}"), 0,
			func(c model.Config) any { return check(c).Schedule },
			model.Schedule{Interval: 500 * time.Millisecond, Timeout: 7 * time.Second, Retries: 0, RetryDelay: 8 * time.Second, Warmup: 9 * time.Second}},
		"a setting below its real servers": {vs("", "TCP_CHECK {\n}")[:len(vs("", "TCP_CHECK {\n}"))-2] + "weight 7\ndelay_loop 3\n}\n", 0,
			func(c model.Config) any { return []any{real(c).Weight, check(c).Schedule.Interval} }, []any{uint32(7), 3 * time.Second}},
		"nb_get_retry":     {vs("", "TCP_CHECK {\nnb_get_retry 3\n}"), 1, func(c model.Config) any { return check(c).Schedule.Retries }, uint32(3)},
		"alpha of a check": {vs("", "TCP_CHECK {\nalpha\n}"), 0, func(c model.Config) any { return real(c).Alpha }, true},
		"alpha taken back": {vs("alpha", "alpha off\nTCP_CHECK {\n}"), 0, func(c model.Config) any { return real(c).Alpha }, false},
		"alpha unchecked":  {vs("alpha", "weight 1"), 0, func(c model.Config) any { return real(c).Alpha }, false},
		"inhibit":          {vs("inhibit_on_failure", "weight 1"), 0, func(c model.Config) any { return real(c).InhibitOnFailure }, true},
		"DR forces the port, not the check's": {strings.Replace(vs("", "TCP_CHECK {\n}"), "192.0.2.2 80", "192.0.2.2 8080", 1), 1,
			func(c model.Config) any { return []netip.AddrPort{real(c).Addr, check(c).Target.Addr} },
			[]netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:80"), netip.MustParseAddrPort("192.0.2.2:8080")}},
		"NAT without port": {strings.Replace(strings.Replace(vs("", "TCP_CHECK {\n}"), "192.0.2.2 80", "192.0.2.2", 1), "DR", "NAT", 1), 0,
			func(c model.Config) any { return []netip.AddrPort{real(c).Addr, check(c).Target.Addr} },
			[]netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:80"), netip.MustParseAddrPort("192.0.2.2:80")}},
		"NAT's own port": {strings.Replace(strings.Replace(vs("", "weight 1"), "192.0.2.2 80", "192.0.2.2 8080", 1), "DR", "NAT", 1), 0,
			func(c model.Config) any { return real(c).Addr }, netip.MustParseAddrPort("192.0.2.2:8080")},
		"defaults of a virtual server": {"virtual_server 192.0.2.1 80 {\nreal_server 192.0.2.2 80 {\n}\n}", 3,
			func(c model.Config) any {
				v := server(c)
				return []any{v.Key.Protocol, v.Scheduler, v.Forwarding.Method, v.Quorum, v.RealServers[0].Weight}
			}, []any{model.UDP, "wlc", model.NAT, uint32(1), uint32(1)}},
		"firewall mark": {"virtual_server fwmark 3 {\nlb_algo rr\nlb_kind DR\nreal_server 2001:db8::2 80 {\nTCP_CHECK {\n}\n}\n}", 1,
			func(c model.Config) any {
				return []any{server(c).Key, real(c).Addr.Port(), check(c).Target.Addr.Port()}
			},
			[]any{model.ServiceKey{FWMark: 3, IPv6: true}, uint16(0), uint16(80)}},
		"no port": {strings.Replace(vs("", "weight 1"), ".1 80", ".1", 1), 2,
			func(c model.Config) any { return []any{server(c).Persistence.Timeout, real(c).Addr.Port()} }, []any{360 * time.Second, uint16(0)}},
		"persistence":             {vs("persistence_timeout", ""), 0, func(c model.Config) any { return server(c).Persistence.Timeout }, 360 * time.Second},
		"persistence 0":           {vs("persistence_timeout 0", ""), 1, func(c model.Config) any { return server(c).Persistence.Timeout }, time.Duration(0)},
		"persistence granularity": {vs("persistence_granularity 255.255.255.0", ""), 0, func(c model.Config) any { return server(c).Persistence }, model.Persistence{Timeout: 360 * time.Second, Prefix: 24}},
		"full granularity":        {vs("persistence_granularity 255.255.255.255", ""), 0, func(c model.Config) any { return server(c).Persistence.Prefix }, uint8(0)},
		"named flags":             {strings.Replace(vs("sh-port\nflag-1\nsh-fallback", ""), "rr", "sh", 1), 0, func(c model.Config) any { return server(c).SchedulerFlags }, []string{"flag-1", "flag-2"}},
		"another's flag":          {vs("mh-port", ""), 1, func(c model.Config) any { return server(c).SchedulerFlags }, []string(nil)},
		"ops of TCP":              {vs("ops", ""), 1, func(c model.Config) any { return server(c).OnePacket }, false},
		"ops of UDP":              {strings.Replace(vs("ops", ""), "TCP", "udp", 1), 0, func(c model.Config) any { return server(c).OnePacket }, true},
		"quorum too high":         {vs("quorum 5\nhysteresis 5", "weight 3"), 2, func(c model.Config) any { return []uint32{server(c).Quorum, server(c).Hysteresis} }, []uint32{3, 2}},
		"no weight at all":        {vs("", "weight 0"), 1, func(c model.Config) any { return []uint32{server(c).Quorum, server(c).Hysteresis} }, []uint32{1, 0}},
		"TUN's options":           {strings.Replace(vs("", ""), "DR", "TUN type gue port 5555 remcsum", 1), 0, func(c model.Config) any { return real(c).Forwarding }, model.Forwarding{Method: model.TUN, Tunnel: model.Tunnel{Type: "gue", Port: 5555, Checksum: "remcsum"}}},
		"TUN ipip":                {strings.Replace(vs("", ""), "DR", "TUN type ipip nocsum", 1), 0, func(c model.Config) any { return server(c).Forwarding }, model.Forwarding{Method: model.TUN}},
		"a method of its own":     {vs("", "lvs_method NAT"), 0, func(c model.Config) any { return real(c).Forwarding.Method }, model.NAT},
		"sorry server": {vs("sorry_server 192.0.2.9\nsorry_server_inhibit\nsorry_server_lvs_method NAT", ""), 0,
			func(c model.Config) any { return *server(c).Sorry },
			model.SorryServer{Addr: netip.MustParseAddrPort("192.0.2.9:80"), Inhibit: true, Forwarding: model.Forwarding{Method: model.NAT}}},
		"inhibit before sorry": {vs("sorry_server_inhibit\nsorry_server 192.0.2.9 80", ""), 1, func(c model.Config) any { return server(c).Sorry.Inhibit }, false},
		"thresholds":           {vs("", "uthreshold 100\nlthreshold 50"), 0, func(c model.Config) any { return []uint32{real(c).UpperThreshold, real(c).LowerThreshold} }, []uint32{100, 50}},

		"an instance's defaults": {vi("virtual_ipaddress {\n192.0.2.1\n}"), 0, func(c model.Config) any { return c.FailoverGroups[0] },
			model.FailoverGroup{Name: "VI_1", Instances: []model.Instance{{Name: "VI_1", Interface: "eth0", VirtualRouterID: 51, Priority: 100,
				AdvertInterval: time.Second, DownTimerAdverts: 3, GARPRepeat: 5, GARPDelay: 5 * time.Second,
				Addresses: []model.VirtualAddress{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}}}}}},
		"global defaults below": {vi("virtual_ipaddress {\n192.0.2.1\n}") + "global_defs {\nvrrp_garp_master_delay 2\nvrrp_garp_master_repeat 3\nvrrp_garp_master_refresh 60\nvrrp_down_timer_adverts 4\n}\n", 0,
			func(c model.Config) any {
				i := instance(c)
				return []any{i.GARPDelay, i.GARPRepeat, i.GARPRefresh, i.DownTimerAdverts}
			}, []any{2 * time.Second, uint8(3), time.Minute, uint8(4)}},
		"no gratuitous ARP": {vi("garp_master_repeat 0\nvirtual_ipaddress {\n192.0.2.1\n}"), 1, func(c model.Config) any { return instance(c).GARPRepeat }, uint8(1)},
		"none by default": {vi("virtual_ipaddress {\n192.0.2.1\n}") + "global_defs {\nvrrp_garp_master_repeat 0\n}\n", 1,
			func(c model.Config) any { return instance(c).GARPRepeat }, uint8(1)},
		"an address's options": {vi("virtual_ipaddress {\n192.0.2.1/24 dev eth0 label eth0:1 brd + scope link\n192.0.2.2/24 dev eth1 brd 192.0.2.254\n}"), 0, func(c model.Config) any { return instance(c).Addresses },
			[]model.VirtualAddress{
				{Prefix: netip.MustParsePrefix("192.0.2.1/24"), Label: "eth0:1", Broadcast: netip.MustParseAddr("192.0.2.255"), Scope: 253},
				{Prefix: netip.MustParsePrefix("192.0.2.2/24"), Interface: "eth1", Broadcast: netip.MustParseAddr("192.0.2.254")}}},
		"master without priority": {vi("state MASTER\nvirtual_ipaddress {\n192.0.2.1\n}"), 1, func(c model.Config) any { return instance(c).Priority }, uint8(255)},
		"nopreempt with master":   {vi("state MASTER\npriority 9\nnopreempt\nvirtual_ipaddress {\n192.0.2.1\n}"), 1, func(c model.Config) any { return instance(c).NoPreempt }, false},
		"nopreempt":               {vi("state BACKUP\nnopreempt\nvirtual_ipaddress {\n192.0.2.1\n}"), 0, func(c model.Config) any { return instance(c).NoPreempt }, true},
		"a long password":         {vi("authentication {\nauth_type PASS\nauth_pass 123456789\n}\nvirtual_ipaddress {\n192.0.2.1\n}"), 1, func(c model.Config) any { return instance(c).AuthPass }, "12345678"},
		"a quoted password":       {vi("authentication {\nauth_type PASS\nauth_pass \"a #!{b\"\n}\nvirtual_ipaddress {\n192.0.2.1\n}"), 0, func(c model.Config) any { return instance(c).AuthPass }, "a #!{b"},
		"connection sync": {"global_defs {\nlvs_sync_daemon eth1 VI_1 id 7 maxlen 1000 port 8848 ttl 2 group 224.0.0.99\n}\nvrrp_sync_group G {\ngroup {\nVI_1\n}\n}\n" + vi("virtual_ipaddress {\n192.0.2.1\n}"), 0,
			func(c model.Config) any { return *c.ConnectionSync },
			model.ConnectionSync{Group: "G", Interface: "eth1", ID: 7, MaxLength: 1000, TTL: 2, Multicast: netip.MustParseAddr("224.0.0.99")}},
		"old connection sync": {vi("lvs_sync_daemon_inteface eth1\nvirtual_ipaddress {\n192.0.2.1\n}"), 1,
			func(c model.Config) any { return *c.ConnectionSync }, model.ConnectionSync{Group: "VI_1", Interface: "eth1", ID: 0}},
		"a skipped block": {"unknown {\nweight 9\ninner {\n}\n}\n" + vs("", "weight 4"), 1, func(c model.Config) any { return real(c).Weight }, uint32(4)},
	} {
		t.Run(name, func(t *testing.T) {
			r := loadText(t, "a.conf", test.text, Options{})
			if r.HasErrors() || len(r.Problems) != test.warned {
				t.Fatalf("%d problems, want %d warnings: %v", len(r.Problems), test.warned, r.Problems)
			}
			if got := test.got(r.Config); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			roundTrip(t, r)
		})
	}
}

// TestLanguage compares what the language makes of a text with the same written out.
func TestLanguage(t *testing.T) {
	plain := written(vs("weight 3", "weight 5"))
	for name, text := range map[string]string{
		"comments anywhere":     strings.Replace(vs("weight 3", "weight 5"), "weight 5", "weight 5#7 { }\n! } x", 1),
		"one line":              "virtual_server 192.0.2.1 80{\nlb_algo rr\nlb_kind DR\nprotocol TCP\nweight 3\nreal_server 192.0.2.2 80 {weight 5} }",
		"braces on their lines": "virtual_server 192.0.2.1 80\n{\nlb_algo rr\nlb_kind DR\nprotocol TCP\nweight 3\nreal_server 192.0.2.2 80\n{\nweight 5\n}\n}",
		"CR LF and tabs":        strings.ReplaceAll(strings.ReplaceAll(vs("weight 3", "weight 5"), "\n", "\r\n"), " ", "\t "),
		"definitions":           "$A=2\n$IP=192.0.2.${A}\n$W=weight 5 # five\n" + strings.NewReplacer("192.0.2.2 ", "$IP ", "weight 5", "$W").Replace(vs("weight 3", "weight 5")),
		"lines in a definition": "$R= \\\nreal_server 192.0.2.2 80 { \\\n@^me weight 9 \\\nweight 5 \\\n}\nvirtual_server 192.0.2.1 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nweight 3\n$R\n}",
		"conditions":            strings.Replace(vs("weight 3", "weight 5"), "weight 5", "@me weight 5\n@you weight 6\n@^me weight 7\n@me @^me weight 8", 1),
		"quotes":                strings.Replace(vs("weight 3", "weight 5"), "weight 5", `weight "5"`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			var p problems
			p.files = map[string]int{}
			s := &scanner{problems: &p, configID: "me", definitions: map[string]*definition{}}
			s.text("a.conf", []byte(text))
			if got := tokenWords(s.tokens); got != plain || len(p.list) > 0 {
				t.Errorf("got  %s\nwant %s\n%v", got, plain, p.list)
			}
		})
	}
}

func written(text string) string {
	p := problems{files: map[string]int{}}
	s := &scanner{problems: &p, definitions: map[string]*definition{}}
	s.text("a.conf", []byte(text))
	return tokenWords(s.tokens)
}

// tokenWords is the text of tokens, whatever lines they are from.
func tokenWords(tokens []token) string {
	var out strings.Builder
	for _, t := range tokens {
		if t.brace != 0 {
			fmt.Fprintf(&out, "%c;", t.brace)
			continue
		}
		fmt.Fprintf(&out, "%q;", t.words)
	}
	return out.String()
}

func TestSplit(t *testing.T) {
	for text, want := range map[string][]string{
		`a"b c"d`:                  {"a", "b c", "d"},
		`notify_up '/x {a}'"b"c`:   {"notify_up", "/x {a}bc"},
		`notify_up "a \"b\" c" d`:  {"notify_up", `a "b" c`, "d"},
		`weight 'a b'`:             {"weight", "'a", "b'"},
		"weight\u3000 5":           {"weight\u3000", "5"},
		`script /bin/sh\ -c "a\\"`: {"script", "/bin/sh -c", `a\`},
		// What keepalived 2.2.7 made of these was read from its dump.
		`regex "\d+ x"`:         {"regex", "d+ x"},
		`regex \\d+`:            {"regex", `\d+`},
		`regex "a\tb\f\q\8"`:    {"regex", "a\tb\fq8"},
		`regex "a\x41\101b\x4"`: {"regex", "aAAb\x04"},
		`regex "\x414\1012\xg"`: {"regex", "A4A2xg"},
		`regex "a\cAb" a"b c"d`: {"regex", "a\x01b", "ab cd"},
	} {
		tokens, ok := split(text)
		if !ok || len(tokens) != 1 || !slices.Equal(tokens[0].words, want) {
			t.Errorf("%s: %v, %v, want %q", text, tokens, ok, want)
		}
	}
}

// TestEndless: definitions that hold each other come to an end, which is told. It is no
// seed of the fuzz target because it takes so long.
func TestEndless(t *testing.T) {
	r := loadText(t, "a.conf", "$A= \\\n$B\\\n$B\n$B= \\\n$A\\\nx\n$A\n", Options{})
	if !r.HasErrors() {
		t.Error(r.Problems)
	}
	checkPlaces(t, r)
}

func TestIncludes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("main.conf", "include d/*.conf\ninclude {a,b}.inc\ninclude nothing*\nvirtual_server 192.0.2.1 80 {\ninclude d/head.inc\n}\n", 0o600)
	write("d/head.inc", "lb_algo rr\nlb_kind DR\nprotocol TCP\ninclude deeper/real.inc\n", 0o600)
	write("d/deeper/real.inc", "\nreal_server 192.0.2.2 80 {\nweight 70000000000\n}\n", 0o600)
	write("d/one.conf", "global_defs {\nrouter_id one\n}\n", 0o600)
	write("d/run.conf", "garbage\n", 0o700)
	write("a.inc", vi("virtual_ipaddress {\n192.0.2.1\n}"), 0o600)
	write("b.inc", strings.NewReplacer("VI_1", "VI_2", "51", "52").Replace(vi("virtual_ipaddress {\n192.0.2.9\n}")), 0o600)
	r := Load(filepath.Join(dir, "main.conf"), Options{})
	if got := groupNames(r.Config); !slices.Equal(got, []string{"VI_1", "VI_2"}) || r.Config.RouterID != "one" {
		t.Errorf("groups %v, router id %s", got, r.Config.RouterID)
	}
	var told []string
	for _, p := range r.Problems {
		told = append(told, strings.TrimPrefix(p.String(), dir+"/"))
	}
	want := []string{
		"main.conf:1: warning: " + dir + "/d/run.conf is not included: keepalived reads regular files only, and none that are executable",
		"d/deeper/real.inc:3: error: weight 70000000000: not in 0..2147483647",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

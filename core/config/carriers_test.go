package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/poise-lb/poise/core/model"
)

// drawForwarders gives a configuration instances, and its virtual servers carriers that
// leave every address one owner.
func drawForwarders(t *rapid.T, c *model.Config) {
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9-]{1,8}`), 0, 3, rapid.ID[string]).Draw(t, "forwarders")
	slices.Sort(names)
	for _, name := range names {
		f := model.ForwarderInstance{Type: "f5", Name: name, Parameters: drawParameters(t)}
		if rapid.Bool().Draw(t, "files") {
			f.Parameters = fmt.Sprintf(`{"addresses":["192.0.2.10:443"],"ca":"/etc/ca.pem","credentials_file":"/etc/x/../f5","partition":%q}`, name)
		}
		if n := len(c.FailoverGroups); n > 0 && rapid.Bool().Draw(t, "grouped") {
			f.Group = c.FailoverGroups[rapid.IntRange(0, n-1).Draw(t, "group")].Name
		}
		c.Forwarders = append(c.Forwarders, f)
	}
	own := byte(0)
	for i := range c.VirtualServers {
		v := &c.VirtualServers[i]
		shared := slices.ContainsFunc(c.VirtualServers, func(o model.VirtualServer) bool { return o.Key != v.Key && o.Key.Addr == v.Key.Addr })
		if v.Key.FWMark == 0 {
			v.Carriers = drawCarriers(t, c, v.Key, shared, &own)
		}
	}
}

// drawCarriers gives a virtual server carriers. taken: another one has the same address.
func drawCarriers(t *rapid.T, c *model.Config, key model.ServiceKey, taken bool, own *byte) []model.Carrier {
	var out []model.Carrier
	directors := rapid.Bool().Draw(t, "directors")
	for _, f := range c.Forwarders {
		if !rapid.Bool().Draw(t, "carries") {
			continue
		}
		x := model.Carrier{Forwarder: f.ID(), Parameters: drawParameters(t)}
		switch how := rapid.IntRange(0, 2).Draw(t, "address"); {
		case how == 0 && directors:
			x.Parameters = `{"same_address":true,"snat":"automap"}`
		case how == 1 && !directors && !taken && len(out) == 0:
		default:
			*own++
			x.Addr = netip.AddrFrom4([4]byte{198, 51, 100, *own})
			if key.IPv6 {
				x.Addr = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 1, 15: *own})
			}
		}
		out = append(out, x)
	}
	if directors && len(out) > 0 {
		out = append(out, model.Carrier{Forwarder: c.Forwarder})
	}
	slices.SortFunc(out, func(a, b model.Carrier) int { return cmp.Compare(a.Forwarder, b.Forwarder) })
	return out
}

const carriedYAML = `keepalived: carried.conf
forwarders:
  paris: {type: f5, addresses: [192.0.2.11]}
  lab:
    type: f5
    addresses:
      - 192.0.2.10
      - 192.0.2.12
    credentials_file: f5.credentials
    ca: /etc/ca.pem
virtual_servers:
  - address: 192.0.2.1:443
    forwarders: [f5:paris, ipvs,
      f5:lab]
    f5:
      address: 192.0.2.51
      approximate: [sh,
        ops]
    f5:lab:
      snat: none
      address: 192.0.2.52
    scheduler: sh
    forwarding: {method: TUN,
      tunnel: gre}
    persistence:
      timeout: 5m
      prefix: 24
    weight: 3
    sorry_server:
      address: 192.0.2.9
      inhibit: true
    real_servers:
      - 192.0.2.20
      - address: 192.0.2.21
        upper_threshold: 5
        weight: 7
      - address: 192.0.2.22
        forwarding: DR
  - address: 192.0.2.60:80
    forwarders: f5:lab
    forwarding: NAT
    real_servers: [192.0.2.20:80]
  - address: 192.0.2.61:80
    forwarders: [ipvs]
    forwarding: NAT
    real_servers: [192.0.2.20:80]
carry:
  - virtual_server: 192.0.2.2:80
    forwarders: [ipvs, f5:lab]
    f5:
      same_address: true
`

const carriedConf = `virtual_server 192.0.2.2 80 {
    lb_algo sed
    lb_kind DR
    protocol TCP
    persistence_timeout 60
    weight 2
    sorry_server 192.0.2.9 80
    sorry_server_inhibit
    real_server 192.0.2.20 80 {
        weight 5
    }
    real_server 192.0.2.20 80 {
        weight 6
    }
    real_server 192.0.2.21 80 {
        lvs_method NAT
        uthreshold 9
    }
}
`

func loadCarried(t *testing.T) (Result, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"a.yaml": carriedYAML, "carried.conf": carriedConf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := Load(filepath.Join(dir, "a.yaml"), Options{})
	if r.HasErrors() {
		t.Fatal(r.Problems)
	}
	return r, dir
}

func TestCarriers(t *testing.T) {
	r, dir := loadCarried(t)
	if want := []model.ForwarderInstance{
		{Type: "f5", Name: "lab", Parameters: `{"addresses":["192.0.2.10","192.0.2.12"],"ca":"/etc/ca.pem","credentials_file":"` + dir + `/f5.credentials"}`},
		{Type: "f5", Name: "paris", Parameters: `{"addresses":["192.0.2.11"]}`},
	}; !reflect.DeepEqual(r.Config.Forwarders, want) {
		t.Errorf("forwarders are %+v\nwant %+v", r.Config.Forwarders, want)
	}
	want := map[string][]model.Carrier{
		"TCP 192.0.2.2:80": {{Forwarder: "f5:lab", Parameters: `{"same_address":true}`}, {Forwarder: "ipvs"}},
		"TCP 192.0.2.1:443": {
			{Forwarder: "f5:lab", Addr: netip.MustParseAddr("192.0.2.52"), Parameters: `{"snat":"none"}`},
			{Forwarder: "f5:paris", Addr: netip.MustParseAddr("192.0.2.51"), Parameters: `{"approximate":["sh","ops"]}`},
			{Forwarder: "ipvs"},
		},
		"TCP 192.0.2.60:80": {{Forwarder: "f5:lab"}},
		"TCP 192.0.2.61:80": nil,
	}
	if len(r.Config.VirtualServers) != len(want) {
		t.Errorf("there are %d virtual servers", len(r.Config.VirtualServers))
	}
	for _, v := range r.Config.VirtualServers {
		if w, ok := want[v.Key.String()]; !ok || !reflect.DeepEqual(v.Carriers, w) {
			t.Errorf("%s: carriers are %+v\nwant %+v", v.Key, v.Carriers, w)
		}
	}
	roundTrip(t, r)
}

func TestLocateForwarder(t *testing.T) {
	r, dir := loadCarried(t)
	for _, test := range []struct {
		id, pointer string
		line        int
	}{
		{"f5:lab", "", 4}, {"f5:lab", "/type", 5}, {"f5:lab", "/addresses/1", 8}, {"f5:lab", "/addresses/7/x", 6},
		{"f5:lab", "/credentials_file", 9}, {"f5:lab", "/partition", 4}, {"f5:paris", "/addresses", 3}, {"f5:other", "/addresses", 1},
	} {
		if file, line := r.LocateForwarder(test.id, test.pointer); line != test.line || file != filepath.Join(dir, "a.yaml") {
			t.Errorf("%s %q: %s:%d, want line %d", test.id, test.pointer, file, line, test.line)
		}
	}
}

func TestLocateVirtualServer(t *testing.T) {
	r, dir := loadCarried(t)
	key := func(s string) model.ServiceKey {
		k, err := parseServiceKey(s)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for _, test := range []struct {
		key, forwarder, pointer, want string
	}{
		{"192.0.2.1:443", "f5:lab", "", "a.yaml:12"},
		{"192.0.2.1:443", "f5:lab", "/key/address", "a.yaml:21"},
		{"192.0.2.1:443", "f5:paris", "/key/address", "a.yaml:16"},
		{"192.0.2.1:443", "", "/key/address", "a.yaml:12"},
		{"192.0.2.1:443", "f5:lab", "/key/port", "a.yaml:12"},
		{"192.0.2.1:443", "f5:lab", "/scheduler", "a.yaml:22"},
		{"192.0.2.1:443", "f5:lab", "/scheduler_flags/0", "a.yaml:12"},
		{"192.0.2.1:443", "f5:lab", "/persistence_timeout", "a.yaml:26"},
		{"192.0.2.1:443", "f5:lab", "/persistence_prefix", "a.yaml:27"},
		{"192.0.2.1:443", "f5:lab", "/persistence_engine", "a.yaml:25"},
		{"192.0.2.1:443", "f5:lab", "/real_servers", "a.yaml:32"},
		{"192.0.2.1:443", "f5:lab", "/real_servers/0", "a.yaml:33"},
		{"192.0.2.1:443", "f5:lab", "/real_servers/0/weight", "a.yaml:28"},
		{"192.0.2.1:443", "f5:lab", "/real_servers/0/method", "a.yaml:23"},
		{"192.0.2.1:443", "f5:lab", "/real_servers/1/weight", "a.yaml:36"},
		{"192.0.2.1:443", "f5:lab", "/real_servers/1/upper_threshold", "a.yaml:35"},
		{"192.0.2.1:443", "f5:lab", "/real_servers/1/lower_threshold", "a.yaml:34"},
		{"192.0.2.1:443", "f5:lab", "/real_servers/2/method", "a.yaml:38"},
		{"192.0.2.1:443", "f5:lab", "/real_servers/2/port", "a.yaml:37"},
		{"192.0.2.1:443", "f5:lab", "/real_servers/3/port", "a.yaml:30"},
		{"192.0.2.1:443", "f5:lab", "/real_servers/3/sorry", "a.yaml:29"},
		{"192.0.2.1:443", "f5:lab", "/real_servers/3/tunnel_type", "a.yaml:23"},
		{"192.0.2.1:443", "f5:lab", "/parameters_json", "a.yaml:19"},
		{"192.0.2.1:443", "f5:lab", "/parameters_json/snat", "a.yaml:20"},
		{"192.0.2.1:443", "f5:paris", "/parameters_json/snat", "a.yaml:15"},
		{"192.0.2.1:443", "f5:paris", "/parameters_json/approximate/1", "a.yaml:18"},
		{"192.0.2.1:443", "ipvs", "/parameters_json", "a.yaml:13"},
		{"192.0.2.60:80", "f5:lab", "/parameters_json/x", "a.yaml:40"},
		{"192.0.2.60:80", "f5:other", "/parameters_json/x", "a.yaml:39"},
		{"192.0.2.99:80", "f5:lab", "/scheduler", "a.yaml:1"},
		{"192.0.2.2:80", "f5:lab", "", "carried.conf:1"},
		{"192.0.2.2:80", "f5:lab", "/key/address", "carried.conf:1"},
		{"192.0.2.2:80", "f5:lab", "/scheduler", "carried.conf:2"},
		{"192.0.2.2:80", "f5:lab", "/persistence_timeout", "carried.conf:5"},
		{"192.0.2.2:80", "f5:lab", "/persistence_prefix", "carried.conf:1"},
		{"192.0.2.2:80", "f5:lab", "/real_servers/0/weight", "carried.conf:10"},
		{"192.0.2.2:80", "f5:lab", "/real_servers/0/method", "carried.conf:3"},
		{"192.0.2.2:80", "f5:lab", "/real_servers/1", "carried.conf:15"},
		{"192.0.2.2:80", "f5:lab", "/real_servers/1/weight", "carried.conf:6"},
		{"192.0.2.2:80", "f5:lab", "/real_servers/1/method", "carried.conf:16"},
		{"192.0.2.2:80", "f5:lab", "/real_servers/1/upper_threshold", "carried.conf:17"},
		{"192.0.2.2:80", "f5:lab", "/real_servers/2/port", "carried.conf:7"},
		{"192.0.2.2:80", "f5:lab", "/real_servers/-1/port", "carried.conf:7"},
		{"192.0.2.2:80", "f5:lab", "/parameters_json/same_address", "a.yaml:51"},
		{"192.0.2.2:80", "f5:lab", "/parameters_json/snat", "a.yaml:50"},
	} {
		file, line := r.LocateVirtualServer(key(test.key), test.forwarder, test.pointer)
		if got := fmt.Sprintf("%s:%d", file, line); got != filepath.Join(dir, test.want) {
			t.Errorf("%s on %s %q: %s, want %s", test.key, test.forwarder, test.pointer, got, test.want)
		}
	}
}

func TestParseServiceKey(t *testing.T) {
	for text, want := range map[string]string{
		"TCP 192.0.2.1:80": "", "udp 192.0.2.1:53": "UDP 192.0.2.1:53", "SCTP [2001:db8::1]:80": "",
		"192.0.2.1:80": "TCP 192.0.2.1:80", "192.0.2.1": "TCP 192.0.2.1:0", "TCP 192.0.2.1:0": "", "2001:db8::1": "TCP [2001:db8::1]:0",
		"FWM 3": "", "fwm 3 inet6": "FWM 3 inet6", "FWM 3 inet": "FWM 3",
		"FWM": "error", "FWM 0": "error", "FWM 3 ipv6": "error", "FWM 3 inet6 x": "error", "FWM 4294967296": "error", "": "error",
		"TCP": "error", "TCP 192.0.2.1:80 x": "error", "ICMP 192.0.2.1:80": "error", "192.0.2.1:65536": "error",
		"fe80::1%eth0": "error", "[fe80::1%eth0]:80": "error", "[::ffff:192.0.2.1]:80": "error", "192.0.2.1:": "error",
	} {
		key, err := parseServiceKey(text)
		got := key.String()
		if err != nil {
			got = "error"
		}
		if want == "" {
			want = text
		}
		if got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// TestOnePlaceTwice: two instances that take each other's objects for their own.
func TestOnePlaceTwice(t *testing.T) {
	for name, test := range map[string]struct {
		other string
		fails bool
	}{
		"the same":                {`addresses: ["192.0.2.10:443"], partition: poise`, true},
		"another partition":       {`addresses: [192.0.2.10], partition: other`, false},
		"an instance of its own":  {`addresses: [192.0.2.10], partition: poise, instance: b`, false},
		"another pair of devices": {`addresses: [192.0.2.12], partition: poise`, false},
	} {
		path := filepath.Join(t.TempDir(), "a.yaml")
		text := "forwarders:\n  a: {type: f5, addresses: [192.0.2.11, 192.0.2.10], partition: poise}\n  b: {type: f5, " + test.other + "}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := Load(path, Options{})
		told := slices.ContainsFunc(r.Problems, func(p Problem) bool {
			return p.Severity == Error && p.Line == 3 && p.File == path
		})
		if told != test.fails {
			t.Errorf("%s: %v", name, r.Problems)
		}
	}
}

package vrrp

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/plugins/failover/vrrp/packet"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
)

func TestParseGroup(t *testing.T) {
	c, err := parseGroup(http(150))
	if err != nil {
		t.Fatal(err)
	}
	in := c.instances[0]
	if s := in.settings; s.DownAdverts != 3 || s.Repeat != 5 || s.Interval != time.Second || s.Delay != 5*time.Second {
		t.Errorf("settings %+v", s)
	}
	if e := in.expect; e.AuthType != packet.AuthPass || string(e.Password[:4]) != "1111" || e.Interval != 1 || len(e.Addresses) != 1 {
		t.Error("adverts are not as they were configured")
	}
}

func TestParseGroupRefuses(t *testing.T) {
	tests := map[string]func(g *failoverv1.Group, in *failoverv1.Instance){
		"has no name":                 func(g *failoverv1.Group, _ *failoverv1.Instance) { g.Name = "" },
		"no instances":                func(g *failoverv1.Group, _ *failoverv1.Instance) { g.Instances = nil },
		"used twice":                  func(g *failoverv1.Group, in *failoverv1.Instance) { g.Instances = append(g.Instances, in) },
		"it has no name":              func(_ *failoverv1.Group, in *failoverv1.Instance) { in.Name = "" },
		"interface \"\"":              func(_ *failoverv1.Group, in *failoverv1.Instance) { in.Interface = "" },
		"interface \"a234567890":      func(_ *failoverv1.Group, in *failoverv1.Instance) { in.Interface = "a234567890123456" },
		"virtual router id 0":         func(_ *failoverv1.Group, in *failoverv1.Instance) { in.VirtualRouterId = 0 },
		"virtual router id 300":       func(_ *failoverv1.Group, in *failoverv1.Instance) { in.VirtualRouterId = 300 },
		"priority 0":                  func(_ *failoverv1.Group, in *failoverv1.Instance) { in.Priority = 0 },
		"priority 256":                func(_ *failoverv1.Group, in *failoverv1.Instance) { in.Priority = 256 },
		"interval 500ms":              func(_ *failoverv1.Group, in *failoverv1.Instance) { in.AdvertInterval = durationpb.New(5e8) },
		"interval 0s":                 func(_ *failoverv1.Group, in *failoverv1.Instance) { in.AdvertInterval = nil },
		"interval 4m16s":              func(_ *failoverv1.Group, in *failoverv1.Instance) { in.AdvertInterval = durationpb.New(256e9) },
		"101 adverts":                 func(_ *failoverv1.Group, in *failoverv1.Instance) { in.DownTimerAdverts = 101 },
		"longer than 8 bytes":         func(_ *failoverv1.Group, in *failoverv1.Instance) { in.AuthPass = "secret-one" },
		"preempt delay -1s":           func(_ *failoverv1.Group, in *failoverv1.Instance) { in.PreemptDelay = durationpb.New(-1e9) },
		"256 gratuitous":              func(_ *failoverv1.Group, in *failoverv1.Instance) { in.GarpRepeat = 256 },
		"source address \"2001:db8::": func(_ *failoverv1.Group, in *failoverv1.Instance) { in.SourceAddress = "2001:db8::1" },
		"address \"192.0.2.100\" is":  func(_ *failoverv1.Group, in *failoverv1.Instance) { in.Addresses[0].Prefix = "192.0.2.100" },
		"IPv4 only":                   func(_ *failoverv1.Group, in *failoverv1.Instance) { in.Addresses[0].Prefix = "2001:db8::1/64" },
		"cannot be a virtual":         func(_ *failoverv1.Group, in *failoverv1.Instance) { in.Addresses[0].Prefix = "224.0.0.1/32" },
		"scope 256":                   func(_ *failoverv1.Group, in *failoverv1.Instance) { in.Addresses[0].Scope = 256 },
		"broadcast address \"x\"":     func(_ *failoverv1.Group, in *failoverv1.Instance) { in.Addresses[0].Broadcast = "x" },
		"label \"":                    func(_ *failoverv1.Group, in *failoverv1.Instance) { in.Addresses[0].Label = "eth0:0123456789ab" },
		"256 addresses": func(_ *failoverv1.Group, in *failoverv1.Instance) {
			for len(in.Addresses) < 256 {
				in.Addresses = append(in.Addresses, in.Addresses[0])
			}
		},
	}
	for want, change := range tests {
		t.Run(want, func(t *testing.T) {
			g := http(150)
			change(g, g.Instances[0])
			_, err := parseGroup(g)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Error("the message tells the password")
			}
		})
	}
}

func TestReadSet(t *testing.T) {
	named := func(g *failoverv1.Group, name string) *failoverv1.Group {
		g.Name = name
		return g
	}
	bad := named(http(150), "bad")
	bad.Instances[0].Priority = 0
	configs, rejected := readSet(&failoverv1.SetGroups{Groups: []*failoverv1.Group{
		bad, http(150), http(100), named(http(100), "same router"),
		named(http(100, func(in *failoverv1.Instance) { in.VirtualRouterId = 52 }), "other"),
	}})
	if len(configs) != 2 || configs[0].name != "VGM" || configs[1].name != "other" {
		t.Errorf("%d groups can be run: %v", len(configs), configs)
	}
	if len(rejected) != 3 {
		t.Fatalf("rejected: %v", rejected)
	}
	for i, want := range []string{"priority 0", "used twice", "virtual router id 51 on eth0"} {
		if !strings.Contains(rejected[i].GetMessage(), want) {
			t.Errorf("rejected %q: %s", rejected[i].GetGroup(), rejected[i].GetMessage())
		}
	}
}

func TestSameRouters(t *testing.T) {
	tests := map[string]struct {
		change func(*failoverv1.Instance)
		same   bool
	}{
		"nothing":   {func(*failoverv1.Instance) {}, true},
		"priority":  {func(in *failoverv1.Instance) { in.Priority = 7 }, true},
		"addresses": {func(in *failoverv1.Instance) { in.Addresses[0].Prefix = "192.0.2.7/32" }, true},
		"source":    {func(in *failoverv1.Instance) { in.SourceAddress = "192.0.2.7" }, true},
		"preempt":   {func(in *failoverv1.Instance) { in.NoPreempt = true }, true},
		"interface": {func(in *failoverv1.Instance) { in.Interface = "eth1" }, false},
		"router id": {func(in *failoverv1.Instance) { in.VirtualRouterId = 52 }, false},
		"password":  {func(in *failoverv1.Instance) { in.AuthPass = "2222" }, false},
		"no auth":   {func(in *failoverv1.Instance) { in.AuthPass = "" }, false},
		"interval":  {func(in *failoverv1.Instance) { in.AdvertInterval = durationpb.New(2e9) }, false},
		"name":      {func(in *failoverv1.Instance) { in.Name = "other" }, false},
	}
	before, err := parseGroup(http(150))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range tests {
		after, err := parseGroup(http(150, test.change))
		if err != nil {
			t.Fatal(err)
		}
		if got := before.sameRouters(after); got != test.same {
			t.Errorf("%s changed: the same virtual routers is %v", name, got)
		}
	}
}

func FuzzParseGroup(f *testing.F) {
	seed, err := proto.Marshal(http(150))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, wire []byte) {
		g := &failoverv1.Group{}
		if proto.Unmarshal(wire, g) != nil {
			return
		}
		c, err := parseGroup(g)
		if err == nil && (len(c.instances) == 0 || c.instances[0].settings.Interval < time.Second) {
			t.Errorf("%v is taken", g)
		}
	})
}

func TestValidate(t *testing.T) {
	p := &provider{}
	for parameters, want := range map[string]int{"": 0, "{}": 0, `{"a":1,"b":2}`: 2, "[]": 1, "{": 1} {
		if got := p.Validate(json.RawMessage(parameters)); len(got) != want {
			t.Errorf("%q: %v", parameters, got)
		}
	}
}

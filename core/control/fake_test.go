package control

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/poise-lb/poise/core/checker"
	"github.com/poise-lb/poise/core/failover"
	"github.com/poise-lb/poise/core/forwarder"
	"github.com/poise-lb/poise/core/model"
)

var started = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// fakeDaemon keeps overrides and events as a daemon does.
type fakeDaemon struct {
	reload func() ([]string, error)

	mu        sync.Mutex
	snapshot  *model.Snapshot
	overrides map[model.RealServerKey]model.Override
	failing   error
	events    []model.Event
	added     chan struct{}
}

func newFake() *fakeDaemon {
	return &fakeDaemon{
		snapshot: exampleSnapshot(), overrides: map[model.RealServerKey]model.Override{}, added: make(chan struct{}),
		reload: func() ([]string, error) { return nil, nil },
	}
}

func (f *fakeDaemon) Info() Info {
	return Info{
		Version: "1.2.3", Pid: 42, StartedAt: started, RouterID: "LVS_A", ConfigFile: "/etc/poise/poise.yaml",
		ConfigLoadedAt: started, ReloadErrors: []string{"/etc/poise/poise.yaml:7: error: a port of 70000"}, Forwarder: "ipvs",
	}
}

func (f *fakeDaemon) Snapshot() *model.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snapshot
}

func (f *fakeDaemon) Plugins() []model.PluginStatus {
	return []model.PluginStatus{{
		Name: "checkers", State: "running", Pid: 43, Version: "1.2.3", Restarts: 2, StartedAt: started.Add(time.Minute),
		LastFailure: "signal: killed", Kinds: []string{"check/tcp"}, User: "nobody", Path: "/usr/bin/poise-plugin", SHA256: "abcd",
	}}
}

func (f *fakeDaemon) Forwarder() forwarder.Status {
	return forwarder.Status{
		Platform: "IPVS 1.2.1", AppliedGeneration: 8, DesiredGeneration: 9, AppliedAt: started, Repairs: 3,
		Errors: map[string]string{"b": "two", "a": "one"},
		Services: []model.Service{
			{
				Key: webKey, Counters: model.Counters{Connections: 100},
				Destinations: []model.Destination{{
					Addr:     netip.MustParseAddrPort("192.0.2.1:80"),
					Counters: model.Counters{Connections: 60, ActiveConnections: 5, InactiveConnections: 7},
				}},
			},
			{Key: model.ServiceKey{FWMark: 99}},
			// Only an appliance is to carry it.
			{Key: ipv6Key, Counters: model.Counters{Connections: 8}},
		},
		Syncs: []model.DesiredSync{{Role: model.SyncMaster, Sync: model.ConnectionSync{Interface: "eth0", ID: 51}}},
	}
}

// Appliances has one that is written to, with an address of its own for the web, and one
// that another director writes to.
func (f *fakeDaemon) Appliances() []Appliance {
	lab := webKey
	lab.Addr = netip.MustParseAddr("198.51.100.100")
	member := func(addr string, weight uint32, offline bool, connections uint64) model.Destination {
		return model.Destination{
			Addr: netip.MustParseAddrPort(addr), Weight: weight, Offline: offline,
			Counters: model.Counters{Connections: connections, ActiveConnections: uint32(connections / 10)},
		}
	}
	return []Appliance{
		{
			Instance: model.ForwarderInstance{Type: "f5", Name: "lab"},
			Status: forwarder.Status{
				Platform: "BIG-IP 16.1.2 \xff", AppliedGeneration: 7, DesiredGeneration: 9, AppliedAt: started, Repairs: 1, Members: true,
				Errors: map[string]string{"table": "no unit is active"},
				Services: []model.Service{
					{
						Key: lab, Counters: model.Counters{Connections: 300},
						// Not in the order of the configuration, and with one that is not in it.
						Destinations: []model.Destination{
							member("192.0.2.7:80", 5, false, 0), member("192.0.2.2:81", 0, false, 10),
							member("192.0.2.2:80", 0, true, 20), member("192.0.2.1:80", 100, false, 270),
						},
					},
					{Key: dnsTCP}, {Key: webKey},
				},
			},
		},
		{Instance: model.ForwarderInstance{Type: "f5", Name: "other", Group: "VGM"}, Held: "failover group VGM is not master here"},
	}
}

// Differences knows the forwarders of Appliances.
func (f *fakeDaemon) Differences(_ context.Context, name string) ([]Comparison, error) {
	all := []Comparison{
		{Forwarder: "ipvs", Compared: true},
		{Forwarder: "f5:lab", Compared: true, Differences: []forwarder.Difference{
			{Object: "TCP 198.51.100.100:80 192.0.2.2:80", Kind: forwarder.Different, Desired: "offline, NAT", Actual: "weight 100, \xff"},
			{Object: "TCP 192.0.2.100:80", Kind: forwarder.Foreign, Actual: "rr"},
		}},
		{Forwarder: "f5:other", Reason: "failover group VGM is not master here"},
	}
	if name == "" {
		return all, nil
	}
	for i := range all {
		if all[i].Forwarder == name {
			return all[i : i+1], nil
		}
	}
	return nil, &RefusedError{Reason: "there is no forwarder " + name}
}

// Import reads lab, cannot read other, and has nothing to read elsewhere.
func (f *fakeDaemon) Import(_ context.Context, name, scope string) (yaml string, notes []string, err error) {
	switch name {
	case "f5:lab":
		return "# " + scope + "\nvirtual_servers: []\n", []string{"/Common/vs: a rule \xff"}, f.failing
	case "f5:other":
		return "", nil, &RefusedError{Reason: "forwarder f5:other: its plugin does not run"}
	}
	return "", nil, &RefusedError{Reason: "there is no forwarder " + name}
}

func (f *fakeDaemon) Instances() []failover.InstanceStatus {
	return []failover.InstanceStatus{{
		Group: "VGM", Instance: "http", Role: model.Master, AdvertsSent: 10, BecameMaster: 1,
		PacketErrors: map[string]uint64{"checksum": 4}, AddressesRestored: 1,
	}}
}

// held is how many events the fake keeps.
const held = 5

func (f *fakeDaemon) Events(after uint64) ([]model.Event, uint64, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := uint64(max(0, len(f.events)-held))
	missed := uint64(0)
	if after < first {
		missed, after = first-after, first
	}
	return f.events[after:], missed, f.added
}

func (f *fakeDaemon) addEvent(e model.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.Sequence = uint64(len(f.events) + 1)
	f.events = append(f.events, e)
	close(f.added)
	f.added = make(chan struct{})
}

func (f *fakeDaemon) Override(key model.RealServerKey) model.Override {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.overrides[key]
}

func (f *fakeDaemon) SetOverride(_ context.Context, key model.RealServerKey, o model.Override) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing == nil {
		f.overrides[key] = o
	}
	return f.failing
}

// Checkers has one process that was heard a moment ago and one that was not for long.
func (f *fakeDaemon) Checkers() map[string]checker.Stats {
	return map[string]checker.Stats{
		"checkers": {Checks: 2, Probes: 21, Failures: 2, Overdue: 1, Since: started, HeardAt: time.Now(), ProbedAt: time.Now(), Rejected: map[model.CheckID]string{"c2": "/path: is missing"}},
		"script":   {Checks: 1, Since: started, HeardAt: started.Add(time.Hour)},
	}
}

func (f *fakeDaemon) CheckTypes() []string { return []string{"http", "misc", "tcp"} }

func (f *fakeDaemon) ProcessOf(c *model.Check) string {
	return map[string]string{"tcp": "checkers", "http": "checkers", "misc": "script"}[c.Type]
}

// Probe answers up, but down for port 81; parameters it does not know.
func (f *fakeDaemon) Probe(_ context.Context, c *model.Check) (checker.Probed, string, error) {
	switch {
	case c.Parameters != "":
		return checker.Probed{}, "", &checker.ParameterError{Message: "path: is missing"}
	case c.Type == "misc":
		return checker.Probed{}, "script", errors.New("start plugin script for the probe: it exited with status 3")
	}
	out := checker.Probed{
		Verdict: model.Verdict{State: model.Up}, Duration: time.Millisecond,
		Transcript: []string{"1ms " + c.String() + " from " + c.Target.Source.String() + " " + c.Schedule.Timeout.String()},
	}
	if c.Target.Addr.Port() == 81 {
		out.Verdict = model.Verdict{State: model.Down, Reason: "refused \xff", Weight: model.Weight{Mode: model.SetWeight, Value: 8}, Admin: model.Drain}
	}
	return out, "checkers", nil
}

func (f *fakeDaemon) RestartPlugin(context.Context, string) (string, error) { return "abcd", f.failing }

func (f *fakeDaemon) DescribePlugin(_ context.Context, name string) (Description, error) {
	if name == "tcp" || name == "checkers" {
		return Description{Process: "checkers", Name: "checkers", Version: "1.2.3", Kinds: []Kind{{Interface: "check", Type: "tcp", Schema: []byte("{}")}}}, nil
	}
	if name == "misc" {
		return Description{}, errors.New("ask plugin script: start it: it exited with status 3")
	}
	return Description{}, errors.New("no such thing")
}

func (f *fakeDaemon) Reload(context.Context) ([]string, error) { return f.reload() }

var (
	webKey  = model.ServiceKey{Addr: netip.MustParseAddr("192.0.2.100"), Port: 80, Protocol: model.TCP}
	dnsTCP  = model.ServiceKey{Addr: netip.MustParseAddr("192.0.2.101"), Port: 53, Protocol: model.TCP}
	dnsUDP  = model.ServiceKey{Addr: netip.MustParseAddr("192.0.2.101"), Port: 53, Protocol: model.UDP}
	ipv6Key = model.ServiceKey{Addr: netip.MustParseAddr("2001:db8::100"), Port: 80, Protocol: model.TCP, IPv6: true}
	mark    = model.ServiceKey{FWMark: 3}
	mark6   = model.ServiceKey{FWMark: 3, IPv6: true}
)

func exampleSnapshot() *model.Snapshot {
	check := &model.Check{Type: "tcp", Target: model.Target{Addr: netip.MustParseAddrPort("192.0.2.1:80")}, Schedule: model.Schedule{Interval: 6 * time.Second}}
	weight := uint32(10)
	service := func(key model.ServiceKey, servers ...string) model.ServiceStatus {
		s := model.ServiceStatus{Config: &model.VirtualServer{Key: key, Scheduler: "rr", Quorum: 1, Forwarding: model.Forwarding{Method: model.DR}}, QuorumUp: true}
		for _, addr := range servers {
			s.RealServers = append(s.RealServers, model.RealServerStatus{
				Config: &model.RealServer{Addr: netip.MustParseAddrPort(addr), Weight: 100, Forwarding: model.Forwarding{Method: model.DR}},
				State:  model.Up, Since: started, InTable: true, Weight: 100,
			})
			s.Config.RealServers = append(s.Config.RealServers, *s.RealServers[len(s.RealServers)-1].Config)
		}
		return s
	}
	web := service(webKey, "192.0.2.1:80", "192.0.2.2:80", "192.0.2.2:81")
	web.Config.Carriers = []model.Carrier{{Forwarder: "f5:lab", Addr: netip.MustParseAddr("198.51.100.100")}, {Forwarder: "ipvs"}}
	elsewhere := service(ipv6Key, "[2001:db8::1]:80")
	elsewhere.Config.Carriers = []model.Carrier{{Forwarder: "f5:lab"}, {Forwarder: "f5:other"}}
	web.Config.Sorry = &model.SorryServer{Addr: netip.MustParseAddrPort("192.0.2.9:80")}
	other := func(kind string) *model.Check {
		return &model.Check{Type: kind, Target: model.Target{Addr: netip.MustParseAddrPort("192.0.2.1:81")}, Schedule: model.Schedule{Interval: time.Second, Timeout: time.Second}}
	}
	script := other("misc")
	script.Target.Addr = netip.AddrPort{}
	web.RealServers[0].Checks = []model.CheckStatus{
		{ID: "c1", Check: check, Verdict: model.Verdict{State: model.Up, Since: started}},
		{ID: "c2", Check: other("http"), Verdict: model.Verdict{State: model.Up, Since: started, Weight: model.Weight{Value: 3}, Admin: model.Drain}},
		{ID: "c3", Check: script, Verdict: model.Verdict{State: model.Up, Since: started}},
		{ID: "c4", Check: other("redis"), Verdict: model.Verdict{State: model.Down, Since: started, Reason: "was refused"}},
	}
	down := &web.RealServers[1]
	down.State, down.InTable, down.Weight, down.Reason = model.Down, false, 0, "connect: connection refused"
	down.Override = model.Override{Admin: model.Drain, Weight: &weight, Deadline: started.Add(time.Hour)}
	return &model.Snapshot{
		Services: []model.ServiceStatus{
			web, service(dnsTCP, "192.0.2.3:53"), service(dnsUDP, "192.0.2.3:53"),
			elsewhere, service(mark, "192.0.2.5:0"), service(mark6),
		},
		Groups: []model.GroupStatus{{
			Config: &model.FailoverGroup{Name: "VGM", Instances: []model.Instance{{
				Name: "http", Interface: "eth0", VirtualRouterID: 51, Priority: 100, AuthPass: "secret77",
				Addresses: []model.VirtualAddress{{Prefix: netip.MustParsePrefix("192.0.2.100/32")}},
				Excluded:  []model.VirtualAddress{{Prefix: netip.MustParsePrefix("192.0.2.101/32")}},
			}}},
			RoleState: model.RoleState{Role: model.Master, Reason: "no advert for 3.609s", Since: started},
		}},
		Sync: &model.DesiredSync{Role: model.SyncMaster, Sync: model.ConnectionSync{Interface: "eth0", ID: 51}},
	}
}

package daemon

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// The table of privileges is a promise to operators: code and document must agree.
func TestPrivilegesAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !strings.Contains(cells[1], "poise-plugin ") {
			continue
		}
		name := strings.TrimPrefix(strings.Trim(cells[1], " `"), "poise-plugin ")
		var capabilities []string
		if text := strings.TrimSpace(cells[4]); text != "none" {
			capabilities = strings.Split(text, ", ")
		}
		documented[name] = capabilities
	}
	for _, p := range builtin {
		if got, ok := documented[p.name]; !ok || !slices.Equal(got, p.capabilities) {
			t.Errorf("%s runs with %v, ARCHITECTURE.md says %v", p.name, p.capabilities, got)
		}
	}
	for kind, p := range instanceProcesses {
		if got, ok := documented[kind]; !ok || !slices.Equal(got, p.capabilities) {
			t.Errorf("%s runs with %v, ARCHITECTURE.md says %v", kind, p.capabilities, got)
		}
	}
	if len(documented) != len(builtin)+len(instanceProcesses) {
		t.Errorf("ARCHITECTURE.md has %d processes, the code %d", len(documented), len(builtin)+len(instanceProcesses))
	}
}

// The failover plugin comes before all others, also where its executable is another one.
func TestFailoverComesFirst(t *testing.T) {
	c := model.Config{Plugins: []model.Plugin{{Name: failoverProcess, Path: "/usr/lib/other"}, {Name: "redis", Path: "/usr/lib/redis"}}}
	for _, p := range append(slices.Clone(builtin), process{name: "redis"}) {
		s, err := Options{PluginFile: "/usr/bin/poise-plugin"}.spec(&c, processNamed(&c, p.name))
		if err != nil {
			t.Fatal(err)
		}
		if first := p.name == failoverProcess; first != (s.Nice < 0) || s.Nice > 0 {
			t.Errorf("%s runs with a nice value of %d", p.name, s.Nice)
		}
	}
}

func TestNeeded(t *testing.T) {
	service := model.VirtualServer{RealServers: []model.RealServer{{}}}
	checked := model.VirtualServer{RealServers: []model.RealServer{{Checks: []model.Check{{Type: "tcp"}}}}}
	group := model.FailoverGroup{Name: "g", Instances: []model.Instance{{AdvertInterval: 2 * time.Second}, {AdvertInterval: time.Second}}}
	for name, test := range map[string]struct {
		config model.Config
		want   []string
	}{
		"nothing":        {model.Config{Forwarder: "ipvs"}, nil},
		"no checks":      {model.Config{Forwarder: "ipvs", VirtualServers: []model.VirtualServer{service}}, []string{"ipvs"}},
		"checks, null":   {model.Config{Forwarder: "null", VirtualServers: []model.VirtualServer{checked}}, []string{"checkers", "null"}},
		"failover alone": {model.Config{Forwarder: "ipvs", FailoverGroups: []model.FailoverGroup{group}}, []string{"vrrp"}},
		"sync":           {model.Config{Forwarder: "ipvs", ConnectionSync: &model.ConnectionSync{}, FailoverGroups: []model.FailoverGroup{group}}, []string{"ipvs", "vrrp"}},
		"all, and one more": {model.Config{Forwarder: "ipvs", VirtualServers: []model.VirtualServer{checked}, FailoverGroups: []model.FailoverGroup{group},
			Plugins: []model.Plugin{{Name: "redis"}, {Name: "vrrp", User: "vrrp"}}}, []string{"checkers", "ipvs", "vrrp", "redis"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range needed(&test.config, newCatalog(), false) {
				got = append(got, p.name)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("needed %v, want %v", got, test.want)
			}
			leftovers := slices.ContainsFunc(needed(&test.config, newCatalog(), true), func(p process) bool { return p.name == test.config.Forwarder })
			if !leftovers {
				t.Error("nobody removes what an earlier configuration made")
			}
		})
	}
}

// A stalled failover process must be noticed within two adverts of the shortest
// interval, and its back-off may not exceed a second.
func TestFailoverTimes(t *testing.T) {
	c := model.Config{Restart: model.Restart{Min: 2 * time.Second, Max: time.Minute}, FailoverGroups: []model.FailoverGroup{
		{Instances: []model.Instance{{AdvertInterval: 3 * time.Second}, {AdvertInterval: time.Second}}},
	}}
	interval, timeout := failoverBeat(&c)
	if interval+timeout > 2*time.Second || timeout <= 2*interval {
		t.Errorf("beats every %s, stalled after %s: not within 2 s, or fooled by one late beat", interval, timeout)
	}
	if least, most := restartBackoff(&c); least > time.Second || most > time.Second {
		t.Errorf("back-off %s..%s with a failover group, want at most 1 s", least, most)
	}
	c.FailoverGroups = nil
	if least, most := restartBackoff(&c); least != 2*time.Second || most != time.Minute {
		t.Errorf("back-off %s..%s, want the configured one", least, most)
	}
	if _, timeout := failoverBeat(&c); timeout > 5*time.Second {
		t.Errorf("stalled after %s, want within 5 s", timeout)
	}
}

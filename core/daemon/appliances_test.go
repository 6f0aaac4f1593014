package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/poise-lb/poise/core/config"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// applied are what an appliance was told, one after the other.
func (d *director) applied(name string) []string {
	text, _ := os.ReadFile(filepath.Join(d.dir, name+".log"))
	return slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return line == "" })
}

// lastApplied is what it was told last.
func (d *director) lastApplied(name string) string {
	all := d.applied(name)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

func (d *director) eventuallyApplied(t *testing.T, name, want string) {
	t.Helper()
	eventually(t, name+" holds "+want, func() bool { return d.lastApplied(name) == want })
}

// labForwarder is an appliance that writes down in a directory what it is told.
func labForwarder(dir string) string {
	return "forwarders:\n  lab: {type: f5, addresses: [192.0.2.10], partition: lab, log: " + dir + "/f5-lab.log}\n"
}

const labChecks = `checks:
  good: {type: tcp, interval: 1s}
  bad: {type: tcp, interval: 1s, parameters: {says: down}}
`

const labServers = `virtual_servers:
  - address: 192.0.2.100:80
    forwarding: NAT
    forwarders: ["null", f5:lab]
    f5: {address: 192.0.2.200, snat: automap}
    real_servers:
      - {address: "192.0.2.1:80", checks: [good]}
      - {address: "192.0.2.2:80", checks: [bad]}
  - address: 192.0.2.101:80
    forwarding: NAT
    real_servers: [192.0.2.3:80]
`

const labHolds = `[192.0.2.200:80{"snat":"automap"} 192.0.2.1:80=1 192.0.2.2:80=offline]`

// TestApplianceHasItsPart: only what it carries, at its address there, with those that are
// down; it is taken down with the instance, and not by another name.
func TestApplianceHasItsPart(t *testing.T) {
	t.Parallel()
	dir := trustedDir(t)
	d := startDirector(t, dir, labForwarder(dir)+labChecks+labServers)
	d.eventuallyApplied(t, "f5-lab", labHolds)

	// Another name for the same partition: nothing is taken down.
	renamed := strings.NewReplacer("  lab:", "  paris:", "f5:lab", "f5:paris", "f5-lab", "f5-paris").Replace(labForwarder(dir) + labChecks + labServers)
	if err := d.reload(t, renamed); err != nil {
		t.Fatal(err)
	}
	d.eventuallyApplied(t, "f5-paris", labHolds)
	if d.plugin(t, "f5-lab") != nil {
		t.Error("the process of the old name still runs")
	}
	if slices.Contains(d.applied("f5-lab"), "[]") || slices.Contains(d.applied("f5-paris"), "[]") {
		t.Error("a new name took everything down")
	}

	// A restart by an operator: the same user, and the same set.
	before := d.plugin(t, "f5-paris")
	if _, err := d.RestartPlugin(t.Context(), &controlv1.RestartPluginRequest{Name: "f5-paris"}); err != nil {
		t.Fatal(err)
	}
	if p := d.plugin(t, "f5-paris"); p.GetPid() == before.GetPid() || p.GetUser() != before.GetUser() {
		t.Errorf("restarted as %s, process %d, was %s, %d", p.GetUser(), p.GetPid(), before.GetUser(), before.GetPid())
	}
	eventually(t, "the new process holds it too", func() bool { return d.lastApplied("f5-paris") == labHolds })

	// Another place under the same name would leave what is there to nobody.
	err := d.reload(t, strings.Replace(renamed, "partition: lab", "partition: other", 1))
	if err == nil || !strings.Contains(err.Error(), "poise.yaml:3: error: forwarder f5:paris") {
		t.Errorf("the partition changed: %v", err)
	}

	gone := strings.NewReplacer("    forwarders: [\"null\", f5:lab]\n", "", "    f5: {address: 192.0.2.200, snat: automap}\n", "").Replace(labServers)
	if err := d.reload(t, labChecks+gone); err != nil {
		t.Fatal(err)
	}
	if d.plugin(t, "f5-paris") != nil || d.lastApplied("f5-paris") != "[]" {
		t.Errorf("the instance is gone, and it still has %s", d.lastApplied("f5-paris"))
	}
}

const labGroup = "failover_groups:\n  - {name: VG, interface: lo, virtual_router_id: 51, addresses: [192.0.2.250/32]}\n"

// TestApplianceHeld: while the failover group is not master here the appliance is left to
// another director, from the first moment, and also when it begins or ceases to follow one.
func TestApplianceHeld(t *testing.T) {
	t.Parallel()
	dir := trustedDir(t)
	follows := strings.Replace(labForwarder(dir), "type: f5", "type: f5, group: VG", 1) + labGroup + labChecks + labServers
	d := startDirector(t, dir, follows)
	d.eventuallyApplied(t, "f5-lab", "hold")
	eventually(t, "the director itself forwards", func() bool { return strings.Contains(d.verdicts(t), "192.0.2.2:80 down") })
	for _, got := range d.applied("f5-lab") {
		if got != "hold" {
			t.Errorf("told %s before anybody is master", got)
		}
	}
	if err := d.reload(t, labForwarder(dir)+labGroup+labChecks+labServers); err != nil {
		t.Fatal(err)
	}
	d.eventuallyApplied(t, "f5-lab", labHolds)
	if err := d.reload(t, follows); err != nil {
		t.Fatal(err)
	}
	d.eventuallyApplied(t, "f5-lab", "hold")
	if slices.Contains(d.applied("f5-lab"), "[]") {
		t.Error("it was emptied")
	}
	// What another director's work is is not taken down by this one.
	gone := strings.NewReplacer("    forwarders: [\"null\", f5:lab]\n", "", "    f5: {address: 192.0.2.200, snat: automap}\n", "").Replace(labServers)
	if err := d.reload(t, labChecks+gone); err != nil {
		t.Fatal(err)
	}
	if d.lastApplied("f5-lab") != "hold" {
		t.Errorf("told %s", d.lastApplied("f5-lab"))
	}
}

// TestApplianceOfHalf: a poised that runs one half of a configuration.
func TestApplianceOfHalf(t *testing.T) {
	group := strings.Replace(labForwarder("/x"), "type: f5", "type: f5, group: VG", 1) + labGroup
	path := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(path, []byte("forwarder: \"null\"\n"+group+labChecks+labServers), 0o600); err != nil {
		t.Fatal(err)
	}
	fake := &fakePlugins{offers: map[string][]string{}}
	for _, test := range []struct {
		name       string
		options    Options
		forwarders int
		warned     bool
	}{
		{"whole", Options{}, 1, false},
		// An appliance that is told of no virtual server would be emptied.
		{"failover only", Options{OnlyFailover: true}, 0, false},
		// Nobody knows who is master.
		{"services only", Options{OnlyServices: true}, 1, true},
	} {
		test.options.ConfigFile, test.options.PluginFile = path, "/bin/true"
		l := load(t.Context(), test.options, fake.inspect, true)
		if len(l.config.Forwarders) != test.forwarders {
			t.Errorf("%s: %d appliances", test.name, len(l.config.Forwarders))
		}
		warned := slices.ContainsFunc(l.problems, func(p config.Problem) bool {
			return p.Severity == config.Warning && p.File == path && p.Line == 3 && strings.Contains(p.Message, "nothing is written to f5:lab")
		})
		if warned != test.warned {
			t.Errorf("%s: %v", test.name, l.problems)
		}
	}
}

// TestApplianceRefuses: what a plugin says of a virtual server has the place where it stands.
func TestApplianceRefuses(t *testing.T) {
	t.Parallel()
	dir := trustedDir(t)
	d := startDirector(t, dir, labForwarder(dir)+labChecks+labServers)
	bad := strings.Replace(labServers, "    forwarding: NAT\n", "    forwarding: NAT\n    scheduler: sed\n", 1)
	err := d.reload(t, labForwarder(dir)+labChecks+bad)
	// The null forwarder's line is the first.
	want := fmt.Sprintf("%s:10: error: virtual server TCP 192.0.2.100:80 on f5:lab: there is no sed", d.config)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the reload says %v, want %s", err, want)
	}
	err = d.reload(t, strings.Replace(labForwarder(dir), "partition: lab", "partition: nonsense", 1)+labChecks+labServers)
	if err == nil || !strings.Contains(err.Error(), d.config+":3: error: forwarder f5:lab: partition: is nonsense") {
		t.Errorf("the reload says %v", err)
	}
	d.eventuallyApplied(t, "f5-lab", labHolds)
}

// TestApplianceAdopted: a real server that an appliance has offline, and whose check has not
// spoken yet, stays so over a start; also if all are.
func TestApplianceAdopted(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ offline, want string }{
		"one": {`"offline":true`, `[192.0.2.100:80 192.0.2.1:80=1 192.0.2.2:80=offline]`},
		"all": {`"offline":true`, `[192.0.2.100:80 192.0.2.1:80=offline 192.0.2.2:80=offline]`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := trustedDir(t)
			first := ""
			if name == "all" {
				first = test.offline + ","
			}
			holds := filepath.Join(dir, "holds.json")
			text := `{"platform":"appliance","virtual_servers":[{"key":{"address":"192.0.2.100","port":80,"protocol":"PROTOCOL_TCP","family":"FAMILY_IPV4"},"scheduler":"rr","real_servers":[
				{"address":"192.0.2.1","port":80,"weight":1,` + first + `"method":"METHOD_NAT"},
				{"address":"192.0.2.2","port":80,"weight":1,` + test.offline + `,"method":"METHOD_NAT"}]}]}`
			if err := os.WriteFile(holds, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			// The plugin of its checks never says anything.
			d := startDirector(t, dir, `forwarders:
  lab: {type: f5, addresses: [192.0.2.10], partition: lab, log: `+dir+`/f5-lab.log, holds: `+holds+`}
checks:
  silent: {type: tcp, interval: 1s, parameters: {says: nonsense}}
virtual_servers:
  - address: 192.0.2.100:80
    forwarding: NAT
    forwarders: [f5:lab]
    checks: [silent]
    real_servers: [192.0.2.1:80, 192.0.2.2:80]
`)
			eventually(t, "something is applied", func() bool { return len(d.applied("f5-lab")) > 0 })
			for _, got := range d.applied("f5-lab") {
				if got != test.want {
					t.Errorf("told %s, want %s", got, test.want)
				}
			}
		})
	}
}

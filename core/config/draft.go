package config

import (
	"slices"
	"strings"

	"github.com/poise-lb/poise/core/model"
)

// draft is a configuration while it is read, with the place of everything that
// another file may contradict.
type draft struct {
	problems
	options Options
	config  model.Config
	// services and groups are the places of what config holds, by index.
	services   []servicePlace
	groups     []groupPlace
	sync       place
	checks     map[model.Check]checkPlace
	plugins    map[string]checkPlace
	forwarders map[string]checkPlace
}

// groupPlace is where a failover group and its instances stand.
type groupPlace struct {
	place
	instances []place
}

func newDraft(o Options) *draft {
	return &draft{
		problems:   problems{files: map[string]int{}},
		options:    o,
		checks:     map[model.Check]checkPlace{},
		plugins:    map[string]checkPlace{},
		forwarders: map[string]checkPlace{},
		config: model.Config{
			Forwarder:         model.DefaultForwarder,
			GraceTime:         model.DefaultGraceTime,
			ReconcileInterval: model.DefaultReconcileInterval,
			Restart:           model.Restart{Min: model.DefaultRestartMin, Max: model.DefaultRestartMax},
		},
	}
}

func (d *draft) addService(at servicePlace, v model.VirtualServer) {
	d.config.VirtualServers = append(d.config.VirtualServers, v)
	d.services = append(d.services, at)
}

func (d *draft) addGroup(at groupPlace, g model.FailoverGroup) {
	d.config.FailoverGroups = append(d.config.FailoverGroups, g)
	d.groups = append(d.groups, at)
}

// addCheck remembers where a check stands; of equal checks the first counts.
func (d *draft) addCheck(at checkPlace, c model.Check) {
	if _, ok := d.checks[c]; !ok {
		d.checks[c] = at
	}
}

// finish checks what takes the whole configuration to see.
func (d *draft) finish(path string) {
	d.seen(path)
	services := map[model.ServiceKey]place{}
	for i, v := range d.config.VirtualServers {
		if first, ok := services[v.Key]; ok {
			d.errorf(d.services[i].place, "virtual server %s is there already (%s:%d): put their real servers into one", v.Key, first.file, first.line)
			continue
		}
		services[v.Key] = d.services[i].place
	}
	d.finishGroups()
	d.finishForwarders()
	if s := d.config.ConnectionSync; s != nil {
		if !slices.ContainsFunc(d.config.FailoverGroups, func(g model.FailoverGroup) bool { return g.Name == s.Group }) {
			d.errorf(d.sync, "connection sync follows the failover group %s, which does not exist%s", s.Group, meant(s.Group, groupNames(d.config)))
		}
	}
	if len(d.list) == 0 && len(services) == 0 && len(d.groups) == 0 && d.config.ConnectionSync == nil {
		d.warnf(place{path, 1}, "there is no virtual server and no failover group: nothing to do")
	}
}

func (d *draft) finishGroups() {
	type router struct {
		device string
		id     uint8
	}
	groups, instances, routers := map[string]place{}, map[string]place{}, map[router]string{}
	for i, g := range d.config.FailoverGroups {
		if first, ok := groups[g.Name]; ok {
			d.errorf(d.groups[i].place, "failover group %s is there already (%s:%d): give one of them another name", g.Name, first.file, first.line)
		} else {
			groups[g.Name] = d.groups[i].place
		}
		for j, n := range g.Instances {
			at := d.groups[i].instances[j]
			if first, ok := instances[n.Name]; ok {
				d.errorf(at, "instance %s is there already (%s:%d): give one of them another name", n.Name, first.file, first.line)
				continue
			}
			instances[n.Name] = at
			r := router{n.Interface, n.VirtualRouterID}
			if other, ok := routers[r]; ok {
				d.errorf(at, "instances %s and %s have the same virtual router id %d on interface %s: give one of them another", other, n.Name, r.id, r.device)
				continue
			}
			routers[r] = n.Name
		}
	}
}

func groupNames(c model.Config) []string {
	var out []string
	for _, g := range c.FailoverGroups {
		out = append(out, g.Name)
	}
	return out
}

// schedulerNames is for messages.
func schedulerNames() string { return strings.Join(model.Schedulers, " ") }

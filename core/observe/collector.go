package observe

import (
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/poise-lb/poise/core/checker"
	"github.com/poise-lb/poise/core/control"
	"github.com/poise-lb/poise/core/failover"
	"github.com/poise-lb/poise/core/forwarder"
	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/internal/printable"
	"github.com/poise-lb/poise/internal/version"
)

// Source is what metrics are read from. Its methods may be called at the same time from
// many goroutines; what they return is not changed afterwards.
type Source interface {
	// Snapshot is the engine's last one; nil until there is one.
	Snapshot() *model.Snapshot
	Forwarder() forwarder.Status
	// Appliances are the forwarders beside it.
	Appliances() []control.Appliance
	Instances() []failover.InstanceStatus
	Plugins() []model.PluginStatus
	// Checkers are what the checker processes have done, by name of the process.
	Checkers() map[string]checker.Stats
	// LastReload says when the configuration in force was read, and whether a newer one
	// was refused since.
	LastReload() (inForceSince time.Time, refused bool)
}

// Collector gives the metrics of one daemon.
type Collector struct{ source Source }

// NewCollector makes a collector that reads from source.
func NewCollector(source Source) *Collector { return &Collector{source: source} }

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range metrics {
		out <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	s := sink(out)
	s.put(buildInfo, 1, version.Version)
	read, refused := c.source.LastReload()
	s.put(reloadSuccessful, number(!refused))
	s.putTime(configRead, read)
	snapshot := c.source.Snapshot()
	if snapshot == nil {
		snapshot = &model.Snapshot{}
	}
	table := c.source.Forwarder()
	s.services(snapshot, table)
	s.forwarder(snapshot, table)
	s.appliances(snapshot, c.source.Appliances())
	s.groups(snapshot, c.source.Instances())
	s.plugins(c.source.Plugins())
	for name, stats := range c.source.Checkers() {
		s.put(probes, float64(stats.Probes), name)
		s.put(probeFailures, float64(stats.Failures), name)
		s.put(probesOverdue, float64(stats.Overdue), name)
		s.lateness(stats.Lateness, name)
		s.put(checksRejected, float64(len(stats.Rejected)), name)
		s.put(checksSent, float64(stats.Checks), name)
		s.putTime(checkerHeard, stats.HeardAt, name)
		s.putTime(checkerProbed, stats.ProbedAt, name)
	}
}

// sink takes the numbers of one scrape.
type sink chan<- prometheus.Metric

func (s sink) put(m *metric, value float64, labels ...string) {
	for i, l := range labels {
		labels[i] = printable.Text(l)
	}
	s <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
}

// lateness leaves out what a process has not told.
func (s sink) lateness(l checker.Lateness, plugin string) {
	if len(l.Buckets) == 0 {
		return
	}
	buckets := make(map[float64]uint64, len(l.Buckets))
	for bound, n := range l.Buckets {
		buckets[bound.Seconds()] = n
	}
	s <- prometheus.MustNewConstHistogram(checkLateness.desc, l.Starts, l.Sum.Seconds(), buckets, printable.Text(plugin))
}

// putTime leaves the zero time out.
func (s sink) putTime(m *metric, t time.Time, labels ...string) {
	if !t.IsZero() {
		s.put(m, float64(t.UnixMilli())/1e3, labels...)
	}
}

func (s sink) services(snapshot *model.Snapshot, table forwarder.Status) {
	observed := make(map[model.ServiceKey]*model.Service, len(table.Services))
	for i := range table.Services {
		observed[table.Services[i].Key] = &table.Services[i]
	}
	for i := range snapshot.Services {
		v := &snapshot.Services[i]
		name := v.Config.Key.String()
		s.put(quorumUp, number(v.QuorumUp), name)
		s.put(quorum, float64(v.Config.Quorum), name)
		s.put(sorryActive, number(v.SorryActive), name)
		destinations := map[netip.AddrPort]*model.Destination{}
		if o := observed[v.Config.Key]; o != nil && v.Config.OnDirector() {
			s.traffic(virtualServerTraffic, o.Counters, name)
			for i := range o.Destinations {
				destinations[o.Destinations[i].Addr] = &o.Destinations[i]
			}
		}
		for i := range v.RealServers {
			r := &v.RealServers[i]
			s.realServer(r, destinations[r.Config.Addr], name, r.Config.Addr.String())
		}
	}
}

func (s sink) realServer(r *model.RealServerStatus, observed *model.Destination, virtual, real string) {
	s.put(realServerUp, number(r.State == model.Up), virtual, real)
	s.put(realServerKnown, number(r.State != model.Unknown), virtual, real)
	s.put(realServerInTable, number(r.InTable), virtual, real)
	s.put(realServerWeight, float64(r.Weight), virtual, real)
	s.put(realServerOverride, number(r.Override.Admin != model.Ready || r.Override.Weight != nil), virtual, real)
	if observed == nil {
		return
	}
	s.put(realServerActive, float64(observed.Counters.ActiveConnections), virtual, real)
	s.put(realServerInactive, float64(observed.Counters.InactiveConnections), virtual, real)
	s.traffic(realServerTraffic, observed.Counters, virtual, real)
}

func (s sink) traffic(t traffic, c model.Counters, labels ...string) {
	s.put(t.connections, float64(c.Connections), labels...)
	s.put(t.packetsIn, float64(c.PacketsIn), labels...)
	s.put(t.packetsOut, float64(c.PacketsOut), labels...)
	s.put(t.bytesIn, float64(c.BytesIn), labels...)
	s.put(t.bytesOut, float64(c.BytesOut), labels...)
}

func (s sink) forwarder(snapshot *model.Snapshot, table forwarder.Status) {
	s.put(appliedGeneration, float64(table.AppliedGeneration))
	s.put(desiredGeneration, float64(table.DesiredGeneration))
	s.put(forwarderErrors, float64(len(table.Errors)))
	s.put(repairs, float64(table.Repairs))
	configured := make(map[model.ServiceKey]bool, len(snapshot.Services))
	for i := range snapshot.Services {
		if c := snapshot.Services[i].Config; c.OnDirector() {
			configured[c.Key] = true
		}
	}
	foreign := 0
	for i := range table.Services {
		if !configured[table.Services[i].Key] {
			foreign++
		}
	}
	s.put(foreignServices, float64(foreign))
	for _, role := range []model.SyncRole{model.SyncMaster, model.SyncBackup} {
		running := false
		for _, d := range table.Syncs {
			running = running || d.Role == role
		}
		s.put(syncRunning, number(running), role.String())
	}
}

func (s sink) groups(snapshot *model.Snapshot, instances []failover.InstanceStatus) {
	for _, g := range snapshot.Groups {
		for _, role := range []model.Role{model.UnknownRole, model.Master, model.Backup, model.Fault} {
			s.put(groupRole, number(g.Role == role), g.Config.Name, role.String())
		}
	}
	for _, i := range instances {
		s.put(advertsSent, float64(i.AdvertsSent), i.Group, i.Instance)
		s.put(advertsReceived, float64(i.AdvertsReceived), i.Group, i.Instance)
		s.put(becameMaster, float64(i.BecameMaster), i.Group, i.Instance)
		s.put(addressesRestored, float64(i.AddressesRestored), i.Group, i.Instance)
		for reason, n := range i.PacketErrors {
			s.put(packetErrors, float64(n), i.Group, i.Instance, reason)
		}
	}
}

func (s sink) plugins(list []model.PluginStatus) {
	for _, p := range list {
		s.put(pluginUp, number(p.State == "running"), p.Name)
		s.put(pluginRestarts, float64(p.Restarts), p.Name)
		s.putTime(pluginStarted, p.StartedAt, p.Name)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

package control

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poise-lb/poise/core/checker"
	"github.com/poise-lb/poise/core/failover"
	"github.com/poise-lb/poise/core/forwarder"
	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/internal/printable"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

func encodeStatus(d Daemon) *controlv1.StatusResponse {
	info, snapshot, table := d.Info(), d.Snapshot(), d.Forwarder()
	if snapshot == nil {
		snapshot = &model.Snapshot{}
	}
	observed := make(map[model.ServiceKey]*model.Service, len(table.Services))
	for i := range table.Services {
		observed[table.Services[i].Key] = &table.Services[i]
	}
	own := make(map[model.ServiceKey]bool, len(snapshot.Services))
	for i := range snapshot.Services {
		if c := snapshot.Services[i].Config; c.OnDirector() {
			own[c.Key] = true
		}
	}
	appliances := d.Appliances()
	out := &controlv1.StatusResponse{
		Daemon:          encodeInfo(info),
		VirtualServers:  make([]*controlv1.VirtualServer, 0, len(snapshot.Services)),
		FailoverGroups:  encodeGroups(snapshot.Groups, d.Instances()),
		ForeignServices: foreign(table.Services, own),
		Forwarder:       encodeForwarder(info.Forwarder, snapshot, table),
		Appliances:      encodeAppliances(appliances, snapshot),
	}
	actual := tablesOf(appliances)
	checks := checkEncoder{checkers: d.Checkers(), processOf: d.ProcessOf, now: time.Now()}
	for i := range snapshot.Services {
		s := &snapshot.Services[i]
		if !own[s.Config.Key] {
			// What the table has of it is somebody else's.
			delete(observed, s.Config.Key)
		}
		v := encodeService(s, observed[s.Config.Key], checks)
		v.Carried, v.AppliancesOnly = encodeCarried(s.Config, actual), !own[s.Config.Key]
		out.VirtualServers = append(out.VirtualServers, v)
	}
	for _, p := range d.Plugins() {
		out.Plugins = append(out.Plugins, encodePlugin(p, checks.checkers))
	}
	return out
}

func encodeInfo(i Info) *controlv1.Daemon {
	if i.RouterID == "" {
		i.RouterID, _ = os.Hostname()
	}
	return &controlv1.Daemon{
		Version: i.Version, Pid: uint32(i.Pid), StartedAt: encodeTime(i.StartedAt),
		RouterId: printable.Text(i.RouterID), ConfigFile: printable.Text(i.ConfigFile),
		ConfigLoadedAt: encodeTime(i.ConfigLoadedAt), ReloadErrors: printable.Texts(i.ReloadErrors),
	}
}

func encodeForwarder(kind string, s *model.Snapshot, f forwarder.Status) *controlv1.Forwarder {
	out := &controlv1.Forwarder{
		Type: kind, Name: kind, Platform: printable.Text(f.Platform), AppliedGeneration: f.AppliedGeneration, DesiredGeneration: f.DesiredGeneration,
		AppliedAt: encodeTime(f.AppliedAt), Repairs: f.Repairs, ConnectionSync: encodeSync(s.Sync, f.Syncs),
	}
	for _, object := range slices.Sorted(maps.Keys(f.Errors)) {
		out.Errors = append(out.Errors, printable.Text(object+": "+f.Errors[object]))
	}
	return out
}

// encodeSync tells the sync daemons that run, ours or not, and ours if it does not.
func encodeSync(want *model.DesiredSync, running []model.DesiredSync) string {
	var parts []string
	is := false
	for _, s := range running {
		parts = append(parts, syncText(s))
		is = is || want != nil && s.Role == want.Role && s.Sync.Interface == want.Sync.Interface && s.Sync.ID == want.Sync.ID
	}
	if want != nil && want.Role != model.NoSync && !is {
		parts = append(parts, syncText(*want)+" (not running)")
	}
	return printable.Text(strings.Join(parts, "; "))
}

func syncText(s model.DesiredSync) string {
	return fmt.Sprintf("%s on %s, id %d", s.Role, s.Sync.Interface, s.Sync.ID)
}

// foreign are the services of a table that the configuration does not have there.
func foreign(table []model.Service, configured map[model.ServiceKey]bool) []string {
	var out []string
	for i := range table {
		if !configured[table[i].Key] || table[i].Foreign {
			out = append(out, table[i].Key.String())
		}
	}
	return out
}

func encodeService(s *model.ServiceStatus, observed *model.Service, checks checkEncoder) *controlv1.VirtualServer {
	c := s.Config
	out := &controlv1.VirtualServer{
		Name: c.Key.String(), Scheduler: c.Scheduler, Method: c.Forwarding.Method.String(),
		QuorumUp: s.QuorumUp, Quorum: c.Quorum, SorryActive: s.SorryActive,
		RealServers: make([]*controlv1.RealServer, 0, len(s.RealServers)),
	}
	if c.Sorry != nil {
		out.SorryServer = c.Sorry.Addr.String()
	}
	destinations := map[netip.AddrPort]*model.Destination{}
	if observed != nil {
		out.Connections = observed.Counters.Connections
		for i := range observed.Destinations {
			destinations[observed.Destinations[i].Addr] = &observed.Destinations[i]
		}
	}
	for i := range s.RealServers {
		r := &s.RealServers[i]
		out.RealServers = append(out.RealServers, encodeRealServer(r, destinations[r.Config.Addr], checks))
	}
	return out
}

func encodeRealServer(r *model.RealServerStatus, observed *model.Destination, checks checkEncoder) *controlv1.RealServer {
	out := &controlv1.RealServer{
		Name: r.Config.Addr.String(), Verdict: r.State.String(), Reason: printable.Text(r.Reason), Since: encodeTime(r.Since),
		Weight: r.Weight, ConfiguredWeight: r.Config.Weight, InTable: r.InTable,
		Override: overrideText(r.Override), DrainDeadline: encodeTime(r.Override.Deadline),
		Admin: adminText(askedFor(r.Checks)), Method: r.Config.Forwarding.Method.String(), Checks: make([]*controlv1.Check, 0, len(r.Checks)),
	}
	if observed != nil {
		out.Connections = observed.Counters.Connections
		out.ActiveConnections, out.InactiveConnections = observed.Counters.ActiveConnections, observed.Counters.InactiveConnections
	}
	for i := range r.Checks {
		out.Checks = append(out.Checks, checks.encode(&r.Checks[i]))
	}
	return out
}

// askedFor is what a real server asks for itself: the strongest of what its checks say.
func askedFor(checks []model.CheckStatus) model.Admin {
	out := model.Ready
	for i := range checks {
		out = max(out, checks[i].Verdict.Admin)
	}
	return out
}

// checkEncoder encodes checks with what is known of the processes that probe them.
type checkEncoder struct {
	checkers  map[string]checker.Stats
	processOf func(*model.Check) string
	now       time.Time
}

func (e checkEncoder) encode(c *model.CheckStatus) *controlv1.Check {
	out := &controlv1.Check{
		Type: c.Check.Type, Target: encodeTarget(c.Check.Target.Addr), Verdict: c.Verdict.State.String(),
		Reason: printable.Text(c.Verdict.Reason), Since: encodeTime(c.Verdict.Since),
		Id: string(c.ID), Interval: durationpb.New(c.Check.Schedule.Interval),
		Weight: c.Verdict.Weight.String(), Admin: adminText(c.Verdict.Admin), Plugin: e.processOf(c.Check),
	}
	stats, ok := e.checkers[out.Plugin]
	switch {
	case out.Plugin == "":
		out.Rejected = "no plugin offers checks of type " + c.Check.Type
	case ok:
		out.Rejected = printable.Text(stats.Rejected[c.ID])
		if out.Rejected == "" {
			out.StaleSince = encodeTime(stats.StaleSince(c.Check, e.now))
		}
	}
	return out
}

// overrideText gives "", "drain", "maint", "weight 10", "drain, weight 10".
func overrideText(o model.Override) string {
	var parts []string
	if o.Admin != model.Ready {
		parts = append(parts, o.Admin.String())
	}
	if o.Weight != nil {
		parts = append(parts, fmt.Sprintf("weight %d", *o.Weight))
	}
	return strings.Join(parts, ", ")
}

func encodeGroups(groups []model.GroupStatus, seen []failover.InstanceStatus) []*controlv1.FailoverGroup {
	type name struct{ group, instance string }
	counters := make(map[name]failover.InstanceStatus, len(seen))
	for _, i := range seen {
		counters[name{i.Group, i.Instance}] = i
	}
	out := make([]*controlv1.FailoverGroup, 0, len(groups))
	for _, g := range groups {
		group := &controlv1.FailoverGroup{
			Name: printable.Text(g.Config.Name), Role: g.Role.String(), Reason: printable.Text(g.Reason), Since: encodeTime(g.Since),
		}
		for i := range g.Config.Instances {
			config := &g.Config.Instances[i]
			group.Instances = append(group.Instances, encodeInstance(config, counters[name{g.Config.Name, config.Name}]))
		}
		out = append(out, group)
	}
	return out
}

func encodeInstance(c *model.Instance, i failover.InstanceStatus) *controlv1.Instance {
	out := &controlv1.Instance{
		Name: printable.Text(c.Name), Interface: printable.Text(c.Interface),
		VirtualRouterId: uint32(c.VirtualRouterID), Priority: uint32(c.Priority),
		MasterAddress: i.MasterAddress, MasterPriority: i.MasterPriority,
		AdvertsSent: i.AdvertsSent, AdvertsReceived: i.AdvertsReceived, BecameMaster: i.BecameMaster,
		PacketErrors: i.PacketErrors, AddressesRestored: i.AddressesRestored,
	}
	for _, list := range [][]model.VirtualAddress{c.Addresses, c.Excluded} {
		for _, a := range list {
			out.Addresses = append(out.Addresses, a.Prefix.String())
		}
	}
	return out
}

func encodePlugin(p model.PluginStatus, checkers map[string]checker.Stats) *controlv1.Plugin {
	out := &controlv1.Plugin{
		Name: p.Name, State: p.State, Pid: uint32(p.Pid), Version: p.Version, Restarts: p.Restarts,
		StartedAt: encodeTime(p.StartedAt), LastFailure: printable.Text(p.LastFailure), Kinds: p.Kinds,
		User: p.User, Capabilities: p.Capabilities, Path: printable.Text(p.Path), Sha256: p.SHA256,
	}
	if stats, ok := checkers[p.Name]; ok {
		out.Checks, out.Probes, out.ProbeFailures, out.ProbesOverdue = uint64(stats.Checks), stats.Probes, stats.Failures, stats.Overdue
		out.HeardAt, out.Trouble = encodeTime(stats.HeardAt), stats.Trouble(time.Now())
	}
	return out
}

func encodeEvent(e model.Event) *controlv1.EventsResponse {
	return &controlv1.EventsResponse{
		At: encodeTime(e.At), Kind: e.Kind, Object: printable.Text(e.Object), Message: printable.Text(e.Message), Sequence: e.Sequence,
	}
}

// encodeTime leaves the zero time out.
func encodeTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

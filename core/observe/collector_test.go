package observe

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/poise-lb/poise/core/checker"
	"github.com/poise-lb/poise/core/control"
	"github.com/poise-lb/poise/core/failover"
	"github.com/poise-lb/poise/core/forwarder"
	"github.com/poise-lb/poise/core/model"
)

// fakeSource is a daemon at one moment.
type fakeSource struct {
	snapshot   *model.Snapshot
	forwarder  forwarder.Status
	appliances []control.Appliance
	instances  []failover.InstanceStatus
	plugins    []model.PluginStatus
	checkers   map[string]checker.Stats
	read       time.Time
	refused    bool
}

func (f *fakeSource) Snapshot() *model.Snapshot            { return f.snapshot }
func (f *fakeSource) Forwarder() forwarder.Status          { return f.forwarder }
func (f *fakeSource) Appliances() []control.Appliance      { return f.appliances }
func (f *fakeSource) Instances() []failover.InstanceStatus { return f.instances }
func (f *fakeSource) Plugins() []model.PluginStatus        { return f.plugins }
func (f *fakeSource) Checkers() map[string]checker.Stats   { return f.checkers }
func (f *fakeSource) LastReload() (time.Time, bool)        { return f.read, f.refused }

func example() *fakeSource {
	web := model.ServiceKey{Addr: netip.MustParseAddr("192.0.2.100"), Port: 80, Protocol: model.TCP}
	dns := model.ServiceKey{Addr: netip.MustParseAddr("192.0.2.101"), Port: 53, Protocol: model.UDP}
	there := web
	there.Addr = netip.MustParseAddr("198.51.100.100")
	first, second := netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("192.0.2.2:80")
	weight := uint32(10)
	at := time.Unix(1700000000, 500e6)
	return &fakeSource{
		read: at, refused: true,
		snapshot: &model.Snapshot{
			Services: []model.ServiceStatus{
				{
					Config: &model.VirtualServer{Key: web, Quorum: 2, Carriers: []model.Carrier{{Forwarder: "f5:lab", Addr: there.Addr}, {Forwarder: "ipvs"}}}, QuorumUp: true,
					RealServers: []model.RealServerStatus{
						{Config: &model.RealServer{Addr: first}, State: model.Up, InTable: true, Weight: 10, Override: model.Override{Weight: &weight}},
						{Config: &model.RealServer{Addr: second}, State: model.Down},
					},
				},
				{Config: &model.VirtualServer{Key: dns, Quorum: 1, Carriers: []model.Carrier{{Forwarder: "f5:lab"}, {Forwarder: "f5:other"}}}},
			},
			Groups: []model.GroupStatus{{Config: &model.FailoverGroup{Name: "VGM"}, RoleState: model.RoleState{Role: model.Master}}},
		},
		forwarder: forwarder.Status{
			AppliedGeneration: 8, DesiredGeneration: 9, Repairs: 3, Errors: map[string]string{"a": "b"},
			Services: []model.Service{
				{
					Key: web, Counters: model.Counters{Connections: 100, PacketsIn: 1000, PacketsOut: 900, BytesIn: 1e6, BytesOut: 2e9},
					Destinations: []model.Destination{{Addr: first, Counters: model.Counters{Connections: 60, PacketsIn: 6, PacketsOut: 5, BytesIn: 4, BytesOut: 3, ActiveConnections: 2, InactiveConnections: 7}}},
				},
				{Key: model.ServiceKey{FWMark: 3}},
				// Only an appliance is to carry it.
				{Key: dns, Counters: model.Counters{Connections: 77}},
			},
			Syncs: []model.DesiredSync{{Role: model.SyncMaster}},
		},
		appliances: []control.Appliance{
			{
				Instance: model.ForwarderInstance{Type: "f5", Name: "lab"},
				Status: forwarder.Status{
					Platform: "BIG-IP", AppliedGeneration: 18, DesiredGeneration: 19, Repairs: 5, Errors: map[string]string{"a": "b", "c": "d"},
					Services: []model.Service{
						{
							Key: there, Counters: model.Counters{Connections: 200, PacketsIn: 2000, PacketsOut: 1900, BytesIn: 3e6, BytesOut: 4e9},
							Destinations: []model.Destination{
								{Addr: first, Weight: 10, Counters: model.Counters{Connections: 160, PacketsIn: 16, PacketsOut: 15, BytesIn: 14, BytesOut: 13, ActiveConnections: 12}},
								{Addr: second, Weight: 10, Offline: true},
								{Addr: second, Weight: 10},
							},
						},
						{Key: web},
					},
				},
			},
			{Instance: model.ForwarderInstance{Type: "f5", Name: "other"}, Held: "failover group VGM is not master here"},
		},
		instances: []failover.InstanceStatus{{
			Group: "VGM", Instance: "http", AdvertsSent: 11, AdvertsReceived: 12, BecameMaster: 13, AddressesRestored: 14,
			PacketErrors: map[string]uint64{"ttl": 2, "auth": 1},
		}},
		plugins: []model.PluginStatus{
			{Name: "checkers", State: "running", Restarts: 4, StartedAt: at},
			{Name: "ipvs", State: "waiting", Restarts: 5},
		},
		checkers: map[string]checker.Stats{"checkers": {Probes: 21, Failures: 22, Overdue: 23, Checks: 24, HeardAt: at,
			Lateness: checker.Lateness{Starts: 30, Sum: 1500 * time.Millisecond, Buckets: map[time.Duration]uint64{time.Millisecond: 25, 50 * time.Millisecond: 29}},
			Rejected: map[model.CheckID]string{"c": "why"}}},
	}
}

func TestMetrics(t *testing.T) {
	const want = `
poise_appliance_applied_generation{forwarder="f5:lab"} 18
poise_appliance_applied_generation{forwarder="f5:other"} 0
poise_appliance_desired_generation{forwarder="f5:lab"} 19
poise_appliance_desired_generation{forwarder="f5:other"} 0
poise_appliance_errors{forwarder="f5:lab"} 2
poise_appliance_errors{forwarder="f5:other"} 0
poise_appliance_foreign_services{forwarder="f5:lab"} 1
poise_appliance_held{forwarder="f5:lab"} 0
poise_appliance_held{forwarder="f5:other"} 1
poise_appliance_real_server_active_connections{forwarder="f5:lab",real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 12
poise_appliance_real_server_active_connections{forwarder="f5:lab",real_server="192.0.2.2:80",virtual_server="TCP 192.0.2.100:80"} 0
poise_appliance_real_server_connections_total{forwarder="f5:lab",real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 160
poise_appliance_real_server_connections_total{forwarder="f5:lab",real_server="192.0.2.2:80",virtual_server="TCP 192.0.2.100:80"} 0
poise_appliance_real_server_received_bytes_total{forwarder="f5:lab",real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 14
poise_appliance_real_server_received_bytes_total{forwarder="f5:lab",real_server="192.0.2.2:80",virtual_server="TCP 192.0.2.100:80"} 0
poise_appliance_real_server_received_packets_total{forwarder="f5:lab",real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 16
poise_appliance_real_server_received_packets_total{forwarder="f5:lab",real_server="192.0.2.2:80",virtual_server="TCP 192.0.2.100:80"} 0
poise_appliance_real_server_state{forwarder="f5:lab",real_server="192.0.2.1:80",state="drained",virtual_server="TCP 192.0.2.100:80"} 0
poise_appliance_real_server_state{forwarder="f5:lab",real_server="192.0.2.1:80",state="enabled",virtual_server="TCP 192.0.2.100:80"} 1
poise_appliance_real_server_state{forwarder="f5:lab",real_server="192.0.2.1:80",state="offline",virtual_server="TCP 192.0.2.100:80"} 0
poise_appliance_real_server_state{forwarder="f5:lab",real_server="192.0.2.2:80",state="drained",virtual_server="TCP 192.0.2.100:80"} 0
poise_appliance_real_server_state{forwarder="f5:lab",real_server="192.0.2.2:80",state="enabled",virtual_server="TCP 192.0.2.100:80"} 0
poise_appliance_real_server_state{forwarder="f5:lab",real_server="192.0.2.2:80",state="offline",virtual_server="TCP 192.0.2.100:80"} 1
poise_appliance_real_server_transmitted_bytes_total{forwarder="f5:lab",real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 13
poise_appliance_real_server_transmitted_bytes_total{forwarder="f5:lab",real_server="192.0.2.2:80",virtual_server="TCP 192.0.2.100:80"} 0
poise_appliance_real_server_transmitted_packets_total{forwarder="f5:lab",real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 15
poise_appliance_real_server_transmitted_packets_total{forwarder="f5:lab",real_server="192.0.2.2:80",virtual_server="TCP 192.0.2.100:80"} 0
poise_appliance_repairs_total{forwarder="f5:lab"} 5
poise_appliance_repairs_total{forwarder="f5:other"} 0
poise_appliance_virtual_server_connections_total{forwarder="f5:lab",virtual_server="TCP 192.0.2.100:80"} 200
poise_appliance_virtual_server_present{forwarder="f5:lab",virtual_server="TCP 192.0.2.100:80"} 1
poise_appliance_virtual_server_present{forwarder="f5:lab",virtual_server="UDP 192.0.2.101:53"} 0
poise_appliance_virtual_server_received_bytes_total{forwarder="f5:lab",virtual_server="TCP 192.0.2.100:80"} 3e+06
poise_appliance_virtual_server_received_packets_total{forwarder="f5:lab",virtual_server="TCP 192.0.2.100:80"} 2000
poise_appliance_virtual_server_transmitted_bytes_total{forwarder="f5:lab",virtual_server="TCP 192.0.2.100:80"} 4e+09
poise_appliance_virtual_server_transmitted_packets_total{forwarder="f5:lab",virtual_server="TCP 192.0.2.100:80"} 1900
poise_build_info{version="dev"} 1
poise_config_last_reload_successful 0
poise_config_read_timestamp_seconds 1.7000000005e+09
poise_check_heard_timestamp_seconds{plugin="checkers"} 1.7000000005e+09
poise_check_lateness_seconds_bucket{plugin="checkers",le="0.001"} 25
poise_check_lateness_seconds_bucket{plugin="checkers",le="0.05"} 29
poise_check_lateness_seconds_bucket{plugin="checkers",le="+Inf"} 30
poise_check_lateness_seconds_sum{plugin="checkers"} 1.5
poise_check_lateness_seconds_count{plugin="checkers"} 30
poise_check_probe_failures_total{plugin="checkers"} 22
poise_check_probes_overdue_total{plugin="checkers"} 23
poise_check_probes_total{plugin="checkers"} 21
poise_check_rejected{plugin="checkers"} 1
poise_check_sent{plugin="checkers"} 24
poise_connection_sync_running{role="backup"} 0
poise_connection_sync_running{role="master"} 1
poise_failover_group_role{group="VGM",role="backup"} 0
poise_failover_group_role{group="VGM",role="fault"} 0
poise_failover_group_role{group="VGM",role="master"} 1
poise_failover_group_role{group="VGM",role="unknown"} 0
poise_forwarder_applied_generation 8
poise_forwarder_desired_generation 9
poise_forwarder_errors 1
poise_forwarder_foreign_services 2
poise_forwarder_repairs_total 3
poise_plugin_restarts_total{plugin="checkers"} 4
poise_plugin_restarts_total{plugin="ipvs"} 5
poise_plugin_start_time_seconds{plugin="checkers"} 1.7000000005e+09
poise_plugin_up{plugin="checkers"} 1
poise_plugin_up{plugin="ipvs"} 0
poise_real_server_active_connections{real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 2
poise_real_server_connections_total{real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 60
poise_real_server_in_table{real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 1
poise_real_server_in_table{real_server="192.0.2.2:80",virtual_server="TCP 192.0.2.100:80"} 0
poise_real_server_inactive_connections{real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 7
poise_real_server_override{real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 1
poise_real_server_override{real_server="192.0.2.2:80",virtual_server="TCP 192.0.2.100:80"} 0
poise_real_server_received_bytes_total{real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 4
poise_real_server_received_packets_total{real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 6
poise_real_server_transmitted_bytes_total{real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 3
poise_real_server_transmitted_packets_total{real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 5
poise_real_server_up{real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 1
poise_real_server_up{real_server="192.0.2.2:80",virtual_server="TCP 192.0.2.100:80"} 0
poise_real_server_verdict_known{real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 1
poise_real_server_verdict_known{real_server="192.0.2.2:80",virtual_server="TCP 192.0.2.100:80"} 1
poise_real_server_weight{real_server="192.0.2.1:80",virtual_server="TCP 192.0.2.100:80"} 10
poise_real_server_weight{real_server="192.0.2.2:80",virtual_server="TCP 192.0.2.100:80"} 0
poise_virtual_server_connections_total{virtual_server="TCP 192.0.2.100:80"} 100
poise_virtual_server_quorum{virtual_server="TCP 192.0.2.100:80"} 2
poise_virtual_server_quorum{virtual_server="UDP 192.0.2.101:53"} 1
poise_virtual_server_quorum_up{virtual_server="TCP 192.0.2.100:80"} 1
poise_virtual_server_quorum_up{virtual_server="UDP 192.0.2.101:53"} 0
poise_virtual_server_received_bytes_total{virtual_server="TCP 192.0.2.100:80"} 1e+06
poise_virtual_server_received_packets_total{virtual_server="TCP 192.0.2.100:80"} 1000
poise_virtual_server_sorry_server_active{virtual_server="TCP 192.0.2.100:80"} 0
poise_virtual_server_sorry_server_active{virtual_server="UDP 192.0.2.101:53"} 0
poise_virtual_server_transmitted_bytes_total{virtual_server="TCP 192.0.2.100:80"} 2e+09
poise_virtual_server_transmitted_packets_total{virtual_server="TCP 192.0.2.100:80"} 900
poise_vrrp_addresses_restored_total{group="VGM",instance="http"} 14
poise_vrrp_adverts_received_total{group="VGM",instance="http"} 12
poise_vrrp_adverts_sent_total{group="VGM",instance="http"} 11
poise_vrrp_became_master_total{group="VGM",instance="http"} 13
poise_vrrp_packet_errors_total{group="VGM",instance="http",reason="auth"} 1
poise_vrrp_packet_errors_total{group="VGM",instance="http",reason="ttl"} 2
`
	var expected strings.Builder
	for _, m := range metrics {
		expected.WriteString("# HELP " + m.name + " " + m.help + "\n# TYPE " + m.name + " " + m.typeName() + "\n")
		for line := range strings.Lines(strings.TrimSpace(want) + "\n") {
			if strings.HasPrefix(line, m.name+"{") || m.histogram && strings.HasPrefix(line, m.name+"_") || strings.HasPrefix(line, m.name+" ") {
				expected.WriteString(line)
			}
		}
	}
	if err := testutil.CollectAndCompare(NewCollector(example()), strings.NewReader(expected.String())); err != nil {
		t.Error(err)
	}
}

func TestMetricsAreLintedAndConsistent(t *testing.T) {
	problems, err := testutil.CollectAndLint(NewCollector(example()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for name, source := range map[string]*fakeSource{"full": example(), "before the start": {}} {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(NewCollector(source))
		if _, err := registry.Gather(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Names in another encoding than UTF-8 neither panic nor spoil the scrape.
func TestMetricsOfNamesInAnotherEncoding(t *testing.T) {
	source := example()
	source.snapshot.Groups = append(source.snapshot.Groups,
		model.GroupStatus{Config: &model.FailoverGroup{Name: "\xb2\xe2"}}, model.GroupStatus{Config: &model.FailoverGroup{Name: "\xff"}})
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewCollector(source))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "poise_failover_group_role" && len(f.GetMetric()) != 12 {
			t.Errorf("%d series of roles, want 12", len(f.GetMetric()))
		}
	}
}

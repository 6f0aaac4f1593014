package observe

import "github.com/prometheus/client_golang/prometheus"

// metric is one family. docs/metrics.md lists them all; a test compares.
type metric struct {
	name   string
	help   string
	kind   prometheus.ValueType
	labels []string
	desc   *prometheus.Desc
	// histogram: it is one, and kind says nothing.
	histogram bool
}

// typeName is the metric's type in Prometheus's words.
func (m *metric) typeName() string {
	switch {
	case m.histogram:
		return "histogram"
	case m.kind == prometheus.CounterValue:
		return "counter"
	}
	return "gauge"
}

// metrics are all families, in the order of the documents.
var metrics []*metric

func gauge(name, help string, labels ...string) *metric {
	return define(name, help, prometheus.GaugeValue, labels)
}

func counter(name, help string, labels ...string) *metric {
	return define(name, help, prometheus.CounterValue, labels)
}

func histogram(name, help string, labels ...string) *metric {
	m := define(name, help, prometheus.UntypedValue, labels)
	m.histogram = true
	return m
}

func define(name, help string, kind prometheus.ValueType, labels []string) *metric {
	m := &metric{name: name, help: help, kind: kind, labels: labels, desc: prometheus.NewDesc(name, help, labels, nil)}
	metrics = append(metrics, m)
	return m
}

var (
	buildInfo        = gauge("poise_build_info", "1, with the version of poised.", "version")
	reloadSuccessful = gauge("poise_config_last_reload_successful", "0 if the last reload was refused because the configuration has errors, else 1.")
	configRead       = gauge("poise_config_read_timestamp_seconds", "When the configuration in force was read, in Unix time.")

	quorumUp    = gauge("poise_virtual_server_quorum_up", "1 if the weight that is up reaches the quorum.", "virtual_server")
	quorum      = gauge("poise_virtual_server_quorum", "The configured quorum.", "virtual_server")
	sorryActive = gauge("poise_virtual_server_sorry_server_active", "1 if the sorry server takes the connections.", "virtual_server")

	virtualServerTraffic = defineTraffic("poise_virtual_server", "virtual server", "", onlyNAT, "virtual_server")

	realServerUp       = gauge("poise_real_server_up", "1 if its verdict is up, 0 if it is down or not known.", "virtual_server", "real_server")
	realServerKnown    = gauge("poise_real_server_verdict_known", "0 while there is no verdict, else 1.", "virtual_server", "real_server")
	realServerInTable  = gauge("poise_real_server_in_table", "1 if the real server should be in the forwarder's table.", "virtual_server", "real_server")
	realServerWeight   = gauge("poise_real_server_weight", "The weight it should have in the table; 0 also if it should not be in it.", "virtual_server", "real_server")
	realServerOverride = gauge("poise_real_server_override", "1 while an operator's override is laid over it.", "virtual_server", "real_server")
	realServerActive   = gauge("poise_real_server_active_connections", "Connections that are established.", "virtual_server", "real_server")
	realServerInactive = gauge("poise_real_server_inactive_connections", "Connections that are known but not established.", "virtual_server", "real_server")

	realServerTraffic = defineTraffic("poise_real_server", "real server", " since it was put in the table", onlyNAT, "virtual_server", "real_server")

	desiredGeneration = gauge("poise_forwarder_desired_generation", "Number of the table that is wanted.")
	appliedGeneration = gauge("poise_forwarder_applied_generation", "Number of the table that was last put in force; less than the wanted one for long means trouble.")
	forwarderErrors   = gauge("poise_forwarder_errors", "Objects that could not be made what they should be.")
	repairs           = counter("poise_forwarder_repairs_total", "Repairs of what somebody else changed.")
	foreignServices   = gauge("poise_forwarder_foreign_services", "Services in the table that are not in the configuration.")
	syncRunning       = gauge("poise_connection_sync_running", "1 if the kernel's sync daemon of this role runs.", "role")

	applianceDesired = gauge("poise_appliance_desired_generation", "Number of the table that the appliance should have.", "forwarder")
	applianceApplied = gauge("poise_appliance_applied_generation", "Number of the table that the appliance was last asked for; less than the wanted one for long means trouble, and what of it could not be done is in the errors.", "forwarder")
	applianceErrors  = gauge("poise_appliance_errors", "Objects of the appliance that could not be made what they should be.", "forwarder")
	applianceRepairs = counter("poise_appliance_repairs_total", "Repairs of what somebody else changed on the appliance.", "forwarder")
	applianceHeld    = gauge("poise_appliance_held", "1 while this director writes nothing to the appliance because another one does.", "forwarder")
	applianceForeign = gauge("poise_appliance_foreign_services", "Services on the appliance that the configuration does not have there.", "forwarder")
	appliancePresent = gauge("poise_appliance_virtual_server_present", "1 if the virtual server is on the appliance.", "forwarder", "virtual_server")

	applianceServerTraffic = defineTraffic("poise_appliance_virtual_server", "virtual server on the appliance", "", "", "forwarder", "virtual_server")

	memberState  = gauge("poise_appliance_real_server_state", "1 for the state that the real server has on the appliance, 0 for the others.", "forwarder", "virtual_server", "real_server", "state")
	memberActive = gauge("poise_appliance_real_server_active_connections", "Connections that are established on the appliance.", "forwarder", "virtual_server", "real_server")

	memberTraffic = defineTraffic("poise_appliance_real_server", "real server on the appliance", "", "", "forwarder", "virtual_server", "real_server")

	groupRole         = gauge("poise_failover_group_role", "1 for the role that the group has, 0 for the others.", "group", "role")
	advertsSent       = counter("poise_vrrp_adverts_sent_total", "Adverts sent.", "group", "instance")
	advertsReceived   = counter("poise_vrrp_adverts_received_total", "Adverts received and accepted.", "group", "instance")
	packetErrors      = counter("poise_vrrp_packet_errors_total", "Packets refused, by reason.", "group", "instance", "reason")
	becameMaster      = counter("poise_vrrp_became_master_total", "Times the instance became master.", "group", "instance")
	addressesRestored = counter("poise_vrrp_addresses_restored_total", "Virtual addresses that somebody else removed and that were put back.", "group", "instance")

	probes         = counter("poise_check_probes_total", "Probes ended since the checker process started.", "plugin")
	probeFailures  = counter("poise_check_probe_failures_total", "Probes that failed since the checker process started.", "plugin")
	probesOverdue  = counter("poise_check_probes_overdue_total", "Probes left out because the one before was still running.", "plugin")
	checkLateness  = histogram("poise_check_lateness_seconds", "How much later than planned probes were started, since the checker process started.", "plugin")
	checksRejected = gauge("poise_check_rejected", "Checks that cannot be carried out.", "plugin")
	checksSent     = gauge("poise_check_sent", "Checks that the checker process has to carry out.", "plugin")
	checkerHeard   = gauge("poise_check_heard_timestamp_seconds", "When the checker process was last heard, in Unix time; it says something every second.", "plugin")
	checkerProbed  = gauge("poise_check_probed_timestamp_seconds", "When the checker process last told of a probe that has ended, in Unix time.", "plugin")

	pluginUp       = gauge("poise_plugin_up", "1 if the plugin process runs.", "plugin")
	pluginRestarts = counter("poise_plugin_restarts_total", "Times the plugin process was started again.", "plugin")
	pluginStarted  = gauge("poise_plugin_start_time_seconds", "When the plugin process was started, in Unix time.", "plugin")
)

// traffic is what virtual servers and real servers alike have carried.
type traffic struct{ connections, packetsIn, packetsOut, bytesIn, bytesOut *metric }

// onlyNAT ends what is said of the way back, which the kernel does not see in DR and TUN.
const onlyNAT = "; only NAT sees them"

func defineTraffic(prefix, of, when, back string, labels ...string) traffic {
	return traffic{
		connections: counter(prefix+"_connections_total", "Connections scheduled to the "+of+when+".", labels...),
		packetsIn:   counter(prefix+"_received_packets_total", "Packets from clients to the "+of+when+".", labels...),
		packetsOut:  counter(prefix+"_transmitted_packets_total", "Packets from the "+of+" to clients"+when+back+".", labels...),
		bytesIn:     counter(prefix+"_received_bytes_total", "Bytes from clients to the "+of+when+".", labels...),
		bytesOut:    counter(prefix+"_transmitted_bytes_total", "Bytes from the "+of+" to clients"+when+back+".", labels...),
	}
}

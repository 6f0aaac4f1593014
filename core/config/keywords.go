package config

import (
	"maps"
	"slices"
	"strings"
)

// context names a block of a keepalived.conf and with it the keywords that may stand
// in it.
type context string

const (
	atRoot          context = ""
	inGlobalDefs    context = "global_defs"
	inVirtualServer context = "virtual_server"
	inRealServer    context = "real_server"
	inTCPCheck      context = "TCP_CHECK"
	inHTTPGet       context = "HTTP_GET"
	inSSLGet        context = "SSL_GET"
	inURL           context = "url"
	inSMTPCheck     context = "SMTP_CHECK"
	inSMTPHost      context = "host"
	inDNSCheck      context = "DNS_CHECK"
	inUDPCheck      context = "UDP_CHECK"
	inPingCheck     context = "PING_CHECK"
	inMiscCheck     context = "MISC_CHECK"
	inFileCheck     context = "FILE_CHECK"
	inBFDCheck      context = "BFD_CHECK"
	inSSL           context = "SSL"
	inTrackFile     context = "track_file"
	inBFDInstance   context = "bfd_instance"
	inSyncGroup     context = "vrrp_sync_group"
	inInstance      context = "vrrp_instance"
	inAuth          context = "authentication"
)

// String says where, for messages: "in real_server".
func (c context) String() string {
	if c == atRoot {
		return "at the top level"
	}
	return "in " + string(c)
}

// status is what poise makes of a keyword that keepalived knows.
type status uint8

const (
	// built: it has its meaning.
	built status = iota
	// unused: it is read over with a warning; the service is the same without it.
	unused
	// unbuilt: an error, since without it the service would be another one.
	unbuilt
)

type keyword struct {
	status status
	// block: braces follow.
	block bool
}

// keywords are all that keepalived 2.4 knows, and the spellings of older releases,
// by where they may stand. It is the one source of what is read, of the messages and
// of "did you mean".
var keywords = map[context]map[string]keyword{
	atRoot: table(
		`global_defs{ virtual_server{ vrrp_instance{ vrrp_sync_group{ SSL{ track_file{ vrrp_track_file{
		bfd_instance{`,
		`linkbeat_use_polling use_pid_dir child_wait_time instance namespace_with_ipsets garp_group{`,
		`virtual_server_group{ vrrp_script{ vrrp_track_process{ track_group{
		static_ipaddress{ static_routes{ static_rules{ linkbeat_interfaces{
		interface_up_down_delays{ net_namespace net_namespace_ipvs`),

	inGlobalDefs: table(
		`router_id default_interface lvs_sync_daemon vrrp_version vrrp_min_garp vrrp_down_timer_adverts
		vrrp_garp_master_delay vrrp_garp_master_repeat vrrp_garp_master_refresh script_user
		enable_script_security`,
		`notification_email{ notification_email_from smtp_server smtp_helo_name smtp_connect_timeout
		smtp_alert smtp_alert_vrrp smtp_alert_checker no_email_faults no_checker_emails
		checker_log_all_failures rs_init_notifies
		max_auto_priority min_auto_priority_delay lvs_flush lvs_flush_on_stop lvs_flush_onstop
		nftables_ipvs nftables_ipvs_priority nftables_ipvs_start_fwmark
		snmp_vs_stats_update_interval snmp_rs_stats_update_interval vrrp_mcast_group6
		vrrp_garp_master_refresh_repeat vrrp_garp_lower_prio_delay vrrp_garp_lower_prio_repeat
		vrrp_garp_interval vrrp_gna_interval vrrp_garp_extra_if vrrp_vmac_garp_intvl
		vrrp_check_unicast_src vrrp_skip_check_adv_addr vrrp_iptables vrrp_ipsets nftables
		nftables_priority nftables_counters nftables_ifindex log_unknown_vrids disable_local_igmp
		v3_checksum_as_v2 dynamic_interfaces vmac_prefix vmac_addr_prefix vrrp_notify_priority_changes
		fifo_write_vrrp_states_on_reload vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier
		process_names process_name vrrp_process_name checker_process_name lvs_process_name bfd_process_name
		vrrp_priority checker_priority bfd_priority vrrp_no_swap checker_no_swap bfd_no_swap
		vrrp_rt_priority checker_rt_priority bfd_rt_priority
		vrrp_cpu_affinity checker_cpu_affinity bfd_cpu_affinity
		vrrp_rlimit_rttime checker_rlimit_rttime bfd_rlimit_rttime umask use_symlink_paths
		set_supplementary_groups vrrp_netlink_cmd_rcv_bufs vrrp_netlink_cmd_rcv_bufs_force
		vrrp_netlink_monitor_rcv_bufs vrrp_netlink_monitor_rcv_bufs_force lvs_netlink_cmd_rcv_bufs
		lvs_netlink_cmd_rcv_bufs_force lvs_netlink_monitor_rcv_bufs lvs_netlink_monitor_rcv_bufs_force
		process_monitor_rcv_bufs process_monitor_rcv_bufs_force reload_check_config
		reload_time_file reload_repeat reload_file config_save_dir tmp_config_directory
		data_use_instance state_dump_file stats_dump_file json_dump_file json_version snmp_socket
		enable_snmp_vrrp enable_snmp_keepalived enable_snmp_checker enable_snmp_rfc enable_snmp_rfcv2
		enable_snmp_rfcv3 enable_traps enable_dbus dbus_service_name dbus_no_interface_name
		random_seed include_check iproute_usr_dir iproute_etc_dir instance use_pid_dir
		child_wait_time lvs_id`,
		`lvs_timeouts lvs_notify_fifo lvs_notify_fifo_script notify_fifo notify_fifo_script
		vrrp_notify_fifo vrrp_notify_fifo_script startup_script startup_script_timeout
		shutdown_script shutdown_script_timeout vrrp_mcast_group4 vrrp_strict
		vrrp_lower_prio_no_advert vrrp_higher_prio_send_advert vrrp_owner_ignore_adverts
		vrrp_startup_delay vrrp_delay_after_boot net_namespace net_namespace_ipvs`),

	inVirtualServer: table(
		`delay_loop lb_algo lvs_sched lb_kind lvs_method ops flag-1 flag-2 flag-3 sh-port sh-fallback
		mh-port mh-fallback persistence_timeout persistence_granularity persistence_engine protocol
		ip_family alpha omega quorum hysteresis weight retry delay_before_retry warmup
		connect_timeout inhibit_on_failure virtualhost sorry_server sorry_server_inhibit
		sorry_server_lvs_method real_server{`,
		`hashed nat_mask smtp_alert snmp_name`,
		`ha_suspend quorum_up quorum_down`),

	inRealServer: table(
		`weight lvs_method uthreshold lthreshold inhibit_on_failure alpha retry delay_before_retry
		warmup connect_timeout delay_loop virtualhost TCP_CHECK{ HTTP_GET{ SSL_GET{ SMTP_CHECK{
		DNS_CHECK{ UDP_CHECK{ PING_CHECK{ MISC_CHECK{ FILE_CHECK{ BFD_CHECK{`,
		`smtp_alert snmp_name`,
		`notify_up notify_down`),

	inTCPCheck: table(connecting, `log_all_failures`, ``),
	inHTTPGet: table(connecting+` url{ http_protocol virtualhost fast_recovery enable_sni sni_name
		tls_compliant`, `log_all_failures`, ``),
	inSSLGet: table(connecting+` url{ http_protocol virtualhost fast_recovery enable_sni sni_name
		tls_compliant`, `log_all_failures`, ``),
	inURL: table(`path status_code digest virtualhost regex regex_no_match regex_options
		regex_min_offset regex_max_offset tls_compliant`, `regex_stack`, ``),
	inSMTPCheck: table(connecting+` helo_name host{`, `log_all_failures`, ``),
	inSMTPHost:  table(connecting, `log_all_failures`, ``),
	inDNSCheck:  table(connecting+` type name`, `log_all_failures`, ``),
	inUDPCheck: table(connecting+` payload require_reply min_reply_length max_reply_length`,
		`log_all_failures`, ``),
	inPingCheck: table(connecting, `log_all_failures`, ``),
	inMiscCheck: table(scheduling+` misc_path misc_timeout misc_dynamic user`, `log_all_failures`, ``),
	inFileCheck: table(`track_file weight`, ``, ``),
	inBFDCheck:  table(`name alpha`, ``, ``),

	inSSL:       table(`password ca certificate key`, ``, ``),
	inTrackFile: table(`file weight init_file`, ``, ``),
	inBFDInstance: table(`neighbor_ip source_ip min_rx min_tx idle_tx multiplier passive ttl hoplimit
		max_hops multihop weight vrrp checker`, ``, ``),

	inSyncGroup: table(
		`group{`,
		`smtp_alert notify_priority_changes global_tracking sync_group_tracking_weight`,
		`notify notify_master notify_backup notify_fault notify_stop notify_deleted track_interface{
		track_script{ track_file{ track_process{ track_bfd{`),

	inInstance: table(
		`state interface virtual_router_id priority advert_int version nopreempt preempt preempt_delay
		down_timer_adverts authentication{ virtual_ipaddress{ virtual_ipaddress_excluded{ mcast_src_ip
		garp_master_delay garp_master_repeat garp_master_refresh lvs_sync_daemon_interface
		lvs_sync_daemon_inteface accept no_virtual_ipaddress`,
		`smtp_alert notify_priority_changes debug skip_check_adv_addr linkbeat_use_polling
		kernel_rx_buf_size garp_master_refresh_repeat garp_lower_prio_delay garp_lower_prio_repeat
		garp_extra_if vmac_garp_intvl timer_expired_backup thread_timer_expired check_unicast_src
		unicast_ttl old_unicast_checksum v3_checksum_as_v2 promote_secondaries`,
		`no_accept strict_mode native_ipv6 lower_prio_no_advert higher_prio_send_advert
		owner_ignore_adverts dont_track_primary vrf virtual_routes{ virtual_rules{ unicast_peer{
		unicast_src_ip track_src_ip unicast_fault_no_peer mcast_dst_ip use_vmac use_vmac_addr
		vmac_xmit_base use_ipvlan auth_hmac{ notify notify_master notify_backup notify_fault
		notify_stop notify_deleted notify_master_rx_lower_pri track_interface{ track_script{
		track_file{ track_process{ track_bfd{`),

	inAuth: table(`auth_type auth_pass`, ``, ``),
}

// scheduling and connecting are the keywords that checks have in common: all that are
// probed on a schedule, and those of them that connect to a real server.
const (
	scheduling = `retry nb_get_retry delay_before_retry delay_loop warmup alpha`
	connecting = scheduling + ` connect_ip connect_port bindto bind_if bind_port connect_timeout fwmark`
)

// scripts are the keywords whose value is a command: their quotes are those of a
// shell.
var scripts = words(`notify notify_master notify_backup notify_fault notify_stop notify_deleted
	notify_master_rx_lower_pri notify_up notify_down quorum_up quorum_down misc_path script
	startup_script shutdown_script lvs_notify_fifo_script notify_fifo_script
	vrrp_notify_fifo_script regex`)

// rootOnly are the blocks that stand at the top level and nowhere else: where one
// begins, a block that is still open has lost its brace.
var rootOnly = words(`global_defs virtual_server virtual_server_group vrrp_instance vrrp_sync_group
	vrrp_script vrrp_track_process bfd_instance static_ipaddress static_routes static_rules`)

func words(s string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(s) {
		out[w] = true
	}
	return out
}

func table(has, ignores, lacks string) map[string]keyword {
	out := map[string]keyword{}
	for i, list := range []string{has, ignores, lacks} {
		for _, w := range strings.Fields(list) {
			name, block := strings.CutSuffix(w, "{")
			out[name] = keyword{status: status(i), block: block}
		}
	}
	return out
}

// names gives the keywords of a context in order.
func (c context) names() []string { return slices.Sorted(maps.Keys(keywords[c])) }

// homes are the contexts that home looks into: those of keywords that tell where they
// belong.
var homes = []context{
	atRoot, inGlobalDefs, inVirtualServer, inRealServer, inTCPCheck, inHTTPGet, inURL, inSMTPCheck,
	inUDPCheck, inMiscCheck, inTrackFile, inBFDInstance, inSyncGroup, inInstance, inAuth,
}

// home gives the context, other than c, that a keyword belongs in.
func home(word string, c context) (context, bool) {
	for _, other := range homes {
		if _, ok := keywords[other][word]; ok && other != c {
			return other, true
		}
	}
	return "", false
}

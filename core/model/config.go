package model

import (
	"net/netip"
	"time"
)

// Config is a whole configuration, defaults filled in. Two configurations that mean
// the same are deeply equal, whatever files they were read from.
type Config struct {
	// RouterID names the director to people (keepalived: router_id). Default: the
	// host's name, left empty here.
	RouterID string
	// Forwarder is the kind of the forwarder that carries the virtual servers: "ipvs"
	// or "null".
	Forwarder string
	// Forwarders are the appliances beside it, sorted by type and name.
	Forwarders []ForwarderInstance
	// GraceTime is how long a failover plugin goes on without the daemon.
	GraceTime time.Duration
	// MetricsAddress is where Prometheus metrics are served; the zero value: nowhere.
	MetricsAddress netip.AddrPort
	// ReconcileInterval is how often the forwarder compares its table with the kernel.
	ReconcileInterval time.Duration
	// Restart says when a plugin that died is started again.
	Restart Restart
	// Plugins are settings of plugin processes that differ from the built-in ones,
	// sorted by name.
	Plugins []Plugin
	// VirtualServers in the order of the configuration; keys are unique.
	VirtualServers []VirtualServer
	// FailoverGroups in the order of the configuration; names are unique.
	FailoverGroups []FailoverGroup
	// ConnectionSync is the kernel's sync daemon; nil: none.
	ConnectionSync *ConnectionSync
}

// ForwarderInstance is an appliance, or a pair of them, that carries virtual servers.
type ForwarderInstance struct {
	// Type of the forwarder: "f5". Name is the operator's: "lab".
	Type, Name string
	// Group is the failover group that has to be master here for anything to be written,
	// so that one director of two writes; empty: always.
	Group string
	// Parameters of the type as canonical JSON.
	Parameters string
}

// ID is what a virtual server calls it: "f5:lab".
func (f ForwarderInstance) ID() string { return f.Type + ":" + f.Name }

// Process is the name of its plugin process: "f5-lab".
func (f ForwarderInstance) Process() string { return f.Type + "-" + f.Name }

// Defaults of the settings that are poise's own.
const (
	DefaultForwarder         = "ipvs"
	DefaultGraceTime         = 3 * time.Second
	DefaultReconcileInterval = 5 * time.Second
	DefaultRestartMin        = 200 * time.Millisecond
	DefaultRestartMax        = 30 * time.Second
	// MaxRestartWithFailover bounds the back-off while a failover group is configured.
	MaxRestartWithFailover = time.Second
)

// Restart is the back-off between starts of a plugin. The first restart is at once,
// the second after Min, then twice as long each time up to Max.
type Restart struct {
	Min time.Duration
	Max time.Duration
}

// Plugin is what a configuration says of one plugin process.
type Plugin struct {
	// Name of the process: "checkers", "ipvs", "vrrp", or one of the operator's own.
	Name string
	// Path of the executable; empty: poise-plugin beside poised.
	Path string
	// Args of the executable.
	Args []string
	// SHA256 of the executable in lower-case hex; empty: not pinned.
	SHA256 string
	// User it runs as; empty: the default of the plugin.
	User string
	// Capabilities it keeps, without CAP_: "NET_ADMIN"; nil: the default of the plugin.
	Capabilities []string
	// Parameters as canonical JSON; empty: none.
	Parameters string
	// PlainText: no TLS on the plugin's socket, for one that cannot do go-plugin's
	// AutoMTLS. The directory of the socket is the plugin's and the daemon's alone.
	PlainText bool
}

// ConnectionSync is the kernel's IPVS sync daemon, following a group's role
// (keepalived: lvs_sync_daemon, lvs_sync_daemon_interface).
type ConnectionSync struct {
	// Group is the failover group whose role it follows.
	Group string
	// Interface it speaks on.
	Interface string
	// ID tells which sync daemons belong together, 0..255.
	ID uint8
	// MaxLength of a sync message in bytes; 0: the kernel's choice.
	MaxLength uint16
	// Port is its UDP port; 0: 8848.
	Port uint16
	// TTL of its multicasts; 0: 1.
	TTL uint8
	// Multicast is its group; invalid: 224.0.0.81.
	Multicast netip.Addr
}

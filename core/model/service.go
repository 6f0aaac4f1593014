package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Protocol is the transport protocol of a virtual server.
type Protocol uint8

// Protocols. NoProtocol is a firewall mark's.
const (
	NoProtocol Protocol = iota
	TCP
	UDP
	SCTP
)

// String gives "TCP", "UDP", "SCTP", and "FWM" for a firewall mark.
func (p Protocol) String() string {
	return [...]string{"FWM", "TCP", "UDP", "SCTP"}[p]
}

// ServiceKey identifies a virtual server: address, port and protocol, or a firewall
// mark and its family. It is comparable.
type ServiceKey struct {
	// Addr is the virtual IP; invalid for a firewall mark.
	Addr netip.Addr
	Port uint16
	// Protocol is NoProtocol for a firewall mark.
	Protocol Protocol
	// FWMark is 0 for an address.
	FWMark uint32
	// IPv6 tells the family.
	IPv6 bool
}

// String gives "TCP 192.0.2.100:80", "FWM 3" or "FWM 3 inet6".
func (k ServiceKey) String() string {
	if k.FWMark == 0 {
		return fmt.Sprintf("%s %s", k.Protocol, netip.AddrPortFrom(k.Addr, k.Port))
	}
	if k.IPv6 {
		return fmt.Sprintf("FWM %d inet6", k.FWMark)
	}
	return fmt.Sprintf("FWM %d", k.FWMark)
}

// Method is a forwarding method.
type Method uint8

// Forwarding methods.
const (
	NAT Method = iota
	DR
	TUN
)

// String gives the word of the configuration: "NAT", "DR", "TUN".
func (m Method) String() string { return [...]string{"NAT", "DR", "TUN"}[m] }

// Tunnel is the encapsulation of the forwarding method TUN.
type Tunnel struct {
	// Type is "" (IP-in-IP), "gue" or "gre".
	Type string
	// Port is the UDP port of GUE.
	Port uint16
	// Checksum is "" (none), "csum" or "remcsum".
	Checksum string
}

// Forwarding is how packets reach a real server.
type Forwarding struct {
	Method Method
	Tunnel Tunnel
}

// Schedulers are the names of the kernel's schedulers that poise knows.
var Schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "mh", "fo", "ovf"}

// Persistence keeps a client with its real server.
type Persistence struct {
	// Timeout is whole seconds; 0: no persistence.
	Timeout time.Duration
	// Prefix is how many bits of the client's address count; 0: all.
	Prefix uint8
	// Engine is the kernel's persistence engine ("sip"); empty: none.
	Engine string
}

// VirtualServer is one configured service.
type VirtualServer struct {
	Key       ServiceKey
	Scheduler string
	// SchedulerFlags are "flag-1".."flag-3", sorted.
	SchedulerFlags []string
	// Forwarding of the sorry server and default of the real servers.
	Forwarding  Forwarding
	Persistence Persistence
	OnePacket   bool
	// Quorum is the weight that must be up; at least 1 (keepalived: quorum).
	Quorum uint32
	// Hysteresis is less than Quorum (keepalived: hysteresis).
	Hysteresis uint32
	// Sorry is put in when the quorum is lost; nil: none.
	Sorry *SorryServer
	// RealServers in the order of the configuration; address and port are unique.
	RealServers []RealServer
	// Carriers are the forwarders that carry it, sorted; empty: Config.Forwarder alone.
	Carriers []Carrier
}

// Carrier is a forwarder that carries a virtual server. It is comparable.
type Carrier struct {
	// Forwarder is "ipvs" or "null", or an instance's ID: "f5:lab".
	Forwarder string
	// Addr is the virtual server's address there; invalid: that of its key.
	Addr netip.Addr
	// Parameters of the virtual server for this forwarder, as canonical JSON; empty: none.
	Parameters string
}

// OnAppliance says that it is an instance of the configuration, not the director's own
// forwarder.
func (c Carrier) OnAppliance() bool { return strings.Contains(c.Forwarder, ":") }

// OnDirector says that the director's own forwarder carries it.
func (v *VirtualServer) OnDirector() bool {
	return len(v.Carriers) == 0 || slices.ContainsFunc(v.Carriers, func(c Carrier) bool { return !c.OnAppliance() })
}

// SorryServer serves while a virtual server has no quorum. It is never checked.
type SorryServer struct {
	Addr       netip.AddrPort
	Forwarding Forwarding
	// Inhibit keeps it in the table with weight 0 while it is not needed.
	Inhibit bool
}

// RealServer is one configured real server of a virtual server.
type RealServer struct {
	Addr       netip.AddrPort
	Weight     uint32
	Forwarding Forwarding
	// UpperThreshold and LowerThreshold are the kernel's connection limits; 0: off.
	UpperThreshold uint32
	LowerThreshold uint32
	// InhibitOnFailure sets the weight to 0 on failure; else it leaves the table.
	InhibitOnFailure bool
	// Alpha keeps it out of the table until its checks have succeeded once.
	Alpha bool
	// Checks must all be up for it to be up; none: it is always up.
	Checks []Check
}

// Check is one configured probe. Equal checks are one check, however many real
// servers have it. It is comparable.
type Check struct {
	// Type is the kind of probe: "tcp".
	Type   string
	Target Target
	// Parameters of the type as canonical JSON (keys sorted); empty: none.
	Parameters string
	Schedule   Schedule
	// OnUnknown says what to make of probes that could not be made, for a reason that is
	// this machine's.
	OnUnknown OnUnknown
}

// OnUnknown is what a check that says unknown counts as.
type OnUnknown uint8

// Policies of OnUnknown. KeepVerdict: what the check said before goes on.
const (
	KeepVerdict OnUnknown = iota
	CountDown
	CountUp
)

// String gives the word of the configuration: "keep", "down", "up".
func (o OnUnknown) String() string { return [...]string{"keep", "down", "up"}[o] }

// Target is what is probed, and from where.
type Target struct {
	Addr netip.AddrPort
	// Source is the local address; invalid: any. Its port 0: any.
	Source netip.AddrPort
	// Interface to probe through; empty: any.
	Interface string
	// FWMark of the probe's packets; 0: none.
	FWMark uint32
}

// Schedule says when a check is probed and when its verdict changes.
type Schedule struct {
	// Interval between starts of probes (keepalived: delay_loop).
	Interval time.Duration
	// Timeout of a probe in all (keepalived: connect_timeout).
	Timeout time.Duration
	// Retries after a failed probe before the verdict is down (keepalived: retry).
	Retries uint32
	// RetryDelay from a failed probe to its retry (keepalived: delay_before_retry).
	RetryDelay time.Duration
	// Warmup is the time that first probes are spread over (keepalived: warmup).
	Warmup time.Duration
}

// String gives "tcp 192.0.2.1:80".
func (c Check) String() string {
	return strings.TrimSpace(c.Type + " " + c.Target.Addr.String())
}

package ltm

import "strings"

// Intent is what session and state of a member are meant to say; what is read is not
// what is written.
type Intent uint8

// Intents. Drained: existing and persistent connections go on (user-disabled, user-up).
// Offline: only existing connections go on (user-disabled, user-down).
const (
	Enabled Intent = iota
	Drained
	Offline
)

func (i Intent) String() string {
	return [...]string{"enabled", "drained", "offline"}[i%3]
}

// session and state as they are written.
func (i Intent) session() string {
	if i == Enabled {
		return "user-enabled"
	}
	return "user-disabled"
}

func (i Intent) state() string {
	if i == Offline {
		return "user-down"
	}
	return "user-up"
}

// intentOf reads session and state, with a monitor or without.
func intentOf(session, state string) Intent {
	switch {
	case state == "user-down":
		return Offline
	case session == "user-disabled":
		return Drained
	}
	return Enabled
}

// Mark is what objects say of who made them.
type Mark struct {
	// Metadata by name.
	Metadata map[string]string
	// Description of the object.
	Description string
}

// Member of a pool.
type Member struct {
	// Path of the member: "/P/10.0.0.1:80". Its last part without the port is the node's
	// name.
	Path string
	// Endpoint is invalid (no IP) for a member that has a name for an address.
	Endpoint        Endpoint
	Ratio           int
	PriorityGroup   int
	ConnectionLimit int
	Intent          Intent
	// Monitor is "default" for the pool's.
	Monitor     string
	Description string
	// FQDN is the name that the device resolves; empty: none.
	FQDN string
	// RateLimit is "disabled" for none.
	RateLimit string
	// Status is what a native monitor says: "up", "down", "unchecked", ...
	Status string
}

// Pool of members.
type Pool struct {
	Path                   string
	LoadBalancingMode      string
	MinActiveMembers       int
	ServiceDownAction      string
	SlowRampTime           int
	ReselectTries          int
	QueueOnConnectionLimit bool
	AllowNAT, AllowSNAT    bool
	// Profiles are tunnels, as full paths.
	Profiles []string
	// Monitor as written, without space around it; empty: none.
	Monitor string
	Mark
	Members []Member
}

// ProfileReference is a profile of a virtual server.
type ProfileReference struct {
	Path string
	// Context is "all", "clientside" or "serverside".
	Context string
	// Kind is what the device says it is: "fastl4"; empty if it does not.
	Kind string
}

// Virtual is a virtual server of the device.
type Virtual struct {
	Path string
	// Destination is invalid (no IP) where the device names something else.
	Destination Endpoint
	// DestinationText is the destination as read.
	DestinationText            string
	Mask, Source               string
	Protocol                   string
	Pool                       string
	Profiles                   []ProfileReference
	Persist                    []string
	FallbackPersistence        string
	SNATType, SNATPool         string
	TranslateAddress           bool
	TranslatePort              bool
	SourcePort                 string
	ConnectionLimit            int
	Mirror                     bool
	Stateless                  bool
	ServiceDownImmediateAction string
	Enabled                    bool
	// VLANs it listens on, if VLANsEnabled, or all but those.
	VLANs        []string
	VLANsEnabled bool
	// Rules, Policies and Other are what only an import looks at. Other are properties
	// that have no place here: "ipForward".
	Rules, Policies, Other []string
	RateLimit              string
	Mark
}

// VirtualAddress is the address of virtual servers.
type VirtualAddress struct {
	Path    string
	Address Address
	Mask    string
	ARP     bool
	// ICMPEcho and RouteAdvertisement have more words than two.
	ICMPEcho           string
	RouteAdvertisement string
	// AutoDelete: it goes with the last virtual server on it.
	AutoDelete bool
	Enabled    bool
	Mark
}

// Persistence is a source-addr profile.
type Persistence struct {
	Path string
	// Timeout in seconds, or "indefinite".
	Timeout string
	// Mask is "none" for the whole address.
	Mask                    string
	HashAlgorithm           string
	MatchAcrossServices     bool
	MatchAcrossVirtuals     bool
	MatchAcrossPools        bool
	Mirror                  bool
	OverrideConnectionLimit bool
	Mark
}

// FastL4 is a profile of layer 4 virtual servers.
type FastL4 struct {
	Path                string
	IdleTimeout         string
	TCPCloseTimeout     string
	LooseClose          bool
	LooseInitialization bool
	PVAAcceleration     string
	ResetOnTimeout      bool
	Mark
}

// UDP is a profile of UDP virtual servers.
type UDP struct {
	Path                  string
	IdleTimeout           string
	DatagramLoadBalancing bool
	Mark
}

// Node is the address behind members.
type Node struct {
	Path    string
	Address Address
	// FQDN is the name that the device resolves; empty: none.
	FQDN string
	Mark
}

// nodePath is the path of a member's node.
func (m Member) nodePath() string {
	at := strings.LastIndexByte(m.Path, '/')
	host, _, ok := splitPort(m.Path[at+1:])
	if !ok {
		return m.Path
	}
	return m.Path[:at+1] + host
}

package schema

// states are what members and nodes have in common. Session and state are not shown as
// they are written: see package state.
var states = []Field{
	numberIn("connectionLimit", 0, 0, 1<<31-1),
	text("description"),
	numberIn("dynamicRatio", 1, 1, 65535),
	device(choice("ephemeral", "false", "true")),
	disabled("logging"),
	{Name: "monitor", Type: Monitor, Default: "default", To: []string{"ltm/monitor/"}},
	digits("rateLimit", "disabled", "disabled"),
	numberIn("ratio", 1, 1, 65535),
	choice("session", "user-enabled", "user-disabled"),
	choice("state", "user-up", "user-down"),
	{Name: "address", Type: Special, Fixed: true},
	metadata(),
}

var toS = []string{"pass-through", "mimic"}

// LoadBalancingModes are the ways a pool chooses a member.
var LoadBalancingModes = []string{
	"round-robin", "ratio-member", "ratio-node", "least-connections-member", "least-connections-node",
	"ratio-least-connections-member", "ratio-least-connections-node",
	"weighted-least-connections-member", "weighted-least-connections-node",
	"dynamic-ratio-member", "dynamic-ratio-node", "fastest-app-response", "fastest-node",
	"least-sessions", "observed-member", "observed-node", "predictive-member", "predictive-node", "ratio-session",
}

var tunnelProfiles = Field{Name: "profiles", Type: RefObjects, To: []string{"net/tunnels/gre", "net/tunnels/ipip"}}

var ltm = []*Kind{
	{
		Path: "ltm/node", Title: "Node",
		Fields: fields(states, []Field{
			{Name: "fqdn", Type: Group, Fields: []Field{
				choice("addressFamily", "ipv4", "ipv6", "all"), disabled("autopopulate"),
				number("downInterval", 5), digits("interval", "3600", "ttl"), text("tmName"),
			}},
		}),
	},
	{
		Path: "ltm/pool", Title: "Pool", Children: []string{"members"},
		Fields: []Field{
			yes("allowNat"), yes("allowSnat"), text("description"), disabled("ignorePersistedWeight"),
			digits("ipTosToClient", "pass-through", toS...), digits("ipTosToServer", "pass-through", toS...),
			digits("linkQosToClient", "pass-through", toS...), digits("linkQosToServer", "pass-through", toS...),
			choice("loadBalancingMode", LoadBalancingModes...),
			numberIn("minActiveMembers", 0, 0, 65535), numberIn("minUpMembers", 0, 0, 65535),
			choice("minUpMembersAction", "failover", "reboot", "restart-all"), disabled("minUpMembersChecking"),
			{Name: "monitor", Type: Monitor, To: []string{"ltm/monitor/"}},
			number("queueDepthLimit", 0), disabled("queueOnConnectionLimit"), number("queueTimeLimit", 0),
			numberIn("reselectTries", 0, 0, 65535),
			choice("serviceDownAction", "none", "reset", "drop", "reselect"),
			numberIn("slowRampTime", 10, 0, 1<<31-1),
			tunnelProfiles, metadata(),
			{Name: "members", Type: Special, Hidden: true},
		},
	},
	{
		Path: "ltm/pool/members", Title: "Pool Member", Owner: "ltm/pool",
		Fields: fields(states, []Field{
			{Name: "fqdn", Type: Group, Fields: []Field{disabled("autopopulate"), text("tmName")}},
			enabled("inheritProfile"), numberIn("priorityGroup", 0, 0, 65535), tunnelProfiles,
		}),
	},
	{
		Path: "ltm/virtual", Title: "Virtual Server", Children: []string{"policies", "profiles"},
		Fields: []Field{
			device(yes("addressStatus")), choice("autoLasthop", "default", "auto", "enabled", "disabled"), yes("cmpEnabled"),
			{Name: "clonePools", Type: RefObjects, To: []string{"ltm/pool"}, Fields: []Field{choice("context", "clientside", "serverside")}},
			numberIn("connectionLimit", 0, 0, 1<<31-1), text("description"),
			device(text("creationTime")), device(text("lastModifiedTime")),
			{Name: "destination", Type: Special},
			or(flag("enabled", "disabled"), true), flag("disabled", "enabled"),
			disabled("evictionProtected"), ref("fallbackPersistence", "ltm/persistence/"), device(number("gtmScore", 0)),
			{Name: "ipProtocol", Type: Special, Default: "any"},
			flag("ipForward", ""), flag("l2Forward", ""), flag("reject", ""), flag("internal", ""), flag("stateless", ""), flag("dhcpRelay", ""),
			{Name: "mask", Type: Special}, metadata(), disabled("mirror"), disabled("mobileAppTunnel"), disabled("nat64"),
			{Name: "persist", Type: RefObjects, To: []string{"ltm/persistence/"}, Fields: []Field{choice("tmDefault", "yes", "no")}},
			{Name: "policies", Type: RefObjects, Hidden: true, To: []string{"ltm/policy"}},
			ref("pool", "ltm/pool"),
			{Name: "profiles", Type: RefObjects, Hidden: true, To: []string{"ltm/profile/"},
				Fields: []Field{choice("context", "all", "clientside", "serverside")}},
			digits("rateLimit", "disabled", "disabled"), number("rateLimitDstMask", 0),
			choice("rateLimitMode", "object", "object-source", "object-destination", "object-source-destination", "source", "destination", "source-destination"),
			number("rateLimitSrcMask", 0), refs("rules", "ltm/rule"), disabled("serversslUseSni"),
			choice("serviceDownImmediateAction", "none", "reset", "drop"),
			{Name: "source", Type: Special},
			{Name: "sourceAddressTranslation", Type: Group, Fields: []Field{choice("type", "none", "automap", "snat"), ref("pool", "ltm/snatpool")}},
			choice("sourcePort", "preserve", "preserve-strict", "change"), device(textOr("synCookieStatus", "not-activated")),
			enabled("translateAddress"), enabled("translatePort"),
			refs("vlans", "net/vlan"), or(flag("vlansDisabled", "vlansEnabled"), true), flag("vlansEnabled", "vlansDisabled"),
			device(number("vsIndex", 0)),
		},
	},
	{
		Path: "ltm/virtual-address", Title: "Virtual Address",
		Fields: []Field{
			{Name: "address", Type: Special, Fixed: true}, enabled("arp"), choice("autoDelete", "true", "false"),
			numberIn("connectionLimit", 0, 0, 1<<31-1), text("description"), yes("enabled"), device(enabled("floating")),
			choice("icmpEcho", "enabled", "disabled", "selective", "any", "all", "always"),
			choice("inheritedTrafficGroup", "false", "true"), {Name: "mask", Type: Special, Fixed: true},
			choice("routeAdvertisement", "disabled", "enabled", "selective", "any", "all", "always"),
			choice("serverScope", "any", "all", "none"), disabled("spanning"),
			or(ref("trafficGroup", "cm/traffic-group"), "/Common/traffic-group-1"), device(number("unit", 1)), metadata(),
		},
	},
	{
		Path: "ltm/snatpool", Title: "Snatpool",
		Fields: []Field{text("description"), refs("members", "ltm/snat-translation")},
	},
	{
		Path: "ltm/snat-translation", Title: "Snat Translation",
		Fields: []Field{
			{Name: "address", Type: Special, Fixed: true}, enabled("arp"), number("connectionLimit", 0), text("description"),
			or(flag("enabled", "disabled"), true), flag("disabled", "enabled"),
			choice("inheritedTrafficGroup", "false", "true"), digits("ipIdleTimeout", "indefinite", "indefinite"),
			digits("tcpIdleTimeout", "indefinite", "indefinite"),
			or(ref("trafficGroup", "cm/traffic-group"), "/Common/traffic-group-1"),
			digits("udpIdleTimeout", "indefinite", "indefinite"), device(number("unit", 1)),
		},
	},
	{
		Path: "ltm/data-group/internal", Title: "value list",
		Fields: []Field{
			text("description"), fixed(Field{Name: "type", Type: Choice, Words: []string{"ip", "string", "integer"}}),
			{Name: "records", Type: Items, Fields: []Field{text("name"), textOr("data", "")}},
		},
	},
	{Path: "ltm/policy", Title: "Policy", ReadOnly: true, Fields: []Field{text("description")}},
	{Path: "ltm/rule", Title: "Rule", ReadOnly: true, Fields: []Field{text("apiAnonymous")}},
}

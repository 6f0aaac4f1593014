package schema

var system = []*Kind{
	{
		Path: "auth/partition", Title: "partition", Bare: true,
		Fields:   []Field{numberIn("defaultRouteDomain", 0, 0, 65534), text("description")},
		Builtins: []Builtin{{Name: "Common"}},
	},
	{
		Path: "sys/folder", Title: "folder",
		Fields: []Field{
			text("description"), textOr("deviceGroup", "none"), choice("hidden", "false", "true"),
			choice("inheritedDevicegroup", "true", "false"), choice("inheritedTrafficGroup", "true", "false"),
			choice("noRefCheck", "false", "true"), or(ref("trafficGroup", "cm/traffic-group"), "/Common/traffic-group-1"),
		},
	},
	{
		Path: "net/route-domain", Title: "route domain",
		Fields: []Field{
			number("connectionLimit", 0), text("description"), fixed(Field{Name: "id", Type: Number, Max: 65534}),
			enabled("strict"), number("throughputCapacity", 0), refs("vlans", "net/vlan", "net/tunnels/tunnel"),
		},
		Builtins: []Builtin{{Name: "0", Values: map[string]any{"id": 0, "vlans": []any{
			"/Common/external", "/Common/internal", "/Common/http-tunnel", "/Common/socks-tunnel"}}}},
	},
	{
		Path: "net/vlan", Title: "VLAN", ReadOnly: true, Fields: []Field{text("description"), number("tag", 0)},
		Builtins: []Builtin{{Name: "external", Values: map[string]any{"tag": 4094}}, {Name: "internal", Values: map[string]any{"tag": 4093}}},
	},
	listed("net/tunnels/tunnel", "", "http-tunnel", "socks-tunnel"),
	listed("net/tunnels/gre", "tunnel profile", "gre"),
	listed("net/tunnels/ipip", "tunnel profile", "ipip"),
	{
		Path: "cm/traffic-group", Title: "traffic group", ReadOnly: true,
		Fields: []Field{
			choice("autoFailbackEnabled", "false", "true"), number("autoFailbackTime", 60), choice("failoverMethod", "ha-order"),
			number("haLoadFactor", 1), choice("isFloating", "true", "false"), textOr("mac", "none"),
			{Name: "monitor", Type: Group}, number("unitId", 1),
		},
		Builtins: []Builtin{{Name: "traffic-group-1"}, {Name: "traffic-group-local-only", Values: map[string]any{"isFloating": "false", "unitId": 0}}},
	},
	{
		Path: "cm/device-group", Title: "device group", Children: []string{"devices"},
		Fields: []Field{
			disabled("asmSync"), disabled("autoSync"), choice("fullLoadOnSync", "false", "true"), number("incrementalConfigSyncSizeMax", 1024),
			enabled("networkFailover"), choice("saveOnAutoSync", "false", "true"), fixed(choice("type", "sync-failover", "sync-only")), text("description"),
		},
		Builtins: []Builtin{{Name: "device_trust_group", Values: map[string]any{"autoSync": "enabled", "networkFailover": "disabled", "type": "sync-only"}}},
	},
}

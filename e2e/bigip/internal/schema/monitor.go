package schema

// adaptive and timing are what most monitors have.
var adaptive = []Field{
	disabled("adaptive"), choice("adaptiveDivergenceType", "relative", "absolute"), number("adaptiveDivergenceValue", 25),
	number("adaptiveLimit", 200), number("adaptiveSamplingTimespan", 300),
}

func timing(interval, timeout int) []Field {
	return []Field{
		text("description"), number("interval", interval), disabled("manualResume"),
		number("timeUntilUp", 0), number("timeout", timeout), number("upInterval", 0),
		{Name: "destination", Type: Special, Default: "*:*"},
	}
}

var exchange = []Field{
	number("ipDscp", 0), text("recv"), text("recvDisable"), disabled("reverse"), text("send"), disabled("transparent"),
}

func monitor(path, base string, lists ...[]Field) *Kind {
	return &Kind{
		Path: "ltm/monitor/" + path, Title: "monitor rule", Class: "monitor", Inherits: true,
		Fields: fields(append(lists, []Field{
			fixed(or(ref("defaultsFrom", "ltm/monitor/"+path), "/Common/"+base)),
		})...),
		Builtins: []Builtin{{Name: base, Values: map[string]any{"defaultsFrom": "none"}}},
	}
}

var web = []Field{text("username"), text("password"), textOr("send", `GET /\r\n`)}

var monitors = []*Kind{
	monitor("tcp", "tcp", adaptive, timing(5, 16), exchange),
	monitor("http", "http", adaptive, timing(5, 16), exchange, web),
	monitor("https", "https", adaptive, timing(5, 16), exchange, web, []Field{
		text("cert"), text("cipherlist"), enabled("compatibility"), text("key"), text("sslProfile"),
	}),
	monitor("udp", "udp", adaptive, timing(5, 16), exchange, []Field{
		no("debug"), textOr("send", "default send string"), {Name: "ipDscp", Type: Number},
	}),
	monitor("gateway-icmp", "gateway_icmp", adaptive, timing(5, 16), []Field{disabled("transparent")}),
	monitor("icmp", "icmp", adaptive, timing(5, 16), []Field{disabled("transparent")}),
	monitor("tcp-half-open", "tcp_half_open", timing(5, 16), []Field{disabled("transparent")}),
	monitor("external", "external", timing(5, 16), []Field{text("args"), text("run"), {Name: "userDefined", Type: Special, Hidden: true}}),
	{
		Path: "ltm/monitor/inband", Title: "monitor rule", Class: "monitor", ReadOnly: true,
		Fields: []Field{text("defaultsFrom")}, Builtins: []Builtin{{Name: "inband", Values: map[string]any{"defaultsFrom": "none"}}},
	},
}

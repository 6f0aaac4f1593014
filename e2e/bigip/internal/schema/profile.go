package schema

func profile(path, base string, own []Field) *Kind {
	return &Kind{
		Path: "ltm/profile/" + path, Title: "profile", Class: "profile", Inherits: true,
		Fields: fields([]Field{
			textOr("appService", "none"), textOr("description", "none"),
			or(ref("defaultsFrom", "ltm/profile/"+path), "/Common/"+base),
		}, own),
		Builtins: []Builtin{{Name: base, Values: map[string]any{"defaultsFrom": "none"}}},
	}
}

// listed is a kind of which clients read the names only.
func listed(path, class string, names ...string) *Kind {
	k := &Kind{Path: path, Title: "profile", Class: class, ReadOnly: true, Fields: []Field{text("defaultsFrom")}}
	for _, name := range names {
		k.Builtins = append(k.Builtins, Builtin{Name: name, Values: map[string]any{"defaultsFrom": "none"}})
	}
	return k
}

var indefinite = []string{"indefinite", "immediate"}

var profiles = []*Kind{
	profile("fastl4", "fastL4", []Field{
		number("clientTimeout", 30), disabled("explicitFlowMigration"), disabled("hardwareSynCookie"),
		digits("idleTimeout", "300", indefinite...), choice("ipDfMode", "preserve", "pmtu", "set", "clear"),
		digits("ipTosToClient", "pass-through", toS...), digits("ipTosToServer", "pass-through", toS...),
		choice("ipTtlMode", "decrement", "preserve", "proxy", "set"), numberIn("ipTtlV4", 255, 1, 255), numberIn("ipTtlV6", 64, 1, 255),
		digits("keepAliveInterval", "disabled", "disabled"), disabled("lateBinding"),
		digits("linkQosToClient", "pass-through", "pass-through"), digits("linkQosToServer", "pass-through", "pass-through"),
		disabled("looseClose"), disabled("looseInitialization"), number("mssOverride", 0),
		digits("priorityToClient", "pass-through", "pass-through"), digits("priorityToServer", "pass-through", "pass-through"),
		choice("pvaAcceleration", "full", "partial", "none", "dedicated"), number("pvaDynamicClientPackets", 1), number("pvaDynamicServerPackets", 0),
		enabled("pvaFlowAging"), enabled("pvaFlowEvict"), enabled("pvaOffloadDynamic"), choice("pvaOffloadState", "embryonic", "establish"),
		disabled("reassembleFragments"), number("receiveWindowSize", 0), enabled("resetOnTimeout"),
		disabled("rttFromClient"), disabled("rttFromServer"), disabled("serverSack"), disabled("serverTimestamp"), disabled("softwareSynCookie"),
		enabled("synCookieEnable"), number("synCookieMss", 0), disabled("synCookieWhitelist"),
		digits("tcpCloseTimeout", "5", indefinite...), disabled("tcpGenerateIsn"), digits("tcpHandshakeTimeout", "5", append([]string{"disabled"}, indefinite...)...),
		disabled("tcpStripSack"), number("tcpTimeWaitTimeout", 0), choice("tcpTimestampMode", "preserve", "rewrite", "strip"),
		choice("tcpWscaleMode", "preserve", "rewrite", "strip"), choice("timeoutRecovery", "disconnect", "fallback"),
	}),
	profile("tcp", "tcp", []Field{
		disabled("abc"), disabled("ackOnPush"), enabled("delayedAcks"), disabled("earlyRetransmit"),
		Field{Name: "idleTimeout", Type: Number, Default: 300, Words: []string{"indefinite"}}, number("initCwnd", 3), number("initRwnd", 3),
		digits("ipTosToClient", "0", toS...), number("keepAliveInterval", 1800), choice("nagle", "disabled", "enabled", "auto"),
		disabled("proxyOptions"), enabled("resetOnTimeout"), number("synRtoBase", 3000), enabled("timeWaitRecycle"),
		Field{Name: "timeWaitTimeout", Type: Number, Default: 2000, Words: []string{"disabled", "indefinite", "immediate"}},
	}),
	profile("udp", "udp", []Field{
		disabled("allowNoPayload"), disabled("datagramLoadBalancing"), digits("idleTimeout", "60", indefinite...),
		digits("ipTosToClient", "0", toS...), digits("linkQosToClient", "0", "pass-through"), disabled("noChecksum"), number("proxyMss", 0),
	}),
	profile("http", "http", []Field{textOr("fallbackHost", "none"), disabled("insertXforwardedFor"), choice("proxyType", "reverse", "explicit", "transparent")}),
	profile("one-connect", "oneconnect", []Field{number("idleTimeoutOverride", 0), number("maxAge", 86400), number("maxReuse", 1000), number("maxSize", 10000), textOr("sourceMask", "any")}),
	listed("ltm/profile/fasthttp", "profile", "fasthttp"),
	listed("ltm/profile/sctp", "profile", "sctp"),
	listed("ltm/profile/ipother", "profile", "ipother"),
	listed("ltm/profile/client-ssl", "profile", "clientssl"),
	listed("ltm/profile/server-ssl", "profile", "serverssl"),
	listed("ltm/profile/sip", "profile", "sip"),
	listed("ltm/profile/diameter", "profile", "diameter"),
	listed("ltm/profile/dhcpv4", "profile", "dhcpv4"),
	listed("ltm/profile/dhcpv6", "profile", "dhcpv6"),
	listed("ltm/message-routing/sip/profile/session", "sipsession", "sipsession", "sipsession-alg"),
}

func persist(path, base string, own []Field) *Kind {
	return &Kind{
		Path: "ltm/persistence/" + path, Title: "persistence profile", Class: "persistence", Inherits: true,
		Fields: fields([]Field{
			textOr("appService", "none"), textOr("description", "none"),
			or(ref("defaultsFrom", "ltm/persistence/"+path), "/Common/"+base),
			disabled("matchAcrossPools"), disabled("matchAcrossServices"), disabled("matchAcrossVirtuals"),
			disabled("mirror"), disabled("overrideConnectionLimit"), digits("timeout", "180", "indefinite"),
		}, own),
		Builtins: []Builtin{{Name: base, Values: map[string]any{"defaultsFrom": "none"}}},
	}
}

var address = []Field{
	choice("hashAlgorithm", "default", "carp"), {Name: "mask", Type: Special, Default: "none"},
}

var persistence = []*Kind{
	persist("source-addr", "source_addr", append([]Field{
		enabled("mapProxies"), textOr("mapProxyAddress", "none"), textOr("mapProxyClass", "none"),
	}, address...)),
	persist("dest-addr", "dest_addr", address),
	persist("cookie", "cookie", []Field{
		enabled("alwaysSend"), textOr("cookieName", "none"), enabled("cookieEncryption"), textOr("expiration", "0"),
		choice("method", "insert", "rewrite", "passive", "hash"),
	}),
	persist("hash", "hash", []Field{choice("hashAlgorithm", "default", "carp")}),
	persist("ssl", "ssl", []Field{digits("timeout", "300", "indefinite")}),
	persist("sip", "sip_info", nil),
	persist("msrdp", "msrdp", []Field{digits("timeout", "300", "indefinite")}),
	persist("universal", "universal", []Field{textOr("rule", "none")}),
}

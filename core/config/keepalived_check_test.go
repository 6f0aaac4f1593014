package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// checkDefaults are what keepalived 2.2.7 printed of checks without any settings, in a
// virtual server with delay_loop 7 and a real server without any of its own
// (keepalived -n -l -d -D): Delay loop, Timeout, Retries, Delay before retry, Warmup. Its
// default of misc_timeout, 0, was seen to be the delay_loop of the virtual server, not
// that of the check.
var checkDefaults = map[string]model.Schedule{
	"TCP_CHECK":  {Timeout: 5 * time.Second, Retries: 1, RetryDelay: time.Second},
	"HTTP_GET":   {Timeout: 5 * time.Second, Retries: 1, RetryDelay: 3 * time.Second},
	"SSL_GET":    {Timeout: 5 * time.Second, Retries: 1, RetryDelay: 3 * time.Second},
	"SMTP_CHECK": {Timeout: 5 * time.Second, Retries: 1, RetryDelay: time.Second},
	"DNS_CHECK":  {Timeout: 5 * time.Second, Retries: 3, RetryDelay: 7 * time.Second},
	"UDP_CHECK":  {Timeout: 5 * time.Second, Retries: 1, RetryDelay: time.Second},
	"PING_CHECK": {Timeout: 5 * time.Second, Retries: 1, RetryDelay: time.Second},
	"MISC_CHECK": {Timeout: 7 * time.Second, Retries: 0, RetryDelay: time.Second},
}

func TestCheckDefaults(t *testing.T) {
	for block, want := range checkDefaults {
		want.Interval, want.Warmup = 7*time.Second, 7*time.Second
		body := map[string]string{"HTTP_GET": "url {\npath /\n}", "SSL_GET": "url {\npath /\n}", "MISC_CHECK": "misc_path /bin/true"}[block]
		r := loadText(t, "a.conf", vs("delay_loop 7", block+" {\n"+body+"\n}"), Options{Known: builtinType})
		if r.HasErrors() {
			t.Errorf("%s: %v", block, r.Problems)
			continue
		}
		if got := r.Config.VirtualServers[0].RealServers[0].Checks[0].Schedule; got != want {
			t.Errorf("%s: %+v, want %+v", block, got, want)
		}
	}
	if len(checkDefaults)+2 != len(checkKinds) { // FILE_CHECK and BFD_CHECK have no schedule.
		t.Errorf("%d of %d blocks have their defaults tested", len(checkDefaults), len(checkKinds))
	}
}

// checkKeywords are what keepalived -t of 2.2.7 took in each block without "Unknown
// keyword"; everything else of the lists was tried and not taken.
var checkKeywords = map[context]string{
	inTCPCheck:  common227,
	inHTTPGet:   common227 + " nb_get_retry http_protocol virtualhost enable_sni fast_recovery url",
	inSSLGet:    common227 + " nb_get_retry http_protocol virtualhost enable_sni fast_recovery url",
	inURL:       "path virtualhost status_code digest regex regex_no_match regex_options regex_stack regex_min_offset regex_max_offset",
	inSMTPCheck: common227 + " helo_name host",
	inSMTPHost:  common227,
	inDNSCheck:  common227 + " type name",
	inUDPCheck:  common227 + " payload require_reply min_reply_length max_reply_length",
	inPingCheck: common227,
	inMiscCheck: scheduled227 + " misc_path misc_timeout misc_dynamic user",
	inFileCheck: "track_file weight",
	inBFDCheck:  "name alpha",
}

const (
	scheduled227 = "retry delay_before_retry delay_loop warmup alpha log_all_failures"
	common227    = scheduled227 + " connect_ip connect_port bindto bind_if bind_port connect_timeout fwmark"
)

// TestCheckKeywords: a block has the keywords of 2.2.7, those of later releases and old
// spellings, and all that are built are read.
func TestCheckKeywords(t *testing.T) {
	more := words("nb_get_retry sni_name tls_compliant")
	for c, list := range checkKeywords {
		has := words(list)
		for name := range has {
			if _, ok := keywords[c][name]; !ok {
				t.Errorf("%s does not stand %s", name, c)
			}
		}
		for name := range keywords[c] {
			if !has[name] && !more[name] {
				t.Errorf("%s stands %s", name, c)
			}
		}
	}
	for _, kind := range checkKinds {
		for name, k := range keywords[kind.context] {
			if k.block || k.status != built {
				continue
			}
			c := (&keepalived{draft: newDraft(Options{})}).newChecker(kind, place{"a", 1})
			s := &statement{place: place{"a", 1}, words: []string{name, "1"}, next: 1}
			c.keyword(s)
			if s.next == 1 && name != "enable_sni" && name != "misc_dynamic" {
				t.Errorf("%s in %s is not read", name, kind.context)
			}
		}
	}
}

// target of the checks of the real server in vs.
var there = model.Target{Addr: netip.MustParseAddrPort("192.0.2.2:80")}

// TestCheckParameters reads real servers' blocks and compares types, targets and
// parameters of their checks. warned is the number of warnings.
func TestCheckParameters(t *testing.T) {
	type check struct {
		kind, parameters string
		target           model.Target
	}
	const plainSSL = `"enable_sni":false,"http_protocol":"1.0","min_version":"1.0","verify":false`
	at := func(s string) model.Target { return model.Target{Addr: netip.MustParseAddrPort(s)} }
	portless := func(s string) model.Target {
		return model.Target{Addr: netip.AddrPortFrom(netip.MustParseAddr(s), 0)}
	}
	for name, test := range map[string]struct {
		head, server, real string
		warned             int
		want               []check
	}{
		"HTTP_GET": {"", "", "HTTP_GET {\nurl {\npath /\n}\n}", 0,
			[]check{{"http", `{"http_protocol":"1.0"}`, there}}},
		"HTTP_GET, all": {"", "virtualhost vs.example", `HTTP_GET {
				http_protocol 1.0c
				fast_recovery
				connect_port 81
				url {
					path /a?b=c&d
					status_code 404 200-204 205
					status_code 500
					digest 9B3A0C85a887a256d6939da88aabd8cd
				}
				url {
					path /b
					virtualhost u.example
					regex "a\\d+ [bc]{2}"
					regex_no_match
					regex_options caseless multiline
					regex_min_offset 3
					regex_max_offset 3000
				}
			}`, 0,
			[]check{{"http", `{"fast_recovery":true,"http_protocol":"1.0C","urls":[` +
				`{"digest":"9b3a0c85a887a256d6939da88aabd8cd","path":"/a?b=c\u0026d","status":["200-205","404","500"]},` +
				`{"path":"/b","regex":"a\\d+ [bc]{2}","regex_max_offset":3000,"regex_min_offset":3,"regex_no_match":true,"regex_options":["caseless","multiline"],"virtualhost":"u.example"}` +
				`],"virtualhost":"vs.example"}`, at("192.0.2.2:81")}}},
		"HTTP 1.1 is read as 1.0": {"", "", "HTTP_GET {\nhttp_protocol 1.1\nurl {\npath /\nstatus_code 200-299\n}\n}", 0,
			[]check{{"http", `{"raw_body":true}`, there}}},
		"virtualhost of the real server": {"", "virtualhost vs.example", "virtualhost rs.example\nHTTP_GET {\nurl {\npath /\n}\n}", 0,
			[]check{{"http", `{"http_protocol":"1.0","virtualhost":"rs.example"}`, there}}},
		"virtualhost of the check": {"", "virtualhost vs.example", "virtualhost rs.example\nHTTP_GET {\nvirtualhost c.example\nurl {\npath /\n}\n}", 0,
			[]check{{"http", `{"http_protocol":"1.0","virtualhost":"c.example"}`, there}}},

		"SSL_GET": {"", "", "SSL_GET {\nurl {\npath /\n}\n}\nSSL_GET {\nenable_sni\nvirtualhost c.example\nurl {\npath /\n}\n}", 1,
			[]check{{"ssl", "{" + plainSSL + "}", there},
				{"ssl", `{"http_protocol":"1.0","min_version":"1.0","verify":false,"virtualhost":"c.example"}`, there}}},
		"SSL_GET with a certificate": {"SSL {\nca /etc/ca.pem\ncertificate /etc/c.pem\nkey /etc/k.pem\n}\n", "", "SSL_GET {\nurl {\npath /\n}\n}", 2,
			[]check{{"ssl", `{"certificate":"/etc/c.pem",` + strings.Replace(plainSSL, `"min`, `"key":"/etc/k.pem","min`, 1) + "}", there}}},
		"SSL_GET with a key only": {"SSL {\nkey /etc/k.pem\n}\n", "", "SSL_GET {\nurl {\npath /\n}\n}", 2,
			[]check{{"ssl", "{" + plainSSL + "}", there}}},
		// Names in handshakes are what 2.2.7 sent to a server that printed them.
		"SNI of the virtual server": {"", "virtualhost vs.example", "SSL_GET {\nenable_sni\nurl {\npath /\n}\n}", 1,
			[]check{{"ssl", `{"http_protocol":"1.0","min_version":"1.0","verify":false,"virtualhost":"vs.example"}`, there}}},
		"no SNI of the real server": {"", "virtualhost vs.example", "virtualhost rs.example\nSSL_GET {\nenable_sni\nurl {\npath /\n}\n}", 2,
			[]check{{"ssl", `{"http_protocol":"1.0","min_version":"1.0","sni_name":"vs.example","verify":false,"virtualhost":"rs.example"}`, there}}},
		"no SNI": {"", "", "virtualhost rs.example\nSSL_GET {\nenable_sni\nurl {\npath /\n}\n}", 2,
			[]check{{"ssl", "{" + plainSSL + `,"virtualhost":"rs.example"}`, there}}},
		"a name for SNI": {"", "virtualhost vs.example", "virtualhost rs.example\nSSL_GET {\nenable_sni\nsni_name s.example\nurl {\npath /\n}\n}", 1,
			[]check{{"ssl", `{"http_protocol":"1.0","min_version":"1.0","sni_name":"s.example","verify":false,"virtualhost":"rs.example"}`, there}}},
		"close_notify": {"", "", "SSL_GET {\ntls_compliant\nurl {\npath /a\n}\nurl {\npath /b\n}\n}\nSSL_GET {\ntls_compliant\nurl {\npath /a\ntls_compliant off\n}\nurl {\npath /b\n}\n}", 1,
			[]check{{"ssl", "{" + strings.Replace(plainSSL, `"verify"`, `"tls_compliant":true,"urls":[{"path":"/a"},{"path":"/b"}],"verify"`, 1) + "}", there},
				{"ssl", "{" + strings.Replace(plainSSL, `"verify"`, `"urls":[{"path":"/a"},{"path":"/b","tls_compliant":true}],"verify"`, 1) + "}", there}}},

		"SMTP_CHECK": {"", "", "SMTP_CHECK {\nconnect_port 25\nhelo_name \"a b\"\n}\nSMTP_CHECK {\nhelo_name smtpchecker.keepalived.org\n}", 0,
			[]check{{"smtp", `{"helo_name":"a b"}`, at("192.0.2.2:25")}, {"smtp", "", there}}},
		"hosts only": {"", "", "SMTP_CHECK {\nretry 3\nhost {\nconnect_ip 192.0.2.8\n}\nhelo_name x\nhost {\nconnect_port 26\n}\n}", 1,
			[]check{{"smtp", `{"helo_name":"x"}`, at("192.0.2.8:80")}, {"smtp", `{"helo_name":"x"}`, at("192.0.2.2:26")}}},
		"hosts and itself": {"", "", "SMTP_CHECK {\nconnect_ip 192.0.2.7\nhost {\n}\n}", 1,
			[]check{{"smtp", "", at("192.0.2.7:80")}, {"smtp", "", there}}},

		"DNS_CHECK": {"", "", "DNS_CHECK {\n}\nDNS_CHECK {\ntype soa\nname .\n}\nDNS_CHECK {\ntype dnskey\nname example.com\n}", 0,
			[]check{{"dns", "", there}, {"dns", "", there}, {"dns", `{"name":"example.com","type":"DNSKEY"}`, there}}},

		// Of the payload 2.2.7 said that it has 11 bytes, of the reply 3 and a mask.
		"UDP_CHECK": {"", "", "UDP_CHECK {\n}\nUDP_CHECK {\npayload Ab12f 3 456 546443123\nrequire_reply 0X 1 XX\nmin_reply_length 2\nmax_reply_length 40\n}\nUDP_CHECK {\nrequire_reply\n}", 0,
			[]check{{"udp", "", there},
				{"udp", `{"max_reply_length":40,"min_reply_length":2,"payload":"AB120F0345065464431203","reply":"0X01XX"}`, there},
				{"udp", `{"require_reply":true}`, there}}},

		"PING_CHECK": {"", "", "PING_CHECK {\n}\nPING_CHECK {\nconnect_ip 192.0.2.9\n}", 0,
			[]check{{"ping", "", portless("192.0.2.2")}, {"ping", "", portless("192.0.2.9")}}},

		// How commands are cut was read from 2.2.7's dump.
		"MISC_CHECK": {"global_defs {\nenable_script_security\n}\n", "", "MISC_CHECK {\nmisc_path \"/bin/check a 'b  c' \\\"d\\\"'e'\"\n}\nMISC_CHECK {\nmisc_path '/bin/check ''' \n}\nMISC_CHECK {\nmisc_path /bin/check\\ a\nmisc_dynamic\nuser nobody daemon\n}", 0,
			[]check{{"misc", `{"command":["/bin/check","a","b  c","de"]}`, there},
				{"misc", `{"command":["/bin/check"]}`, there},
				{"misc", `{"command":["/bin/check","a"],"dynamic":true,"group":"daemon","user":"nobody"}`, there}}},
		"script_user": {"global_defs {\nscript_user a b\n}\n", "", "MISC_CHECK {\nmisc_path /bin/true\n}\nMISC_CHECK {\nmisc_path /bin/true\nuser c\n}", 1,
			[]check{{"misc", `{"command":["/bin/true"],"group":"b","secure":false,"user":"a"}`, there},
				{"misc", `{"command":["/bin/true"],"secure":false,"user":"c"}`, there}}},
		"words after the command": {"global_defs {\nenable_script_security\n}\n", "", "MISC_CHECK {\nmisc_path /bin/true a b\n}", 1,
			[]check{{"misc", `{"command":["/bin/true"]}`, there}}},

		"FILE_CHECK": {"track_file a {\nfile /run/a\n}\ntrack_file b {\nfile /run/b\nweight -3 reverse\ninit_file overwrite 7\n}\ntrack_file c {\nfile /run/c\nweight 4 noreverse\ninit_file\n}\n", "",
			"FILE_CHECK {\ntrack_file a\n}\nFILE_CHECK {\ntrack_file b\n}\nFILE_CHECK {\ntrack_file b\nweight 0 reverse\n}\nFILE_CHECK {\ntrack_file c\nweight -2147483647\n}", 0,
			[]check{{"file", `{"path":"/run/a"}`, model.Target{}},
				{"file", `{"init":7,"overwrite":true,"path":"/run/b","reverse":true,"weight":-3}`, model.Target{}},
				{"file", `{"init":7,"overwrite":true,"path":"/run/b","reverse":true,"weight":0}`, model.Target{}},
				{"file", `{"init":0,"path":"/run/c","weight":-2147483647}`, model.Target{}}}},

		"BFD_CHECK": {"bfd_instance a {\nneighbor_ip 192.0.2.2\n}\nbfd_instance b {\nneighbor_ip 192.0.2.3\nsource_ip 192.0.2.4\nmin_rx 20\nmin_tx 1.5\nidle_tx 2000\nmultiplier 3\npassive\nttl 64\nmax_hops 2\nmultihop\nweight 10 reverse\nchecker\nvrrp\n}\nbfd_instance c {\nneighbor_ip 2001:db8::3\n}\n", "",
			"BFD_CHECK {\nname a\n}\nBFD_CHECK {\nname b\n}\nBFD_CHECK {\nname c\n}", 0,
			[]check{{"bfd", "", portless("192.0.2.2")},
				{"bfd", `{"idle_tx":"2s","max_hops":2,"min_rx":"20ms","min_tx":"1.5ms","multihop":true,"multiplier":3,"passive":true,"ttl":64}`,
					model.Target{Addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.3"), 0), Source: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.4"), 0)}},
				{"bfd", `{"ttl":64}`, portless("2001:db8::3")}}},

		"any mix": {"", "", "TCP_CHECK {\n}\nPING_CHECK {\n}\nDNS_CHECK {\n}\nTCP_CHECK {\nconnect_port 81\n}", 0,
			[]check{{"tcp", "", there}, {"ping", "", portless("192.0.2.2")}, {"dns", "", there}, {"tcp", "", at("192.0.2.2:81")}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := loadText(t, "a.conf", test.head+vs(test.server, test.real), Options{Known: builtinType})
			if r.HasErrors() || len(r.Problems) != test.warned {
				t.Fatalf("%d problems, want %d warnings: %v", len(r.Problems), test.warned, r.Problems)
			}
			var got []check
			for _, c := range r.Config.VirtualServers[0].RealServers[0].Checks {
				got = append(got, check{c.Type, c.Parameters, c.Target})
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got\n%+v\nwant\n%+v", got, test.want)
			}
			roundTrip(t, r)
			// The blocks at the top of the file may stand below, too.
			below := loadText(t, "a.conf", vs(test.server, test.real)+test.head, Options{Known: builtinType})
			if !reflect.DeepEqual(below.Config, r.Config) {
				t.Errorf("below: %v\n%+v", below.Problems, below.Config)
			}
		})
	}
}

// TestLocateKeepalived: parameters of a keepalived.conf have lines.
func TestLocateKeepalived(t *testing.T) {
	r := loadText(t, "a.conf", vs("", `HTTP_GET {
	url {
		path /
		regex x
	}
	url {
		path /b
		status_code 200
	}
	fast_recovery
}
MISC_CHECK {
	user x
	misc_path "/bin/true"
}`), Options{})
	checks := r.Config.VirtualServers[0].RealServers[0].Checks
	for _, test := range []struct {
		check   int
		pointer string
		line    int
	}{
		{0, "", 7}, {0, "/urls/0", 8}, {0, "/urls/0/regex", 10}, {0, "/urls/1/status/0", 14}, {0, "/urls/1/digest", 12},
		{0, "/fast_recovery", 16}, {0, "/virtualhost", 7}, {1, "/command/0", 20}, {1, "/user", 19}, {1, "/secure", 18},
	} {
		if file, line := r.Locate(checks[test.check], test.pointer); line != test.line || file != r.path {
			t.Errorf("%d %q: %s:%d, want line %d", test.check, test.pointer, file, line, test.line)
		}
	}
}

// TestOddArguments: a command's arguments survive being written, whatever is in them.
func TestOddArguments(t *testing.T) {
	for _, s := range []string{`a\tb\nc`, `\n\ty\n`, `\t\n x`, `a: b\n- \tx`, `\x01\x02`, `#\t\n`, `1`, `no`, ` \n`} {
		r := loadText(t, "a.conf", vs("", "MISC_CHECK {\nmisc_path \"/bin/check '"+s+"'\"\n}"), Options{})
		if r.HasErrors() || len(r.Config.VirtualServers[0].RealServers[0].Checks) != 1 {
			t.Errorf("%s: %v", s, r.Problems)
		}
		roundTrip(t, r)
	}
}

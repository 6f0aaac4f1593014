package parity

import "github.com/poise-lb/poise/e2e/fault"

// twoUp is down after the second of two failures, and up with the first success.
const twoUp = "in out@4 in@7"

var smtp = Set{Checker: "SMTP_CHECK", Cases: []Case{
	{Name: "up", Kind: fault.SMTP, Steps: "good*4", Want: "in"},
	{Name: "down, up", Kind: fault.SMTP, Steps: "good*2 refuse*4 good*2", Want: twoUp},
	{Name: "half-open: SYNs dropped", Kind: fault.SMTP, Steps: "good*2 drop*4 good*2", Want: twoUp},
	{Name: "half-open: gone after the handshake", Kind: fault.SMTP, Steps: "good*2 halfopen*4 good*2", Want: twoUp},
	{Name: "never answering", Kind: fault.SMTP, Steps: "good*2 hang*4 good*2", Want: twoUp},
	{Name: "HELO never answered", Kind: fault.SMTP, Steps: "good*2 silenthelo*4 good*2", Want: twoUp},
	{Name: "connection reset", Kind: fault.SMTP, Steps: "good*2 reset*4 good*2", Want: twoUp},
	{Name: "closed at once", Kind: fault.SMTP, Steps: "good*2 close*4 good*2", Want: twoUp},
	{Name: "garbage", Kind: fault.SMTP, Steps: "good*2 garbage*4 good*2", Want: twoUp},
	{Name: "wrong greeting", Kind: fault.SMTP, Steps: "good*2 greet:554*4 good*2", Want: twoUp},
	{Name: "wrong answer to HELO", Kind: fault.SMTP, Steps: "good*2 helo:550*4 good*2", Want: twoUp},
	{Name: "greeting of several lines", Kind: fault.SMTP, Steps: "good*2 multiline*4 good*2", Want: twoUp},
	{Name: "greeting of 8 KB", Kind: fault.SMTP, Steps: "good*2 long*4 good*2", Want: twoUp},
	{Name: "slow", Kind: fault.SMTP, Steps: "good slow:1s*3 good", Want: "in"},
	{Name: "too slow", Kind: fault.SMTP, Steps: "good*2 slow:6s*4 good*2", Want: twoUp},
	{Name: "1 byte a second", Kind: fault.SMTP, Steps: "good*2 drip:1s*3 good", With: "connect_timeout 3", Want: "in", Poise: "in out@4 in@6", Why: deadline},
	{Name: "flapping", Kind: fault.SMTP, Steps: "good helo:550 good hang good greet:421 reset good", Want: "in out@7 in@8"},
	{Name: "helo_name", Kind: fault.SMTP, Steps: "want:lab.test*2 want:other.test*3 want:lab.test", With: "helo_name lab.test", Want: "in out@4 in@6"},
	{Name: "helo_name by default", Kind: fault.SMTP, Steps: "want:smtpchecker.keepalived.org*2 want:other.test*3 good", Want: "in out@4 in@6"},
	{Name: "alpha, inhibit_on_failure, retry 2", Kind: fault.SMTP, Steps: "greet:421 good*2 greet:421*4 good", Real: "alpha\ninhibit_on_failure", With: "retry 2", Want: "w=0 in@2 w=0@6 in@8"},
	{Name: "IPv6", Kind: fault.SMTP, Steps: "good*2 greet:421*3 good", IPv6: true, Want: "in out@4 in@6"},
}}

var dns = Set{Checker: "DNS_CHECK", Cases: []Case{
	{Name: "up", Kind: fault.DNS, Steps: "good*4", Want: "in"},
	{Name: "down, up", Kind: fault.DNS, Steps: "good*2 refuse*4 good*2", Want: twoUp},
	{Name: "never answering", Kind: fault.DNS, Steps: "good*2 silent*4 good*2", Want: twoUp},
	{Name: "NXDOMAIN", Kind: fault.DNS, Steps: "good*2 rcode:3*4 good*2", Want: twoUp},
	{Name: "SERVFAIL", Kind: fault.DNS, Steps: "good*2 rcode:2*4 good*2", Want: twoUp},
	{Name: "REFUSED", Kind: fault.DNS, Steps: "good*2 rcode:5*4 good*2", Want: twoUp},
	{Name: "no answer in it", Kind: fault.DNS, Steps: "good empty*3 good", Want: "in"},
	{Name: "wrong id", Kind: fault.DNS, Steps: "good*2 id*4 good*2", Want: twoUp},
	{Name: "wrong id, then the answer", Kind: fault.DNS, Steps: "good*2 twice*4 good*2", Want: "in"},
	{Name: "the query sent back", Kind: fault.DNS, Steps: "good*2 query*4 good*2", Want: twoUp},
	{Name: "another question's answer", Kind: fault.DNS, Steps: "good*2 question*4 good*2", Want: "in"},
	{Name: "garbage", Kind: fault.DNS, Steps: "good*2 garbage*4 good*2", Want: twoUp},
	{Name: "truncated", Kind: fault.DNS, Steps: "good truncated*3 good", Want: "in"},
	{Name: "slow", Kind: fault.DNS, Steps: "good slow:1s*3 good", Want: "in"},
	{Name: "flapping", Kind: fault.DNS, Steps: "good rcode:3 good silent good refuse rcode:2 good", Want: "in out@7 in@8"},
	{Name: "type A and name", Kind: fault.DNS, Steps: "good*2 rcode:3*3 good", With: "type A\nname www.lab.test", Want: "in out@4 in@6"},
	{Name: "type AAAA, alpha", Kind: fault.DNS, Steps: "rcode:3 good*2 silent*2 good", With: "type AAAA\nname www.lab.test", Real: "alpha", Want: "out in@2 out@5 in@6"},
	{Name: "retry by default", Kind: fault.DNS, Steps: "good rcode:2*5 good", Check: "DNS_CHECK {\n\t\t\tconnect_timeout 2\n\t\t\tdelay_loop 2\n\t\t\twarmup 2\n\t\t}\n", Want: "in out@5 in@7"},
	{Name: "IPv6", Kind: fault.DNS, Steps: "good*2 rcode:2*3 good", IPv6: true, Want: "in out@4 in@6"},
}}

var udp = Set{Checker: "UDP_CHECK", Cases: []Case{
	{Name: "up", Kind: fault.UDP, Steps: "good*4", Want: "in"},
	{Name: "down, up", Kind: fault.UDP, Steps: "good*2 refuse*4 good*2", Want: twoUp},
	{Name: "never answering", Kind: fault.UDP, Steps: "good silent*3 good", Want: "in"},
	{Name: "never answering, require_reply", Kind: fault.UDP, Steps: "good*2 silent*4 good*2", With: "require_reply", Want: twoUp},
	{Name: "slow, require_reply", Kind: fault.UDP, Steps: "good slow:1s*3 good", With: "require_reply", Want: "in"},
	{Name: "wrong answer", Kind: fault.UDP, Steps: "reply:0102*2 reply:0103*4 reply:0102", With: "payload 00\nrequire_reply 0102", Want: twoUp},
	{Name: "wildcards", Kind: fault.UDP, Steps: "reply:01f2*2 reply:01f3*4 reply:0102", With: "payload 00\nrequire_reply 01X2", Want: twoUp},
	{Name: "short answer that begins right", Kind: fault.UDP, Steps: "reply:0102*2 reply:01*3 reply:0102", With: "payload 00\nrequire_reply 0102", Want: "in"},
	{Name: "min_reply_length", Kind: fault.UDP, Steps: "reply:0102*2 reply:01*4 reply:0102", With: "payload 00\nrequire_reply 0102\nmin_reply_length 2", Want: twoUp},
	{Name: "max_reply_length", Kind: fault.UDP, Steps: "reply:0102*2 reply:010203*4 reply:0102", With: "payload 00\nrequire_reply 0102\nmax_reply_length 2", Want: twoUp},
	{Name: "1,000 bytes", Kind: fault.UDP, Steps: "good big*3 good", With: "require_reply", Want: "in"},
	{Name: "flapping", Kind: fault.UDP, Steps: "good refuse good refuse good refuse*2 good", Want: "in out@7 in@8"},
	{Name: "alpha, retry 0", Kind: fault.UDP, Steps: "refuse good refuse good", Real: "alpha", With: "retry 0", Want: "out in@2 out@3 in@4"},
	{Name: "IPv6", Kind: fault.UDP, Steps: "good*2 refuse*3 good", IPv6: true, Want: "in out@4 in@6"},
}}

var ping = Set{Checker: "PING_CHECK", Cases: []Case{
	{Name: "IPv4: silence, flapping", Kind: fault.Ping, Steps: "good*2 silent good silent*3 good*2", Want: "in out@6 in@8"},
	{Name: "IPv6: silence, flapping", Kind: fault.Ping, Steps: "good*2 silent good silent*3 good*2", IPv6: true, Want: "in out@6 in@8"},
}}

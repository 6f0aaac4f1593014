package parity

import (
	"fmt"
	"strings"
	"testing"

	"github.com/poise-lb/poise/e2e/fault"
)

// inHead is what keepalived 2.2.7 does where head and body come in one read.
const inHead = "keepalived looks for the expression in the headers too, and counts offsets from them"

const deadline = "one deadline for the whole probe, keepalived has one for each read"

// get is a block with a url for each of these texts.
func get(checker string, urls ...string) string {
	text := checker + " {\n"
	for _, u := range urls {
		text += "\t\t\turl {\n\t\t\t\t" + strings.ReplaceAll(u, "\n", "\n\t\t\t\t") + "\n\t\t\t}\n"
	}
	return text + "}\n"
}

// page is the url of most cases.
const page = "path /"

// faulty is a case with a web server that fails as said for four probes.
func faulty(name, step, want string) Case {
	return Case{Name: name, Kind: fault.HTTP, Steps: "good*2 " + step + "*4 good*2", Want: want}
}

// webUp is down after four probes, and up when the page has come twice: once that it is
// there again, and once in the round of all urls that follows.
const webUp = "in out@4 in@8"

var web = Set{Checker: "HTTP_GET", Cases: blocks("HTTP_GET", []Case{
	faulty("up", "good", "in"),
	faulty("down, up", "refuse", webUp),
	faulty("half-open: SYNs dropped", "drop", webUp),
	faulty("half-open: gone after the handshake", "halfopen", webUp),
	faulty("never answering", "hang", webUp),
	faulty("connection reset", "reset", webUp),
	faulty("closed at once", "close", webUp),
	faulty("garbage", "garbage", webUp),
	faulty("empty reply", "empty", webUp),
	faulty("wrong status", "status:500", webUp),
	faulty("204", "status:204", "in"),
	faulty("redirect loop", "redirect", webUp),
	faulty("slow", "slow:1s", "in"),
	faulty("too slow", "slow:3s", webUp),
	faulty("huge headers: 3 KB", "headers:3", "in"),
	faulty("huge headers: 1 MB", "headers:1024", webUp),
	faulty("answer before the request", "early", "in"),
	faulty("less than announced", "short", "in"),
	faulty("more than announced", "long", "in"),
	faulty("no Content-Length", "nolength", "in"),
	faulty("chunked", "chunked", "in"),
	faulty("100 Continue first", "continue", webUp),
	faulty("not HTTP: ICY 200", "noversion", "in"),
	faulty("no status", "nostatus", webUp),
	faulty("open after the answer", "keep", webUp),
	{Name: "1 byte a second: body", Kind: fault.HTTP, Steps: "good*2 drip:1s*3 good good", With: "connect_timeout 3", Want: "in", Poise: "in out@4 in@7", Why: deadline},
	{Name: "1 byte a second: status line", Kind: fault.HTTP, Steps: "good*2 driphead:1s*3 good good", With: "connect_timeout 3", Want: "in", Poise: "in out@4 in@7", Why: deadline},
	{Name: "flapping", Kind: fault.HTTP, Steps: "good status:500 good hang good reset empty good good", Want: "in out@7 in@9"},
	{Name: "down from the start", Kind: fault.HTTP, Steps: "status:500*3 good*2 good", Want: "in out@1 in@5"},
	{Name: "alpha, retry 0", Kind: fault.HTTP, Steps: "refuse*2 good*2 status:404 good good", Real: "alpha", With: "retry 0", Want: "out in@4 out@5 in@7"},
	{Name: "inhibit_on_failure", Kind: fault.HTTP, Steps: "good*2 status:503*3 good good", Real: "inhibit_on_failure", Want: "in w=0@4 in@7"},
	{Name: "status_code", Kind: fault.HTTP, Steps: "status:404 status:418 good*2 status:302 status:302 status:404 status:404", Check: get("HTTP_GET", "path /\nstatus_code 404 410-420"), Want: "in out@4 in@8"},
	{Name: "virtualhost of the url", Kind: fault.HTTP, Steps: "host:web.test host:other.test*3 host:web.test host:web.test", Check: get("HTTP_GET", "path /\nvirtualhost web.test"), Want: "in out@3 in@6"},
	{Name: "virtualhost of the checker", Kind: fault.HTTP, Steps: "host:web.test host:other.test*3 host:web.test host:web.test", With: "virtualhost web.test", Want: "in out@3 in@6"},
	{Name: "virtualhost of the real server", Kind: fault.HTTP, Steps: "host:web.test host:other.test*3 host:web.test host:web.test", Real: "virtualhost web.test", Want: "in out@3 in@6"},
	{Name: "Host without virtualhost", Kind: fault.HTTP, Steps: "host:" + real + ":PORT host:other.test*3 host:" + real + ":PORT*2", Want: "in out@3 in@6"},
	{Name: "digest", Kind: fault.HTTP, Steps: "good*2 body:other*3 good good", Check: get("HTTP_GET", "path /\ndigest "+fault.PageMD5), Want: "in out@4 in@7"},
	{Name: "digest, chunked", Kind: fault.HTTP, Steps: "good chunked*3 good good", Check: get("HTTP_GET", "path /\ndigest "+fault.PageMD5), Want: "in out@3 in@6"},
	{Name: "regex", Kind: fault.HTTP, Steps: "good*2 body:other*3 good good", Check: get("HTTP_GET", "path /\nregex \"lab [a-z]+\""), Want: "in out@4 in@7"},
	{Name: "regex_no_match", Kind: fault.HTTP, Steps: "good*2 body:broken*3 good good", Check: get("HTTP_GET", "path /\nregex broken\nregex_no_match"), Want: "in out@4 in@7"},
	{Name: "regex_options caseless", Kind: fault.HTTP, Steps: "good*2 body:other*3 good good", Check: get("HTTP_GET", "path /\nregex LAB\nregex_options caseless"), Want: "in out@4 in@7"},
	{Name: "regex_min_offset", Kind: fault.HTTP, Steps: "body:......lab*2 body:lab....*3 body:......lab body:......lab", Check: get("HTTP_GET", "path /\nregex lab\nregex_min_offset 4"), Want: "in", Poise: "in out@4 in@7", Why: inHead},
	{Name: "regex_max_offset", Kind: fault.HTTP, Steps: "body:lab....*2 body:......lab*3 body:lab.... body:lab....", Check: get("HTTP_GET", "path /\nregex lab\nregex_max_offset 4"), Want: "in out@1", Poise: "in out@4 in@7", Why: inHead},
	{Name: "regex that a header matches", Kind: fault.HTTP, Steps: "good*3", Check: get("HTTP_GET", "path /\nregex \"Type: text\""), Want: "in", Poise: "in out@1", Why: inHead},
	{Name: "http_protocol 1.1", Kind: fault.HTTP, Steps: "good*2 status:500*3 good*2 good", With: "http_protocol 1.1", Want: "in out@4 in@7"},
	{Name: "http_protocol 1.0C", Kind: fault.HTTP, Steps: "good*2 status:500*3 good*2 good", With: "http_protocol 1.0C", Want: "in out@4 in@7"},
	{Name: "three urls", Kind: fault.HTTP, Steps: "good*4 only:/b*6 good*5", Check: get("HTTP_GET", "path /a", "path /b", "path /c"), Want: "in out@6 in@14"},
	{Name: "three urls, fast_recovery", Kind: fault.HTTP, Steps: "good*4 only:/b*6 good*5", Check: get("HTTP_GET", "path /a", "path /b", "path /c"), With: "fast_recovery", Want: "in out@6 in@14"},
	{Name: "two checkers", Kind: fault.HTTP, Steps: "good*2 refuse*4 good*3", Check: get("HTTP_GET", page) + "TCP_CHECK {\n connect_port PORT1\n}\n",
		Ports: []fault.Port{{Kind: fault.TCP, Port: 1, Steps: "good good"}}, Want: "in out@4 in@8"},
	{Name: "IPv6", Kind: fault.HTTP, Steps: "good*2 status:500*3 good*2 good", IPv6: true, Want: "in out@4 in@7"},
})}

// blocks gives cases that have none a block with a url, and fills ports in steps.
func blocks(checker string, cases []Case) []Case {
	for i := range cases {
		if cases[i].Check == "" {
			cases[i].Check = get(checker, page)
		}
	}
	return cases
}

// secure are the cases of TLS; those of HTTP over TLS are the same as without.
var secure = Set{Checker: "SSL_GET", Cases: blocks("SSL_GET", tls([]Case{
	{Name: "up", Steps: "good*4", Want: "in"},
	{Name: "down, up", Steps: "good*2 refuse*4 good*2", Want: webUp},
	{Name: "expired certificate", Steps: "good expired*3 good", Want: "in"},
	{Name: "certificate not valid yet", Steps: "good future*3 good", Want: "in"},
	{Name: "certificate for another name", Steps: "good othername*3 good", Want: "in"},
	{Name: "TLS 1.3 alone", Steps: "good tls:1.3*3 good", Want: "in"},
	{Name: "TLS 1.2 alone", Steps: "good tls:1.2*3 good", Want: "in"},
	{Name: "client certificate wanted", Steps: "good*2 client*3 good good", Want: "in out@4 in@7"},
	{Name: "no TLS: garbage", Steps: "good*2 garbage*4 good*2", Want: webUp},
	{Name: "never answering", Steps: "good*2 hang*4 good*2", Want: webUp},
	{Name: "half-open: gone after the handshake of TCP", Steps: "good*2 halfopen*4 good*2", Want: webUp},
	{Name: "connection reset", Steps: "good*2 reset*4 good*2", Want: webUp},
	{Name: "closed at once", Steps: "good*2 close*4 good*2", Want: webUp},
	{Name: "wrong status", Steps: "good*2 status:500*4 good*2", Want: webUp},
	{Name: "slow", Steps: "good slow:1s*3 good", Want: "in"},
	{Name: "too slow", Steps: "good*2 slow:6s*4 good*2", Want: webUp},
	// With less time than that keepalived 2.2.7 gives up on some days and not on others.
	{Name: "1 byte a second, in time", Steps: "good drip:1s*3 good", With: "connect_timeout 10", Want: "in"},
	{Name: "huge headers: 1 MB", Steps: "good headers:1024*3 good*2", Want: "in out@3 in@6"},
	{Name: "digest", Steps: "good*2 body:other*3 good good", Check: get("SSL_GET", "path /\ndigest "+fault.PageMD5), Want: "in out@4 in@7"},
	{Name: "no close_notify", Steps: "good noclose*3 good", Want: "in"},
	{Name: "no close_notify, tls_compliant", Steps: "good*2 noclose*3 good good", With: "tls_compliant", Want: "in",
		Poise: "in out@4 in@7", Why: "tls_compliant is of later releases than 2.2.7"},
	{Name: "sni_name", Steps: "sni:web.test*2 sni:other.test*3 sni:web.test sni:web.test", With: "enable_sni\nsni_name web.test", Want: "in out@1",
		Poise: "in out@4 in@7", Why: "sni_name is of later releases than 2.2.7"},
	{Name: "SNI of virtualhost", Steps: "sni:web.test*2 sni:other.test*3 sni:web.test sni:web.test", With: "enable_sni\nvirtualhost web.test", Want: "in out@4 in@7"},
	{Name: "IPv6", Steps: "good*2 expired status:500*3 good*2 good", IPv6: true, Want: "in out@5 in@8"},
}))}

func tls(cases []Case) []Case {
	for i := range cases {
		cases[i].Kind = fault.HTTPS
	}
	return cases
}

// TestHugeBody plays a body of 100 MB, which takes the machine's whole processor.
func TestHugeBody(t *testing.T) {
	body := fmt.Sprintf("big:%d", 100)
	play(t, Set{Checker: "HTTP_GET", Cases: blocks("HTTP_GET", []Case{
		{Name: "100 MB", Kind: fault.HTTP, Steps: "good " + body + "*2 good*2", With: "connect_timeout 30", Want: "in"},
	})})
}

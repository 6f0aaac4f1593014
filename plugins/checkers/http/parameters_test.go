package http

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/sdk"
)

func TestParameters(t *testing.T) {
	for _, test := range []struct{ parameters, want string }{
		{`{"http_protocol":"1.2"}`, `/http_protocol: must be 1.0, 1.0C, 1.1 or 2, not "1.2"`},
		{`{"http_protocol":"2","raw_body":true}`, "/raw_body: HTTP/2 has no raw body"},
		{`{"method":"GET /"}`, `/method: must be a method like GET or HEAD, not "GET /"`},
		{`{"virtualhost":"a\r\nb"}`, "/virtualhost: must be a name or an address"},
		{`{"headers":{"a b":"x"}}`, "/headers/a b: "},
		{`{"headers":{"a/b":"x"}}`, "/headers/a~1b: "},
		{`{"headers":{"X":"a\r\nb"}}`, "/headers/X: must be one line without control characters"},
		{`{"headers":{"host":"x"}}`, "/headers/host: the host is set with virtualhost"},
		{`{"headers":{"content-length":"1"}}`, "/headers/content-length: content-length is the checker's to say"},
		{`{"urls":[{}]}`, "/urls/0/path: is missing"},
		{`{"urls":[{"path":"/"},{"path":"/a b"}]}`, "/urls/1/path: has a blank or a control character at byte 2: write it as %20"},
		{`{"http_protocol":"2","urls":[{"path":"a"}]}`, "/urls/0/path: must begin with a slash for HTTP/2"},
		{`{"urls":[{"path":"/","status":["99"]}]}`, `/urls/0/status/0: must be a status from 100 to 599, or a range like 200-299, not "99"`},
		{`{"urls":[{"path":"/","status":["200","300-200"]}]}`, "/urls/0/status/1: must be a status"},
		{`{"urls":[{"path":"/","status":["200-"]}]}`, "/urls/0/status/0: must be a status"},
		{`{"urls":[{"path":"/","digest":"abc"}]}`, "/urls/0/digest: must be an MD5 in 32 hex digits"},
		{`{"urls":[{"path":"/","regex_no_match":true}]}`, "/urls/0/regex_no_match: has no meaning without a regex"},
		{`{"urls":[{"path":"/","regex":"a","regex_min_offset":-1}]}`, "/urls/0/regex_min_offset: must not be negative"},
		{`{"urls":[{"path":"/","regex":"a","regex_min_offset":5,"regex_max_offset":4}]}`, "/urls/0/regex_max_offset: must not be less than"},
		{`{"urls":[{"path":"/","regex":"("}]}`, "/urls/0/regex: cannot be used: "},
		{`{"urls":[{"path":"/","nope":1}]}`, `/urls/0/nope: unknown key "nope"`},
		{`{"urls":{}}`, "/urls: must be a list"},
	} {
		_, err := New().Parse(json.RawMessage(test.parameters))
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.parameters, err, test.want)
		}
	}
}

// TestWarnings: what can be used, but hardly is what was meant.
func TestWarnings(t *testing.T) {
	got := New().(sdk.Validator).Validate(json.RawMessage(`{"tls_compliant":true,"urls":[{"path":"index.html"}]}`))
	if len(got) != 2 || !got[0].Warning || got[0].Path != "/urls/0/path" || !got[1].Warning || got[1].Path != "/tls_compliant" {
		t.Errorf("got %v", got)
	}
}

// TestRequest: the requests byte by byte; those of HTTP/1.0 are keepalived's.
func TestRequest(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:8080"), netip.MustParseAddrPort("[fe80::1%eth0]:80")
	for _, test := range []struct {
		parameters string
		to         netip.AddrPort
		want       string
	}{
		{`{"http_protocol":"1.0"}`, v4, "GET / HTTP/1.0|User-Agent: KeepAliveClient|Host: 192.0.2.1:8080||"},
		{`{"http_protocol":"1.0C"}`, v4, "GET / HTTP/1.0|User-Agent: KeepAliveClient|Connection: close|Host: 192.0.2.1:8080||"},
		{`{"raw_body":true,"virtualhost":"a.example.com"}`, v4, "GET / HTTP/1.1|User-Agent: KeepAliveClient|Connection: close|Host: a.example.com||"},
		{`{}`, v6, "GET / HTTP/1.1|User-Agent: poise|Connection: close|Host: [fe80::1]:80||"},
		{`{"method":"HEAD","headers":{"X-B":"2","user-agent":"me"},"urls":[{"path":"/a?b","virtualhost":"u"}],"virtualhost":"v"}`, v4, "HEAD /a?b HTTP/1.1|Connection: close|Host: u|X-B: 2|user-agent: me||"},
	} {
		c := parsed(t, test.parameters).check
		if got := strings.ReplaceAll(string(c.request(&c.urls[0], sdk.Target{Addr: test.to})), "\r\n", "|"); got != test.want {
			t.Errorf("%s: got %s, want %s", test.parameters, got, test.want)
		}
	}
}

// TestTranscriptHidesHeaders: a header may be a password; a transcript is shown and kept.
func TestTranscriptHidesHeaders(t *testing.T) {
	server := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.Header.Get("Authorization") != "Basic secret" {
			w.WriteHeader(nethttp.StatusUnauthorized)
		}
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, protocol := range []string{"1.0", "1.1"} {
		var transcript strings.Builder
		target := sdk.Target{Addr: server.Listener.Addr().(*net.TCPAddr).AddrPort(), Trace: func(format string, args ...any) {
			fmt.Fprintf(&transcript, format+"\n", args...)
		}}
		check := parsed(t, `{"http_protocol": "`+protocol+`", "headers": {"Authorization": "Basic secret"}}`)
		if got := check.Probe(ctx, target); got.Outcome != sdk.Up {
			t.Fatalf("HTTP %s: %+v", protocol, got)
		}
		if text := transcript.String(); strings.Contains(text, "secret") || !strings.Contains(text, "Authorization") {
			t.Errorf("HTTP %s: the transcript is to have the header without its value:\n%s", protocol, text)
		}
	}
}

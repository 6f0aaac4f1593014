package main

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
	"github.com/poise-lb/poise/sdk/plugintest/conform"
)

// greet is a server that says one thing to everybody.
func greet(t *testing.T, greeting string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(greeting))
			conn.Close()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// TestConform runs the executable as the daemon does, through the conformance kit.
//
// TODO: your type, and a server that it finds up.
func TestConform(t *testing.T) {
	plugintest.Executable(t, conform.Options{
		Path:  plugintest.Build(t, "."),
		Types: map[string]conform.Type{"greeting": {Target: greet(t, "220 hello\r\n")}},
	})
}

// TestProbe calls the two methods, without a process.
//
// TODO: what your server may answer.
func TestProbe(t *testing.T) {
	foreign := netip.MustParseAddrPort("192.0.2.77:0")
	tests := []struct {
		name, greeting, parameters string
		source                     netip.AddrPort
		outcome                    sdk.Outcome
		reason                     string
	}{
		{"default", "220 hello\r\n", "", netip.AddrPort{}, sdk.Up, ""},
		{"own prefix", "SSH-2.0-x\r\n", `{"prefix":"SSH-2.0"}`, netip.AddrPort{}, sdk.Up, ""},
		{"other greeting", "554 no\r\n", "", netip.AddrPort{}, sdk.Down, "the greeting does not begin with 220"},
		{"no greeting", "", "", netip.AddrPort{}, sdk.Down, "read the greeting: EOF"},
		{"endless line", strings.Repeat("x", 1000), "", netip.AddrPort{}, sdk.Down, "the greeting does not begin with 220"},
		{"foreign source", "220\n", "", foreign, sdk.Unknown, "connect: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := checker{}.Parse([]byte(test.parameters))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			got := p.Probe(ctx, sdk.Target{Addr: greet(t, test.greeting), Source: test.source, Trace: t.Logf})
			if got.Outcome != test.outcome || !strings.HasPrefix(got.Reason, test.reason) {
				t.Errorf("got %+v, want outcome %d, %q", got, test.outcome, test.reason)
			}
		})
	}
}

func TestParse(t *testing.T) {
	for parameters, path := range map[string]string{`{"prefix":"a\nb"}`: "/prefix", `{"prefix":""}`: "/prefix", `{"colour":1}`: "/colour"} {
		if _, err := (checker{}).Parse([]byte(parameters)); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%s: %v, want an error at %s", parameters, err, path)
		}
	}
}

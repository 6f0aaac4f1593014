package main

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	"github.com/poise-lb/poise/sdk/plugintest"
)

// greet is a server that says one thing to everybody.
func greet(t *testing.T, greeting string) *net.TCPAddr {
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
	return l.Addr().(*net.TCPAddr)
}

func TestConform(t *testing.T) {
	c := plugintest.Serve(t, plugin())
	c.Configure(t, "")
	plugintest.Conform(t, c, map[string]string{"greeting": `{"prefix":"SSH-2.0"}`})
}

func TestProbe(t *testing.T) {
	c := plugintest.Serve(t, plugin())
	c.Configure(t, "")
	tests := []struct {
		name, greeting, parameters, source, reason string
		state                                      checkv1.VerdictState
	}{
		{"default", "220 hello\r\n", "", "", "", checkv1.VerdictState_VERDICT_STATE_UP},
		{"own prefix", "SSH-2.0-x\r\n", `{"prefix":"SSH-2.0"}`, "", "", checkv1.VerdictState_VERDICT_STATE_UP},
		{"other greeting", "554 no\r\n", "", "", "the greeting does not begin with 220", checkv1.VerdictState_VERDICT_STATE_DOWN},
		{"no greeting", "", "", "", "read the greeting: ", checkv1.VerdictState_VERDICT_STATE_DOWN},
		{"endless line", strings.Repeat("x", 1000), "", "", "the greeting does not begin with 220", checkv1.VerdictState_VERDICT_STATE_DOWN},
		{"foreign source", "220\n", "", "192.0.2.77", "", checkv1.VerdictState_VERDICT_STATE_UNKNOWN},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			addr := greet(t, test.greeting)
			got, err := c.Check.Probe(ctx, &checkv1.ProbeRequest{
				Type: "greeting", Timeout: durationpb.New(2 * time.Second), ParametersJson: []byte(test.parameters),
				Target: &checkv1.Target{Address: "127.0.0.1", Port: uint32(addr.Port), SourceAddress: test.source},
			})
			if err != nil {
				t.Fatal(err)
			}
			if got.GetState() != test.state || !strings.HasPrefix(got.GetReason(), test.reason) {
				t.Errorf("got %v, want %s %q", got, test.state, test.reason)
			}
		})
	}
}

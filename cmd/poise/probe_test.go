package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

func TestProbeRequest(t *testing.T) {
	real := func(v, r, check string) *controlv1.ProbeRequest {
		return &controlv1.ProbeRequest{What: &controlv1.ProbeRequest_RealServer{RealServer: &controlv1.ProbeRealServer{VirtualServer: v, RealServer: r, Check: check}}}
	}
	target := func(p *controlv1.ProbeTarget) *controlv1.ProbeRequest {
		return &controlv1.ProbeRequest{What: &controlv1.ProbeRequest_Target{Target: p}}
	}
	for _, c := range []struct {
		args string
		want *controlv1.ProbeRequest
		err  string
	}{
		{"192.0.2.100:80 192.0.2.1", real("192.0.2.100:80", "192.0.2.1", ""), ""},
		{"tcp/192.0.2.100:80 192.0.2.1 2", real("tcp/192.0.2.100:80", "192.0.2.1", "2"), ""},
		{"2001:db8::1 2001:db8::2", real("2001:db8::1", "2001:db8::2", ""), ""},
		{"fwm/3 192.0.2.1 http", real("fwm/3", "192.0.2.1", "http"), ""},
		{"tcp 192.0.2.1:80", target(&controlv1.ProbeTarget{Type: "tcp", Target: "192.0.2.1:80"}), ""},
		{"tcp 192.0.2.1:80 timeout=1s source=192.0.2.9 interface=eth0 fwmark=0x10", target(&controlv1.ProbeTarget{
			Type: "tcp", Target: "192.0.2.1:80", Timeout: durationpb.New(time.Second), Source: "192.0.2.9", Interface: "eth0", Fwmark: 16}), ""},
		{"file path=/x", target(&controlv1.ProbeTarget{Type: "file", ParametersJson: []byte(`{"path":"/x"}`)}), ""},
		{`http 192.0.2.1:80 a=1 b=true c="1" d=x=y e=[1,2] f={"g":null} h=1x`, target(&controlv1.ProbeTarget{Type: "http", Target: "192.0.2.1:80",
			ParametersJson: []byte(`{"a":1,"b":true,"c":"1","d":"x=y","e":[1,2],"f":{"g":null},"h":"1x"}`)}), ""},
		{"http 192.0.2.1:80 urls.0.path=/a urls.0.status.0=200 urls.1.path=/b", target(&controlv1.ProbeTarget{Type: "http", Target: "192.0.2.1:80",
			ParametersJson: []byte(`{"urls":[{"path":"/a","status":[200]},{"path":"/b"}]}`)}), ""},
		{"http 192.0.2.1:80 urls.1.path=/a", nil, "urls.1.path=/a: there is no place 1 here"},
		{"http 192.0.2.1:80 urls.-1.path=/a", nil, "there is no place -1 here"},
		{"http 192.0.2.1:80 a=1 a.b=2", nil, "a.b=2: b leads into a value that has no keys"},
		{"http 192.0.2.1:80 a=1 a.0=2", nil, "a.0=2: there is no place 0 here"},
		{"http 192.0.2.1:80 0=2 a=1", nil, "a=1: a leads into a value that has no keys"},
		{"tcp 192.0.2.1:80 verbose", nil, `"verbose" is not KEY=VALUE`},
		{"tcp 192.0.2.1:80 timeout=3", nil, "timeout 3: not a time"},
		{"tcp 192.0.2.1:80 fwmark=x", nil, "fwmark x: not a number"},
		{"192.0.2.100:80", nil, "192.0.2.100:80 is a virtual server: name its real server"},
		{"", nil, "nothing to probe"},
	} {
		got, err := probeRequest(strings.Fields(c.args))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %s", c.args, err, c.err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got, protocmp.Transform()); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", c.args, err, diff)
		}
	}
}

func FuzzProbeTarget(f *testing.F) {
	f.Add("a.0.b", "[1]", "a.0.c=2")
	f.Add("timeout", "1s", "fwmark=1")
	f.Fuzz(func(t *testing.T, key, value, more string) {
		_, _ = probeRequest([]string{"http", "192.0.2.1:80", key + "=" + value, more})
	})
}

func TestProbeCommand(t *testing.T) {
	f := startFake(t)
	up := &controlv1.ProbeResult{Type: "tcp", Target: "192.0.2.1:80", Verdict: "up", Duration: durationpb.New(1234567), Transcript: []string{"12µs connect \x1b[2J", "1.2ms connected"}, Plugin: "checkers"}
	down := &controlv1.ProbeResult{Type: "agent", Target: "192.0.2.1:81", Verdict: "down", Reason: "refused", Duration: durationpb.New(time.Millisecond), Weight: "50%", Admin: "drain", Known: "up", Plugin: "checkers"}
	unknown := &controlv1.ProbeResult{Type: "misc", Verdict: "unknown", Reason: "no process", Known: "unknown: not probed"}
	answer := func(name string, results ...*controlv1.ProbeResult) {
		f.probe = func(*controlv1.ProbeRequest) (*controlv1.ProbeResponse, error) {
			return &controlv1.ProbeResponse{RealServer: name, Results: results}, nil
		}
	}
	for _, c := range []struct {
		name    string
		results []*controlv1.ProbeResult
		args    []string
		want    string
		code    int
	}{
		{"", []*controlv1.ProbeResult{up}, []string{"tcp", "192.0.2.1:80"}, "tcp 192.0.2.1:80: UP in 1.23ms\n", 0},
		{"", []*controlv1.ProbeResult{up}, []string{"-v", "tcp", "192.0.2.1:80"}, "tcp 192.0.2.1:80: UP in 1.23ms\n    12µs connect ?[2J\n    1.2ms connected\n    probed by plugin checkers\n", 0},
		{"TCP 192.0.2.100:80 192.0.2.1:80", []*controlv1.ProbeResult{up, down, unknown}, []string{"192.0.2.100:80", "192.0.2.1"},
			"TCP 192.0.2.100:80 192.0.2.1:80\n1 tcp 192.0.2.1:80: UP in 1.23ms\n2 agent 192.0.2.1:81: DOWN (refused) in 1ms, weight 50%, asks for drain\n    by its schedule the check says up\n3 misc: UNKNOWN (no process)\n", 1},
		{"x", []*controlv1.ProbeResult{unknown, up}, []string{"192.0.2.100:80", "192.0.2.1"}, "x\n1 misc: UNKNOWN (no process)\n2 tcp 192.0.2.1:80: UP in 1.23ms\n", 2},
	} {
		answer(c.name, c.results...)
		out, _, err := f.run(t, append([]string{"probe"}, c.args...)...)
		code := 0
		if err != nil {
			if code = exitStatus(err); !errors.Is(err, errSaid) {
				t.Errorf("%v: %v", c.args, err)
			}
		}
		if out != c.want || code != c.code {
			t.Errorf("%v: status %d, want %d\n%s\nwant\n%s", c.args, code, c.code, out, c.want)
		}
	}
	answer("", down)
	if out, _, err := f.run(t, "probe", "-o", "json", "agent", "192.0.2.1:81"); exitStatus(err) != 1 || !strings.Contains(out, `"verdict": "down"`) {
		t.Errorf("json: %v\n%s", err, out)
	}
	f.probe = func(*controlv1.ProbeRequest) (*controlv1.ProbeResponse, error) {
		return nil, status.Error(codes.InvalidArgument, "check tcp: takes no parameters")
	}
	for _, args := range [][]string{{"probe", "tcp", "192.0.2.1:80", "a=1"}, {"probe"}, {"probe", "-o", "xml", "tcp"}} {
		if _, _, err := f.run(t, args...); err == nil || exitStatus(err) != 2 || errors.Is(err, errSaid) {
			t.Errorf("%v: %v", args, err)
		}
	}
	if _, _, err := run(t.Context(), "--runtime-dir", t.TempDir(), "probe", "tcp", "192.0.2.1:80"); exitStatus(err) != 2 {
		t.Errorf("without a daemon: %v", err)
	}
}

func TestPluginCommands(t *testing.T) {
	f := startFake(t)
	out, _, err := f.run(t, "plugin", "show", "redis")
	if err != nil {
		t.Fatal(err)
	}
	// How long it runs depends on the day.
	_, rest, _ := strings.Cut(out, "\n")
	golden(t, "plugin-show.txt", rest)
	if out, _, err := f.run(t, "plugin", "show", "-o", "json", "redis"); err != nil || !strings.Contains(out, `"own_name": "redis-check"`) {
		t.Errorf("json: %v\n%s", err, out)
	}
	for name, c := range map[string]struct{ before, after, want string }{
		"builtin": {"", "", "cache runs: process 7, version 2\n"},
		"same":    {"ab", "ab", "cache runs: process 7, version 2, the same executable\n"},
		"other":   {"ab", "cd", "cache runs: process 7, version 2, another executable: sha256 cd\n"},
	} {
		f.restart = func(r *controlv1.RestartPluginRequest) (*controlv1.RestartPluginResponse, error) {
			return &controlv1.RestartPluginResponse{Plugin: &controlv1.Plugin{Name: r.GetName(), Pid: 7, Version: "2", Sha256: c.after}, PreviousSha256: c.before}, nil
		}
		if out, _, err := f.run(t, "plugin", "restart", "cache"); out != c.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, out, err, c.want)
		}
	}
	f.restart = func(*controlv1.RestartPluginRequest) (*controlv1.RestartPluginResponse, error) {
		return nil, status.Error(codes.NotFound, `no plugin "x": there is cache`)
	}
	if _, _, err := f.run(t, "plugin", "restart", "x"); err == nil || err.Error() != `no plugin "x": there is cache` {
		t.Errorf("restart of none: %v", err)
	}
}

func TestPluginPin(t *testing.T) {
	f := startFake(t)
	path := filepath.Join(t.TempDir(), "redis")
	if err := os.WriteFile(path, []byte("abc"), 0o755); err != nil {
		t.Fatal(err)
	}
	const sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	one := &controlv1.Plugin{Name: "cache", Path: path, Sha256: sum}
	f.status = func() *controlv1.StatusResponse { return &controlv1.StatusResponse{Plugins: []*controlv1.Plugin{one}} }
	const want = "plugins:\n  cache:\n    sha256: \"" + sum + "\"\n"
	if out, complaints, err := f.run(t, "plugin", "pin", "cache"); out != want || complaints != "" || err != nil {
		t.Errorf("%q, %q, %v", out, complaints, err)
	}
	one.Sha256 = "00"
	if out, complaints, err := f.run(t, "plugin", "pin", "cache"); out != want || !strings.Contains(complaints, "was replaced since it was started: what runs has the sha256 00") || err != nil {
		t.Errorf("%q, %q, %v", out, complaints, err)
	}
	one.Path = "/nowhere"
	if _, _, err := f.run(t, "plugin", "pin", "cache"); err == nil {
		t.Error("an executable that is not there was hashed")
	}
	if _, _, err := f.run(t, "plugin", "pin", "x"); err == nil || err.Error() != "no plugin x runs: see poise plugin list" {
		t.Errorf("none: %v", err)
	}
}

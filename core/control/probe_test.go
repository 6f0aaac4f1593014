package control

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

func TestProbeRealServer(t *testing.T) {
	client, _ := serve(t, newFake())
	for _, c := range []struct {
		virtual, real, check string
		// want are "type verdict reason" of the results.
		want string
		code codes.Code
		says string
	}{
		{"192.0.2.100:80", "192.0.2.1", "", `tcp up ; http down refused \xff; misc unknown start plugin script for the probe: it exited with status 3; redis down refused \xff`, codes.OK, ""},
		{"192.0.2.100:80", "192.0.2.1", "1", "tcp up ", codes.OK, ""},
		{"192.0.2.100:80", "192.0.2.1", "HTTP", `http down refused \xff`, codes.OK, ""},
		{"192.0.2.100:80", "192.0.2.1", "c2", `http down refused \xff`, codes.OK, ""},
		{"192.0.2.100:80", "192.0.2.1", "5", "", codes.NotFound, `has no check "5": there is 1 (tcp 192.0.2.1:80, id c1), 2 (http`},
		{"192.0.2.100:80", "192.0.2.1", "smtp", "", codes.NotFound, `has no check "smtp"`},
		{"192.0.2.100:80", "192.0.2.2:81", "", "", codes.FailedPrecondition, "has no check: nothing to probe"},
		{"192.0.2.100:80", "192.0.2.7", "", "", codes.NotFound, `no real server "192.0.2.7"`},
		{"192.0.2.7:80", "192.0.2.1", "", "", codes.NotFound, `no virtual server "192.0.2.7:80"`},
	} {
		r, err := client.Probe(t.Context(), &controlv1.ProbeRequest{What: &controlv1.ProbeRequest_RealServer{RealServer: &controlv1.ProbeRealServer{
			VirtualServer: c.virtual, RealServer: c.real, Check: c.check,
		}}})
		if status.Code(err) != c.code || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s %q: %v, want %s %q", c.virtual, c.real, c.check, err, c.code, c.says)
			continue
		}
		var got []string
		for _, x := range r.GetResults() {
			got = append(got, x.GetType()+" "+x.GetVerdict()+" "+x.GetReason())
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%s %s %q: %s, want %s", c.virtual, c.real, c.check, text, c.want)
		}
		if err == nil && (r.GetRealServer() != "TCP 192.0.2.100:80 192.0.2.1:80" || r.GetResults()[0].GetCheckId() == "") {
			t.Errorf("answer %v", r)
		}
	}
	r, err := client.Probe(t.Context(), &controlv1.ProbeRequest{What: &controlv1.ProbeRequest_RealServer{RealServer: &controlv1.ProbeRealServer{
		VirtualServer: "192.0.2.100:80", RealServer: "192.0.2.1", Check: "4",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if x := r.GetResults()[0]; x.GetKnown() != "down: was refused" || x.GetWeight() != "=8" || x.GetAdmin() != "drain" || x.GetPlugin() != "checkers" {
		t.Errorf("result %v", x)
	}
}

func TestProbeTarget(t *testing.T) {
	client, _ := serve(t, newFake())
	for _, c := range []struct {
		name   string
		target *controlv1.ProbeTarget
		code   codes.Code
		// says is part of the transcript or of the error.
		says string
	}{
		{"v4", &controlv1.ProbeTarget{Type: "tcp", Target: "192.0.2.1:80"}, codes.OK, "tcp 192.0.2.1:80 from invalid AddrPort 5s"},
		{"v6", &controlv1.ProbeTarget{Type: "tcp", Target: "[2001:db8::1]:80"}, codes.OK, "tcp [2001:db8::1]:80"},
		{"no port", &controlv1.ProbeTarget{Type: "tcp", Target: "2001:db8::1"}, codes.OK, "tcp [2001:db8::1]:0"},
		{"no target", &controlv1.ProbeTarget{Type: "tcp"}, codes.OK, "tcp"},
		{"timeout and source", &controlv1.ProbeTarget{Type: "tcp", Target: "192.0.2.1:80", Source: "192.0.2.9", Timeout: durationpb.New(time.Second)}, codes.OK, "from 192.0.2.9:0 1s"},
		{"down is an answer", &controlv1.ProbeTarget{Type: "tcp", Target: "192.0.2.1:81"}, codes.OK, ""},
		{"a name", &controlv1.ProbeTarget{Type: "tcp", Target: "www.example.org:80"}, codes.InvalidArgument, `target "www.example.org:80": must be an address`},
		{"a source that is none", &controlv1.ProbeTarget{Type: "tcp", Target: "192.0.2.1:80", Source: "eth0"}, codes.InvalidArgument, `source "eth0": must be an address`},
		{"two families", &controlv1.ProbeTarget{Type: "tcp", Target: "192.0.2.1:80", Source: "2001:db8::9"}, codes.InvalidArgument, "not of one family"},
		{"no time", &controlv1.ProbeTarget{Type: "tcp", Target: "192.0.2.1:80", Timeout: durationpb.New(0)}, codes.InvalidArgument, "timeout 0s: must be more than 0"},
		{"too much time", &controlv1.ProbeTarget{Type: "tcp", Target: "192.0.2.1:80", Timeout: durationpb.New(time.Hour)}, codes.InvalidArgument, "timeout 1h0m0s"},
		{"parameters that are none", &controlv1.ProbeTarget{Type: "tcp", Target: "192.0.2.1:80", ParametersJson: []byte("[1]")}, codes.InvalidArgument, "the parameters are no JSON object"},
		{"wrong parameters", &controlv1.ProbeTarget{Type: "tcp", Target: "192.0.2.1:80", ParametersJson: []byte("{}")}, codes.InvalidArgument, "check tcp: path: is missing"},
		{"unknown type", &controlv1.ProbeTarget{Type: "tpc", Target: "192.0.2.1:80"}, codes.NotFound, `no type of check "tpc": there is tcp,`},
		{"no type", &controlv1.ProbeTarget{Target: "192.0.2.1:80"}, codes.InvalidArgument, "no type of check"},
		{"its process cannot be started", &controlv1.ProbeTarget{Type: "misc"}, codes.Unavailable, "it exited with status 3"},
	} {
		r, err := client.Probe(t.Context(), &controlv1.ProbeRequest{What: &controlv1.ProbeRequest_Target{Target: c.target}})
		said := ""
		if err != nil {
			said = err.Error()
		} else {
			said = strings.Join(r.GetResults()[0].GetTranscript(), "")
		}
		if status.Code(err) != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%s: %v %q, want %s %q", c.name, err, said, c.code, c.says)
		}
	}
	if _, err := client.Probe(t.Context(), &controlv1.ProbeRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("nothing: %v", err)
	}
}

func TestPluginCalls(t *testing.T) {
	f := newFake()
	client, _ := serve(t, f)
	r, err := client.RestartPlugin(t.Context(), &controlv1.RestartPluginRequest{Name: "checkers"})
	if err != nil || r.GetPreviousSha256() != "abcd" || r.GetPlugin().GetName() != "checkers" {
		t.Errorf("restart: %v, %v", r, err)
	}
	if _, err = client.RestartPlugin(t.Context(), &controlv1.RestartPluginRequest{Name: "checker"}); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), `no plugin "checker": there is checkers`) {
		t.Errorf("restart of none: %v", err)
	}
	f.failing = &RefusedError{Reason: "not trusted"}
	if _, err = client.RestartPlugin(t.Context(), &controlv1.RestartPluginRequest{Name: "checkers"}); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "not trusted; the process that runs goes on") {
		t.Errorf("refused: %v", err)
	}
	f.failing = errors.New("does not run yet")
	if _, err = client.RestartPlugin(t.Context(), &controlv1.RestartPluginRequest{Name: "checkers"}); status.Code(err) != codes.Internal {
		t.Errorf("failed: %v", err)
	}
	d, err := client.DescribePlugin(t.Context(), &controlv1.DescribePluginRequest{Name: "tcp"})
	if err != nil || d.GetPlugin().GetPid() != 43 || len(d.GetKinds()) != 1 || d.GetKinds()[0].GetType() != "tcp" || string(d.GetKinds()[0].GetParametersSchemaJson()) != "{}" {
		t.Errorf("describe: %v, %v", d, err)
	}
	for name, want := range map[string]codes.Code{"tpc": codes.NotFound, "misc": codes.Unavailable} {
		if _, err := client.DescribePlugin(t.Context(), &controlv1.DescribePluginRequest{Name: name}); status.Code(err) != want {
			t.Errorf("describe %s: %v, want %s", name, err, want)
		}
	}
}

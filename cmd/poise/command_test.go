package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

func TestHelp(t *testing.T) {
	for file, args := range map[string][]string{
		"help.txt": {"--help"}, "help-status.txt": {"status", "--help"}, "help-drain.txt": {"drain", "--help"},
		"help-weight.txt": {"weight", "--help"}, "help-events.txt": {"events", "--help"}, "help-config-check.txt": {"config", "check", "--help"},
		"help-probe.txt": {"probe", "--help"}, "help-plugin-restart.txt": {"plugin", "restart", "--help"},
		"help-diff.txt": {"diff", "--help"}, "help-f5-import.txt": {"f5", "import", "--help"},
	} {
		out, _, err := run(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, file, out)
	}
}

// Every command says what it is for, and those that do something say more.
func TestEveryCommandHasHelp(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q", c.CommandPath(), c.Short)
		}
		if c.RunE != nil && c.Long == "" {
			t.Errorf("%s: no long help", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newCommand())
}

func TestStatusCommand(t *testing.T) {
	f := startFake(t)
	text, _, err := f.run(t, "status")
	if err != nil || !strings.Contains(text, "\nvirtual server TCP 192.168.1.100:80: rr DR, quorum 1, ") {
		t.Errorf("text: %v\n%s", err, text)
	}
	out, _, err := f.run(t, "status", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "status.json", out)
	var back controlv1.StatusResponse
	if err := protojson.Unmarshal([]byte(out), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(exampleStatus(), &back, protocmp.Transform()); diff != "" {
		t.Errorf("read back (-sent +read):\n%s", diff)
	}
	if _, _, err := f.run(t, "status", "-o", "xml"); err == nil || err.Error() != `output format "xml" is not known: use text or json` {
		t.Errorf("xml: %v", err)
	}
	text, _, err = f.run(t, "plugin", "list")
	if err != nil || !strings.Contains(text, "NET_ADMIN,NET_RAW") {
		t.Errorf("plugin list: %v\n%s", err, text)
	}
}

// A status of ten thousand real servers is more than gRPC's usual 4 MiB.
func TestStatusOfManyRealServers(t *testing.T) {
	f := startFake(t)
	many := exampleStatus()
	one := many.VirtualServers[0].RealServers[0]
	one.Reason = strings.Repeat("x", 600)
	for range 10000 {
		many.VirtualServers[0].RealServers = append(many.VirtualServers[0].RealServers, one)
	}
	f.status = func() *controlv1.StatusResponse { return many }
	out, _, err := f.run(t, "status")
	if n := strings.Count(out, "\n  "+one.GetName()+" "); err != nil || n != 10001 {
		t.Errorf("%d real servers, %v", n, err)
	}
}

func TestEventsCommand(t *testing.T) {
	f := startFake(t)
	f.events = []*controlv1.EventsResponse{
		{At: timestamppb.New(now), Kind: "role", Object: "VGM", Message: "master: no advert for 3.609s", Sequence: 1},
		{At: timestamppb.New(now.Add(1500 * time.Millisecond)), Kind: "real_server", Object: "TCP 192.168.1.100:80 192.168.1.107:80", Message: "down: \x1b]0;x\a", Sequence: 2},
	}
	text := ""
	for i, want := range []string{
		"2026-01-02T13:00:00.000+01:00 role VGM: master: no advert for 3.609s",
		"2026-01-02T13:00:01.500+01:00 real_server TCP 192.168.1.100:80 192.168.1.107:80: down: ?]0;x?",
	} {
		if got := renderEvent(f.events[i], time.FixedZone("", 3600)); got != want {
			t.Errorf("event %d: %s, want %s", i, got, want)
		}
		text += renderEvent(f.events[i], time.Local) + "\n"
	}
	out, _, err := f.run(t, "events")
	if err != nil || out != text {
		t.Errorf("%v\n%s", err, out)
	}
	out, _, err = f.run(t, "events", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if want := `{"at":"2026-01-02T12:00:00Z","kind":"role","object":"VGM","message":"master: no advert for 3.609s","sequence":"1"}`; len(lines) != 2 || lines[0] != want {
		t.Errorf("json lines:\n%s", out)
	}
	for _, l := range lines {
		if !json.Valid([]byte(l)) {
			t.Errorf("not JSON: %s", l)
		}
	}
	// Interrupted when two events have come.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	followed := &countdown{lines: 2, done: cancel}
	cmd := newCommand()
	cmd.SetArgs([]string{"--runtime-dir", f.runtimeDir, "events", "-f"})
	cmd.SetOut(followed)
	if err := cmd.ExecuteContext(ctx); err != nil || followed.String() != text {
		t.Errorf("followed and interrupted: %v\n%s", err, followed)
	}
}

// countdown calls done when it has so many lines.
type countdown struct {
	bytes.Buffer
	lines int
	done  func()
}

func (c *countdown) Write(p []byte) (int, error) {
	n, err := c.Buffer.Write(p)
	if bytes.Count(c.Bytes(), []byte("\n")) == c.lines {
		c.done()
	}
	return n, err
}

func TestOverrideCommands(t *testing.T) {
	const vs, rs = "192.0.2.100:80", "192.0.2.1"
	for _, c := range []struct {
		args []string
		want *controlv1.SetOverrideRequest
		says string
	}{
		{[]string{"drain", vs, rs}, &controlv1.SetOverrideRequest{Mode: controlv1.OverrideMode_OVERRIDE_MODE_DRAIN}, "drained"},
		{[]string{"drain", vs, rs, "--deadline", "90s"}, &controlv1.SetOverrideRequest{Mode: controlv1.OverrideMode_OVERRIDE_MODE_DRAIN, DrainDeadline: durationpb.New(90 * time.Second)}, "drained, for 1m30s"},
		{[]string{"ready", vs, rs}, &controlv1.SetOverrideRequest{Mode: controlv1.OverrideMode_OVERRIDE_MODE_READY}, "ready"},
		{[]string{"maint", vs, rs}, &controlv1.SetOverrideRequest{Mode: controlv1.OverrideMode_OVERRIDE_MODE_MAINT}, "in maintenance"},
		{[]string{"weight", vs, rs, "10"}, &controlv1.SetOverrideRequest{Mode: controlv1.OverrideMode_OVERRIDE_MODE_WEIGHT, Weight: 10}, "weight 10"},
		{[]string{"weight", vs, rs, "default"}, &controlv1.SetOverrideRequest{Mode: controlv1.OverrideMode_OVERRIDE_MODE_WEIGHT_DEFAULT}, "the configured weight"},
	} {
		f := startFake(t)
		c.want.VirtualServer, c.want.RealServer = vs, rs
		out, _, err := f.run(t, c.args...)
		if want := "192.0.2.1:80 of TCP 192.0.2.100:80: " + c.says + "\n"; err != nil || out != want {
			t.Errorf("%v: %q, %v; want %q", c.args, out, err, want)
		}
		if diff := cmp.Diff([]*controlv1.SetOverrideRequest{c.want}, f.requests, protocmp.Transform()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.args, diff)
		}
	}
	f := startFake(t)
	f.override = func(*controlv1.SetOverrideRequest) error {
		return status.Error(codes.NotFound, `no virtual server "x": there is TCP 192.0.2.100:80`)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"drain", "x", rs}, `no virtual server "x": there is TCP 192.0.2.100:80`},
		{[]string{"drain", vs}, "accepts 2 arg(s), received 1"},
		{[]string{"drain", vs, rs, "--deadline", "0s"}, "--deadline 0s: must be more than 0"},
		{[]string{"weight", vs, rs, "2147483648"}, `weight "2147483648": must be 0 to 2147483647, or default`},
		{[]string{"weight", vs, rs, "-1"}, "unknown shorthand flag: '1' in -1"},
	} {
		if _, _, err := f.run(t, c.args...); err == nil || err.Error() != c.want {
			t.Errorf("%v: %v, want %s", c.args, err, c.want)
		}
	}
}

func TestReloadCommand(t *testing.T) {
	f := startFake(t)
	f.reloaded = func() (*controlv1.ReloadResponse, error) {
		return &controlv1.ReloadResponse{Warnings: []string{"f:1: warning: x"}}, nil
	}
	out, complaints, err := f.run(t, "reload")
	if err != nil || out != "the configuration is in force\n" || complaints != "f:1: warning: x\n" {
		t.Errorf("good: %q, %q, %v", out, complaints, err)
	}
	f.reloaded = func() (*controlv1.ReloadResponse, error) {
		return nil, status.Error(codes.InvalidArgument, "f:1: error: x\nf:2: error: y")
	}
	out, complaints, err = f.run(t, "reload")
	if err == nil || err.Error() != "the configuration has errors: nothing has changed" || out != "" || complaints != "f:1: error: x\nf:2: error: y\n" {
		t.Errorf("bad: %q, %q, %v", out, complaints, err)
	}
}

// Without a daemon every command says which socket was tried and what to do.
func TestNoDaemon(t *testing.T) {
	none := t.TempDir()
	left := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(left, "control.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, args := range [][]string{{"status"}, {"events"}, {"events", "-f"}, {"reload"}, {"plugin", "list"}, {"plugin", "show", "x"}, {"plugin", "restart", "x"}, {"plugin", "pin", "x"}, {"probe", "tcp"}, {"diff"}, {"f5", "import", "x"}, {"drain", "a", "b", "--wait"}} {
		_, _, err := run(t.Context(), append(args, "--runtime-dir", none)...)
		if want := "no poised runs with the runtime directory " + none + " (there is no " + none + "/control.sock): start it, or name its directory with --runtime-dir"; err == nil || err.Error() != want {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
		_, _, err = run(t.Context(), append(args, "--runtime-dir", left)...)
		if want := "no poised answers on " + left + "/control.sock, which one that died has left: start it, or name its directory with --runtime-dir"; err == nil || err.Error() != want {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
}

func TestConfigCommands(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const server = "virtual_server 192.0.2.100 80 {\n  lb_algo rr\n  lb_kind DR\n  protocol TCP\n  real_server 192.0.2.1 80 {\n    weight 1\n    TCP_CHECK {\n      connect_timeout 3\n    }\n  }\n}\n"
	good, warned, bad := write("good.conf", server), write("warned.conf", "frobnicate\n"+server), write("bad.conf", strings.Replace(server, "100 80", "100 70000", 1))

	out, complaints, err := run(t.Context(), "config", "check", good)
	if err != nil || out != good+": good\n" || complaints != "" {
		t.Errorf("good: %q, %q, %v", out, complaints, err)
	}
	out, complaints, err = run(t.Context(), "config", "check", warned)
	if err != nil || out != warned+": good, with 1 warning\n" || !strings.HasPrefix(complaints, warned+":1: warning: ") {
		t.Errorf("with a warning: %q, %q, %v", out, complaints, err)
	}
	if _, _, err = run(t.Context(), "config", "check", "--strict", warned); !errors.Is(err, errSaid) {
		t.Errorf("strict: %v", err)
	}
	for _, command := range []string{"check", "convert"} {
		out, complaints, err = run(t.Context(), "config", command, bad)
		if !errors.Is(err, errSaid) || out != "" || !strings.HasPrefix(complaints, bad+":1: error: ") {
			t.Errorf("%s of a bad file: %q, %q, %v", command, out, complaints, err)
		}
	}
	if _, complaints, err = run(t.Context(), "config", "check", filepath.Join(dir, "none.conf")); !errors.Is(err, errSaid) || !strings.Contains(complaints, ": error: ") {
		t.Errorf("no such file: %q, %v", complaints, err)
	}
	out, complaints, err = run(t.Context(), "config", "convert", good)
	if err != nil || complaints != "" {
		t.Fatalf("convert: %q, %v", complaints, err)
	}
	if _, complaints, err = run(t.Context(), "config", "check", "--strict", write("converted.yaml", out)); err != nil {
		t.Errorf("what convert printed is not good: %v\n%s\n%s", err, complaints, out)
	}
}

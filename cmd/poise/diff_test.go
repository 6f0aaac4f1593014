package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

func exampleDiff() *controlv1.DiffResponse {
	return &controlv1.DiffResponse{Forwarders: []*controlv1.ForwarderDiff{
		{Forwarder: "ipvs", Compared: true, Differences: []*controlv1.Difference{{Object: "TCP 192.168.1.200:443", Kind: "foreign", Actual: "rr"}}},
		{Forwarder: "f5:lab", Compared: true, Differences: []*controlv1.Difference{
			{Object: "TCP 10.1.1.100:80", Kind: "different", Desired: "wrr, persistence 5m0s", Actual: "rr"},
			{Object: "TCP 10.1.1.100:80 192.168.1.107:80", Kind: "different", Desired: "offline, NAT", Actual: "weight 100, NAT"},
			{Object: "TCP 10.1.1.100:80 192.168.1.109:80", Kind: "different", Actual: "weight 1, NAT"},
			{Object: "TCP 192.168.1.102:443", Kind: "missing", Desired: "rr"},
			{Object: "TCP 10.1.1.1:80", Kind: "foreign", Actual: "odd\x1b[2J"},
		}},
		{Forwarder: "f5:new", Reason: "it has not been read yet: poise status says why"},
		{Forwarder: "f5:other", Reason: "failover group VGM is not master here", Compared: true},
		{Forwarder: "f5:third", Reason: "failover group VGM is not master here", Compared: true, Differences: []*controlv1.Difference{
			{Object: "TCP 10.1.1.101:80", Kind: "missing", Desired: "rr"},
		}},
	}}
}

func TestDiffCommand(t *testing.T) {
	f := startFake(t)
	f.diff = func(r *controlv1.DiffRequest) (*controlv1.DiffResponse, error) {
		all := exampleDiff()
		if r.GetForwarder() == "" {
			return all, nil
		}
		for _, d := range all.GetForwarders() {
			if d.GetForwarder() == r.GetForwarder() {
				return &controlv1.DiffResponse{Forwarders: []*controlv1.ForwarderDiff{d}}, nil
			}
		}
		return nil, status.Error(codes.NotFound, "there is no forwarder "+r.GetForwarder())
	}
	code := func(err error) int {
		if err == nil {
			return 0
		}
		return exitStatus(err)
	}
	out, _, err := f.run(t, "diff")
	if code(err) != 1 || !errors.Is(err, errSaid) {
		t.Errorf("all: %v", err)
	}
	golden(t, "diff.txt", out)
	out, _, err = f.run(t, "diff", "-o", "json")
	if code(err) != 1 {
		t.Errorf("json: %v", err)
	}
	var back controlv1.DiffResponse
	if err := protojson.Unmarshal([]byte(out), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(exampleDiff(), &back, protocmp.Transform()); diff != "" {
		t.Errorf("read back (-sent +read):\n%s", diff)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"ipvs"}, 0, "ipvs: as it should be, 1 foreign left alone\n"},
		{[]string{"f5:lab"}, 1, "f5:lab: 4 DIFFERENCES, 1 foreign left alone\n"},
		{[]string{"f5:new"}, 2, "f5:new: NOT COMPARED: it has not been read yet: poise status says why\n"},
		{[]string{"f5:other"}, 0, "f5:other: as it should be (failover group VGM is not master here)\n"},
		{[]string{"f5:third", "-o", "json"}, 1, "{\n"},
		{[]string{"f5:new", "-o", "json"}, 2, "{\n"},
	} {
		out, _, err := f.run(t, append([]string{"diff"}, c.args...)...)
		if code(err) != c.code || !strings.HasPrefix(out, c.says) || err != nil && !errors.Is(err, errSaid) {
			t.Errorf("%v: %v, status %d, want %d\n%s", c.args, err, code(err), c.code, out)
		}
	}
	for says, args := range map[string][]string{
		"there is no forwarder f5:x": {"f5:x"}, "accepts at most 1 arg(s), received 2": {"a", "b"}, "unknown flag: --x": {"--x"},
		`output format "xml" is not known: use text or json`: {"-o", "xml"},
	} {
		if _, _, err := f.run(t, append([]string{"diff"}, args...)...); err == nil || err.Error() != says || exitStatus(err) != 2 {
			t.Errorf("%v: %v, status %d; want %s, status 2", args, err, exitStatus(err), says)
		}
	}
	if got := renderDiff(&controlv1.DiffResponse{}); got != "no forwarder: the configuration needs none\n" {
		t.Errorf("nothing: %q", got)
	}
}

func TestF5Import(t *testing.T) {
	f := startFake(t)
	var asked *controlv1.ImportForwarderRequest
	const yaml = "virtual_servers:\n  - address: 10.1.1.100:80\n"
	f.imports = func(r *controlv1.ImportForwarderRequest) (*controlv1.ImportForwarderResponse, error) {
		asked = r
		if r.GetForwarder() != "f5:lab" {
			return nil, status.Errorf(codes.NotFound, "no forwarder to import from %q: there is f5:lab", r.GetForwarder())
		}
		return &controlv1.ImportForwarderResponse{Yaml: yaml, Notes: []string{"/Common/web: its iRule is left out", "/Common/x: \x1b[2J"}}, nil
	}
	const notes = "note: /Common/web: its iRule is left out\nnote: /Common/x: ?[2J\n"
	for _, c := range []struct {
		args []string
		want *controlv1.ImportForwarderRequest
	}{
		{[]string{"lab"}, &controlv1.ImportForwarderRequest{Forwarder: "f5:lab"}},
		{[]string{"f5:lab", "--partition", "Common"}, &controlv1.ImportForwarderRequest{Forwarder: "f5:lab", Scope: "Common"}},
	} {
		out, complaints, err := f.run(t, append([]string{"f5", "import"}, c.args...)...)
		if err != nil || out != yaml || complaints != notes {
			t.Errorf("%v: %v\n%s\n%s", c.args, err, out, complaints)
		}
		if diff := cmp.Diff(c.want, asked, protocmp.Transform()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.args, diff)
		}
	}
	file := filepath.Join(t.TempDir(), "lab.yaml")
	out, complaints, err := f.run(t, "f5", "import", "lab", "-O", file)
	if err != nil || out != file+": written, with 2 notes\n" || complaints != notes {
		t.Errorf("to a file: %v\n%s\n%s", err, out, complaints)
	}
	if written, err := os.ReadFile(file); err != nil || string(written) != yaml {
		t.Errorf("the file: %v\n%s", err, written)
	}
	// What is in it by now may be somebody's work.
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err = f.run(t, "f5", "import", "lab", "-O", file); err == nil || err.Error() != file+" is there already: remove it, or name another file" {
		t.Errorf("over a file: %v", err)
	}
	if written, _ := os.ReadFile(file); string(written) != "mine" {
		t.Errorf("the file was written over: %s", written)
	}
	if _, _, err = f.run(t, "f5", "import", "lab", "-O", filepath.Join(file, "x")); err == nil || !strings.HasPrefix(err.Error(), "write the import: ") {
		t.Errorf("to where no file can be: %v", err)
	}
	if _, _, err = f.run(t, "f5", "import", "leb"); err == nil || exitStatus(err) != 1 || err.Error() != `no forwarder to import from "f5:leb": there is f5:lab` {
		t.Errorf("from one that is not there: %v", err)
	}
}

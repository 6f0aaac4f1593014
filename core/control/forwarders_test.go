package control

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

func TestDiff(t *testing.T) {
	client, _ := serve(t, newFake())
	own := &controlv1.ForwarderDiff{Forwarder: "ipvs", Compared: true}
	lab := &controlv1.ForwarderDiff{Forwarder: "f5:lab", Compared: true, Differences: []*controlv1.Difference{
		{Object: "TCP 198.51.100.100:80 192.0.2.2:80", Kind: "different", Desired: "offline, NAT", Actual: `weight 100, \xff`},
		{Object: "TCP 192.0.2.100:80", Kind: "foreign", Actual: "rr"},
	}}
	other := &controlv1.ForwarderDiff{Forwarder: "f5:other", Reason: "failover group VGM is not master here"}
	for name, want := range map[string][]*controlv1.ForwarderDiff{"": {own, lab, other}, "ipvs": {own}, "f5:lab": {lab}} {
		got, err := client.Diff(t.Context(), &controlv1.DiffRequest{Forwarder: name})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.GetForwarders(), protocmp.Transform()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", name, diff)
		}
	}
	_, err := client.Diff(t.Context(), &controlv1.DiffRequest{Forwarder: "f5:none"})
	if s := status.Convert(err); s.Code() != codes.NotFound || s.Message() != "there is no forwarder f5:none" {
		t.Errorf("of one that is not there: %v", err)
	}
}

func TestImportForwarder(t *testing.T) {
	d := newFake()
	client, _ := serve(t, d)
	got, err := client.ImportForwarder(t.Context(), &controlv1.ImportForwarderRequest{Forwarder: "f5:lab", Scope: "Common"})
	if err != nil {
		t.Fatal(err)
	}
	want := &controlv1.ImportForwarderResponse{Yaml: "# Common\nvirtual_servers: []\n", Notes: []string{`/Common/vs: a rule \xff`}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	d.failing = errors.New("forwarder f5:lab: read what it forwards: 503")
	for _, c := range []struct {
		name string
		code codes.Code
		says string
	}{
		{"f5:lab", codes.Unavailable, "forwarder f5:lab: read what it forwards: 503"},
		{"f5:other", codes.FailedPrecondition, "forwarder f5:other: its plugin does not run"},
		{"ipvs", codes.FailedPrecondition, "forwarder ipvs has nothing to import from: it is the director's own"},
		{"f5:leb", codes.NotFound, `no forwarder to import from "f5:leb": there is f5:lab, f5:other`},
		{"", codes.NotFound, `no forwarder to import from "": there is f5:lab, f5:other`},
	} {
		_, err := client.ImportForwarder(t.Context(), &controlv1.ImportForwarderRequest{Forwarder: c.name})
		if s := status.Convert(err); s.Code() != c.code || s.Message() != c.says {
			t.Errorf("%q: %v, want %s: %s", c.name, err, c.code, c.says)
		}
	}
}

package daemon

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poise-lb/poise/core/control"
	"github.com/poise-lb/poise/core/forwarder"
	"github.com/poise-lb/poise/core/model"
)

// What is not known is said so, and no difference; what is held back is compared.
func TestCompareSaysWhyItDoesNot(t *testing.T) {
	key := model.ServiceKey{Addr: netip.MustParseAddr("192.0.2.100"), Port: 80, Protocol: model.TCP}
	want := model.ForwardSet{Generation: 3, Services: []model.Service{{Key: key, Scheduler: "rr"}}}
	missing := []forwarder.Difference{{Object: "TCP 192.0.2.100:80", Kind: forwarder.Missing, Desired: "rr"}}
	const held = "failover group VGM is not master here"
	for name, c := range map[string]struct {
		reason string
		want   model.ForwardSet
		is     forwarder.Status
		out    control.Comparison
	}{
		"compared":        {want: want, is: forwarder.Status{Platform: "x"}, out: control.Comparison{Compared: true, Differences: missing}},
		"held":            {reason: held, want: want, is: forwarder.Status{Platform: "x"}, out: control.Comparison{Reason: held, Compared: true, Differences: missing}},
		"no answer":       {want: want, out: control.Comparison{Reason: "it has not been read yet: poise status says why"}},
		"held, no answer": {reason: held, want: want, out: control.Comparison{Reason: "it has not been read yet: poise status says why"}},
		"no set yet":      {is: forwarder.Status{Platform: "x", Services: want.Services}, out: control.Comparison{Reason: "there is no set to put in force yet"}},
	} {
		c.out.Forwarder = "f5:lab"
		if diff := cmp.Diff(c.out, compare(control.Comparison{Forwarder: "f5:lab", Reason: c.reason}, c.want, c.is)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Operators may ask before the configuration has been read.
func TestForwardersBeforeTheConfiguration(t *testing.T) {
	var d Daemon
	var refused *control.RefusedError
	if _, err := d.Differences(t.Context(), ""); !errors.As(err, &refused) {
		t.Errorf("differences: %v", err)
	}
	if _, _, err := d.Import(t.Context(), "f5:lab", ""); !errors.As(err, &refused) {
		t.Errorf("import: %v", err)
	}
	if list := d.Appliances(); list != nil {
		t.Errorf("appliances: %v", list)
	}
}

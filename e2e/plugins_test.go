package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poise-lb/poise/e2e/lab"
)

// TestPluginsConform: the plugins that need a kernel with IPVS, or may change a machine's
// addresses, go through the conformance kit where they can.
func TestPluginsConform(t *testing.T) {
	l := lab.New(t, lab.DR, 1)
	l.ProveKernel()
	bin := os.Getenv("POISE_E2E_BIN")
	for name, proof := range map[string]string{"ipvs": "pass  forward/ipvs: apply ", "vrrp": "pass  failover/vrrp: groups "} {
		t.Run(name, func(t *testing.T) {
			out := l.A.Run(filepath.Join(bin, "poise"), "plugin", "test", filepath.Join(bin, "poise-plugin"), "--arg", name, "--touch")
			if !strings.Contains(out, proof) {
				t.Errorf("the kit does not say %q:\n%s", proof, out)
			}
		})
	}
}

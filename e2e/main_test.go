package e2e

import (
	"os"
	"regexp"
	"testing"

	"github.com/poise-lb/poise/e2e/lab"
)

// groups share the machines; the longest is first.
var groups = []lab.Group{
	{Name: "traffic", Tests: regexp.MustCompile(`^TestTraffic`)},
	{Name: "peers", Tests: regexp.MustCompile(`^Test(PeerKeepalived|TableEqualsKeepalived)$`)},
	{Name: "kills", Tests: regexp.MustCompile(`Chaos$|^TestStoppedPlugins$`)},
	{Name: "faults", Tests: regexp.MustCompile(`Checkers(Stopped|Killed)$`), Programs: rogue, Soak: true},
	{Name: "floods", Tests: regexp.MustCompile(`^TestCheckers`), Programs: rogue, Soak: true},
	{Name: "rest", Tests: regexp.MustCompile(`.`)},
}

// rogue is a plugin that misbehaves.
var rogue = []string{"./e2e/testdata/rogue"}

func TestMain(m *testing.M) { os.Exit(lab.Main(m, groups)) }

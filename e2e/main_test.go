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
	{Name: "rest", Tests: regexp.MustCompile(`.`)},
}

func TestMain(m *testing.M) { os.Exit(lab.Main(m, groups)) }

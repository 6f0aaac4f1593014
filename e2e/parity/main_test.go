package parity

import (
	"os"
	"regexp"
	"testing"

	"github.com/poise-lb/poise/e2e/lab"
)

// groups share the machines; the longest is first.
var groups = []lab.Group{
	{Name: "parity-web", Tests: regexp.MustCompile(`HTTP|SSL|Body`)},
	{Name: "parity-rest", Tests: regexp.MustCompile(`.`)},
}

func TestMain(m *testing.M) { os.Exit(lab.Main(m, groups)) }

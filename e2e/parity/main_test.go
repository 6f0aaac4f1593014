package parity

import (
	"os"
	"regexp"
	"testing"

	"github.com/poise-lb/poise/e2e/lab"
)

// groups share the machines; the longest is first.
var groups = []lab.Group{
	{Name: "parity-brief", Tests: regexp.MustCompile(`Brief`)},
	{Name: "parity-web", Tests: regexp.MustCompile(`Web`)},
	{Name: "parity-script", Tests: regexp.MustCompile(`Script`)},
	{Name: "parity-stream", Tests: regexp.MustCompile(`Stream`)},
	{Name: "parity-datagram", Tests: regexp.MustCompile(`Datagram`)},
	{Name: "parity-secure", Tests: regexp.MustCompile(`Secure`)},
	{Name: "parity-mail", Tests: regexp.MustCompile(`Mail|Body`)},
	{Name: "parity-rest", Tests: regexp.MustCompile(`.`)},
}

func TestMain(m *testing.M) { os.Exit(lab.Main(m, groups)) }

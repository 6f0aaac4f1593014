package observe

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// docs/metrics.md lists exactly what there is, with the same words.
func TestDocumentListsTheMetrics(t *testing.T) {
	const path = "../../docs/metrics.md"
	document, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var listed, there []string
	for line := range strings.Lines(string(document)) {
		if strings.HasPrefix(line, "| `poise_") {
			listed = append(listed, strings.TrimSpace(line))
		}
	}
	for _, m := range metrics {
		there = append(there, fmt.Sprintf("| `%s` | %s | %s | %s |", m.name, m.typeName(), strings.Join(m.labels, ", "), m.help))
	}
	if diff := cmp.Diff(there, listed); diff != "" {
		t.Errorf("%s (-there is +listed):\n%s\nall lines:\n%s", path, diff, strings.Join(there, "\n"))
	}
}

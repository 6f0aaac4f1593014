package plugintest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/poise-lb/poise/sdk/plugintest/conform"
)

// EnvFull asks for the full conformance kit, which takes minutes.
const EnvFull = "POISE_SOAK"

// Executable checks every requirement on a plugin's executable, twice before it has failed.
// The full kit runs if the environment has EnvFull, or o.Full says so.
func Executable(t *testing.T, o conform.Options) {
	t.Helper()
	o.Attempts = max(o.Attempts, 2)
	o.Full = o.Full || os.Getenv(EnvFull) != ""
	results, err := conform.Run(t.Context(), o)
	if err != nil {
		t.Fatalf("run the conformance kit on %s: %s", o.Path, err)
	}
	for _, r := range results {
		name := r.Requirement
		if r.Subject != "" {
			name = r.Subject + "/" + name
		}
		t.Run(name, func(t *testing.T) {
			switch r.Outcome {
			case conform.Failed:
				t.Errorf("%s: %s", r.Says, r.Detail)
			case conform.Skipped:
				t.Skip(r.Detail)
			}
		})
	}
}

// Build builds the package in a directory and gives the executable: for the tests of a
// command.
func Build(t *testing.T, dir string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "plugin")
	cmd := exec.Command("go", "build", "-o", out, ".")
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %s\n%s", dir, err, text)
	}
	return out
}

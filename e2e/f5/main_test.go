package f5

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/poise-lb/poise/e2e/lab"
)

// root is the repository; bin has poised, poise, poise-plugin and poise-bigip-sim of it.
var root, bin string

func TestMain(m *testing.M) {
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "f5:", err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (int, error) {
	if os.Geteuid() != 0 {
		fmt.Println("directors take root's rights")
		if os.Getenv("CI") == "true" {
			return 1, nil
		}
		fmt.Println("SKIP")
		return 0, nil
	}
	var err error
	if root, err = lab.Root(); err != nil {
		return 0, err
	}
	if dir := os.Getenv("POISE_E2E_BIN"); dir != "" {
		bin = dir
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "poise-f5-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	// The plugins of poise are run by a user that has to get there.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 0, err
	}
	bin = filepath.Join(dir, "bin")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", bin+"/", "./cmd/...", "./e2e/cmd/poise-bigip-sim")
	build.Dir = root
	if text, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build poise: %w\n%s", err, text)
	}
	return m.Run(), nil
}

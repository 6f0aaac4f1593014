package poise_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/poise-lb/poise/core/config"
)

// The YAML of the README is the seed's: what it shows must work, and mean the same.
func TestReadmeExample(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(data), "```yaml\n")
	example, _, closed := strings.Cut(after, "```")
	if !found || !closed {
		t.Fatal("README.md has no yaml example")
	}
	path := filepath.Join(t.TempDir(), "poise.yaml")
	if err := os.WriteFile(path, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	got, want := config.Load(path, config.Options{}), config.Load("configs/seed.yaml", config.Options{})
	for _, p := range append(got.Problems, want.Problems...) {
		t.Error(p)
	}
	if !reflect.DeepEqual(got.Config, want.Config) {
		t.Errorf("the README's example means\n%+v\nconfigs/seed.yaml\n%+v", got.Config, want.Config)
	}
}

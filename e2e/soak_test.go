package e2e

import (
	"os"
	"testing"
)

// soakOnly leaves a test that takes minutes to make soak.
func soakOnly(t *testing.T) {
	t.Helper()
	if os.Getenv("POISE_SOAK") == "" {
		t.Skip("takes minutes: make soak, or set POISE_SOAK=1")
	}
}

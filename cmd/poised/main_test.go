package main

import (
	"strings"
	"testing"
)

// TestFileWithoutFlag: who forgets -f is told of it.
func TestFileWithoutFlag(t *testing.T) {
	c := newCommand()
	c.SetArgs([]string{"-t", "/etc/poise/poise.yaml"})
	if err := c.Execute(); err == nil || !strings.Contains(err.Error(), "-f /etc/poise/poise.yaml") {
		t.Errorf("poised -t FILE: %v", err)
	}
}

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// docs/operations.md names every command and every flag of its own.
func TestOperationsNamesEveryCommand(t *testing.T) {
	document, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(document)
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Runnable() && c.Name() != "help" && c.Name() != "version" && !strings.Contains(text, c.CommandPath()) {
			t.Errorf("%s is not there", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newCommand())
	for _, flag := range []string{"--deadline", "--wait", "--runtime-dir", "-o json"} {
		if !strings.Contains(text, flag) {
			t.Errorf("%s is not there", flag)
		}
	}
}

// The settings that the packaging brings are explained, with the same values.
func TestOperationsExplainsEverySysctl(t *testing.T) {
	document, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	settings, err := os.ReadFile("../../packaging/90-poise.conf")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(settings)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "net.ipv4.vs.") {
			continue
		}
		found++
		if !strings.Contains(string(document), line) {
			t.Errorf("%s is not there", line)
		}
	}
	if found < 5 {
		t.Errorf("only %d settings found", found)
	}
}

package examples

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commands are the document's blocks of shell, in order.
func commands(text string) string {
	var out strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		switch {
		case !inside && strings.TrimSpace(line) == "```sh":
			inside = true
		case inside && strings.TrimSpace(line) == "```":
			inside = false
		case inside:
			out.WriteString(line)
		}
	}
	return out.String()
}

// TestDocument follows docs/plugins.md to the letter, from nothing to a checker that takes a
// server out. Where plugins are installed and what runs leaves files is memory that nobody
// else sees.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "plugins.md"))
	if err != nil {
		t.Fatal(err)
	}
	script := commands(string(text))
	if strings.Count(script, "\n") < 50 {
		t.Fatalf("the document has hardly any commands:\n%s", script)
	}
	const private = `set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /usr/libexec
mount -t tmpfs -o mode=755 tmpfs /usr/libexec
`
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", private+script)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "POISE="+root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(cmd.Dir, "checker-pop3", "poised.log"))
		t.Fatalf("the document's commands: %s\n%s\npoised said:\n%s", err, out, log)
	}
	t.Logf("from nothing to a checker of one's own in %s", time.Since(begun).Round(time.Second))
	for _, want := range []string{" 0 not met", "nmae", "mail.example.org ready", "connection refused", "poise-check-pop3"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the commands do not say %q:\n%s", want, out)
		}
	}
}

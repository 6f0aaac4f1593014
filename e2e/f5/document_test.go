package f5

import (
	"context"
	"encoding/json"
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

// TestDocument follows docs/f5.md to the letter, against the simulator. The network is a
// loopback that nobody else has, and where what runs leaves files is memory.
func TestDocument(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile(filepath.Join(root, "docs", "f5.md"))
	if err != nil {
		t.Fatal(err)
	}
	script := commands(string(document))
	if strings.Count(script, "\n") < 50 {
		t.Fatalf("the document has hardly any commands:\n%s", script)
	}
	const private = `set -eu
mount -t tmpfs -o mode=755 tmpfs /run
ip link set lo up
`
	// In the end it is looked at what the commands have left.
	const after = `
for i in $(seq 100); do
  curl -s --cacert ca.pem -u admin:admin 'https://127.0.0.1:8443/mgmt/tm/ltm/virtual?$select=fullPath,destination' >virtuals.json
  grep -q /poise/ virtuals.json || break
  sleep 0.1
done
curl -s http://127.0.0.1:8480/requests >requests.json
`
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", private+script+after)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(cmd.Dir, "poised.log"))
		t.Fatalf("the document's commands: %s\n%s\npoised said:\n%s", err, out, log)
	}
	t.Logf("from BIG-IP to LVS in %s", time.Since(begun).Round(time.Second))
	for _, want := range []string{
		"from-bigip.yaml: written, with ", "address: 198.18.0.4:80", "on f5:lab as TCP 192.168.1.200:80", "f5:lab: as it should be", "null: as it should be", "drain",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the commands do not say %q:\n%s", want, out)
		}
	}
	virtuals, err := os.ReadFile(filepath.Join(cmd.Dir, "virtuals.json"))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(virtuals); !strings.Contains(text, "/Common/foreign-virtual") || strings.Contains(text, "/poise/") {
		t.Errorf("in the end the BIG-IP has %s, want the old service and nothing of poise", text)
	}
	requests, err := os.ReadFile(filepath.Join(cmd.Dir, "requests.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []struct{ Method, Kind string }
	if err := json.Unmarshal(requests, &all); err != nil {
		t.Fatalf("the simulator's log: %v\n%.300s", err, requests)
	}
	count := map[string]int{}
	for _, r := range all {
		if r.Kind == "ltm/virtual" {
			count[r.Method]++
		}
	}
	// Made in step 2 and taken back; made again, and taken back in step 6, twice.
	if count["POST"] != 3 || count["DELETE"] != 3 {
		t.Errorf("poise has made virtual servers %d times and removed them %d times, want 3 and 3", count["POST"], count["DELETE"])
	}
}

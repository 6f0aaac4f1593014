package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// poised is a daemon that runs.
type poised struct {
	dir string
	log *locked
}

// locked is a buffer that may be read while it is written.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startPoised runs a daemon with a configuration until the test ends.
func startPoised(t *testing.T, yaml string) *poised {
	t.Helper()
	// The plugins' users have to get to their sockets.
	dir, err := os.MkdirTemp("", "poise-examples-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	p := &poised{dir: dir, log: &locked{}}
	config := filepath.Join(dir, "poise.yaml")
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "poised"), "-f", config, "--state-dir", filepath.Join(dir, "state"), "--runtime-dir", filepath.Join(dir, "run"), "--log-level", "debug")
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("poised ended with %s", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("poised does not stop")
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("poised said:\n%s", p.log)
		}
	})
	return p
}

// poise runs the operator's command.
func (p *poised) poise(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "poise"), append([]string{"--runtime-dir", filepath.Join(p.dir, "run")}, args...)...).CombinedOutput()
	return string(out), err
}

// realServer is what status says of one.
type realServer struct {
	Name, Verdict, Reason string
	InTable               bool `json:"in_table"`
}

// status gives the real servers by name; nil: it does not answer yet.
func (p *poised) status() map[string]realServer {
	out, err := p.poise("status", "-o", "json")
	if err != nil {
		return nil
	}
	var s struct {
		VirtualServers []struct {
			RealServers []realServer `json:"real_servers"`
		} `json:"virtual_servers"`
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return nil
	}
	all := map[string]realServer{}
	for _, v := range s.VirtualServers {
		for _, r := range v.RealServers {
			all[r.Name] = r
		}
	}
	return all
}

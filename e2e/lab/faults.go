package lab

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/poise-lb/poise/e2e/fault"
)

// Faults is a server with faults made to order on a host.
type Faults struct {
	t   TB
	cmd *exec.Cmd

	mu     sync.Mutex
	probes map[uint16][]fault.Probe
	ended  bool
}

// Faults starts a server on the host and waits until it serves its ports.
func (l *Lab) Faults(h *Host, ports []fault.Port) *Faults {
	l.t.Helper()
	text, err := json.Marshal(ports)
	path := filepath.Join(l.Dir, "faults-"+h.Name+".json")
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		l.t.Fatalf("write the faults of %s: %v", h.Name, err)
	}
	f := &Faults{t: l.t, cmd: h.role("fault", path), probes: map[uint16][]fault.Probe{}}
	f.cmd.Stderr = os.Stderr
	out, err := f.cmd.StdoutPipe()
	if err == nil {
		err = f.cmd.Start()
	}
	if err != nil {
		l.t.Fatalf("start the server of faults on %s: %v", h.Name, err)
	}
	l.t.Cleanup(f.Stop)
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != fault.Ready {
		l.t.Fatalf("the server of faults on %s does not serve: %q", h.Name, lines.Text())
	}
	go f.read(lines)
	return f
}

func (f *Faults) read(lines *bufio.Scanner) {
	for lines.Scan() {
		p, err := fault.ParseProbe(lines.Text())
		if err != nil {
			f.t.Errorf("the server of faults: %v", err)
			continue
		}
		f.mu.Lock()
		f.probes[p.Port] = append(f.probes[p.Port], p)
		f.mu.Unlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
}

// Probes are those that have come to a port so far, in their order.
func (f *Faults) Probes(port uint16) []fault.Probe {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		f.t.Errorf("the server of faults has ended")
	}
	list := f.probes[port]
	return list[:len(list):len(list)]
}

// Stop ends the server; it may be called again.
func (f *Faults) Stop() {
	_ = f.cmd.Process.Signal(syscall.SIGKILL)
	_ = f.cmd.Wait()
}

package sdk

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// gate is a writer that waits until it is opened.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	bytes.Buffer
	err error
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	return g.Buffer.Write(p)
}

// TestLogNeverWaits: lines that nobody reads are dropped and counted.
func TestLogNeverWaits(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	w := newLogWriter(g)
	defer func() { close(w.lines); goleak.VerifyNone(t, goleak.IgnoreCurrent()) }()
	const total = 3 * logLines
	for range total {
		if n, err := w.Write([]byte("line\n")); n != 5 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	close(g.open)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		w.mu.Lock()
		done := w.pending == 0
		w.mu.Unlock()
		if done {
			break
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	got := g.String()
	if n := strings.Count(got, "line\n"); n < logLines || n > logLines+1 {
		t.Errorf("%d lines were written, want what fits", n)
	}
	if !strings.Contains(got, "lines of the log were lost") {
		t.Error("nothing says that lines were lost")
	}
}

// TestLogDead: after a write that failed nothing is kept, and flush does not wait.
func TestLogDead(t *testing.T) {
	g := &gate{open: make(chan struct{}), err: errors.New("broken pipe")}
	close(g.open)
	w := newLogWriter(g)
	defer close(w.lines)
	dead := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.dead
	}
	for end := time.Now().Add(5 * time.Second); !dead() && time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := w.Write([]byte("line\n")); err != nil {
			t.Fatal(err)
		}
	}
	if !dead() {
		t.Fatal("the writer did not notice that its pipe is broken")
	}
	w.flush()
}

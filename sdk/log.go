package sdk

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/poise-lb/poise/proto/handshake"
)

const (
	// logLines is how many lines wait for a daemon that does not read.
	logLines = 1024
	// logFlush bounds the wait for the last lines at the end.
	logFlush = 200 * time.Millisecond
)

// logWriter passes lines on without ever making who logs wait: a daemon that is
// stopped or gone must not stop its plugin. What does not fit is dropped and counted;
// after a failed write all is dropped.
type logWriter struct {
	lines chan []byte
	out   io.Writer

	mu sync.Mutex
	// pending lines have been taken and not been written yet.
	pending int
	dropped int
	dead    bool
}

func newLogWriter(out io.Writer) *logWriter {
	w := &logWriter{lines: make(chan []byte, logLines), out: out}
	go w.copy()
	return w
}

// Write takes one line.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return len(line), nil
	}
	select {
	case w.lines <- bytes.Clone(line):
		w.pending++
	default:
		w.dropped++
	}
	return len(line), nil
}

func (w *logWriter) copy() {
	for line := range w.lines {
		w.mu.Lock()
		dropped := w.dropped
		w.dropped = 0
		w.mu.Unlock()
		if dropped > 0 {
			line = append(line, fmt.Appendf(nil, "[WARN] %d lines of the log were lost: the daemon did not read them\n", dropped)...)
		}
		_, err := w.out.Write(line)
		w.mu.Lock()
		w.pending--
		w.dead = w.dead || err != nil
		w.mu.Unlock()
	}
}

// flush waits a moment for what has been logged.
func (w *logWriter) flush() {
	written := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.pending == 0 || w.dead
	}
	for end := time.Now().Add(logFlush); !written() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// newLogger makes the logger of the process: JSON on standard error, which is what
// go-plugin's other side reads. It has to be made before go-plugin replaces os.Stderr.
func newLogger(name string) (hclog.Logger, *logWriter) {
	w := newLogWriter(os.Stderr)
	if given := os.Getenv(handshake.EnvName); given != "" {
		name = given
	}
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Debug, Output: w, JSONFormat: true}), w
}

package lab

import (
	"bufio"
	"bytes"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Held is one connection that is kept open and used.
type Held struct {
	cmd     *exec.Cmd
	stderr  bytes.Buffer
	answers atomic.Int64
	server  string
	done    chan struct{}
}

// Hold opens a connection to the virtual server and uses it every 50 ms.
func (l *Lab) Hold() *Held {
	l.t.Helper()
	h := &Held{cmd: l.Client.role("hold", Service, "50ms"), done: make(chan struct{})}
	h.cmd.Stderr = &h.stderr
	out, err := h.cmd.StdoutPipe()
	if err == nil {
		err = h.cmd.Start()
	}
	if err != nil {
		l.t.Fatalf("start a client that holds a connection: %v", err)
	}
	first := make(chan string, 1)
	go func() {
		defer close(h.done)
		for s := bufio.NewScanner(out); s.Scan(); {
			if h.answers.Add(1) == 1 {
				_, server, _ := strings.Cut(s.Text(), " ")
				first <- server
			}
		}
	}()
	l.t.Cleanup(func() { h.End() })
	select {
	case h.server = <-first:
	case <-h.done:
		l.t.Fatalf("a held connection did not stand: %s", h.stderr.String())
	case <-time.After(30 * time.Second):
		l.t.Fatalf("a held connection got no answer in 30 s")
	}
	return h
}

// Server is the one the connection goes to.
func (h *Held) Server() string { return h.server }

// Answers counts what has been answered on it.
func (h *Held) Answers() int64 { return h.answers.Load() }

// Broken says whether the connection has broken.
func (h *Held) Broken() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// End closes the connection.
func (h *Held) End() {
	_ = h.cmd.Process.Signal(syscall.SIGKILL)
	<-h.done
	_ = h.cmd.Wait()
}

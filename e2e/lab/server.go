package lab

import (
	"bufio"
	"os"
	"os/exec"
	"syscall"
)

// Server is a program on a real server that answers with its host's name.
type Server struct {
	cmd *exec.Cmd
	t   TB
}

// Serve starts a server on port 80 of the host and waits until it listens.
func (l *Lab) Serve(h *Host) *Server {
	l.t.Helper()
	cmd := h.role("server", h.Name, "0.0.0.0:80")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		l.t.Fatalf("start the server of %s: %v", h.Name, err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		l.t.Fatalf("the server of %s does not listen: %q, %v", h.Name, line, err)
	}
	s := &Server{cmd: cmd, t: l.t}
	l.t.Cleanup(s.Stop)
	return s
}

// ServeAll starts the servers of all real servers.
func (l *Lab) ServeAll() []*Server {
	l.t.Helper()
	var out []*Server
	for _, r := range l.Reals {
		out = append(out, l.Serve(r))
	}
	return out
}

// Stop ends the server: its port is closed.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	_ = s.cmd.Wait()
}

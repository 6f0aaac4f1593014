package f5

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// patience is how long something that has to happen is waited for, on a machine that does
// other things.
const patience = 60 * time.Second

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s have passed, and not: %s", patience, what)
		}
	}
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

// poised is a daemon, with its configuration and its state.
type poised struct {
	controlv1.ControlServiceClient
	t   *testing.T
	dir string
	log *locked
	cmd *exec.Cmd
	end chan error
}

// newPoised makes a daemon that is not started.
func newPoised(t *testing.T, yaml string) *poised {
	t.Helper()
	// The plugins' users have to get to their sockets.
	dir, err := os.MkdirTemp("", "poise-f5-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	p := &poised{t: t, dir: dir, log: &locked{}}
	p.configure(yaml)
	conn, err := grpc.NewClient("unix:"+filepath.Join(dir, "run", "control.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	p.ControlServiceClient = controlv1.NewControlServiceClient(conn)
	t.Cleanup(func() {
		p.stop()
		_ = conn.Close()
		if t.Failed() {
			t.Logf("poised said:\n%s", p.log)
		}
	})
	return p
}

func (p *poised) file(name string) string { return filepath.Join(p.dir, name) }

func (p *poised) configure(yaml string) {
	p.t.Helper()
	p.write("poise.yaml", yaml)
}

func (p *poised) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(p.file(name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// start starts the daemon and waits until it answers.
func (p *poised) start() {
	p.t.Helper()
	p.cmd = exec.Command(filepath.Join(bin, "poised"), "-f", p.file("poise.yaml"), "--state-dir", p.file("state"), "--runtime-dir", p.file("run"), "--log-level", "debug")
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.end = make(chan error, 1)
	go func(cmd *exec.Cmd, end chan<- error) { end <- cmd.Wait() }(p.cmd, p.end)
	waitFor(p.t, "poised answers", func() bool {
		select {
		case err := <-p.end:
			p.end <- err
			p.t.Fatalf("poised has ended: %v", err)
		default:
		}
		s := p.status()
		return s.GetDaemon().GetPid() == uint32(p.cmd.Process.Pid)
	})
}

// stop stops the daemon cleanly; it may be stopped already.
func (p *poised) stop() {
	if p.end == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.end:
		if err != nil {
			p.t.Errorf("poised ended with %s", err)
		}
	case <-time.After(patience):
		p.t.Error("poised does not stop")
		_ = p.cmd.Process.Kill()
		<-p.end
	}
	p.end = nil
}

// status is the daemon's; nil: it does not answer.
func (p *poised) status() *controlv1.StatusResponse {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := p.Status(ctx, &controlv1.StatusRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return nil
	}
	return s
}

// reload puts another configuration in force.
func (p *poised) reload(yaml string) {
	p.t.Helper()
	p.configure(yaml)
	if _, err := p.Reload(p.t.Context(), &controlv1.ReloadRequest{}); err != nil {
		p.t.Fatalf("reload: %v\n%s", err, yaml)
	}
}

// poise runs the operator's command, and gives its exit status too.
func (p *poised) poise(args ...string) (string, int) {
	p.t.Helper()
	return p.program("poise", append([]string{"--runtime-dir", p.file("run")}, args...)...)
}

func (p *poised) program(name string, args ...string) (string, int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		p.t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// plugin is the process of the appliance.
func (p *poised) plugin() *controlv1.Plugin {
	for _, x := range p.status().GetPlugins() {
		if x.GetName() == "f5-lab" {
			return x
		}
	}
	return nil
}

// settled says that every forwarder holds what it should.
func (p *poised) settled() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	d, err := p.Diff(ctx, &controlv1.DiffRequest{})
	if err != nil || len(d.GetForwarders()) == 0 {
		return false
	}
	for _, f := range d.GetForwarders() {
		if !f.GetCompared() {
			return false
		}
		for _, x := range f.GetDifferences() {
			if x.GetKind() != "foreign" {
				return false
			}
		}
	}
	for _, a := range p.status().GetAppliances() {
		if a.GetAppliedGeneration() != a.GetDesiredGeneration() || len(a.GetErrors()) > 0 {
			return false
		}
	}
	return true
}

// watch follows the daemon's events until the test ends; what it holds already is left out.
func (p *poised) watch() *events {
	p.t.Helper()
	stream, err := p.Events(p.t.Context(), &controlv1.EventsRequest{Follow: true})
	if err != nil {
		p.t.Fatal(err)
	}
	e := &events{p: p, more: make(chan struct{}, 1)}
	go func() {
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			e.mu.Lock()
			e.list = append(e.list, r)
			e.mu.Unlock()
			select {
			case e.more <- struct{}{}:
			default:
			}
		}
	}()
	return e
}

// events are those of a daemon, as they come.
type events struct {
	p    *poised
	more chan struct{}
	mu   sync.Mutex
	list []*controlv1.EventsResponse
}

// next waits for the first event after a number that is so; nil: there was none in time.
func (e *events) next(after uint64, within time.Duration, so func(*controlv1.EventsResponse) bool) *controlv1.EventsResponse {
	for end := time.After(within); ; {
		e.mu.Lock()
		for _, r := range e.list {
			if r.GetSequence() > after && so(r) {
				e.mu.Unlock()
				return r
			}
		}
		e.mu.Unlock()
		select {
		case <-e.more:
		case <-end:
			return nil
		}
	}
}

// last is the number of the newest event.
func (e *events) last() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.list) == 0 {
		return 0
	}
	return e.list[len(e.list)-1].GetSequence()
}

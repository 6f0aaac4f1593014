package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// poised is what a director run by poised can be asked over its control socket.
type poised struct {
	conn *grpc.ClientConn
}

func (d *Director) runtimeDir() string { return filepath.Join(d.Dir, "run") }

// Control is the daemon's control interface.
func (d *Director) Control() controlv1.ControlServiceClient {
	d.t.Helper()
	if d.conn == nil {
		conn, err := grpc.NewClient("unix:"+filepath.Join(d.runtimeDir(), "control.sock"),
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0))
		if err != nil {
			d.t.Fatalf("make a client of poised on %s: %v", d.Name, err)
		}
		d.conn = conn
	}
	return controlv1.NewControlServiceClient(d.conn)
}

func (p *poised) close() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}

const controlTimeout = 5 * time.Second

// TryStatus asks the daemon for its status.
func (d *Director) TryStatus() (*controlv1.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), controlTimeout)
	defer cancel()
	status, err := d.Control().Status(ctx, &controlv1.StatusRequest{})
	if err != nil {
		// The next try is a new connection, without the wait of a broken one.
		d.close()
	}
	return status, err
}

// Status is the daemon's status, which it has to give.
func (d *Director) Status() *controlv1.StatusResponse {
	d.t.Helper()
	status, err := d.TryStatus()
	if err != nil {
		d.t.Fatalf("status of poised on %s: %v", d.Name, err)
	}
	return status
}

// Events are the events the daemon holds.
func (d *Director) Events() []*controlv1.EventsResponse {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), controlTimeout)
	defer cancel()
	stream, err := d.Control().Events(ctx, &controlv1.EventsRequest{})
	var out []*controlv1.EventsResponse
	for err == nil {
		var e *controlv1.EventsResponse
		if e, err = stream.Recv(); err == nil {
			out = append(out, e)
		}
	}
	if !errors.Is(err, io.EOF) {
		d.t.Fatalf("events of poised on %s: %v", d.Name, err)
	}
	return out
}

// Override lays an operator's wish over a real server.
func (d *Director) Override(h *Host, mode controlv1.OverrideMode) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), controlTimeout)
	defer cancel()
	_, err := d.Control().SetOverride(ctx, &controlv1.SetOverrideRequest{
		VirtualServer: Service, RealServer: d.lab.Address(h) + ":80", Mode: mode,
	})
	if err != nil {
		d.t.Fatalf("override %s on %s: %v", h.Name, d.Name, err)
	}
}

// Plugin is a plugin process of the daemon by its name; nil: there is none.
func (d *Director) Plugin(name string) *controlv1.Plugin {
	d.t.Helper()
	status, err := d.TryStatus()
	if err != nil {
		return nil
	}
	for _, p := range status.GetPlugins() {
		if p.GetName() == name {
			return p
		}
	}
	return nil
}

// Poise runs the operator's command against the daemon and gives its output, errors
// too, and its exit status.
func (d *Director) Poise(args ...string) (string, int) {
	d.t.Helper()
	return d.program("poise", append([]string{"--runtime-dir", d.runtimeDir()}, args...)...)
}

// Test runs `poised -t` on a file.
func (d *Director) Test(args ...string) (string, int) {
	d.t.Helper()
	return d.program("poised", append([]string{"-t"}, args...)...)
}

func (d *Director) program(name string, args ...string) (string, int) {
	d.t.Helper()
	cmd := exec.Command(Binary(name), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var err error
	d.Do(func() { err = cmd.Start() })
	if err == nil {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.t.Fatalf("run %s on %s: %v", name, d.Name, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

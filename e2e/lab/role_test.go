package lab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// start plays a part on this machine's loopback; its input stays open until stop.
func start(t *testing.T, words ...string) (out *bufio.Scanner, stop func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), RoleEnv+"="+strings.Join(words, " "))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _, _ = io.Copy(io.Discard, pipe); _ = cmd.Wait() })
	return bufio.NewScanner(pipe), func() { _ = in.Close() }
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestClientAndServer(t *testing.T) {
	address := freeAddress(t)
	server, _ := start(t, "server", "r7", address)
	if !server.Scan() {
		t.Fatal("the server does not listen")
	}
	out, stop := start(t, "client", address, "5ms", "1s")
	answered, settled := 0, false
	for out.Scan() {
		if strings.HasPrefix(out.Text(), doneWord+" ") {
			settled = true
			continue
		}
		r, ok := parseRequest(out.Text())
		if !ok || r.Err != "" || r.Server != "r7" || r.Connected.Before(r.Start) || r.End.Before(r.Connected) {
			t.Fatalf("a request is %+v: %q", r, out.Text())
		}
		if answered++; answered == 20 {
			stop()
		}
	}
	if answered < 20 || !settled {
		t.Errorf("%d requests were answered, and a word that earlier ones have ended: %v", answered, settled)
	}
}

func TestClientSeesFailures(t *testing.T) {
	silent, err := net.Listen("tcp4", "127.0.0.1:0") // takes connections and does not answer
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, x := range map[string]struct {
		address, want string
		connected     bool
	}{
		"refused": {freeAddress(t), "connection refused", false},
		"silent":  {silent.Addr().String(), "no answer in 50ms", true},
	} {
		t.Run(name, func(t *testing.T) {
			out, stop := start(t, "client", x.address, "5ms", "50ms")
			defer stop()
			for out.Scan() {
				if r, ok := parseRequest(out.Text()); ok {
					if !strings.Contains(r.Err, x.want) || r.Connected.IsZero() == x.connected || r.Server != "" {
						t.Errorf("a request is %+v, want %q", r, x.want)
					}
					return
				}
			}
			t.Error("no request has ended")
		})
	}
}

func TestHeldConnection(t *testing.T) {
	address := freeAddress(t)
	server, _ := start(t, "server", "r7", address)
	if !server.Scan() {
		t.Fatal("the server does not listen")
	}
	out, _ := start(t, "hold", address, "1ms")
	last := int64(0)
	for range 5 {
		if !out.Scan() {
			t.Fatal("the connection has broken")
		}
		var at int64
		var who string
		if _, err := fmt.Sscan(out.Text(), &at, &who); err != nil || who != "r7" || at <= last || at > time.Now().UnixNano() {
			t.Errorf("an answer is %q after %d: %v", out.Text(), last, err)
		}
		last = at
	}
}

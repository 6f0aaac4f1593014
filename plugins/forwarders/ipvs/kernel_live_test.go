package ipvs

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

// until polls for a condition.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// watch runs Watch and gives what it reports but beats; beats are counted.
func watch(t *testing.T, f sdk.Forwarder, interval time.Duration) (drifts chan *forwardv1.Drift, observed chan *forwardv1.ObserveResponse, beats chan uint64) {
	drifts, observed, beats = make(chan *forwardv1.Drift, 100), make(chan *forwardv1.ObserveResponse, 10000), make(chan uint64, 10000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = f.Watch(ctx, interval, func(r *forwardv1.WatchResponse) error {
			switch m := r.GetMessage().(type) {
			case *forwardv1.WatchResponse_Drift:
				drifts <- m.Drift
			case *forwardv1.WatchResponse_Observed:
				observed <- m.Observed
			case *forwardv1.WatchResponse_Beat:
				beats <- m.Beat.GetProgress()
			}
			return nil
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return drifts, observed, beats
}

// next takes what is reported next.
func next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was reported within 10 s")
		panic("unreachable")
	}
}

func TestKernelRepairs(t *testing.T) {
	lab(t)
	f := started(t)
	drifts, _, _ := watch(t, f, time.Hour)
	applyWell(t, f, request(service("rr", "192.0.2.100", 80, real("192.0.2.1", 80, 3, dr), real("192.0.2.2", 80, 1, dr))))
	want := saved(t)
	for line, sentence := range map[string]string{
		"-d -t 192.0.2.100:80 -r 192.0.2.1:80":         "real server 192.0.2.1:80 of TCP 192.0.2.100:80 was missing: added",
		"-e -t 192.0.2.100:80 -r 192.0.2.2:80 -g -w 7": "real server 192.0.2.2:80 of TCP 192.0.2.100:80 had weight 7: set to weight 1",
		"-E -t 192.0.2.100:80 -s wlc":                  "TCP 192.0.2.100:80 had scheduler wlc: set to scheduler rr",
		"-a -t 192.0.2.100:80 -r 192.0.2.9:80 -g":      "real server 192.0.2.9:80 of TCP 192.0.2.100:80 was there and should not be: removed",
		"-D -t 192.0.2.100:80":                         "TCP 192.0.2.100:80 was missing: added",
	} {
		ipvsadm(t, line)
		drift := next(t, drifts)
		if !slices.Contains(drift.GetRepairs(), sentence) || drift.GetFoundAt() == nil || len(drift.GetErrors()) > 0 {
			t.Errorf("after ipvsadm %s: %v, want %q", line, drift, sentence)
		}
		if got := saved(t); got != want {
			t.Errorf("after ipvsadm %s:\n%s\nwant\n%s", line, got, want)
		}
	}
}

func TestKernelLeavesForeignAlone(t *testing.T) {
	lab(t)
	f := started(t)
	ipvsadm(t, "-A -t 198.51.100.1:80 -s wlc -p 60")
	ipvsadm(t, "-a -t 198.51.100.1:80 -r 198.51.100.2 -m")
	ipvsadm(t, "-A -f 7 -s rr")
	foreign := saved(t)
	old := service("rr", "192.0.2.101", 80)
	ipvsadm(t, "-A -t 192.0.2.101:80 -s rr")
	r := request(service("rr", "192.0.2.100", 80, real("192.0.2.1", 80, 3, dr)))
	r.Owned = append(r.Owned, old.GetKey())
	applyWell(t, f, r)
	if got := ipvsadm(t, "-Sn"); strings.Contains(got, "192.0.2.101") {
		t.Errorf("an owned service that is not wanted is there:\n%s", got)
	}
	ipvsadm(t, "-A -t 192.0.2.101:80 -s rr")
	drifts, observed, _ := watch(t, f, 20*time.Millisecond)
	ipvsadm(t, "-D -t 192.0.2.100:80")
	next(t, drifts)
	if n := len(next(t, observed).GetVirtualServers()); n != 4 {
		t.Errorf("%d services are reported, want ours and three foreign ones", n)
	}
	if got := ipvsadm(t, "-Sn"); !strings.Contains(got, "192.0.2.101") {
		t.Errorf("what was ours and somebody else has made again was removed:\n%s", got)
	}
	ipvsadm(t, "-D -t 192.0.2.101:80")
	if err := f.Stop(t.Context(), pluginv1.StopMode_STOP_MODE_WITHDRAW); err != nil {
		t.Fatal(err)
	}
	if got := saved(t); got != foreign {
		t.Errorf("after withdraw:\n%s\nwant\n%s", got, foreign)
	}
}

func TestKernelStopLeaves(t *testing.T) {
	lab(t)
	f := started(t)
	applyWell(t, f, request(service("rr", "192.0.2.100", 80, real("192.0.2.1", 80, 3, dr))))
	want := saved(t)
	if err := f.Stop(t.Context(), pluginv1.StopMode_STOP_MODE_LEAVE); err != nil {
		t.Fatal(err)
	}
	if got := saved(t); got != want {
		t.Errorf("after leave:\n%s\nwant\n%s", got, want)
	}
	if _, err := f.Apply(t.Context(), request()); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("Apply after Stop: %v", err)
	}
}

// TestKernelEditsKeepConnections has a connection through a service while everything that
// can be edited is, and while a new process adopts the table.
func TestKernelEditsKeepConnections(t *testing.T) {
	lab(t)
	f := started(t)
	run(t, "ip", "address", "add", "192.0.2.100/32", "dev", "lo")
	run(t, "ip", "address", "add", "192.0.2.1/32", "dev", "lo")
	listener, err := net.Listen("tcp4", "192.0.2.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(conn, conn); conn.Close() }()
		}
	}()
	s := service("rr", "192.0.2.100", 80, real("192.0.2.1", 8080, 3, nat))
	applyWell(t, f, request(s))
	conn, err := net.DialTimeout("tcp4", "192.0.2.100:80", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo := func(when string) {
		t.Helper()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 4)
		if _, err := conn.Write([]byte("ping")); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if _, err := io.ReadFull(conn, b); err != nil || string(b) != "ping" {
			t.Fatalf("%s: %q, %v", when, b, err)
		}
	}
	echo("at first")
	s.Scheduler, s.RealServers[0].Weight, s.RealServers[0].UpperThreshold = "wlc", 0, 5
	s.RealServers = append(s.RealServers, real("192.0.2.2", 8080, 1, nat))
	if n := applyWell(t, f, request(s)).GetOperations(); n != 3 {
		t.Errorf("%d operations, want scheduler, one edit, one added", n)
	}
	echo("after edits")
	g := New()
	if err := g.Configure(t.Context(), sdk.Settings{}); err != nil {
		t.Fatal(err)
	}
	if n := applyWell(t, g, request(s)).GetOperations(); n != 0 {
		t.Errorf("adoption took %d operations", n)
	}
	if err := g.Stop(t.Context(), pluginv1.StopMode_STOP_MODE_LEAVE); err != nil {
		t.Fatal(err)
	}
	echo("after adoption")

	var c *forwardv1.Counters
	until(t, "counters", func() bool {
		v := observe(t, f).GetVirtualServers()[0]
		for _, r := range v.GetRealServers() {
			if r.GetAddress() == "192.0.2.1" {
				c = r.GetCounters()
			}
		}
		return c.GetActiveConnections() == 1 && v.GetCounters().GetConnections() == 1
	})
	if c.GetConnections() != 1 || c.GetPacketsIn() < 4 || c.GetPacketsOut() < 4 || c.GetBytesIn() < 200 || c.GetBytesOut() < 200 {
		t.Errorf("counters %v", c)
	}
}

func TestKernelErrors(t *testing.T) {
	lab(t)
	f := started(t)
	broken := service("nosuch", "192.0.2.101", 80, real("192.0.2.1", 80, 1, dr))
	multicast := service("rr", "192.0.2.102", 80, real("224.0.0.1", 80, 1, dr), real("192.0.2.2", 80, 1, dr))
	good := service("rr", "192.0.2.100", 80, real("192.0.2.1", 80, 1, dr))
	response := apply(t, f, request(broken, multicast, good))
	var got []string
	for _, e := range response.GetErrors() {
		got = append(got, e.GetKey().GetAddress()+" "+e.GetRealServer()+" "+e.GetMessage())
	}
	if len(got) != 2 || !strings.HasPrefix(got[0], "192.0.2.101  add TCP 192.0.2.101:80: the kernel lacks the scheduler nosuch") ||
		!strings.HasPrefix(got[1], "192.0.2.102 224.0.0.1:80 add real server 224.0.0.1:80 of TCP 192.0.2.102:80: ") {
		t.Errorf("errors: %q", got)
	}
	table := ipvsadm(t, "-Sn")
	for _, line := range []string{"-A -t 192.0.2.100:80", "-a -t 192.0.2.100:80 -r 192.0.2.1:80", "-a -t 192.0.2.102:80 -r 192.0.2.2:80"} {
		if !strings.Contains(table, line) {
			t.Errorf("%s is missing:\n%s", line, table)
		}
	}
}

// TestKernelUnprivileged runs tests again as nobody, with CAP_NET_ADMIN and without.
func TestKernelUnprivileged(t *testing.T) {
	lab(t)
	const asked = "POISE_IPVS_AS_NOBODY"
	switch os.Getenv(asked) {
	case "with":
		f := started0(t)
		applyWell(t, f, request(service("rr", "192.0.2.100", 80, real("192.0.2.1", 80, 3, dr))))
		if n := len(observe(t, f).GetVirtualServers()); n != 1 {
			t.Errorf("%d services", n)
		}
		return
	case "without":
		err := New().Configure(t.Context(), sdk.Settings{})
		if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("without the capability: %v", err)
		}
		return
	}
	const capNetAdmin = 12
	for how, caps := range map[string][]uintptr{"with": {capNetAdmin}, "without": nil} {
		ipvsadm(t, "-C")
		cmd := exec.Command("/run/ipvs.test", "-test.run=^TestKernelUnprivileged$", "-test.v")
		cmd.Env = append(os.Environ(), asked+"="+how)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: caps}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PASS: TestKernelUnprivileged") {
			t.Errorf("%s: %v\n%s", how, err, strings.ReplaceAll(string(out), "---", "inner"))
		}
	}
	if got := ipvsadm(t, "-Sn"); got != "" {
		t.Errorf("left:\n%s", got)
	}
}

// started0 is started for a process that may not run ipvsadm.
func started0(t *testing.T) sdk.Forwarder {
	f := New()
	if err := f.Configure(t.Context(), sdk.Settings{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(context.Background(), pluginv1.StopMode_STOP_MODE_WITHDRAW); err != nil {
			t.Error(err)
		}
	})
	return f
}

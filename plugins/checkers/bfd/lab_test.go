package bfd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

const (
	envServe = "POISE_BFD_TEST_SERVE"
	// up and down are what verdicts say.
	up      = checkv1.VerdictState_VERDICT_STATE_UP
	down    = checkv1.VerdictState_VERDICT_STATE_DOWN
	unknown = checkv1.VerdictState_VERDICT_STATE_UNKNOWN
	// soon is ample time for whatever takes a second or less on a machine that is not busy.
	soon = 30 * time.Second
)

// TestMain: the test's executable is also the plugin.
func TestMain(m *testing.M) {
	if os.Getenv(envServe) != "" {
		sdk.Serve(sdk.Plugin{Name: "bfd", Version: "test", Checkers: map[string]sdk.Checker{Type: New()}})
	}
	os.Exit(m.Run())
}

// lab is hosts 1 and up with eth0 192.0.2.N/24 and 2001:db8::N/64 on a bridge; host 0 holds
// the bridge.
type lab struct {
	*testing.T
	name string
}

var labs atomic.Int32

func newLab(t *testing.T, hosts int) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("network namespaces and seconds of waiting: not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("making network namespaces needs root")
	}
	l := &lab{t, fmt.Sprintf("pb%d-%d", os.Getpid(), labs.Add(1))}
	for host := range hosts + 1 {
		if out, err := exec.Command("ip", "netns", "add", l.ns(host)).CombinedOutput(); err != nil {
			t.Skipf("this machine makes no network namespaces: %v: %s", err, out)
		}
		t.Cleanup(func() { exec.Command("ip", "netns", "del", l.ns(host)).Run() })
		l.ip(host, "link", "set", "lo", "up")
	}
	l.ip(0, "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
	l.ip(0, "link", "set", "br0", "up")
	for host := 1; host <= hosts; host++ {
		l.ip(0, "link", "add", port(host), "type", "veth", "peer", "name", "eth0", "netns", l.ns(host))
		l.plug(host)
		l.ip(host, "link", "set", "eth0", "addrgenmode", "none")
		l.ip(host, "addr", "add", fmt.Sprintf("192.0.2.%d/24", host), "dev", "eth0")
		l.ip(host, "addr", "add", fmt.Sprintf("2001:db8::%d/64", host), "dev", "eth0", "nodad")
		l.ip(host, "addr", "add", fmt.Sprintf("fe80::%d/64", host), "dev", "eth0", "nodad")
		l.ip(host, "link", "set", "eth0", "up")
	}
	return l
}

func (l *lab) ns(host int) string { return fmt.Sprintf("%s-%d", l.name, host) }

func port(host int) string { return fmt.Sprint("p", host) }

// plug and cut connect a host and cut it off; its own link stays up.
func (l *lab) plug(host int) { l.ip(0, "link", "set", port(host), "master", "br0", "up") }
func (l *lab) cut(host int)  { l.ip(0, "link", "set", port(host), "nomaster") }

func (l *lab) ip(host int, args ...string) {
	l.Helper()
	l.run("ip", append([]string{"-n", l.ns(host)}, args...)...)
}

func (l *lab) run(name string, args ...string) {
	l.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		l.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// start starts a program on a host, which the test ends; its output is told if the test
// fails.
func (l *lab) start(host int, program string, args ...string) *exec.Cmd {
	l.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", l.ns(host), program}, args...)...)
	log := filepath.Join(l.TempDir(), "log")
	file, err := os.Create(log)
	if err != nil {
		l.Fatal(err)
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		end(cmd)
		if text, _ := os.ReadFile(log); l.Failed() {
			l.Logf("%s:\n%s", program, text)
		}
	})
	return cmd
}

// end ends a program and waits for that.
func end(cmd *exec.Cmd) {
	if cmd.ProcessState != nil {
		return
	}
	_ = cmd.Process.Signal(unix.SIGTERM)
	timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
}

// plugin is the checker's process on a host.
type plugin struct {
	*lab
	*plugintest.Client
	stream checkv1.CheckService_RunClient

	mu         sync.Mutex
	verdicts   []*checkv1.Verdict
	generation uint64
}

func (l *lab) plugin(host int) *plugin {
	l.Helper()
	self, err := os.Executable()
	if err != nil {
		l.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", l.ns(host), self)
	cmd.Env = []string{envServe + "=1", "PATH=" + os.Getenv("PATH")}
	p := &plugin{lab: l, Client: plugintest.Start(l.T, cmd)}
	p.Configure(l.T, "")
	ctx, cancel := context.WithCancel(context.Background())
	l.Cleanup(cancel)
	if p.stream, err = p.Check.Run(ctx); err != nil {
		l.Fatal(err)
	}
	go func() {
		for {
			m, err := p.stream.Recv()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.verdicts = append(p.verdicts, m.GetVerdicts().GetVerdicts()...)
			p.mu.Unlock()
		}
	}()
	return p
}

// checks sets the checks of the process.
func (p *plugin) checks(list ...*checkv1.Check) {
	p.Helper()
	p.generation++
	if err := p.stream.Send(&checkv1.RunRequest{Message: &checkv1.RunRequest_SetChecks{SetChecks: &checkv1.SetChecks{Generation: p.generation, Checks: list}}}); err != nil {
		p.Fatal(err)
	}
}

// check of a neighbor; its id is the neighbor's address.
func check(target *checkv1.Target, parameters string) *checkv1.Check {
	return &checkv1.Check{
		Id: target.GetAddress(), Type: Type, Target: target, ParametersJson: []byte(parameters),
		Schedule: &checkv1.Schedule{Interval: durationpb.New(time.Second), Timeout: durationpb.New(time.Second)},
	}
}

// told gives all verdicts of a check so far.
func (p *plugin) told(id string) []*checkv1.Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*checkv1.Verdict
	for _, v := range p.verdicts {
		if v.GetCheckId() == id {
			out = append(out, v)
		}
	}
	return out
}

// becomes waits until the latest verdict of a check is one, and gives it.
func (p *plugin) becomes(id string, state checkv1.VerdictState) *checkv1.Verdict {
	p.Helper()
	for deadline := time.Now().Add(soon); ; time.Sleep(2 * time.Millisecond) {
		told := p.told(id)
		if n := len(told); n > 0 && told[n-1].GetState() == state {
			return told[n-1]
		}
		if time.Now().After(deadline) {
			p.Fatalf("%s did not become %s within %s: %v", id, state, soon, told)
		}
	}
}

// stays sees that nothing is told for a time.
func (p *plugin) stays(id string, d time.Duration) {
	p.Helper()
	before := len(p.told(id))
	time.Sleep(d)
	if told := p.told(id); len(told) != before {
		p.Errorf("%s did not stay as it was: %v", id, told[before:])
	}
}

func at(address string) *checkv1.Target { return &checkv1.Target{Address: address} }

// because says that a verdict has one of the reasons.
func because(t *testing.T, v *checkv1.Verdict, reasons ...string) {
	t.Helper()
	for _, r := range reasons {
		if strings.Contains(v.GetReason(), r) {
			return
		}
	}
	t.Errorf("reason %q, want one of %q", v.GetReason(), reasons)
}

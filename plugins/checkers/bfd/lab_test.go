package bfd

import (
	"context"
	"fmt"
	"net/netip"
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

// silence and word are what a lost neighbor leaves.
const (
	silence = "BFD session down: control detection time expired"
	word    = "BFD session down: neighbor signaled session down"
)

// ordinary timing: slow enough that a busy machine does not lose the session.
const ordinary = `{"min_rx":"100ms","min_tx":"100ms","multiplier":10}`

// TestPoise: both ends are ours; over IPv4, IPv6, link-local, several hops, and each with
// the other passive.
func TestPoise(t *testing.T) {
	tests := []struct {
		name       string
		a, b       *checkv1.Target
		parameters [2]string
	}{
		{"IPv4", at("192.0.2.2"), at("192.0.2.1"), [2]string{ordinary, ordinary}},
		{"passive", at("192.0.2.2"), at("192.0.2.1"), [2]string{ordinary, ordinary[:len(ordinary)-1] + `,"passive":true}`}},
		{"IPv6", at("2001:db8::2"), at("2001:db8::1"), [2]string{ordinary, ordinary}},
		{"link-local", &checkv1.Target{Address: "fe80::2", Interface: "eth0"}, &checkv1.Target{Address: "fe80::1", Interface: "eth0", SourceAddress: "fe80::2"}, [2]string{ordinary, ordinary}},
		{"multihop", &checkv1.Target{Address: "192.0.2.2", SourceAddress: "192.0.2.1"}, at("192.0.2.1"),
			[2]string{ordinary[:len(ordinary)-1] + `,"multihop":true,"ttl":64}`, ordinary[:len(ordinary)-1] + `,"multihop":true}`}},
	}
	l := newLab(t, 2)
	a, b := l.plugin(1), l.plugin(2)
	for _, test := range tests {
		id, other := test.a.GetAddress(), test.b.GetAddress()
		a.mu.Lock()
		a.verdicts = nil
		a.mu.Unlock()
		b.mu.Lock()
		b.verdicts = nil
		b.mu.Unlock()
		a.checks(check(test.a, test.parameters[0]))
		b.checks(check(test.b, test.parameters[1]))
		a.becomes(id, up)
		b.becomes(other, up)
		l.cut(2)
		because(t, a.becomes(id, down), silence, word)
		because(t, b.becomes(other, down), silence, word)
		l.plug(2)
		a.becomes(id, up)
		b.becomes(other, up)
		b.checks()
		because(t, a.becomes(id, down), word+" (administratively down: administratively down)")
		for _, v := range a.told(id) {
			if v.GetState() == unknown {
				t.Errorf("%s: told %v", test.name, v)
			}
		}
		a.checks()
		if t.Failed() {
			t.Fatal(test.name)
		}
	}
}

// TestRestart: a process that takes the place of another one does not tell of its own
// beginning.
func TestRestart(t *testing.T) {
	l := newLab(t, 2)
	b := l.plugin(2)
	b.checks(check(at("192.0.2.1"), ordinary))
	first := l.plugin(1)
	first.checks(check(at("192.0.2.2"), ordinary))
	first.becomes("192.0.2.2", up)
	_ = unix.Kill(first.Pid, unix.SIGKILL)
	b.becomes("192.0.2.1", down)
	second := l.plugin(1)
	c := check(at("192.0.2.2"), ordinary)
	c.Known = up
	second.checks(c)
	second.becomes("192.0.2.2", up)
	if told := second.told("192.0.2.2"); len(told) != 1 {
		t.Errorf("told %v, want up and nothing before", told)
	}
	b.becomes("192.0.2.1", up)
}

// TestStopped: a process that did not run for a time does not take its own silence for the
// neighbor's.
func TestStopped(t *testing.T) {
	l := newLab(t, 2)
	a, b := l.plugin(1), l.plugin(2)
	// The neighbor is patient, we are not.
	b.checks(check(at("192.0.2.1"), `{"min_rx":"1s","min_tx":"50ms","multiplier":4}`))
	a.checks(check(at("192.0.2.2"), `{"min_rx":"50ms","min_tx":"1s","multiplier":30}`))
	a.becomes("192.0.2.2", up)
	b.becomes("192.0.2.1", up)
	time.Sleep(2 * time.Second)
	for range 3 {
		if err := unix.Kill(a.Pid, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := unix.Kill(a.Pid, unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		a.stays("192.0.2.2", 300*time.Millisecond)
	}
	if told := a.told("192.0.2.2"); len(told) != 1 {
		t.Errorf("told %v, want up once", told)
	}
}

// TestFar: packets from further away than max_hops are not taken.
func TestFar(t *testing.T) {
	l := newLab(t, 2)
	a, b := l.plugin(1), l.plugin(2)
	far := ordinary[:len(ordinary)-1] + `,"ttl":253}`
	b.checks(check(at("192.0.2.1"), far))
	fast := ordinary[:len(ordinary)-1] + `,"multiplier":1}`
	fast = strings.Replace(fast, `"multiplier":10,`, "", 1)
	a.checks(check(at("192.0.2.2"), fast))
	because(t, a.becomes("192.0.2.2", down), "BFD session down: the neighbor has not been heard; packets come with TTL 253, less than 255: more than max_hops away")
	a.checks()
	a.checks(check(at("192.0.2.2"), ordinary[:len(ordinary)-1]+`,"max_hops":2}`))
	a.becomes("192.0.2.2", up)
}

// TestPort: when the port is taken the check is unknown, until it is free.
func TestPort(t *testing.T) {
	l := newLab(t, 2)
	a, b := l.plugin(1), l.plugin(2)
	in := l.plugin(1)
	in.checks(check(at("192.0.2.77"), ordinary))
	time.Sleep(200 * time.Millisecond)
	b.checks(check(at("192.0.2.1"), ordinary))
	a.checks(check(at("192.0.2.2"), ordinary))
	because(t, a.becomes("192.0.2.2", unknown), "listen on UDP port 3784: address already in use: another BFD daemon runs here")
	in.checks()
	a.becomes("192.0.2.2", up)
}

// TestSource: an address that is not there is unknown, until it is.
func TestSource(t *testing.T) {
	l := newLab(t, 2)
	a, b := l.plugin(1), l.plugin(2)
	b.checks(check(at("192.0.2.9"), ordinary))
	a.checks(check(&checkv1.Target{Address: "192.0.2.2", SourceAddress: "192.0.2.9"}, ordinary))
	because(t, a.becomes("192.0.2.2", unknown), "cannot assign requested address")
	l.ip(1, "addr", "add", "192.0.2.9/24", "dev", "eth0")
	a.becomes("192.0.2.2", up)
}

// TestShared: checks of one neighbor share a session; of other parameters there is none
// beside it; `poise probe` joins it.
func TestShared(t *testing.T) {
	l := newLab(t, 2)
	a, b := l.plugin(1), l.plugin(2)
	b.checks(check(at("192.0.2.1"), ordinary))
	one, two, three := check(at("192.0.2.2"), ordinary), check(at("192.0.2.2"), ordinary), check(at("192.0.2.2"), "{}")
	one.Id, two.Id, three.Id = "one", "two", "three"
	a.checks(one)
	a.becomes("one", up)
	a.checks(one, two, three)
	a.becomes("two", up)
	because(t, a.becomes("three", unknown), "there is a BFD session with this neighbor already that has other parameters")
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	answer, err := a.Check.Probe(ctx, &checkv1.ProbeRequest{Type: Type, Target: at("192.0.2.2"), Timeout: durationpb.New(10 * time.Second)})
	if err != nil || answer.GetState() != up {
		t.Errorf("got %v %v, want up", answer, err)
	}
	a.checks(three)
	a.becomes("three", up)
	answer, err = a.Check.Probe(ctx, &checkv1.ProbeRequest{Type: Type, Target: at("192.0.2.3"), Timeout: durationpb.New(time.Second)})
	if err != nil || answer.GetState() != down || answer.GetReason() != "BFD session down: the neighbor has not been heard" {
		t.Errorf("got %v %v, want down", answer, err)
	}
}

// testOutsider: with somebody else's BFD daemon on host 2: up, the daemon killed, up again, the link cut, up again, the daemon ended.
func testOutsider(t *testing.T, start func(l *lab) *exec.Cmd) {
	const id = "192.0.2.2"
	l := newLab(t, 2)
	a := l.plugin(1)
	a.checks(check(&checkv1.Target{Address: id, SourceAddress: "192.0.2.1"}, `{"min_rx":"100ms","min_tx":"100ms","multiplier":10}`))
	peer := start(l)
	a.becomes(id, up)
	a.stays(id, 3*time.Second)
	_ = peer.Process.Kill()
	_ = peer.Wait()
	killed := time.Now()
	v := a.becomes(id, down)
	because(t, v, silence, word)
	if took := v.GetDecidedAt().AsTime().Sub(killed); took > 5*time.Second {
		t.Errorf("seen after %s, want the detection time", took)
	}
	peer = start(l)
	a.becomes(id, up)
	l.cut(2)
	because(t, a.becomes(id, down), silence)
	l.plug(2)
	a.becomes(id, up)
	end(peer)
	because(t, a.becomes(id, down), silence, word)
	peer = start(l)
	a.becomes(id, up)
	a.checks()
}

func TestKeepalived(t *testing.T) {
	path, err := exec.LookPath("keepalived")
	if err != nil {
		t.Skip("keepalived is not installed: apt-get install keepalived")
	}
	testOutsider(t, func(l *lab) *exec.Cmd {
		dir := l.TempDir()
		file := filepath.Join(dir, "k.conf")
		if err := os.WriteFile(file, []byte(`bfd_instance a {
    neighbor_ip 192.0.2.1
    source_ip 192.0.2.2
    min_rx 100
    min_tx 100
    multiplier 10
}
vrrp_instance V {
    interface eth0
    virtual_router_id 7
    priority 100
    track_bfd {
        a
    }
    virtual_ipaddress {
        192.0.2.200
    }
}
`), 0o600); err != nil {
			l.Fatal(err)
		}
		return l.start(2, path, "-n", "-l", "-D", "-P", "-G", "-f", file, "-p", dir+"/p", "-r", dir+"/r", "-b", dir+"/b")
	})
}

func TestFRR(t *testing.T) {
	const bin = "/usr/lib/frr/"
	if _, err := os.Stat(bin + "bfdd"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("FRR is not installed: apt-get install frr")
		}
		t.Skip("FRR is not installed: apt-get install frr")
	}
	// They drop their privileges and need to write there.
	dir, err := os.MkdirTemp("", "poise-frr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	daemon := func(l *lab, name, config string, more ...string) *exec.Cmd {
		file := filepath.Join(dir, name+".conf")
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			l.Fatal(err)
		}
		return l.start(2, bin+name, append(more, "-f", file, "-i", filepath.Join(dir, name+".pid"), "-z", filepath.Join(dir, "zserv"),
			"--vty_socket", dir, "-P", "0", "--log", "stdout")...)
	}
	var zebra *exec.Cmd
	testOutsider(t, func(l *lab) *exec.Cmd {
		if zebra == nil {
			zebra = daemon(l, "zebra", "")
			for deadline := time.Now().Add(soon); ; time.Sleep(20 * time.Millisecond) {
				if _, err := os.Stat(filepath.Join(dir, "zserv")); err == nil {
					break
				}
				if time.Now().After(deadline) {
					l.Fatal("zebra does not start")
				}
			}
		}
		return daemon(l, "bfdd", `bfd
 peer 192.0.2.1 local-address 192.0.2.2 interface eth0
  detect-multiplier 10
  receive-interval 100
  transmit-interval 100
  no shutdown
 exit
exit
`, "--bfdctl", filepath.Join(dir, "bfdd.sock"))
	})
}

// TestPeer: what a target becomes.
func TestPeer(t *testing.T) {
	parsed, err := New().Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parsed.(*prober).peer(sdk.Target{Addr: netip.MustParseAddrPort("[fe80::1%eth0]:0")})
	if err != nil || got.Interface != "eth0" || got.Neighbor.Zone() != "" || got.MaxHops != 0 || got.TTL != 255 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := parsed.(*prober).peer(sdk.Target{}); err == nil {
		t.Error("no address: no error")
	}
}

func target(address string) sdk.Target {
	return sdk.Target{Addr: netip.AddrPortFrom(netip.MustParseAddr(address), 0)}
}

package vrrp

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
)

const vip = "192.0.2.100"

// lab is a bridge in a namespace of its own, with hosts at its ports.
type lab struct {
	t    *testing.T
	name string
	// wrap is a command that runs the test binary.
	wrap []string
	sniffer
}

var labs atomic.Int64

// missing skips a test that cannot run here; in CI, where all has to run, it fails.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// newLab makes a lab with hosts 1..n, each with eth0 192.0.2.N/24 (and further links eth1
// 198.51.100.N/24 if links is 2). Everything goes when the test ends.
func newLab(t *testing.T, hosts, links int) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("network namespaces and seconds of waiting: not with -short")
	}
	if os.Geteuid() != 0 {
		missing(t, "making network namespaces needs root")
	}
	l := &lab{t: t, name: fmt.Sprintf("pv%d-%d", os.Getpid(), labs.Add(1))}
	if out, err := exec.Command("ip", "netns", "add", l.ns(0)).CombinedOutput(); err != nil {
		missing(t, fmt.Sprintf("this machine makes no network namespaces: %v: %s", err, out))
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", l.ns(0)).Run() })
	for link := range links {
		l.ip(0, "link", "add", fmt.Sprintf("br%d", link), "type", "bridge", "forward_delay", "0")
		l.ip(0, "link", "set", fmt.Sprintf("br%d", link), "up")
	}
	for host := 1; host <= hosts; host++ {
		run(t, "ip", "netns", "add", l.ns(host))
		t.Cleanup(func() { exec.Command("ip", "netns", "del", l.ns(host)).Run() })
		l.ip(host, "link", "set", "lo", "up")
		for link := range links {
			l.ip(0, "link", "add", port(host, link), "type", "veth", "peer", "name", fmt.Sprintf("eth%d", link), "netns", l.ns(host))
			l.ip(0, "link", "set", port(host, link), "master", fmt.Sprintf("br%d", link), "up")
			l.ip(host, "addr", "add", fmt.Sprintf("%s.%d/24", []string{"192.0.2", "198.51.100"}[link], host), "dev", fmt.Sprintf("eth%d", link))
			l.ip(host, "link", "set", fmt.Sprintf("eth%d", link), "up")
		}
	}
	l.sniffer.start(l)
	began.Store(t.Name(), time.Now())
	return l
}

func (l *lab) ns(host int) string { return fmt.Sprintf("%s-%d", l.name, host) }

// port is the bridge's end of a host's link.
func port(host, link int) string { return fmt.Sprintf("p%d-%d", host, link) }

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (l *lab) ip(host int, args ...string) string {
	l.t.Helper()
	return run(l.t, "ip", append([]string{"-n", l.ns(host)}, args...)...)
}

// has says whether a host holds an address.
func (l *lab) has(host int, address string) bool {
	l.t.Helper()
	return strings.Contains(l.ip(host, "-o", "addr", "show"), " "+address+"/")
}

// child starts the test binary inside a host's namespace.
func (l *lab) child(host int, mode, dir string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	// ip execs what it is told to, so that the process is ours to end.
	args := append([]string{"netns", "exec", l.ns(host)}, l.wrap...)
	cmd := exec.Command("ip", append(args, self)...)
	cmd.Env = append(os.Environ(), childEnv+"="+mode, "POISE_VRRP_TEST_DIR="+dir)
	return cmd
}

// process is a director that runs.
type process struct {
	t      *testing.T
	host   int
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	exited chan struct{}

	mu     sync.Mutex
	events []event
	log    strings.Builder
}

func (l *lab) dir() string {
	dir, err := os.MkdirTemp("", "vrrp")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (l *lab) director(host int, dir string, groups ...*failoverv1.Group) *process {
	l.t.Helper()
	p := &process{t: l.t, host: host, cmd: l.child(host, "director", dir), exited: make(chan struct{})}
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		l.t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	p.cmd.Stderr = &lockedWriter{mu: &p.mu, w: &p.log}
	if err := p.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() {
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e event
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				p.mu.Lock()
				p.events = append(p.events, e)
				p.mu.Unlock()
			}
		}
		p.cmd.Wait()
		close(p.exited)
	}()
	l.t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
		if log := p.log.String(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic:") {
			l.t.Errorf("the director at host %d raced or panicked", host)
		}
		if l.t.Failed() {
			l.t.Logf("log of the director at host %d:\n%s", host, p.log.String())
		}
	})
	if len(groups) > 0 {
		p.set(groups...)
	}
	return p
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(b)
}

func (p *process) do(c command) {
	p.t.Helper()
	data, err := json.Marshal(c)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(data, '\n')); err != nil {
		p.t.Fatalf("tell the director at host %d: %v", p.host, err)
	}
}

func (p *process) set(groups ...*failoverv1.Group) {
	p.t.Helper()
	data, err := protojson.Marshal(&failoverv1.SetGroups{Generation: 1, Groups: groups, CoreLossGrace: durationpb.New(3 * time.Second)})
	if err != nil {
		p.t.Fatal(err)
	}
	p.do(command{Do: "set", Set: data})
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// reports are what it has reported until now, with the time of each.
func (p *process) reports() (list []*failoverv1.RunResponse, at []time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		m := &failoverv1.RunResponse{}
		if e.Kind == "report" && protojson.Unmarshal(e.Response, m) == nil {
			list, at = append(list, m), append(at, e.At)
		}
	}
	return list, at
}

// role is a group's last role, with its reason.
func (p *process) role(group string) (role failoverv1.Role, reason string) {
	list, _ := p.reports()
	for _, m := range list {
		if c := m.GetRoleChange(); c.GetGroup() == group {
			role, reason = c.GetRole(), c.GetReason()
		}
	}
	return role, reason
}

// status is an instance's last status.
func (p *process) status(instance string) *failoverv1.InstanceStatus {
	list, _ := p.reports()
	for i := len(list) - 1; i >= 0; i-- {
		for _, s := range list[i].GetBeat().GetInstances() {
			if s.GetInstance() == instance {
				return s
			}
		}
	}
	return &failoverv1.InstanceStatus{}
}

func (p *process) notices(containing string) (n int) {
	list, _ := p.reports()
	for _, m := range list {
		if strings.Contains(m.GetNotice().GetMessage(), containing) {
			n++
		}
	}
	return n
}

// ended says whether Run has returned; it must have done so without an error, and left
// nothing running.
func (p *process) ended() bool {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == "ended" {
			if e.Text != "<nil>" {
				wrong(p.t, "the director at host %d ended with %s", p.host, e.Text)
			}
			return true
		}
	}
	return false
}

// eventually polls for a condition.
func eventually(t *testing.T, within time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !condition() {
		if time.Now().After(deadline) {
			fatal(t, "not within %s: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// always watches a condition for a time.
func always(t *testing.T, during time.Duration, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(during); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if !condition() {
			fatal(t, "no longer so: %s", what)
		}
	}
}

// http is the seed's instance in a group of its own.
func http(priority uint32, change ...func(*failoverv1.Instance)) *failoverv1.Group {
	in := &failoverv1.Instance{
		Name: "http", Interface: "eth0", VirtualRouterId: 51, Priority: priority, AdvertInterval: durationpb.New(time.Second),
		AuthPass: "1111", Addresses: []*failoverv1.Address{{Prefix: vip + "/32"}}, GarpDelay: durationpb.New(5 * time.Second),
	}
	for _, f := range change {
		f(in)
	}
	return &failoverv1.Group{Name: "VGM", Instances: []*failoverv1.Instance{in}}
}

const (
	master = failoverv1.Role_ROLE_MASTER
	backup = failoverv1.Role_ROLE_BACKUP
	fault  = failoverv1.Role_ROLE_FAULT
)

func (p *process) await(role failoverv1.Role, within time.Duration) {
	p.t.Helper()
	eventually(p.t, within, fmt.Sprintf("host %d is %s", p.host, role), func() bool {
		now, _ := p.role("VGM")
		return now == role
	})
}

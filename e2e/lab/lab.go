package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/poise-lb/poise/e2e/uml"
)

// Method is how directors forward.
type Method string

// Methods.
const (
	DR  Method = "DR"
	NAT Method = "NAT"
	TUN Method = "TUN"
)

// The lab's addresses.
const (
	VIP       = "192.168.1.100"
	Service   = VIP + ":80"
	Gateway   = "10.0.0.1"
	clientIP  = "192.168.1.10"
	addressA  = "192.168.1.2"
	addressB  = "192.168.1.3"
	lanNet    = "192.168.1."
	backNet   = "10.0.0."
	firstReal = 106
)

// Lab is a network of hosts.
type Lab struct {
	Method Method
	Client *Host
	// A and B are the directors' hosts.
	A, B *Host
	// Switch is where all links meet: the place to listen and to cut.
	Switch *Host
	// Reals are the hosts of the real servers, named r1, r2, ...
	Reals []*Host
	// Dir holds the daemons' files.
	Dir string

	t TB
	// alone are hosts that are not joined.
	alone map[string]*Host
}

var count atomic.Int32

// New makes a lab with so many real servers, none of them started. It goes when the
// test ends; if it failed, what is in Dir is kept for the host to see.
func New(t TB, method Method, reals int) *Lab {
	t.Helper()
	return newLab(t, method, reals, fmt.Sprintf("poise%d-%d-", os.Getpid(), count.Add(1)))
}

// Plain makes a lab whose hosts' namespaces are named as the hosts are: a, b, client,
// r1, ... There can be one at a time.
func Plain(t TB, method Method, reals int) *Lab {
	t.Helper()
	return newLab(t, method, reals, "")
}

func newLab(t TB, method Method, reals int, prefix string) *Lab {
	t.Helper()
	names := []string{"client", "a", "b", "switch"}
	for i := range reals {
		names = append(names, fmt.Sprintf("r%d", i+1))
	}
	hosts := newHosts(t, prefix, names...)
	l := &Lab{Method: method, Client: hosts["client"], A: hosts["a"], B: hosts["b"], Switch: hosts["switch"], t: t}
	for i := range reals {
		l.Reals = append(l.Reals, hosts[fmt.Sprintf("r%d", i+1)])
	}
	l.makeDir()
	l.wire()
	return l
}

// Alone makes hosts that are not joined to anything: each has its loopback only.
func Alone(t TB, names ...string) *Lab {
	t.Helper()
	l := &Lab{t: t, alone: newHosts(t, fmt.Sprintf("poise%d-%d-", os.Getpid(), count.Add(1)), names...)}
	l.makeDir()
	for _, h := range l.alone {
		h.IP("link set lo up")
	}
	return l
}

// Host is a host of a lab made by Alone.
func (l *Lab) Host(name string) *Host { return l.alone[name] }

// Link joins two hosts of a lab made by Alone by a cable of their own, each with the
// address given, as eth0.
func (l *Lab) Link(a, b *Host, addressA, addressB string) {
	l.t.Helper()
	ipBatch(l.t, "", fmt.Sprintf("link add name eth0 netns %s type veth peer name eth0 netns %s\n", a.NS, b.NS))
	for _, x := range []struct {
		host    *Host
		address string
	}{{a, addressA}, {b, addressB}} {
		x.host.Sysctl("net/ipv6/conf/eth0/accept_dad=0")
		x.host.IP("link set lo up", "address add "+x.address+" dev eth0", "link set eth0 up")
	}
}

// makeDir makes the directory of the daemons' files.
func (l *Lab) makeDir() {
	l.t.Helper()
	dir, err := os.MkdirTemp("", "poise-net-")
	if err != nil {
		l.t.Fatalf("make the lab's directory: %v", err)
	}
	// Plugins run unprivileged, with their own directories below this one.
	if err := os.Chmod(dir, 0o755); err != nil {
		l.t.Fatalf("open the lab's directory to all: %v", err)
	}
	l.Dir = dir
	l.t.Cleanup(l.keep)
}

// wire joins the hosts.
func (l *Lab) wire() {
	l.Switch.IP("link add lan type bridge forward_delay 0 mcast_snooping 0", "link set lan up", "link set lo up")
	l.join(l.Client, "eth0", "lan", clientIP)
	l.join(l.A, "eth0", "lan", addressA)
	l.join(l.B, "eth0", "lan", addressB)
	if l.Method == NAT {
		l.Switch.IP("link add back type bridge forward_delay 0 mcast_snooping 0", "link set back up")
		l.join(l.A, "eth1", "back", backNet+"2")
		l.join(l.B, "eth1", "back", backNet+"3")
	}
	for _, d := range []*Host{l.A, l.B} {
		d.Sysctl("net/ipv4/ip_forward=1", "net/ipv4/conf/all/send_redirects=0", "net/ipv4/conf/eth0/send_redirects=0")
	}
	for i, r := range l.Reals {
		l.wireReal(r, firstReal+i)
	}
}

func (l *Lab) wireReal(r *Host, last int) {
	switch l.Method {
	case NAT:
		l.join(r, "eth0", "back", fmt.Sprint(backNet, last))
		r.IP("route add default via " + Gateway)
	case TUN:
		l.join(r, "eth0", "lan", fmt.Sprint(lanNet, last))
		r.quiet()
		r.IP("address add "+VIP+"/32 dev tunl0", "link set tunl0 up")
		r.Sysctl("net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/tunl0/rp_filter=0", "net/ipv4/conf/eth0/rp_filter=0")
	default:
		l.join(r, "eth0", "lan", fmt.Sprint(lanNet, last))
		r.quiet()
		r.IP("address add " + VIP + "/32 dev lo")
	}
}

// quiet keeps a real server from answering for the virtual address.
func (h *Host) quiet() {
	h.Sysctl("net/ipv4/conf/all/arp_ignore=1", "net/ipv4/conf/all/arp_announce=2")
}

// join links a host to a bridge; the switch's end is named after host and device.
func (l *Lab) join(h *Host, device, bridge, addr string) {
	port := h.Name + "-" + device
	ipBatch(l.t, "", fmt.Sprintf("link add name %s netns %s type veth peer name %s netns %s\n", device, h.NS, port, l.Switch.NS))
	l.Switch.IP("link set "+port+" master "+bridge, "link set "+port+" up")
	h.Sysctl("net/ipv6/conf/" + device + "/disable_ipv6=1")
	h.IP("link set lo up", "address add "+addr+"/24 dev "+device, "link set "+device+" up")
}

// Cut pulls all cables of a host.
func (l *Lab) Cut(h *Host) { l.cables(h, "down") }

// Mend puts them back.
func (l *Lab) Mend(h *Host) { l.cables(h, "up") }

func (l *Lab) cables(h *Host, state string) {
	l.t.Helper()
	lines := []string{"link set " + h.Name + "-eth0 " + state}
	if l.Method == NAT && (h == l.A || h == l.B) {
		lines = append(lines, "link set "+h.Name+"-eth1 "+state)
	}
	l.Switch.IP(lines...)
}

// Address is a host's own address.
func (l *Lab) Address(h *Host) string {
	switch h {
	case l.A:
		return addressA
	case l.B:
		return addressB
	case l.Client:
		return clientIP
	}
	for i, r := range l.Reals {
		if r != h {
			continue
		}
		if l.Method == NAT {
			return fmt.Sprint(backNet, firstReal+i)
		}
		return fmt.Sprint(lanNet, firstReal+i)
	}
	l.t.Fatalf("host %s has no address", h.Name)
	return ""
}

// ProveKernel shows that the directors' kernel is one with IPVS: a service that is
// added is in the table.
func (l *Lab) ProveKernel() {
	l.t.Helper()
	l.A.ProveKernel()
}

// ProveKernel shows it of a host's.
func (h *Host) ProveKernel() {
	h.t.Helper()
	const service = "203.0.113.254:9"
	h.Run("ipvsadm", "-A", "-t", service, "-s", "rr")
	if table := h.Run("ipvsadm", "-Ln"); !strings.Contains(table, "TCP  "+service+" rr") {
		h.t.Fatalf("the kernel took a service and does not show it:\n%s", table)
	}
	h.Run("ipvsadm", "-D", "-t", service)
}

// inspect writes what the hosts' networks and the kernel say to files in Dir.
func (l *Lab) inspect() {
	write := func(name string, cmd *exec.Cmd) {
		out, _ := cmd.CombinedOutput()
		if err := os.WriteFile(filepath.Join(l.Dir, name), out, 0o644); err != nil {
			l.t.Logf("keep what the kernel says: %v", err)
		}
	}
	write("kernel", exec.Command("sh", "-c", "dmesg | tail -50; free -m; cat /proc/net/softnet_stat /proc/loadavg"))
	for _, h := range append([]*Host{l.Client, l.A, l.B}, l.Reals...) {
		if h != nil { // one of Alone has none
			write("network-"+h.Name, h.Command("sh", "-c", "nstat -asz; ip neigh; ss -tan; ipvsadm -Lnc; ip -s link"))
		}
	}
}

// keep saves the daemons' files of a failed test for the host, and removes them here.
func (l *Lab) keep() {
	if l.t.Failed() && uml.Inside() {
		l.inspect()
		to := filepath.Join(uml.OutDir, strings.ReplaceAll(l.t.Name(), "/", "_")+"-"+filepath.Base(l.Dir))
		_ = filepath.WalkDir(l.Dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return nil
			}
			rel, _ := filepath.Rel(l.Dir, path)
			_ = os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o755)
			return os.WriteFile(filepath.Join(to, rel), b, 0o644)
		})
	}
	_ = os.RemoveAll(l.Dir)
}

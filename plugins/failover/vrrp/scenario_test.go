package vrrp

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/plugins/failover/vrrp/fsm"
	"github.com/poise-lb/poise/plugins/failover/vrrp/handover"
	"github.com/poise-lb/poise/plugins/failover/vrrp/packet"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
)

// down is the master-down interval for a priority.
func down(priority uint8) time.Duration {
	return fsm.Settings{Priority: priority, Interval: time.Second, DownAdverts: 3}.MasterDown()
}

// jitter is what a busy machine may add to a deadline.
const jitter = 250 * time.Millisecond

// pair starts a master with priority 150 at host 1 and a backup with 100 at host 2.
func pair(t *testing.T, l *lab) (a, b *process, dirA string) {
	t.Helper()
	dirA = l.dir()
	a, b = l.director(1, dirA, http(150)), l.director(2, l.dir(), http(100))
	a.await(master, down(150)+2*time.Second)
	b.await(backup, time.Second)
	if !l.has(1, vip) || l.has(2, vip) {
		t.Fatal("the address is not at the master alone")
	}
	return a, b, dirA
}

func TestFailOverAndBack(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2, 1)
	a, b, dir := pair(t, l)

	a.kill()
	killed := time.Now()
	b.await(master, down(100)+jitter)
	last := l.adverts(1, time.Time{})
	first := l.adverts(2, killed)
	late := first[0].At.Sub(last[len(last)-1].At) - down(100)
	if late < 0 || late > 20*time.Millisecond {
		wrong(t, "the backup took over %s later than the master-down interval", late)
	}
	t.Logf("late by %s", late)
	if !l.has(1, vip) {
		fatal(t, "the test is of no use: nothing was left at the killed director")
	}

	// It comes back too late to be adopted, with its link still down.
	l.ip(1, "link", "set", "eth0", "down")
	l.ip(1, "addr", "add", "192.0.2.101/32", "dev", "eth0") // Configured by now, never held.
	two := func(in *failoverv1.Instance) {
		in.Addresses = append(in.Addresses, &failoverv1.Address{Prefix: "192.0.2.101/32"})
	}
	again := l.director(1, dir, http(150, two))
	again.await(fault, 2*time.Second)
	if l.has(1, vip) || l.has(1, "192.0.2.101") {
		wrong(t, "addresses are still there when the group is in fault")
	}
	if len(l.adverts(1, killed)) > 0 {
		wrong(t, "it spoke with its link down")
	}
	again.set(http(150))
	l.ip(1, "link", "set", "eth0", "up")
	again.await(backup, 2*time.Second)
	if l.has(1, vip) {
		wrong(t, "the backup has the address")
	}
	again.await(master, down(150)+jitter)
	eventually(t, time.Second, "the worse director yields", func() bool { return !l.has(2, vip) })
	b.await(backup, time.Second)
	if _, reason := again.role("VGM"); !strings.Contains(reason, "own priority 150 is greater than the 100 of 192.0.2.2") {
		wrong(t, "reason: %s", reason)
	}
	if n := b.status("http").GetPacketErrors()["addresses"]; n != 0 {
		wrong(t, "%d adverts with other addresses", n)
	}
}

// TestKilledAndBackInTime: a new process goes on as master, and nobody notices.
func TestKilledAndBackInTime(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2, 1)
	a, b, dir := pair(t, l)
	l.ip(1, "addr", "add", "203.0.113.7/32", "dev", "eth0") // Somebody else's.
	watched := l.monitor(1)
	for range 3 {
		since := time.Now()
		a.kill()
		a = l.director(1, dir, http(150))
		a.await(master, time.Second)
		if _, reason := a.role("VGM"); !strings.Contains(reason, "went on as master") {
			wrong(t, "reason: %s", reason)
		}
		eventually(t, 3*time.Second, "adverts go on", func() bool { return len(l.adverts(1, since)) >= 2 })
	}
	if gap := l.gap(t, 1, time.Time{}); gap > 1500*time.Millisecond {
		wrong(t, "%s without an advert", gap)
	}
	if len(l.adverts(2, time.Time{})) > 0 {
		wrong(t, "the backup spoke")
	}
	if lines := watched(); strings.Contains(lines, vip) {
		wrong(t, "the address was touched:\n%s", lines)
	}
	if !l.has(1, "203.0.113.7") {
		wrong(t, "somebody else's address is gone")
	}

	// A configuration that has lost the address while nobody ran takes it away.
	a.kill()
	a = l.director(1, dir, http(150, func(in *failoverv1.Instance) { in.Addresses[0].Prefix = "192.0.2.102/32" }))
	a.await(master, time.Second)
	if l.has(1, vip) || !l.has(1, "192.0.2.102") {
		wrong(t, "the former address is still there, or the new one is not")
	}
	_ = b
}

// monitor collects what happens to addresses of a host; the function gives it.
func (l *lab) monitor(host int) func() string {
	cmd := exec.Command("ip", "-n", l.ns(host), "monitor", "address")
	var out strings.Builder
	done := &process{}
	cmd.Stdout = &lockedWriter{mu: &done.mu, w: &out}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	text := func() string {
		done.mu.Lock()
		defer done.mu.Unlock()
		return out.String()
	}
	// It watches once it shows a change made for it.
	l.ip(host, "addr", "add", "203.0.113.99/32", "dev", "lo")
	eventually(l.t, 2*time.Second, "ip monitor works", func() bool { return strings.Contains(text(), "203.0.113.99") })
	return text
}

// TestHandOver: the daemon is lost, a new process takes over, and nobody notices.
func TestHandOver(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2, 1)
	a, _, dir := pair(t, l)
	watched := l.monitor(1)
	start := time.Now()
	for i := range 3 {
		before := a.status("http").GetAdvertsSent()
		a.do(command{Do: "lose"})
		time.Sleep(time.Duration(i) * 400 * time.Millisecond) // Different phases of the grid.
		next := l.director(1, dir, http(150))
		next.await(master, time.Second)
		eventually(t, time.Second, "the old process ends", a.ended)
		eventually(t, 3*time.Second, "it counts on", func() bool { return next.status("http").GetAdvertsSent() > before+1 })
		if n := next.status("http").GetBecameMaster(); n != 1 {
			wrong(t, "became master %d times", n)
		}
		a = next
	}
	if gap := l.gap(t, 1, start.Add(-time.Second)); gap > 1050*time.Millisecond {
		wrong(t, "%s without an advert", gap)
	}
	for _, f := range l.adverts(1, start) {
		if f.Priority != 150 {
			wrong(t, "an advert with priority %d", f.Priority)
		}
	}
	if len(l.adverts(2, time.Time{})) > 0 {
		wrong(t, "the backup spoke")
	}
	if lines := watched(); strings.Contains(lines, vip) {
		wrong(t, "the address was touched:\n%s", lines)
	}

	// A new configuration comes with the new process.
	a.do(command{Do: "lose"})
	next := l.director(1, dir, http(140, func(in *failoverv1.Instance) {
		in.Addresses = append(in.Addresses, &failoverv1.Address{Prefix: "192.0.2.101/32"})
	}))
	next.await(master, time.Second)
	eventually(t, time.Second, "it has both addresses", func() bool { return l.has(1, vip) && l.has(1, "192.0.2.101") })
}

// TestGraceEnds: nobody comes back, and the master leaves cleanly.
func TestGraceEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2, 1)
	a, b, _ := pair(t, l)
	lost := time.Now()
	a.do(command{Do: "lose"})
	b.await(master, 3*time.Second+time.Second+jitter)
	eventually(t, time.Second, "the old master ends", a.ended)
	adverts := l.adverts(1, lost)
	last := adverts[len(adverts)-1]
	if last.Priority != 0 || last.At.Sub(lost) < 2900*time.Millisecond || last.At.Sub(lost) > 3*time.Second+jitter {
		wrong(t, "the last advert has priority %d, %s after the daemon was lost", last.Priority, last.At.Sub(lost))
	}
	if l.has(1, vip) || !l.has(2, vip) {
		wrong(t, "the address has not moved")
	}
	b.do(command{Do: "lose"})
	eventually(t, 6*time.Second, "a master without a peer ends too", b.ended)
	if l.has(2, vip) {
		wrong(t, "the address is still there")
	}
}

// TestStop: withdrawal is make before break, and leaving leaves.
func TestStop(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2, 1)
	a, b, _ := pair(t, l)
	stopped := time.Now()
	a.do(command{Do: "withdraw"})
	for !l.has(2, vip) {
		if !l.has(1, vip) {
			if !l.has(2, vip) {
				wrong(t, "for a while nobody had the address")
			}
			break
		}
	}
	b.await(master, time.Second+jitter)
	eventually(t, time.Second, "the old master ends", a.ended)
	if l.has(1, vip) {
		wrong(t, "the address is still there")
	}
	first := l.adverts(2, stopped)[0].At
	for _, f := range l.adverts(1, stopped) {
		if f.Priority == 0 {
			if took := first.Sub(f.At); took < 600*time.Millisecond || took > 610*time.Millisecond+jitter {
				wrong(t, "the backup took over %s after priority 0, its skew is 609 ms", took)
			}
		}
	}
	b.do(command{Do: "leave"})
	eventually(t, time.Second, "it ends", b.ended)
	if !l.has(2, vip) {
		wrong(t, "leaving took the address away")
	}
	for _, f := range l.adverts(2, stopped) {
		if f.Priority == 0 {
			wrong(t, "leaving said goodbye")
		}
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2, 1)
	a, b, _ := pair(t, l)
	l.ip(0, "link", "set", port(1, 0), "down") // The carrier is lost.
	a.await(fault, time.Second)
	if _, reason := a.role("VGM"); reason != "interface eth0 has no carrier" {
		wrong(t, "reason: %s", reason)
	}
	eventually(t, time.Second, "the address is off the dead link", func() bool { return !l.has(1, vip) })
	b.await(master, down(100)+jitter)
	l.ip(0, "link", "set", port(1, 0), "up")
	a.await(backup, 2*time.Second)
	a.await(master, down(150)+jitter)

	l.ip(1, "link", "set", "eth0", "name", "eth9")
	eventually(t, time.Second, "the interface is missing", func() bool {
		_, reason := a.role("VGM")
		return reason == "interface eth0 is missing"
	})
	b.await(master, down(100)+jitter)
	l.ip(1, "link", "set", "eth9", "name", "eth0")
	a.await(backup, 2*time.Second)
	if l.has(1, vip) {
		wrong(t, "it came back with the address still on it")
	}
	a.await(master, down(150)+jitter)
	l.ip(1, "addr", "del", "192.0.2.1/24", "dev", "eth0")
	eventually(t, time.Second, "it has no address to send from", func() bool {
		_, reason := a.role("VGM")
		return reason == "interface eth0 has no IPv4 address of its own"
	})
}

// TestAddresses: what somebody removes is put back, and sets change what is held.
func TestAddresses(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1, 1)
	a := l.director(1, l.dir(), http(150))
	a.await(master, down(150)+2*time.Second)
	eventually(t, 4*time.Second, "five announcements", func() bool { return len(l.seen("arp")) >= 5 })
	arps := l.seen("arp")
	if spread := arps[4].At.Sub(arps[0].At); spread < time.Second || arps[0].At.Sub(l.adverts(1, time.Time{})[0].At) > 20*time.Millisecond {
		wrong(t, "five announcements within %s, the first %s after the advert", spread, arps[0].At.Sub(l.adverts(1, time.Time{})[0].At))
	}
	for i := range 3 {
		l.ip(1, "addr", "del", vip+"/32", "dev", "eth0")
		eventually(t, time.Second, "the address is put back", func() bool { return l.has(1, vip) })
		eventually(t, time.Second, "it is counted", func() bool {
			return a.status("http").GetAddressesRestored() == uint64(i+1)
		})
	}
	if n := a.notices("removed from eth0 by somebody else"); n != 1 {
		wrong(t, "%d notices of one kind within 10 s", n)
	}

	before := len(l.seen("arp"))
	l.ip(1, "link", "add", "other0", "type", "veth", "peer", "name", "other1")
	l.ip(1, "link", "set", "other1", "up")
	l.ip(1, "link", "set", "other0", "up")
	a.set(http(120, func(in *failoverv1.Instance) {
		in.Addresses = []*failoverv1.Address{{Prefix: "192.0.2.101/24", Label: "eth0:vip", Broadcast: "192.0.2.255"}}
		in.ExcludedAddresses = []*failoverv1.Address{{Prefix: "2001:db8::1/128"}, {Prefix: "198.51.100.9/32", Interface: "other0", Scope: 253}}
	}))
	eventually(t, time.Second, "the new addresses are there", func() bool {
		return l.has(1, "192.0.2.101") && l.has(1, "2001:db8::1") && l.has(1, "198.51.100.9") && !l.has(1, vip)
	})
	for _, want := range []string{"192.0.2.101/24 brd 192.0.2.255 scope global secondary eth0:vip", "198.51.100.9/32 scope link other0"} {
		if got := l.ip(1, "-o", "addr", "show"); !strings.Contains(got, want) {
			wrong(t, "no %q in:\n%s", want, got)
		}
	}
	eventually(t, time.Second, "the new address is announced", func() bool { return len(l.seen("arp")) > before })
	eventually(t, 2*time.Second, "the priority is told", func() bool {
		list := l.adverts(1, time.Time{})
		return list[len(list)-1].Priority == 120
	})
	if n := a.status("http").GetBecameMaster(); n != 1 {
		wrong(t, "became master %d times", n)
	}
	a.set(http(120, func(in *failoverv1.Instance) { in.VirtualRouterId = 52 }))
	a.await(backup, 3*time.Second)
	a.await(master, down(120)+2*time.Second)
	a.set()
	// An empty set has nothing to report; the addresses tell.
	eventually(t, 3*time.Second, "the addresses are gone", func() bool { return !l.has(1, vip) })
}

// TestBadPackets: what is not a good advert changes nothing and is counted.
func TestBadPackets(t *testing.T) {
	t.Parallel()
	l := newLab(t, 3, 1)
	a, b, _ := pair(t, l)
	seed := packet.Advert{VirtualRouterID: 51, Priority: 255, AuthType: packet.AuthPass, Interval: 1, Addresses: []netip.Addr{netip.MustParseAddr(vip)}}
	copy(seed.Password[:], "1111")
	datagram := func(change func(a *packet.Advert)) []byte {
		bad := seed
		change(&bad)
		return packet.AppendDatagram(nil, netip.MustParseAddr("192.0.2.3"), bad)
	}
	flip := func(at int, with byte) []byte {
		b := datagram(func(*packet.Advert) {})
		b[at] ^= with
		return b
	}
	bad := map[string][][]byte{
		"ttl":      {flip(8, 1)},
		"checksum": {flip(22, 1), flip(39, 1)},
		"version":  {flip(20, 0x10), flip(20, 0x03)},
		"length":   {datagram(func(*packet.Advert) {})[:30], datagram(func(*packet.Advert) {})[:20], flip(23, 2), append(flip(0, 0), 0)},
		"auth":     {datagram(func(a *packet.Advert) { a.Password[0] = '2' }), datagram(func(a *packet.Advert) { a.AuthType = 0; a.Password = [8]byte{} })},
		"interval": {datagram(func(a *packet.Advert) { a.Interval = 2 })},
	}
	var all [][]byte
	for _, list := range bad {
		all = append(all, list...)
	}
	l.inject(3, all)
	l.inject(3, [][]byte{datagram(func(a *packet.Advert) { a.VirtualRouterID = 77 })}) // Another router's.
	for _, p := range []*process{a, b} {
		for reason, list := range bad {
			eventually(t, 2*time.Second, fmt.Sprintf("host %d has counted %d of %q", p.host, len(list), reason), func() bool {
				return p.status("http").GetPacketErrors()[reason] == uint64(len(list))
			})
			if n := p.notices("packet from 192.0.2.3"); n > len(bad) {
				wrong(t, "%d notices", n)
			}
		}
	}
	always(t, time.Second, "nothing has changed", func() bool {
		roleA, _ := a.role("VGM")
		roleB, _ := b.role("VGM")
		return roleA == master && roleB == backup && l.has(1, vip)
	})
	// The same packet, whole, is obeyed.
	l.inject(3, [][]byte{datagram(func(*packet.Advert) {})})
	a.await(backup, time.Second)
	if strings.Contains(a.log.String()+b.log.String(), "1111") {
		wrong(t, "the password is in a log")
	}
}

// inject sends packets from a host.
func (l *lab) inject(host int, datagrams [][]byte) {
	l.t.Helper()
	var script strings.Builder
	for _, d := range datagrams {
		fmt.Fprintf(&script, "%x\n", d)
	}
	cmd := l.child(host, "injector", "")
	cmd.Stdin = strings.NewReader(script.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("inject: %v: %s", err, out)
	}
}

// TestStoodStill: a master that was stopped for longer than its peer waits steps back
// before it says a word.
func TestStoodStill(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2, 1)
	a, b, _ := pair(t, l)
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.await(master, down(100)+jitter)
	time.Sleep(500 * time.Millisecond)
	woken := time.Now()
	if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	a.await(backup, time.Second)
	eventually(t, time.Second, "the address is gone", func() bool { return !l.has(1, vip) })
	always(t, 1500*time.Millisecond, "it is silent", func() bool { return len(l.adverts(1, woken)) == 0 })
	if r, _ := b.role("VGM"); r != master {
		wrong(t, "the new master was disturbed")
	}
}

// TestSyncGroup: two interfaces, one role.
func TestSyncGroup(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2, 2)
	both := func(priority uint32) *failoverv1.Group {
		g := http(priority)
		g.Instances = append(g.Instances, &failoverv1.Instance{
			Name: "inside", Interface: "eth1", VirtualRouterId: 52, Priority: priority, AdvertInterval: durationpb.New(time.Second),
			Addresses: []*failoverv1.Address{{Prefix: "198.51.100.100/24"}},
		})
		return g
	}
	a, b := l.director(1, l.dir(), both(150)), l.director(2, l.dir(), both(100))
	a.await(master, down(150)+2*time.Second)
	b.await(backup, time.Second)
	eventually(t, time.Second, "both addresses are at the master", func() bool { return l.has(1, vip) && l.has(1, "198.51.100.100") })
	l.ip(0, "link", "set", port(1, 1), "down")
	a.await(fault, time.Second)
	eventually(t, time.Second, "both addresses are gone", func() bool { return !l.has(1, vip) && !l.has(1, "198.51.100.100") })
	b.await(master, down(100)+jitter)
	if !l.has(2, vip) || !l.has(2, "198.51.100.100") {
		wrong(t, "the new master does not have both addresses")
	}
	l.ip(0, "link", "set", port(1, 1), "up")
	a.await(master, 2*time.Second+down(150)+jitter)
	b.await(backup, time.Second)
}

// TestTakeOverTimes: one silence, many virtual routers, and how late each is taken over.
func TestTakeOverTimes(t *testing.T) {
	t.Parallel()
	const first, n = 61, 15
	l := newLab(t, 2, 1)
	groups := func(priority uint32) (all []*failoverv1.Group) {
		for i := range uint32(n) {
			g := http(priority, func(in *failoverv1.Instance) {
				in.VirtualRouterId = first + i
				in.Addresses[0].Prefix = fmt.Sprintf("192.0.2.%d/32", 101+i)
			})
			g.Name = fmt.Sprint("VG", i)
			all = append(all, g)
		}
		return all
	}
	a, b := l.director(1, l.dir(), groups(150)...), l.director(2, l.dir(), groups(100)...)
	eventually(t, down(150)+3*time.Second, "one is master of all", func() bool {
		return l.has(1, "192.0.2.101") && l.has(1, fmt.Sprint("192.0.2.", 100+n)) && !l.has(2, "192.0.2.101") && !l.has(2, fmt.Sprint("192.0.2.", 100+n))
	})
	since := time.Now()
	a.kill()
	eventually(t, down(100)+2*time.Second, "the other one is", func() bool { return len(l.adverts(2, since)) >= 2*n })
	last, lates := map[uint8]time.Time{}, []time.Duration{}
	for _, f := range l.adverts(1, time.Time{}) {
		last[f.Router] = f.At
	}
	for _, f := range l.adverts(2, since) {
		if at, waits := last[f.Router]; waits {
			lates = append(lates, f.At.Sub(at)-down(100))
			delete(last, f.Router)
		}
	}
	if len(lates) != n {
		fatal(t, "%d virtual routers of %d were taken over", len(lates), n)
	}
	slices.Sort(lates)
	t.Logf("late by %s / %s / %s (least, median, most of %d)", lates[0], lates[len(lates)/2], lates[len(lates)-1], len(lates))
	if lates[0] < -time.Millisecond || lates[n/2] > 10*time.Millisecond {
		wrong(t, "late by %v", lates)
	}
	_ = b
}

// TestPredecessorThatDoesNotAnswer: it is stopped; its successor ends it and goes on
// from the records.
func TestPredecessorThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2, 1)
	a, _, dir := pair(t, l)
	watched := l.monitor(1)
	start := time.Now()
	a.do(command{Do: "lose"})
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	next := l.director(1, dir, http(150))
	next.await(master, 3*time.Second)
	select {
	case <-a.exited:
	case <-time.After(2 * time.Second):
		wrong(t, "the stopped process is still there")
	}
	eventually(t, 3*time.Second, "adverts go on", func() bool { return len(l.adverts(1, start)) >= 3 })
	if len(l.adverts(2, time.Time{})) > 0 {
		wrong(t, "the backup spoke")
	}
	if lines := watched(); strings.Contains(lines, vip) {
		wrong(t, "the address was touched:\n%s", lines)
	}
}

// TestUnprivileged: the two capabilities are enough for nobody.
func TestUnprivileged(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("setpriv is not installed (apt install util-linux)")
	}
	l := newLab(t, 1, 1)
	l.wrap = []string{path, "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs",
		"--inh-caps=-all,+net_admin,+net_raw", "--ambient-caps=-all,+net_admin,+net_raw", "--bounding-set=-all,+net_admin,+net_raw"}
	dir := l.dir()
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	a := l.director(1, dir, http(150))
	a.await(master, down(150)+2*time.Second)
	eventually(t, time.Second, "the address is there", func() bool { return l.has(1, vip) })
	a.do(command{Do: "lose"})
	next := l.director(1, dir, http(150))
	next.await(master, time.Second)
	next.do(command{Do: "withdraw"})
	eventually(t, 3*time.Second, "the address is gone", func() bool { return !l.has(1, vip) })
}

// TestSuccessorThatDoesNotTake: it asks, and never confirms; the old one goes on.
func TestSuccessorThatDoesNotTake(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1, 1)
	dir := l.dir()
	a := l.director(1, dir, http(150))
	a.await(master, down(150)+2*time.Second)
	start := time.Now()
	for range 3 {
		askAndFallSilent(t, dir)
		eventually(t, 3*time.Second, "adverts go on", func() bool { return len(l.adverts(1, time.Now().Add(-100*time.Millisecond))) > 0 })
	}
	if gap := l.gap(t, 1, start); gap > 1500*time.Millisecond {
		wrong(t, "%s without an advert", gap)
	}
	if !l.has(1, vip) || a.ended() {
		wrong(t, "the master is gone")
	}
}

// askAndFallSilent asks for the groups and hangs up when it has the offer.
func askAndFallSilent(t *testing.T, dir string) {
	t.Helper()
	conn, err := net.Dial("unix", handover.Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := []byte(`{"version":1,"kind":"ask"}`)
	if _, err := conn.Write(append([]byte{0, 0, 0, byte(len(body))}, body...)); err != nil {
		t.Fatal(err)
	}
	// The old one stands still until it loses patience and hangs up.
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	offer, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(offer), `"kind":"offer"`) {
		fatal(t, "offered %q, %v", offer, err)
	}
}

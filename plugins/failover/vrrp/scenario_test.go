package vrrp

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/plugins/failover/vrrp/fsm"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
)

// down is the master-down interval for a priority.
func down(priority uint8) time.Duration {
	return fsm.Settings{Priority: priority, Interval: time.Second, DownAdverts: 3}.MasterDown()
}

// jitter is what a busy machine may add to a deadline.
const jitter = 250 * time.Millisecond

// pair starts a master with priority 150 at host 1 and then, so that it is never master
// for having started sooner, a backup with 100 at host 2, which has heard the master.
func pair(t *testing.T, l *lab) (a, b *process, dirA string) {
	t.Helper()
	dirA = l.dir()
	a = l.director(1, dirA, http(150))
	a.await(master, down(150)+startPatience)
	b = l.director(2, l.dir(), http(100))
	b.await(backup, startPatience)
	ready := time.Now()
	eventually(t, startPatience, "the master speaks", func() bool { return len(l.adverts(1, ready)) > 0 })
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
	late := l.firstAdvert(2, killed).Sub(last[len(last)-1].At) - down(100)
	if late < 0 {
		wrong(t, "the backup took over %s before the master-down interval was over", -late)
	}
	if late > 20*time.Millisecond {
		slow(t, "the backup took over %s later than the master-down interval", late)
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
	first := l.firstAdvert(2, stopped)
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
	if spread := arps[4].At.Sub(arps[0].At); spread < time.Second {
		wrong(t, "five announcements within %s", spread)
	}
	if late := arps[0].At.Sub(l.adverts(1, time.Time{})[0].At); late > 20*time.Millisecond {
		slow(t, "the first announcement is %s after the advert", late)
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

// TestAddressThatCannotBeAdded: the others are held, and it comes when it can.
func TestAddressThatCannotBeAdded(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1, 1)
	ipv6 := func(off int) {
		run(t, "ip", "netns", "exec", l.ns(1), "sysctl", "-w", fmt.Sprint("net.ipv6.conf.eth0.disable_ipv6=", off))
	}
	ipv6(1)
	six := func(in *failoverv1.Instance) {
		in.ExcludedAddresses = []*failoverv1.Address{{Prefix: "2001:db8::1/128"}}
	}
	a := l.director(1, l.dir(), http(150, six))
	a.await(master, down(150)+2*time.Second)
	eventually(t, time.Second, "the good address is there", func() bool { return l.has(1, vip) })
	eventually(t, time.Second, "the bad one is told", func() bool { return a.notices("cannot put 2001:db8::1/128 on eth0") > 0 })
	ipv6(0)
	eventually(t, 3*time.Second, "it is there", func() bool { return l.has(1, "2001:db8::1") })
	if n := a.status("http").GetAddressesRestored(); n != 0 {
		wrong(t, "%d addresses put back that nobody removed", n)
	}

	// The interface of an address counts as the instance's own.
	l.ip(1, "link", "add", "late0", "type", "veth", "peer", "name", "late1")
	l.ip(1, "link", "set", "late1", "up")
	elsewhere := func(in *failoverv1.Instance) {
		in.ExcludedAddresses = []*failoverv1.Address{{Prefix: "198.51.100.9/32", Interface: "late0"}}
	}
	a.set(http(150, elsewhere))
	a.await(fault, 2*time.Second)
	l.ip(1, "link", "set", "late0", "up")
	a.await(master, 2*time.Second+down(150)+jitter)
	eventually(t, time.Second, "both are there", func() bool { return l.has(1, vip) && l.has(1, "198.51.100.9") })
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
	a := l.director(1, l.dir(), groups(150)...)
	l.director(2, l.dir(), groups(100)...)
	eventually(t, down(150)+3*time.Second, "one is master of all", func() bool {
		return l.has(1, "192.0.2.101") && l.has(1, fmt.Sprint("192.0.2.", 100+n)) && !l.has(2, "192.0.2.101") && !l.has(2, fmt.Sprint("192.0.2.", 100+n))
	})
	busy := oversleep(t)
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
	// What this process sleeps too long on a busy machine, a director waits for at each of
	// the steps of a take-over.
	limit := 10*time.Millisecond + 20*busy()
	if lates[0] < -time.Millisecond {
		wrong(t, "%v too early", -lates[0])
	}
	if lates[n/2] > limit {
		// All expire together: one moment without a processor makes all of them late.
		slow(t, "late by %v, the median may be %v", lates, limit)
	}
}

// oversleep measures how much later than asked for this process is woken up; the function it
// gives ends that and gives the mean.
func oversleep(t *testing.T) func() time.Duration {
	const nap = 2 * time.Millisecond
	end, mean := make(chan struct{}), make(chan time.Duration, 1)
	go func() {
		total, n := time.Duration(0), 0
		for {
			select {
			case <-end:
				mean <- total / time.Duration(max(n, 1))
				return
			default:
			}
			begun := time.Now()
			time.Sleep(nap)
			total += time.Since(begun) - nap
			n++
		}
	}()
	stop := sync.OnceFunc(func() { close(end) })
	t.Cleanup(stop)
	return func() time.Duration { stop(); return <-mean }
}

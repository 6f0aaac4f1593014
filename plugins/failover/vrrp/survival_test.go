package vrrp

import (
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/plugins/failover/vrrp/handover"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
)

// startPatience is how long a process may take to start and go on: less than three
// adverts, after which another director would take over, which these tests would see.
const startPatience = 2500 * time.Millisecond

// TestKilledAndBackInTime: a new process goes on as master, and nobody notices.
func TestKilledAndBackInTime(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2, 1)
	a, _, dir := pair(t, l)
	l.ip(1, "addr", "add", "203.0.113.7/32", "dev", "eth0") // Somebody else's.
	watched := l.monitor(1)
	for range 3 {
		since := time.Now()
		a.kill()
		a = l.director(1, dir, http(150))
		a.await(master, startPatience)
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
	a.await(master, startPatience)
	if l.has(1, vip) || !l.has(1, "192.0.2.102") {
		wrong(t, "the former address is still there, or the new one is not")
	}
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
	// It watches once it shows a change made for it; one made before it listened it never
	// shows.
	eventually(l.t, 10*time.Second, "ip monitor works", func() bool {
		l.ip(host, "addr", "add", "203.0.113.99/32", "dev", "lo")
		l.ip(host, "addr", "del", "203.0.113.99/32", "dev", "lo")
		return strings.Contains(text(), "203.0.113.99")
	})
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
		next.await(master, startPatience)
		eventually(t, 3*time.Second, "the old process ends", a.ended)
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
	next.await(master, startPatience)
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
		missing(t, "setpriv is not installed (apt install util-linux)")
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
	next.await(master, startPatience)
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

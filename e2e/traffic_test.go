package e2e

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

func TestTrafficDR(t *testing.T)  { traffic(t, lab.DR) }
func TestTrafficNAT(t *testing.T) { traffic(t, lab.NAT) }

// TestTrafficTUN is left to make soak: what differs from DR is a header, which is in the
// table that TestTableOfEveryKind compares.
func TestTrafficTUN(t *testing.T) {
	soakOnly(t)
	traffic(t, lab.TUN)
}

// traffic is the life of two directors as a client sees it that asks on a new
// connection every 10 ms, and another that keeps one connection open.
func traffic(t *testing.T, method lab.Method) {
	// A start of poised takes seconds on this kernel, and must not take longer than the
	// grace time. The default is shown where VRRP alone runs, on the host's kernel.
	s := pair(t, method, lab.Poised, lab.Poised, settings("grace_time: 20s"))
	load := s.load()
	held := s.Hold()

	s.drain(load)
	// What plugins and daemons do is the same for every forwarding method.
	whole := method == lab.DR || os.Getenv("POISE_SOAK") != ""
	for name := range plugins(t, s.A) {
		if whole || name == "ipvs" {
			s.killPlugin(load, name)
		}
	}
	if whole {
		s.killDaemon(load)
	}
	if held.Broken() {
		t.Error("an open connection has broken, and no director was stopped")
	}
	s.reigns(s.Begun, "a")
	s.cleanStop(load)
	s.cleanReturn(load)
	s.loss(load)
	if whole {
		s.lateReturn(load)
	}
	load.Stop()
}

// drain takes a real server out and back.
func (s *scene) drain(load *lab.Load) {
	s.t.Helper()
	begun := time.Now()
	if out, status := s.A.Poise("drain", lab.Service, s.Address(s.Reals[0])+":80"); status != 0 {
		s.t.Fatalf("poise drain: status %d: %s", status, out)
	}
	s.A.WaitInTable(2*time.Second, s.Reals[0], false)
	drained := time.Now()
	requests(s.t, load, 100)
	if got := load.Report().Since(drained).Answered(); got["r1"] > 0 || got["r2"] == 0 {
		s.t.Errorf("answers while r1 was drained: %v, want r2 alone", got)
	}
	if out, status := s.A.Poise("ready", lab.Service, s.Address(s.Reals[0])+":80"); status != 0 {
		s.t.Fatalf("poise ready: status %d: %s", status, out)
	}
	s.A.WaitInTable(2*time.Second, s.Reals[0], true)
	ready := time.Now()
	requests(s.t, load, 100)
	if got := load.Report().Since(ready).Answered(); got["r1"] == 0 {
		s.t.Errorf("answers after r1 was ready again: %v, want some of r1", got)
	}
	s.served(load, begun, "drained and ready again")
}

// killPlugin kills a plugin process of the master and waits for the next one. The failover
// plugin is killed when it has just spoken: its next process has the whole of the time for
// which B waits, which is not long for a start on a slow host. TestChaos kills it at any
// moment.
func (s *scene) killPlugin(load *lab.Load, name string) {
	s.t.Helper()
	begun := time.Now()
	if name == "vrrp" {
		lab.Eventually(s.t, 2*advert, "A speaks", func() (bool, string) { return len(s.Heard.Adverts(begun)) > 0, "" })
		begun = time.Now()
	}
	before := s.A.Plugin(name)
	if before.GetPid() == 0 {
		s.t.Fatalf("plugin %s does not run: %s", name, before)
	}
	if err := syscall.Kill(int(before.GetPid()), syscall.SIGKILL); err != nil {
		s.t.Fatalf("kill plugin %s: %v", name, err)
	}
	lab.Eventually(s.t, 20*time.Second, "plugin "+name+" runs again", func() (bool, string) {
		p := s.A.Plugin(name)
		return p.GetState() == "running" && p.GetPid() != before.GetPid() && p.GetRestarts() == before.GetRestarts()+1, p.String()
	})
	s.t.Logf("plugin %s ran again %s after it was killed", name, time.Since(begun).Round(time.Millisecond))
	requests(s.t, load, 50)
	s.served(load, begun, "plugin "+name+" was killed")
	s.unchanged("plugin " + name + " was killed")
}

// killDaemon kills poised itself on the master and starts it again within its grace
// time.
func (s *scene) killDaemon(load *lab.Load) {
	s.t.Helper()
	begun := time.Now()
	s.A.KillDaemon()
	requests(s.t, load, 100)
	s.unchanged("poised was killed")
	s.A.Start()
	plugins(s.t, s.A)
	requests(s.t, load, 100)
	s.served(load, begun, "poised was killed and started again")
	s.unchanged("poised was started again")
	// Longer than B would wait for an advert: nobody has noticed.
	time.Sleep(time.Until(begun.Add(3*advert + skewB + time.Second)))
	s.unchanged("poised had been started again for a while")
	s.served(load, begun, "a while after poised was killed")
}

// unchanged fails the test if A is not the master with its whole table.
func (s *scene) unchanged(when string) {
	s.t.Helper()
	if got, want := s.A.IPVS(), s.Table(s.Reals...); got != want {
		s.t.Errorf("%s: the table is\n%swant\n%s", when, got, want)
	}
	if !s.A.HasVIP() || s.B.HasVIP() {
		s.t.Errorf("%s: address held by a: %v, by b: %v, want a alone", when, s.A.HasVIP(), s.B.HasVIP())
	}
}

// cleanStop stops the master: no new connection fails. A request whose connection
// stood at that instant is counted apart.
func (s *scene) cleanStop(load *lab.Load) {
	s.t.Helper()
	begun := time.Now()
	if status := s.A.Stop(); status != 0 {
		s.t.Errorf("poised ended with status %d after SIGTERM", status)
	}
	took := time.Since(begun)
	if s.A.HasVIP() || s.A.IPVS() != "" || len(s.A.Pids()) > 0 {
		s.t.Errorf("left after a clean stop: address %v, processes %v, table\n%s", s.A.HasVIP(), s.A.Pids(), s.A.IPVS())
	}
	s.B.WaitVIP(3*time.Second, true)
	requests(s.t, load, 100)
	s.handover(load, begun, "the master was stopped cleanly")
	s.reigns(begun, s.reignsAfter(begun, "b")...)
	s.t.Logf("poised stopped in %v", took.Round(time.Millisecond))
}

// reignsAfter is the order of masters expected since t when it changes to next: the old
// one may have sent an advert after t.
func (s *scene) reignsAfter(t time.Time, next string) []string {
	if list := s.Heard.Adverts(t); len(list) > 0 && list[0].Host != next {
		return []string{list[0].Host, next}
	}
	return []string{next}
}

// handover fails the test if a new connection has failed since t. Those that stood
// when the master changed are counted, and so are those whose handshake was under way: it
// takes tens of milliseconds here, and its end comes to a director that has not seen its
// beginning.
func (s *scene) handover(load *lab.Load, since time.Time, when string) {
	s.t.Helper()
	report, open, changed := load.Settled().Since(since), 0, s.changed(since)
	for _, q := range report.Failed() {
		underWay := strings.Contains(q.Err, "reset") && q.Start.Before(changed)
		if q.Connected.IsZero() && !underWay {
			s.t.Errorf("%s: a new connection failed: %s", when, q)
		} else {
			open++
		}
	}
	s.t.Logf("%s: %d requests failed whose connection stood; %s", when, open, report)
}

// changed is when another master than before was heard first since t.
func (s *scene) changed(since time.Time) time.Time {
	list := s.Heard.Adverts(since)
	for _, p := range list {
		if p.Host != list[0].Host {
			return p.At
		}
	}
	if len(list) > 0 {
		return list[0].At
	}
	return since
}

// cleanReturn starts the stopped director again: it takes its role back.
func (s *scene) cleanReturn(load *lab.Load) {
	s.t.Helper()
	begun := time.Now()
	s.A.Start()
	s.A.WaitVIP(settle, true)
	s.B.WaitVIP(2*time.Second, false)
	requests(s.t, load, 100)
	s.handover(load, begun, "the master came back")
	s.reigns(begun, "b", "a")
	s.A.WaitIPVS(5*time.Second, s.Table(s.Reals...))
}

// loss takes the master away as a whole: links cut, all processes killed.
func (s *scene) loss(load *lab.Load) {
	s.t.Helper()
	// Killed first: a director that sees its link go removes its addresses.
	s.A.Kill9()
	s.Cut(s.Lab.A)
	lost := time.Now()
	s.B.WaitVIP(10*time.Second, true)
	requests(s.t, load, 100)
	report := load.Settled().Since(lost)
	back, ok := report.Back(lost)
	limit := 3*advert + skewB + 500*time.Millisecond
	if !ok || back > limit {
		s.t.Errorf("the master was lost: service is back after %v (%v), want %v at most", back, ok, limit)
	}
	s.t.Logf("the master was lost: service is back after %v; %s", back.Round(time.Millisecond), report)
	s.served(load, lost.Add(back), "after the other director took over")
}

// lateReturn starts poised on the lost director, the addresses still on it, before its
// links return: the addresses are gone before it speaks, and there is one master at a
// time.
func (s *scene) lateReturn(load *lab.Load) {
	s.t.Helper()
	if !s.A.HasVIP() {
		s.t.Fatal("the lost director does not hold its address: nothing to show")
	}
	begun := time.Now()
	s.A.Start()
	s.A.WaitVIP(settle, false)
	mended := time.Now()
	s.Mend(s.Lab.A)
	s.A.WaitVIP(settle, true)
	s.B.WaitVIP(2*time.Second, false)
	requests(s.t, load, 100)
	s.reigns(begun, "b", "a")
	for _, p := range s.Heard.Packets(mended) {
		if p.Host == "a" && p.Advert {
			break // from here on it is the master by right
		}
		if p.Host == "a" && p.Sender.String() == lab.VIP {
			s.t.Errorf("the lost director spoke for the address before it was master: %s", p)
		}
	}
	s.handover(load, begun, "the lost master came back")
}

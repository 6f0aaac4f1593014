package native

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

const (
	advert = time.Second
	skewA  = (256 - 100) * time.Second / 256
	skewB  = (256 - 80) * time.Second / 256
	grace  = 3 * time.Second
	// slack is for programs with the race detector on a machine that does other things.
	slack = 500 * time.Millisecond
)

// pair starts two directors without services and waits until A is the master.
func pair(t *testing.T, a, b lab.Daemon) (l *lab.Lab, da, db *lab.Director, heard *lab.Capture) {
	t.Helper()
	l = lab.New(t, lab.DR, 0)
	heard = l.Listen()
	for _, x := range []struct {
		host   *lab.Host
		daemon lab.Daemon
		d      **lab.Director
	}{{l.A, a, &da}, {l.B, b, &db}} {
		config := l.Config(x.host)
		config.NoServices, config.NoSync = true, true
		d := l.Director(x.host, x.daemon, config.String())
		*x.d = d
		t.Cleanup(func() {
			if strings.Contains(d.Log(), "DATA RACE") {
				t.Errorf("a data race in %s on %s:\n%s", d.Daemon, d.Name, d.Log())
			}
		})
		d.Start()
	}
	da.WaitVIP(15*time.Second, true)
	db.WaitVIP(5*time.Second, false)
	return l, da, db, heard
}

func reigns(t *testing.T, heard *lab.Capture, since time.Time, want ...string) {
	t.Helper()
	if got := heard.Reigns(since); !slices.Equal(got, want) {
		t.Errorf("masters by their adverts: %v, want %v: %v", got, want, heard.Adverts(since))
	}
}

// gap is the longest time between two adverts since t.
func gap(heard *lab.Capture, since time.Time) time.Duration {
	longest := time.Duration(0)
	list := heard.Adverts(since)
	for i := 1; i < len(list); i++ {
		longest = max(longest, list[i].At.Sub(list[i-1].At))
	}
	return longest
}

// TestUnnoticed kills the failover plugin and then poised itself, and starts it again
// within its grace time: nobody on the network notices.
func TestUnnoticed(t *testing.T) {
	t.Parallel()
	_, a, b, heard := pair(t, lab.Poised, lab.Poised)
	begun := time.Now()
	plugin := a.Plugin("vrrp")
	if plugin.GetPid() == 0 {
		t.Fatal("plugin vrrp does not run")
	}
	if err := syscall.Kill(int(plugin.GetPid()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	running(t, a, plugin.GetPid())
	t.Logf("plugin vrrp was killed: longest time between adverts %v", gap(heard, begun))
	if !a.HasVIP() {
		t.Error("the address is gone after the plugin was killed")
	}

	killed := time.Now()
	before := a.Plugin("vrrp").GetPid()
	a.KillDaemon()
	a.Start()
	running(t, a, before)
	time.Sleep(time.Until(killed.Add(grace + 3*advert + skewB)))
	if !a.HasVIP() || b.HasVIP() {
		t.Errorf("address held by a: %v, by b: %v, want a alone", a.HasVIP(), b.HasVIP())
	}
	if longest := gap(heard, killed); longest > advert+100*time.Millisecond+slack {
		t.Errorf("poised was killed and started again: no advert for %v", longest)
	}
	reigns(t, heard, begun, "a")
	if role := a.Status().GetFailoverGroups()[0]; role.GetRole() != "master" {
		t.Errorf("the new poised thinks it is %v", role)
	}
	if n := len(a.Pids()); n != 2 {
		t.Errorf("%d processes on a, want poised and one plugin", n)
	}
}

// running waits until the failover plugin is another process than pid, and runs.
func running(t *testing.T, d *lab.Director, pid uint32) {
	t.Helper()
	lab.Eventually(t, 10*time.Second, "another plugin vrrp runs", func() (bool, string) {
		p := d.Plugin("vrrp")
		return p.GetState() == "running" && p.GetPid() != pid, p.String()
	})
}

// TestGraceTimeEnds kills poised for good: its plugin goes on for the grace time and
// then hands over cleanly.
func TestGraceTimeEnds(t *testing.T) {
	t.Parallel()
	_, a, b, heard := pair(t, lab.Poised, lab.Poised)
	killed := time.Now()
	a.KillDaemon()
	b.WaitVIP(grace+skewB+2*time.Second, true)
	took := time.Since(killed)
	if took < grace-100*time.Millisecond || took > grace+skewB+slack {
		t.Errorf("b took over after %v, want the grace time of %v and a skew of %v", took, grace, skewB)
	}
	lab.Eventually(t, skewA+time.Second+slack, "nothing of poised is left on a", func() (bool, string) {
		return len(a.Pids()) == 0 && !a.HasVIP(), fmt.Sprint(a.Pids(), a.HasVIP())
	})
	reigns(t, heard, killed, "a", "b")
	resigned := false
	for _, p := range heard.Packets(killed) {
		resigned = resigned || p.Host == "a" && p.Advert && p.Priority == 0
	}
	if !resigned {
		t.Error("a did not send priority 0")
	}
}

// TestLossAndReturn takes the master away as a whole, a few times: the median of the
// times to take over, by the adverts, is three adverts and the skew less what had
// passed since the last advert; and it comes back with the address still on it.
func TestLossAndReturn(t *testing.T) {
	t.Parallel()
	l, a, b, heard := pair(t, lab.Poised, lab.Poised)
	var late []time.Duration
	for range 3 {
		a.Kill9()
		l.Cut(l.A)
		lost := time.Now()
		b.WaitVIP(3*advert+skewB+2*time.Second, true)
		list := heard.Adverts(time.Time{})
		i := slices.IndexFunc(list, func(p lab.Packet) bool { return p.Host == "b" && p.At.After(lost) })
		if i < 1 || list[i-1].Host != "a" {
			t.Fatalf("no advert of a, and of b after it: %v", list)
		}
		late = append(late, list[i].At.Sub(list[i-1].At)-3*advert-skewB)
		if !a.HasVIP() {
			t.Fatal("the lost director does not hold its address: nothing to show")
		}
		begun := time.Now()
		a.Start()
		a.WaitVIP(5*time.Second, false)
		l.Mend(l.A)
		a.WaitVIP(15*time.Second, true)
		b.WaitVIP(2*time.Second, false)
		reigns(t, heard, begun, "b", "a")
	}
	slices.Sort(late)
	t.Logf("take-over after a loss, later than three adverts and the skew by %v", late)
	// The adverts are timed where they are heard.
	if late[1] < -20*time.Millisecond || late[1] > 100*time.Millisecond {
		t.Errorf("take-over after a loss is late by %v in the median of %v", late[1], late)
	}
}

// complaint is what keepalived writes about a packet that it does not like.
var complaint = regexp.MustCompile(`(?im)^.*(checksum|authenti|passw|mismatch|bogus|invalid|incorrect|wrong).*$`)

// TestKeepalivedAsPeer has keepalived as the other director, both ways round.
func TestKeepalivedAsPeer(t *testing.T) {
	t.Parallel()
	for _, x := range [][2]lab.Daemon{{lab.Poised, lab.Keepalived}, {lab.Keepalived, lab.Poised}} {
		t.Run(string(x[0]+" preferred"), func(t *testing.T) {
			t.Parallel()
			_, a, b, heard := pair(t, x[0], x[1])
			stopped := time.Now()
			a.Stop()
			b.WaitVIP(5*time.Second, true)
			if i := slices.IndexFunc(heard.Adverts(stopped), func(p lab.Packet) bool { return p.Host == "b" }); i < 0 {
				t.Error("b has sent no advert after a was stopped")
			} else if took := heard.Adverts(stopped)[i].At.Sub(stopped); took > skewB+slack {
				t.Errorf("b took over %v after a was stopped, want a skew of %v", took, skewB)
			}
			if got := heard.Reigns(stopped); got[len(got)-1] != "b" || len(got) > 2 {
				t.Errorf("masters after a was stopped: %v", got)
			}
			back := time.Now()
			a.Start()
			a.WaitVIP(15*time.Second, true)
			b.WaitVIP(2*time.Second, false)
			reigns(t, heard, back, "b", "a")
			for _, d := range []*lab.Director{a, b} {
				if d.Daemon == lab.Keepalived {
					for _, line := range complaint.FindAllString(d.Log(), -1) {
						t.Errorf("keepalived on %s complains: %s", d.Name, line)
					}
				} else if e := d.Status().GetFailoverGroups()[0].GetInstances()[0].GetPacketErrors(); len(e) > 0 {
					t.Errorf("poised on %s has refused packets: %v", d.Name, e)
				}
			}
		})
	}
}

// TestStoppedPlugin sends the failover plugin SIGSTOP: it is noticed so soon that the
// other director does not take over.
func TestStoppedPlugin(t *testing.T) {
	t.Parallel()
	_, a, b, heard := pair(t, lab.Poised, lab.Poised)
	begun := time.Now()
	pid := a.Plugin("vrrp").GetPid()
	if pid == 0 {
		t.Fatal("plugin vrrp does not run")
	}
	if err := syscall.Kill(int(pid), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, 5*time.Second, "the stopped plugin is gone", func() (bool, string) { return lab.Zombie(int(pid)), "" })
	if took := time.Since(begun); took > 2*advert {
		t.Errorf("noticed after %v, want %v at most", took, 2*advert)
	}
	running(t, a, pid)
	time.Sleep(time.Until(begun.Add(3*advert + skewB + slack)))
	if !a.HasVIP() || b.HasVIP() {
		t.Errorf("address held by a: %v, by b: %v, want a alone", a.HasVIP(), b.HasVIP())
	}
	reigns(t, heard, begun, "a")
}

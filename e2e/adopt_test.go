package e2e

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

// TestForeignServices: what poise did not make is left alone and reported.
func TestForeignServices(t *testing.T) {
	s := single(t)
	a := s.Lab.A
	a.Run("ipvsadm", "-A", "-t", "203.0.113.9:99", "-s", "wlc")
	a.Run("ipvsadm", "-a", "-t", "203.0.113.9:99", "-r", "203.0.113.10:99", "-g", "-w", "3")
	foreign := "-A -t 203.0.113.9:99 -s wlc\n-a -t 203.0.113.9:99 -r 203.0.113.10:99 -g -w 3\n"
	with := strings.Join(slices.Sorted(strings.Lines(s.Table(s.Reals...)+foreign)), "")
	lab.Eventually(t, 15*time.Second, "the foreign service is reported", func() (bool, string) {
		list := s.A.Status().GetForeignServices()
		return len(list) == 1 && strings.Contains(list[0], "203.0.113.9:99"), strings.Join(list, ", ")
	})
	s.Servers[0].Stop()
	s.A.WaitInTable(10*time.Second, s.Reals[0], false)
	s.Serve(s.Reals[0])
	s.A.WaitIPVS(10*time.Second, with)
	if status := s.A.Stop(); status != 0 {
		t.Errorf("poised ended with status %d after SIGTERM", status)
	}
	if got := s.A.IPVS(); got != foreign {
		t.Errorf("the table after a clean stop is\n%swant\n%s", got, foreign)
	}
}

// TestDriftIsRepaired: what somebody else changed of ours is put right and counted.
func TestDriftIsRepaired(t *testing.T) {
	s := single(t, settings("reconcile_interval: 1s"))
	a, table, real := s.Lab.A, s.Table(s.Reals...), s.Address(s.Reals[0])+":80"
	for i, args := range [][]string{
		{"-d", "-t", lab.Service, "-r", real},
		{"-e", "-t", lab.Service, "-r", real, "-g", "-w", "7"},
		{"-a", "-t", lab.Service, "-r", "192.168.1.200:80", "-g", "-w", "1"},
		{"-E", "-t", lab.Service, "-s", "wlc"},
		{"-D", "-t", lab.Service},
	} {
		changed := time.Now()
		a.Run("ipvsadm", args...)
		s.A.WaitIPVS(4*time.Second, table)
		t.Logf("ipvsadm %s: repaired after %v", strings.Join(args, " "), time.Since(changed).Round(time.Millisecond))
		lab.Eventually(t, 5*time.Second, "the repair is counted", func() (bool, string) {
			n := s.A.Status().GetForwarder().GetRepairs()
			return n >= uint64(i+1), strconv.FormatUint(n, 10)
		})
	}
	for _, e := range s.A.Events() {
		if e.GetKind() == "drift" {
			return
		}
	}
	t.Error("no event tells of the drift")
}

// TestAdoption: a start disturbs nothing that is forwarding. The table is that of a
// poised that was killed, and then one that nobody's state file knows.
func TestAdoption(t *testing.T) {
	s := single(t)
	load, held := s.load(), s.Hold()
	requests(t, load, 50)
	begun := time.Now()
	before := conns(t, s.A)
	s.A.Kill9()
	requests(t, load, 50)
	s.A.Start()
	plugins(t, s.A)
	requests(t, load, 100)
	if after := conns(t, s.A); after <= before {
		t.Errorf("the service has scheduled %d connections, and %d before poised was started again: it is a new one", after, before)
	}
	s.served(load, begun, "poised was killed with all plugins and started again")

	begun = time.Now()
	before = conns(t, s.A)
	s.A.Kill9()
	s.A.Run("rm", "-rf", s.A.Dir+"/state", s.A.Dir+"/run")
	s.A.Start()
	plugins(t, s.A)
	requests(t, load, 100)
	if after := conns(t, s.A); after <= before {
		t.Errorf("the service has scheduled %d connections, and %d before poised was started without its state: it is a new one", after, before)
	}
	s.served(load, begun, "poised was started without its state")
	if got, want := s.A.IPVS(), s.Table(s.Reals...); got != want {
		t.Errorf("the table is\n%swant\n%s", got, want)
	}
	if answers := held.Answers(); held.Broken() || answers == 0 {
		t.Errorf("an open connection: broken %v after %d answers", held.Broken(), answers)
	}
}

// TestAdoptionKeepsDown: a start does not put a real server in that is not in the
// table until a check says so.
func TestAdoptionKeepsDown(t *testing.T) {
	s := single(t)
	load := s.load()
	s.Servers[0].Stop()
	s.A.WaitInTable(10*time.Second, s.Reals[0], false)
	requests(t, load, 50)
	begun := time.Now()
	s.A.Kill9()
	s.A.Start()
	plugins(t, s.A)
	requests(t, load, 200)
	s.served(load, begun, "poised was started with a real server down")
	if got, want := s.A.IPVS(), s.Table(s.Reals[1]); got != want {
		t.Errorf("the table is\n%swant\n%s", got, want)
	}
}

var connsOf = regexp.MustCompile(`(?m)^TCP\s+192\.168\.1\.100:80\s+(\d+)`)

// conns is how many connections the kernel has scheduled for the virtual server.
func conns(t *testing.T, d *lab.Director) int {
	t.Helper()
	out := d.Run("ipvsadm", "-Ln", "--stats", "--exact")
	m := connsOf.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no virtual server in\n%s", out)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

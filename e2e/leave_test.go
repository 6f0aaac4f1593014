package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

// TestRemovedWhileDown: a virtual server that is no longer configured when poised comes
// back goes from the table, because the state file says that it is ours; one that is
// not ours stays.
func TestRemovedWhileDown(t *testing.T) {
	s := single(t)
	const foreign = "203.0.113.1:80"
	s.A.Run("ipvsadm", "-A", "-t", foreign, "-s", "rr")
	s.A.Kill9()
	if s.A.IPVS() == "" {
		t.Fatal("the test is of no use: nothing was left in the table")
	}
	config := s.Config(s.Lab.A)
	config.NoServices, config.NoSync = true, true
	s.A.SetFile("keepalived.conf", config.String())
	s.A.Start()
	s.A.WaitIPVS(20*time.Second, "-A -t "+foreign+" -s rr\n")
	if status := s.A.Stop(); status != 0 {
		t.Errorf("poised ended with status %d", status)
	}
	if got, want := s.A.IPVS(), "-A -t "+foreign+" -s rr\n"; got != want {
		t.Errorf("after the stop the table is\n%swant\n%s", got, want)
	}
}

// TestStopWhilePluginsStart: SIGTERM comes when every plugin has just been killed. What
// they have set up is withdrawn all the same.
func TestStopWhilePluginsStart(t *testing.T) {
	s := pair(t, lab.DR, lab.Poised, lab.Poised)
	s.A.WaitVIP(10*time.Second, true)
	for _, pid := range children(s.A) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if status := s.A.Stop(); status != 0 {
		t.Errorf("poised ended with status %d", status)
	}
	if s.A.HasVIP() || s.A.IPVS() != "" || len(s.A.Pids()) > 0 {
		t.Errorf("left after the stop: address %v, processes %v, table\n%s", s.A.HasVIP(), commands(s.A.Pids()), s.A.IPVS())
	}
	s.B.WaitVIP(5*time.Second, true)
}

package e2e

import (
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

// TestLabItself shows that the lab is sound with the reference: a client is served
// through keepalived, the master moves, and the client's failures are counted.
func TestLabItself(t *testing.T) {
	s := pair(t, lab.DR, lab.Keepalived, lab.Keepalived)
	load := s.load()
	requests(t, load, 50)
	s.served(load, s.Begun, "steady")
	stopped := time.Now()
	s.A.Stop()
	s.B.WaitVIP(5*time.Second, true)
	requests(t, load, 50)
	s.reigns(stopped, s.reignsAfter(stopped, "b")...)
	report := load.Settled().Since(stopped)
	t.Logf("keepalived was stopped: %s", report)
	if len(report.Answered()) != 2 {
		t.Errorf("answered by %v, want both real servers", report.Answered())
	}
	s.Servers[0].Stop()
	broken := time.Now()
	requests(t, load, 20)
	if len(load.Settled().Since(broken).Failed()) == 0 {
		t.Error("a real server was stopped and no request has failed: the client does not see failures")
	}
}

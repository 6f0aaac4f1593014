package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

// TestDetection stops a server again and again: it leaves the table within delay_loop
// and its retries, as it does with keepalived beside it, and the step from verdict to
// kernel takes less than 50 ms.
func TestDetection(t *testing.T) {
	const rounds = 5
	l := lab.New(t, lab.DR, 2)
	l.ProveKernel()
	l.Serve(l.Reals[1])
	config := l.Config(l.A)
	config.NoFailover = true
	poised := l.Director(l.A, lab.Poised, config.String())
	keepalived := l.Director(l.B, lab.Keepalived, config.String())
	var steps []time.Duration
	limit := time.Duration(config.DelayLoop+config.Retry*config.RetryDelay) * time.Second
	// The daemons' own work, and that of a kernel whose processor others use too.
	const slack = 500 * time.Millisecond
	for round := range rounds {
		server := l.Serve(l.Reals[0])
		if round == 0 {
			poised.Start()
			keepalived.Start()
		}
		poised.WaitIPVS(settle, l.Table(l.Reals...))
		keepalived.WaitIPVS(settle, l.Table(l.Reals...))
		lab.Eventually(t, settle, "poised has seen r1 up", func() (bool, string) {
			status, err := poised.TryStatus()
			if err != nil {
				return false, err.Error()
			}
			r := status.GetVirtualServers()[0].GetRealServers()[0]
			return r.GetVerdict() == "up", r.String()
		})
		known := sequence(poised)
		stopped := time.Now()
		server.Stop()
		poised.WaitInTable(2*limit, l.Reals[0], false)
		keepalived.WaitInTable(2*limit, l.Reals[0], false)
		verdict, applied := steptimes(t, poised, known)
		if took := verdict.Sub(stopped); took > limit+slack {
			t.Errorf("round %d: down %v after its port was closed, want %v at most", round, took, limit)
		}
		steps = append(steps, applied.Sub(verdict))
		t.Logf("round %d: down after %v, out of the table %v later", round, verdict.Sub(stopped).Round(time.Millisecond), applied.Sub(verdict))
	}
	if m := median(steps); m > 50*time.Millisecond {
		t.Errorf("from verdict to kernel: median %v of %v, want 50ms at most", m, steps)
	}
}

// sequence is the number of the daemon's last event.
func sequence(d *lab.Director) uint64 {
	last := uint64(0)
	for _, e := range d.Events() {
		last = max(last, e.GetSequence())
	}
	return last
}

// steptimes are the daemon's own times of a real server's failure and of the next
// change of the table.
func steptimes(t *testing.T, d *lab.Director, after uint64) (verdict, applied time.Time) {
	t.Helper()
	lab.Eventually(t, 5*time.Second, "events of a failure and a change of the table", func() (bool, string) {
		verdict, applied = time.Time{}, time.Time{}
		var all strings.Builder
		for _, e := range d.Events() {
			if e.GetSequence() <= after {
				continue
			}
			all.WriteString(e.String() + "\n")
			switch {
			case verdict.IsZero() && e.GetKind() == "real_server" && strings.HasPrefix(e.GetMessage(), "down"):
				verdict = e.GetAt().AsTime()
			case !verdict.IsZero() && applied.IsZero() && e.GetKind() == "table":
				applied = e.GetAt().AsTime()
			}
		}
		return !applied.IsZero(), all.String()
	})
	return verdict, applied
}

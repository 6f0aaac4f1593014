package e2e

import (
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

// TestLabItself shows that the lab is sound with the reference: a client keeps its
// service through keepalived, and the master moves.
func TestLabItself(t *testing.T) {
	for _, method := range []lab.Method{lab.DR, lab.NAT, lab.TUN} {
		t.Run(string(method), func(t *testing.T) {
			l := lab.New(t, method, 2)
			l.ProveKernel()
			l.ServeAll()
			heard := l.Listen()
			start := time.Now()
			a := l.Director(l.A, lab.Keepalived, l.Config(l.A).String())
			b := l.Director(l.B, lab.Keepalived, l.Config(l.B).String())
			a.Start()
			b.Start()
			a.WaitVIP(10*time.Second, true)
			a.WaitIPVS(5*time.Second, l.Table(l.Reals...))
			load := l.StartLoad(10 * time.Millisecond)
			time.Sleep(2 * time.Second)
			t.Logf("steady: %s", load.Report())
			stopped := time.Now()
			a.Stop()
			b.WaitVIP(5*time.Second, true)
			time.Sleep(time.Second)
			report := load.Stop()
			t.Logf("after the stop: %s", report.Since(stopped))
			t.Logf("reigns %v", heard.Reigns(start))
			back, ok := report.Back(stopped)
			t.Logf("back after %v %v", back, ok)
			t.Log(b.Sync())
		})
	}
}

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

const (
	// requestInterval is how often clients ask.
	requestInterval = 10 * time.Millisecond
	// advert and skewB are the times of a pair's failover group: B waits for three
	// adverts and its skew before it takes over. A plugin that is killed starts again in
	// that time, which is three seconds here on a slow host.
	advert = 2 * time.Second
	skewB  = (256 - 80) * advert / 256
	// settle is how long two directors get from their start to a master with its table:
	// the start of the programs, three adverts and the skew.
	settle = 40 * time.Second
)

// scene is a lab at work: servers, two directors with A as the master, and ears.
type scene struct {
	*lab.Lab
	t       *testing.T
	A, B    *lab.Director
	Servers []*lab.Server
	Heard   *lab.Capture
	// Begun is when A was the master and both had the table.
	Begun time.Time
}

// pair starts servers and two directors, and waits until A is the master and both have
// the table.
func pair(t *testing.T, method lab.Method, a, b lab.Daemon, change ...func(*lab.Director)) *scene {
	t.Helper()
	s := &scene{Lab: lab.New(t, method, 2), t: t}
	s.ProveKernel()
	s.Servers = s.ServeAll()
	s.Heard = s.Listen()
	config := func(h *lab.Host) string {
		c := s.Config(h)
		c.Advert = int(advert / time.Second)
		return c.String()
	}
	s.A = s.Director(s.Lab.A, a, config(s.Lab.A))
	s.B = s.Director(s.Lab.B, b, config(s.Lab.B))
	for _, d := range []*lab.Director{s.A, s.B} {
		for _, f := range change {
			f(d)
		}
		d.Start()
	}
	s.A.WaitVIP(settle, true)
	s.A.WaitIPVS(settle, s.Table(s.Reals...))
	s.B.WaitIPVS(settle, s.Table(s.Reals...))
	s.B.WaitVIP(settle, false)
	s.Begun = time.Now()
	return s
}

// single starts servers and poised as director A alone, without a failover group, with
// the virtual address where clients find it.
func single(t *testing.T, change ...func(*lab.Director)) *scene {
	t.Helper()
	s := &scene{Lab: lab.New(t, lab.DR, 2), t: t}
	s.ProveKernel()
	s.Servers = s.ServeAll()
	s.Lab.A.IP("address add " + lab.VIP + "/32 dev eth0")
	config := s.Config(s.Lab.A)
	config.NoFailover = true
	s.A = s.Director(s.Lab.A, lab.Poised, config.String())
	for _, f := range change {
		f(s.A)
	}
	s.A.Start()
	s.A.WaitIPVS(settle, s.Table(s.Reals...))
	return s
}

// settings puts a poise.yaml with settings of poise's own around a director's
// keepalived.conf.
func settings(lines ...string) func(*lab.Director) {
	return func(d *lab.Director) {
		if d.Daemon == lab.Poised {
			d.SetFile("poise.yaml", "keepalived: keepalived.conf\n"+strings.Join(lines, "\n")+"\n")
		}
	}
}

// load starts the client and waits until it is served.
func (s *scene) load() *lab.Load {
	s.t.Helper()
	load := s.StartLoad(requestInterval)
	lab.Eventually(s.t, 10*time.Second, "the client is served", func() (bool, string) {
		report := load.Report()
		return len(report) >= 20 && len(report.Failed()) == 0, report.String()
	})
	return load
}

// reigns fails the test if the masters since t were not these, in this order.
func (s *scene) reigns(since time.Time, want ...string) {
	s.t.Helper()
	if got := s.Heard.Reigns(since); !slices.Equal(got, want) {
		s.t.Errorf("masters by their adverts: %v, want %v\n%s", got, want, adverts(s.Heard.Adverts(since)))
	}
}

func adverts(list []lab.Packet) string {
	var b strings.Builder
	for _, p := range list {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

// served fails the test if a request that started at t or later has failed, and says
// how many there were.
func (s *scene) served(load *lab.Load, since time.Time, when string) {
	s.t.Helper()
	report := load.Settled().Since(since)
	if len(report.Failed()) > 0 {
		s.t.Errorf("%s: %s", when, report)
		return
	}
	s.t.Logf("%s: %s", when, report)
}

// requests waits until so many more requests have ended.
func requests(t *testing.T, load *lab.Load, n int) {
	t.Helper()
	before := len(load.Report())
	lab.Eventually(t, 30*time.Second, "the client goes on", func() (bool, string) {
		report := load.Report()
		return len(report) >= before+n, report.String()
	})
}

// plugins waits until all plugins of a director run, and gives their pids by name.
func plugins(t *testing.T, d *lab.Director) map[string]int {
	t.Helper()
	pids := map[string]int{}
	lab.Eventually(t, 15*time.Second, "all plugins of "+d.Name+" run", func() (bool, string) {
		status, err := d.TryStatus()
		if err != nil {
			return false, err.Error()
		}
		clear(pids)
		for _, p := range status.GetPlugins() {
			if p.GetState() != "running" {
				return false, p.String()
			}
			pids[p.GetName()] = int(p.GetPid())
		}
		return len(pids) > 0, ""
	})
	return pids
}

// median of durations.
func median(list []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

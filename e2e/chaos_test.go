package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

// TestChaos kills plugin processes of the master, 30 times, or 12 where each start of a
// process takes long.
func TestChaos(t *testing.T) {
	kills := 30
	if startTime(t) > 200*time.Millisecond {
		kills = 12
	}
	chaos(t, killCount(kills))
}

// TestSoakChaos does it 1,000 times; it is too long for every day.
func TestSoakChaos(t *testing.T) {
	if os.Getenv("POISE_SOAK") == "" {
		t.Skip("takes minutes: set POISE_SOAK=1")
	}
	chaos(t, killCount(1000))
}

// killCount is POISE_E2E_KILLS, or n.
func killCount(n int) int {
	if k, err := strconv.Atoi(os.Getenv("POISE_E2E_KILLS")); err == nil {
		return k
	}
	return n
}

// chaos sends SIGKILL to plugin processes, pid and moment at random, while a client
// runs and nothing but poised restarts anything: no orphan, no leaked descriptor, no
// changed table, no failed request, no other master.
//
// Three things are not left to chance, because this kernel takes ten times as long as
// another to start a process, and forty times on a slow host: the kills are up to some
// starts apart, adverts are two seconds apart, and the failover plugin is spared until it
// has sent one since it was last killed. No supervisor hides a director that is kept from
// speaking for three adverts.
func chaos(t *testing.T, kills int) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	s := pair(t, lab.DR, lab.Poised, lab.Poised, settings("restart: {min: 1ms, max: 10ms}"))
	load := s.load()
	number := len(plugins(t, s.A))
	descriptors := calm(t, s, number)
	begun := time.Now()
	table := s.Table(s.Reals...)
	spared := begun
	pause := max(time.Second, 6*startTime(t))
	for killed := 0; killed < kills; {
		time.Sleep(time.Duration(random.Int64N(int64(pause))))
		pids := children(s.A)
		if len(pids) == 0 {
			continue
		}
		pid := pids[random.IntN(len(pids))]
		if strings.Contains(command(pid), "vrrp") {
			if !slices.ContainsFunc(s.Heard.Adverts(spared), func(p lab.Packet) bool { return p.Host == "a" }) {
				continue
			}
			spared = time.Now()
		}
		if syscall.Kill(pid, syscall.SIGKILL) != nil {
			continue
		}
		if killed++; killed%6 > 0 {
			continue
		}
		if got := s.A.IPVS(); got != table {
			t.Fatalf("after %d kills the table is\n%swant\n%s", killed, got, table)
		}
		if report := load.Report().Since(begun); len(report.Failed()) > 0 {
			t.Fatalf("after %d kills: %s", killed, report)
		}
	}
	plugins(t, s.A)
	requests(t, load, 100)
	s.served(load, begun, fmt.Sprintf("%d kills", kills))
	s.unchanged(fmt.Sprintf("%d kills", kills))
	s.reigns(begun, "a")
	if after := calm(t, s, number); after > descriptors {
		t.Errorf("poised has %d descriptors, %d before", after, descriptors)
	}
	restarts := uint64(0)
	for _, p := range s.A.Status().GetPlugins() {
		restarts += p.GetRestarts()
	}
	if restarts < uint64(kills) {
		t.Errorf("%d restarts are counted after %d kills", restarts, kills)
	}
}

// calm waits until the director runs so many plugins and nothing else, and its
// descriptors have stopped changing, and counts those.
func calm(t *testing.T, s *scene, number int) int {
	t.Helper()
	last, since := -1, time.Now()
	lab.Eventually(t, 20*time.Second, "poised and its plugins are the only processes", func() (bool, string) {
		pids := s.A.Pids()
		if n := lab.Descriptors(s.A.Pid()); n != last {
			last, since = n, time.Now()
		}
		return len(children(s.A)) == number && len(pids) == number+1 && time.Since(since) > time.Second, fmt.Sprint(commands(pids))
	})
	return last
}

// startTime is what the start of a process of poise's takes here, at the least.
func startTime(t *testing.T) time.Duration {
	t.Helper()
	shortest := time.Hour
	for range 3 {
		begun := time.Now()
		if out, err := exec.Command(lab.Binary("poised"), "--version").CombinedOutput(); err != nil {
			t.Fatalf("run poised --version: %v: %s", err, out)
		}
		shortest = min(shortest, time.Since(begun))
	}
	return shortest
}

// children are the processes that the director's daemon has started.
func children(d *lab.Director) []int {
	var out []int
	for _, pid := range d.Pids() {
		if lab.Parent(pid) == d.Pid() && !lab.Zombie(pid) {
			out = append(out, pid)
		}
	}
	return out
}

// commands names processes.
func commands(pids []int) []string {
	var out []string
	for _, pid := range pids {
		out = append(out, fmt.Sprintf("%d %q", pid, command(pid)))
	}
	return out
}

// command is a process's command line.
func command(pid int) string {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return strings.ReplaceAll(strings.TrimRight(string(b), "\x00"), "\x00", " ")
}

// TestStoppedPlugins sends each plugin of the master SIGSTOP: it is noticed within 5 s,
// the failover plugin so soon that the other director need not take over.
func TestStoppedPlugins(t *testing.T) {
	s := pair(t, lab.DR, lab.Poised, lab.Poised)
	load := s.load()
	begun := time.Now()
	for name, pid := range plugins(t, s.A) {
		limit := 5 * time.Second
		if name == "vrrp" {
			limit = 2 * advert
		}
		stopped := time.Now()
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatalf("stop plugin %s: %v", name, err)
		}
		lab.Eventually(t, limit+10*time.Second, "stopped plugin "+name+" is gone", func() (bool, string) {
			return lab.Zombie(pid), s.A.Plugin(name).String()
		})
		// The daemon's own notice: the process is killed in the same moment.
		if took := time.Since(stopped); took > limit+200*time.Millisecond {
			t.Errorf("plugin %s was stopped: noticed after %v, want %v at most", name, took, limit)
		} else {
			t.Logf("plugin %s was stopped: noticed after %v", name, took.Round(time.Millisecond))
		}
		// Two that start at a time take so long here that another director takes over.
		lab.Eventually(t, 15*time.Second, "plugin "+name+" runs again", func() (bool, string) {
			p := s.A.Plugin(name)
			return p.GetState() == "running" && int(p.GetPid()) != pid, p.String()
		})
		plugins(t, s.A)
		requests(t, load, 50)
		s.unchanged("plugin " + name + " was stopped")
	}
	s.served(load, begun, "plugins were stopped")
	s.reigns(begun, "a")
}

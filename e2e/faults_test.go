package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// The tests of this file have processes with checks misbehave in every way: no verdict
// changes because of it, no pool is emptied, clients are served, and status says what is
// going on.

// allButFlood are ports whose checks are probed by four processes.
var allButFlood = []int{portTCP, portHTTP, portSilent, portMisc, portFile, portPing, portWord, portAll}

// TestCheckersStopped stops all processes with checks: once, which is noticed at once, and
// then again and again, so that nothing is probed for 10 s and more.
func TestCheckersStopped(t *testing.T) {
	soakOnly(t)
	s := faults(t, allButFlood...)
	before, _, err := s.trouble()
	if err != nil {
		t.Fatal(err)
	}
	s.signalAll(syscall.SIGSTOP)
	for _, name := range s.checkers {
		eventually(t, faultPatience, name+" is another process", func() (bool, string) {
			p := s.A.Plugin(name)
			return p.GetState() == "running" && p.GetPid() != before[name].GetPid() && p.GetRestarts() > before[name].GetRestarts(), p.String()
		})
		s.told(name, "was stopped by a signal")
	}
	s.held("all were stopped once")

	const silence = 10 * time.Second
	begun, done := time.Now(), make(chan struct{})
	var stopping sync.WaitGroup
	stopping.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
				s.signalAll(syscall.SIGSTOP)
			}
		}
	})
	eventually(t, faultPatience, "status says that all are silent and their checks not fresh", func() (bool, string) {
		all, status, err := s.trouble()
		if err != nil {
			return false, err.Error()
		}
		var wrong []string
		for _, name := range s.checkers {
			if p := all[name]; !strings.Contains(p.GetTrouble(), "silent for") || p.GetHeardAt().AsTime().After(time.Now().Add(-3*time.Second)) {
				wrong = append(wrong, p.String())
			}
		}
		eachCheck(status, func(c *controlv1.Check) {
			if c.GetStaleSince() == nil {
				wrong = append(wrong, c.String())
			}
		})
		return len(wrong) == 0 && time.Since(begun) >= silence, strings.Join(wrong, "\n")
	})
	if out, status := s.A.Poise("status", "-v"); status != 0 || !strings.Contains(out, "silent for") || !strings.Contains(out, "NO FRESH PROBE FOR") {
		t.Errorf("poise status -v, %d:\n%s", status, out)
	}
	close(done)
	stopping.Wait()
	s.signalAll(syscall.SIGCONT)
	s.held(fmt.Sprintf("nothing was probed for %v", time.Since(begun).Round(time.Second)))
	for _, name := range s.checkers {
		s.told(name, "silent for")
		s.told(name, "its checks are probed again")
		if p := s.A.Plugin(name); p.GetTrouble() != "" {
			t.Errorf("still in trouble: %s", p)
		}
	}
}

func eachCheck(status *controlv1.StatusResponse, f func(*controlv1.Check)) {
	for _, v := range status.GetVirtualServers() {
		for _, r := range v.GetRealServers() {
			for _, c := range r.GetChecks() {
				f(c)
			}
		}
	}
}

// TestCheckersKilled kills processes with checks, any at any moment, 100 times. A start takes
// a second on this kernel.
func TestCheckersKilled(t *testing.T) {
	soakOnly(t)
	kills := killCount(100)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	s := faults(t, allButFlood...)
	descriptors := lab.Descriptors(s.A.Pid())
	victims := map[string]int{}
	for killed := 0; killed < kills; {
		time.Sleep(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
		pids := s.processes()
		if len(pids) == 0 {
			continue
		}
		pid := pids[random.IntN(len(pids))]
		name := strings.Fields(command(pid) + " - -")[1]
		if syscall.Kill(pid, syscall.SIGKILL) != nil {
			continue
		}
		victims[name]++
		if killed++; killed%50 == 0 {
			s.held(fmt.Sprintf("%d kills", killed))
		}
	}
	s.held(fmt.Sprintf("%d kills, %v", kills, victims))
	restarts := uint64(0)
	all, _, _ := s.trouble()
	for name, p := range all {
		restarts += p.GetRestarts()
		if victims[name] == 0 {
			t.Errorf("%s was never killed", name)
		}
		s.told(name, "was killed by SIGKILL")
	}
	if restarts < uint64(kills) {
		t.Errorf("%d restarts are counted after %d kills", restarts, kills)
	}
	eventually(t, 20*time.Second, "nothing of the killed processes is left", func() (bool, string) {
		after, scripts := lab.Descriptors(s.A.Pid()), s.sleepers()
		// A run of the script that never ends, and the one before that is being ended.
		return after <= descriptors && len(scripts) <= 2, fmt.Sprintf("%d descriptors, %d before; %q", after, descriptors, commands(scripts))
	})
}

// sleepers are the scripts that never end.
func (s *faultScene) sleepers() []int {
	return slices.DeleteFunc(s.A.Pids(), func(pid int) bool { return lab.Zombie(pid) || !strings.Contains(command(pid), "sleep") })
}

// TestCheckersFlood has a plugin send as much as its stream takes, and has poised stand
// still while verdicts come.
func TestCheckersFlood(t *testing.T) {
	soakOnly(t)
	s := faults(t, portTCP, portHTTP, portFile, portWord, portFlood)
	orders := []string{"flood"}
	eachCheck(s.A.Status(), func(c *controlv1.Check) {
		// Of checks that are another process's: the wrong verdicts.
		if c.GetPlugin() != "flood" {
			orders = append(orders, c.GetId()+"="+map[string]string{"up": "down", "down": "up"}[c.GetVerdict()])
		}
	})
	before := s.A.Plugin("flood")
	s.say("orders", strings.Join(orders, " "))
	begun := time.Now()
	eventually(t, faultPatience, "the stream is flooded", func() (bool, string) {
		p := s.A.Plugin("flood")
		return p.GetProbes() > before.GetProbes()+200 && time.Since(begun) > 3*time.Second, p.String()
	})
	s.held("a stream is flooded")
	// What is right is noticed all the same.
	s.say("word-r3", "down")
	s.changed(portWord, pool{"r1": 10})
	s.say("word-r3", "up")
	s.changed(portWord, faultTable[portWord])
	s.say("orders", "quiet")
	after := s.A.Plugin("flood")
	if after.GetPid() != before.GetPid() {
		t.Errorf("the plugin that floods was started again: %s", after)
	}
	s.held(fmt.Sprintf("%d messages of a flood in %v, poised has %d MB", after.GetProbes()-before.GetProbes(),
		time.Since(begun).Round(time.Second), resident(s.A.Pid())>>20))
	if r := resident(s.A.Pid()); r > 300<<20 {
		t.Errorf("poised has %d MB after a flood", r>>20)
	}

	// Nobody reads while verdicts change: the newest counts.
	pids := s.running()
	s.table.allow(portWord)
	s.table.allow(portFlood)
	s.A.Signal(syscall.SIGSTOP)
	stopped := time.Now()
	s.say("orders", "flap")
	for i := 0; time.Since(stopped) < 5*time.Second; i++ {
		s.say("word-r1", []string{"down", "up"}[i%2])
		s.say("word-r2", []string{"up", "down"}[i%2])
		time.Sleep(700 * time.Millisecond)
	}
	for name, text := range map[string]string{"word-r1": "down", "word-r2": "up", "word-r3": "up", "flood-r1": "down", "flood-r2": "up", "orders": "quiet"} {
		s.say(name, text)
	}
	s.A.Signal(syscall.SIGCONT)
	s.changed(portWord, pool{"r2": 10, "r3": 10})
	s.changed(portFlood, pool{"r2": 10})
	s.held("poised stood still")
	for name, pid := range s.running() {
		if pid != pids[name] {
			t.Logf("%s was started again when poised went on: %s", name, s.A.Plugin(name).GetLastFailure())
		}
	}
}

// resident is a process's memory in bytes.
func resident(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if f := strings.Fields(string(text)); len(f) > 1 {
		pages, _ := strconv.Atoi(f[1])
		return pages * os.Getpagesize()
	}
	return 0
}

// TestCheckersHang has probes hang: functions that keep to no deadline, and scripts that do
// not end.
func TestCheckersHang(t *testing.T) {
	soakOnly(t)
	s := faults(t, portTCP, portHTTP, portSilent, portMisc, portScript, portFile, portWord)
	// Two of three functions hang: the third check of the process goes on.
	s.say("word-r1", "hang")
	s.say("word-r2", "hang")
	before := s.A.Plugin("word")
	eventually(t, faultPatience, "status counts probes that are left out", func() (bool, string) {
		p := s.A.Plugin("word")
		return p.GetProbesOverdue() > before.GetProbesOverdue()+5, p.String()
	})
	s.held("two functions hang")
	if out, status := s.A.Poise("status", "-v"); status != 0 || !strings.Contains(out, "probes left out") {
		t.Errorf("poise status -v, %d:\n%s", status, out)
	}
	s.say("word-r3", "down")
	s.changed(portWord, pool{"r1": 10})
	s.say("word-r3", "up")
	s.changed(portWord, faultTable[portWord])

	// All hang: this is the plugin's fault, and status says so.
	s.say("word-r3", "hang")
	eventually(t, faultPatience, "status says that probes hang", func() (bool, string) {
		all, status, err := s.trouble()
		if err != nil {
			return false, err.Error()
		}
		fresh := ""
		eachCheck(status, func(c *controlv1.Check) {
			if (c.GetStaleSince() == nil) == (c.GetPlugin() == "word") {
				fresh += c.String() + "\n"
			}
		})
		return strings.Contains(all["word"].GetTrouble(), "its probes hang") && fresh == "", all["word"].String() + fresh
	})
	s.told("word", "its probes hang")
	s.table.check("all functions hang")
	for name, text := range map[string]string{"word-r1": "up", "word-r2": "down", "word-r3": "up"} {
		s.say(name, text)
	}
	s.told("word", "its checks are probed again")
	s.held("they hung")

	// A script that does not end is down, and no other one.
	s.say("hang", "")
	s.changed(portScript, pool{})
	s.held("a script does not end")
	if err := os.Remove(filepath.Join(s.A.Dir, "hang")); err != nil {
		t.Fatal(err)
	}
	s.changed(portScript, faultTable[portScript])
	s.held("it ends again")
	if all := s.sleepers(); len(all) > 3 {
		t.Errorf("scripts pile up: %q", commands(all))
	}
}

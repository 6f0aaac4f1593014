package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/fault"
	"github.com/poise-lb/poise/e2e/lab"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// faultScene is one director with checks of many types in all processes that there are
// for them, real servers up and down, and weights that checks have set. Nothing of it
// changes by itself.
type faultScene struct {
	*scene
	table *steady
	load  *lab.Load
	// checkers are the processes with checks.
	checkers []string
	// known is the number of the last event that is not looked at any more.
	known uint64
}

// The ports of the scene, by what is checked there.
const (
	portTCP = 80 + iota // the client's
	portHTTP
	portSilent // tcp, to what does not answer
	portMisc
	portScript // misc, with scripts that may not end
	portFile
	portPing
	portWord  // a third party's plugin
	portFlood // another one's
	portAll   // checks of all processes
)

// faultTable is the table of the scene: what is missing is down.
var faultTable = map[int]pool{
	portTCP:    {"r1": 10, "r2": 10},
	portHTTP:   {"r3": 10},
	portSilent: {"r3": 10},
	portMisc:   {"r1": 10, "r2": 30},
	portScript: {"r1": 10},
	portFile:   {"r1": 17, "r3": 10},
	portPing:   {"r1": 10},
	portWord:   {"r1": 10, "r3": 10},
	portFlood:  {"r1": 10},
	portAll:    {"r1": 37},
}

// faultPlugins are the processes that the checks of a port need.
var faultPlugins = map[int][]string{
	portTCP: {"checkers"}, portHTTP: {"checkers"}, portSilent: {"checkers"}, portMisc: {"script"}, portScript: {"script"},
	portFile: {"script"}, portPing: {"checkers-net"}, portWord: {"word"}, portFlood: {"flood"},
	portAll: {"checkers", "checkers-net", "script", "word"},
}

// faultServers are the virtual servers' keys in poise.yaml.
var faultServers = map[int]string{
	portTCP: `
    checks: [{type: tcp, TIMES}]
    real_servers: [R1, R2, R3]`,
	portHTTP: `
    checks: [{type: http, TIMES, port: 8081}]
    real_servers: [R1, R3, R4]`,
	portSilent: `
    checks: [{type: tcp, TIMES, port: 8082}]
    real_servers: [R3, R4]`,
	portMisc: `
    real_servers:
      - {address: R1, checks: [{type: misc, TIMES, parameters: {command: [/bin/true]}}]}
      - {address: R2, checks: [{type: misc, TIMES, parameters: {command: [/bin/sh, -c, "exit 32"], dynamic: true}}]}
      - {address: R3, checks: [{type: misc, TIMES, parameters: {command: [/bin/false]}}]}`,
	portScript: `
    real_servers:
      - {address: R1, checks: [{type: misc, TIMES, parameters: {command: [/bin/sh, -c, '[ -e DIR/hang ] && exec sleep 1000; exit 0']}}]}
      - {address: R2, checks: [{type: misc, TIMES, parameters: {command: [/bin/sleep, "1000"]}}]}`,
	portFile: `
    real_servers:
      - {address: R1, checks: [{type: file, parameters: {path: DIR/weight-r1, init: 7}}]}
      - {address: R2, checks: [{type: file, parameters: {path: DIR/weight-r2, init: 1, weight: 0}}]}
      - {address: R3, checks: [{type: file, parameters: {path: DIR/weight-r3, init: 0}}]}`,
	portPing: `
    checks: [{type: ping, TIMES}]
    real_servers: [R1, R4]`,
	portWord: `
    real_servers:
      - {address: R1, checks: [{type: word, TIMES, parameters: {file: DIR/word-r1}}]}
      - {address: R2, checks: [{type: word, TIMES, parameters: {file: DIR/word-r2}}]}
      - {address: R3, checks: [{type: word, TIMES, parameters: {file: DIR/word-r3}}]}`,
	portFlood: `
    real_servers:
      - {address: R1, checks: [{type: flood, TIMES, parameters: {file: DIR/flood-r1}}]}
      - {address: R2, checks: [{type: flood, TIMES, parameters: {file: DIR/flood-r2}}]}`,
	portAll: `
    real_servers:
      - address: R1
        checks:
          - {type: tcp, port: 80, TIMES}
          - {type: ping, TIMES}
          - {type: misc, address: R2, TIMES, port: 83, parameters: {command: [/bin/sh, -c, "exit 32"], dynamic: true}}
          - {type: file, parameters: {path: DIR/weight-r1, init: 7}}
          - {type: word, TIMES, parameters: {file: DIR/word-r1}}`,
}

// rogues are the plugins of the third party. Without TLS they start in half the time.
const rogues = `
restart: {min: 5ms, max: 200ms}
plugins:
  word: {path: /run/rogue/rogue, args: [word], tls: false}
  flood: {path: /run/rogue/rogue, args: [flood, DIR/orders], tls: false}
virtual_servers:
`

// checkTimes leave a slow machine the time it needs for what is up; what is silent runs
// into its timeout again and again.
const (
	checkTimes = "interval: 1s, timeout: 4s, retries: 2, retry_delay: 500ms"
	serverKeys = "    scheduler: rr\n    forwarding: DR\n    weight: 10"
	// faultPatience is for all processes to start, on one processor that others use too.
	faultPatience = 2 * time.Minute
)

// faults makes the scene with some of the ports, the client's among them, and waits until
// all checks have said what they say.
func faults(t *testing.T, ports ...int) *faultScene {
	t.Helper()
	l := lab.New(t, lab.DR, 4)
	s := &faultScene{scene: &scene{Lab: l, t: t}}
	s.ProveKernel()
	s.Serve(l.Reals[0])
	s.Serve(l.Reals[1])
	// Not where clients' packets come by: the server of faults looks at all.
	s.Faults(l.Reals[2], []fault.Port{{Kind: fault.HTTP, Port: 8081, Steps: "good"}, {Kind: fault.TCP, Port: 8082, Steps: "good"}})
	s.Faults(l.Reals[3], []fault.Port{{Kind: fault.HTTP, Port: 8081, Steps: "status:503"}, {Kind: fault.TCP, Port: 8082, Steps: "drop"}})
	l.Reals[3].Sysctl("net/ipv4/icmp_echo_ignore_all=1")
	l.A.IP("address add " + lab.VIP + "/32 dev eth0")
	// Where only root can write, as it is with /run of other machines.
	if err := errors.Join(os.Chmod("/run", 0o755), os.MkdirAll("/run/rogue", 0o755)); err != nil {
		t.Fatal(err)
	}
	l.Switch.Run("install", "-m", "755", lab.Extra("rogue"), "/run/rogue/rogue")

	s.A = s.Director(l.A, lab.Poised, "")
	config, table := rogues, map[int]pool{}
	for _, port := range ports {
		table[port] = faultTable[port]
		config += fmt.Sprintf("  - address: %s:%d\n%s%s\n", lab.VIP, port, serverKeys, faultServers[port])
		s.checkers = append(s.checkers, faultPlugins[port]...)
	}
	slices.Sort(s.checkers)
	s.checkers = slices.Compact(s.checkers)
	for _, name := range []string{"word", "flood"} {
		if !slices.Contains(s.checkers, name) {
			config = strings.Replace(config, "\n  "+name+": ", "\n  # "+name+": ", 1)
		}
	}
	s.A.SetFile("poise.yaml", strings.NewReplacer("TIMES", checkTimes, "R1", s.Address(l.Reals[0]), "R2", s.Address(l.Reals[1]),
		"R3", s.Address(l.Reals[2]), "R4", s.Address(l.Reals[3]), "DIR", s.A.Dir).Replace(config))
	for name, text := range map[string]string{
		"orders": "quiet", "word-r1": "up", "word-r2": "down", "word-r3": "up", "flood-r1": "up", "flood-r2": "down",
	} {
		s.say(name, text)
	}
	started := time.Now()
	s.A.Start()
	s.running()
	s.verdicts("at the start", table)
	t.Logf("all is at work after %v", time.Since(started).Round(time.Millisecond))
	s.table = watchSteady(t, s.A, s.address, table)
	s.load = s.StartLoad(5 * requestInterval)
	requests(t, s.load, 20)
	s.Begun = time.Now()
	s.known = sequence(s.A)
	return s
}

// eventually is lab.Eventually that looks less often: looking costs what is looked at the
// one processor.
func eventually(t *testing.T, timeout time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	lab.Eventually(t, timeout, what, func() (bool, string) {
		time.Sleep(400 * time.Millisecond)
		return ok()
	})
}

// running waits until all processes run, and gives their pids by name.
func (s *faultScene) running() map[string]int {
	s.t.Helper()
	pids := map[string]int{}
	eventually(s.t, faultPatience, "all plugins run", func() (bool, string) {
		status, err := s.A.TryStatus()
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
		return len(pids) > len(s.checkers), ""
	})
	return pids
}

func (s *faultScene) address(host string) string {
	i := slices.IndexFunc(s.Reals, func(h *lab.Host) bool { return h.Name == host })
	return s.Address(s.Reals[i])
}

// say writes a file of the scene in one go.
func (s *faultScene) say(name, text string) {
	s.t.Helper()
	if err := os.Rename(s.A.WriteFile(name+".new", text+"\n"), filepath.Join(s.A.Dir, name)); err != nil {
		s.t.Fatal(err)
	}
}

// ipvsadm is a table as `ipvsadm -Sn` prints it, sorted.
func ipvsadm(table map[int]pool, address func(string) string) string {
	var lines []string
	for port, reals := range table {
		lines = append(lines, fmt.Sprintf("-A -t %s:%d -s rr\n", lab.VIP, port))
		for host, weight := range reals {
			lines = append(lines, fmt.Sprintf("-a -t %s:%d -r %s:%d -g -w %d\n", lab.VIP, port, address(host), port, weight))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// verdicts waits until every check has said something fresh, and status has the real
// servers as the table should.
func (s *faultScene) verdicts(when string, table map[int]pool) {
	s.t.Helper()
	eventually(s.t, faultPatience, when+": status shows fresh verdicts, as expected", func() (bool, string) {
		status, err := s.A.TryStatus()
		if err != nil {
			return false, err.Error()
		}
		var wrong []string
		for _, v := range status.GetVirtualServers() {
			for _, r := range v.GetRealServers() {
				var port int
				address, _, _ := strings.Cut(r.GetName(), ":")
				_, _ = fmt.Sscanf(v.GetName(), "TCP "+lab.VIP+":%d", &port)
				weight, up := 0, false
				for host, w := range table[port] {
					if s.address(host) == address {
						weight, up = w, true
					}
				}
				if r.GetVerdict() != map[bool]string{true: "up", false: "down"}[up] || r.GetInTable() != up || int(r.GetWeight()) != weight {
					wrong = append(wrong, fmt.Sprintf("%s %s %s weight %d: %s", v.GetName(), r.GetName(), r.GetVerdict(), r.GetWeight(), r.GetReason()))
				}
				for _, c := range r.GetChecks() {
					if c.GetStaleSince() != nil || c.GetRejected() != "" || strings.HasPrefix(c.GetReason(), "adopted") {
						wrong = append(wrong, c.String())
					}
				}
			}
		}
		return len(wrong) == 0, strings.Join(wrong, "\n")
	})
}

// processes are those that run now and have checks.
func (s *faultScene) processes() []int {
	return slices.DeleteFunc(children(s.A), func(pid int) bool {
		words := strings.Fields(command(pid))
		return len(words) < 2 || !slices.Contains(s.checkers, words[1])
	})
}

func (s *faultScene) signalAll(sig syscall.Signal) {
	for _, pid := range s.processes() {
		_ = syscall.Kill(pid, sig)
	}
}

// trouble is what status says is wrong with each process with checks.
func (s *faultScene) trouble() (map[string]*controlv1.Plugin, *controlv1.StatusResponse, error) {
	status, err := s.A.TryStatus()
	out := map[string]*controlv1.Plugin{}
	for _, p := range status.GetPlugins() {
		if slices.Contains(s.checkers, p.GetName()) {
			out[p.GetName()] = p
		}
	}
	return out, status, err
}

// told waits for an event about a plugin since the scene began.
func (s *faultScene) told(name, text string) {
	s.t.Helper()
	eventually(s.t, faultPatience, fmt.Sprintf("an event says of %s: %s", name, text), func() (bool, string) {
		var all strings.Builder
		for _, e := range s.A.Events() {
			if e.GetKind() == "plugin" && e.GetObject() == name {
				if strings.Contains(e.GetMessage(), text) && e.GetAt().AsTime().After(s.Begun) {
					return true, ""
				}
				all.WriteString(e.GetMessage() + "\n")
			}
		}
		return false, all.String()
	})
}

// held fails the test if anything was not as expected since it was last called: the table,
// what events tell, or the client. Then everything has to be at work again.
func (s *faultScene) held(when string) {
	s.t.Helper()
	s.running()
	s.verdicts(when, s.table.all())
	requests(s.t, s.load, 20)
	s.table.check(when)
	next := s.known + 1
	for _, e := range s.A.Events() {
		if e.GetSequence() < next {
			continue
		}
		if e.GetSequence() > next {
			s.t.Errorf("%s: events %d to %d are not held any more", when, next, e.GetSequence()-1)
		}
		next = e.GetSequence() + 1
		if e.GetKind() != "plugin" {
			s.t.Errorf("%s: an event tells of a change: %s", when, e)
		}
	}
	s.known = next - 1
	if report := s.load.Settled().Since(s.Begun); len(report.Failed()) > 0 {
		s.t.Errorf("%s: %s", when, report)
	}
	if got, want := s.A.IPVS(), ipvsadm(s.table.all(), s.address); got != want {
		s.t.Errorf("%s: the table is\n%swant\n%s", when, got, want)
	}
}

// changed waits until a port's table is another, by a change that was meant, and goes on
// from there.
func (s *faultScene) changed(port int, want pool) {
	s.t.Helper()
	s.table.expect(port, want)
	last, since := uint64(0), time.Now()
	eventually(s.t, 30*time.Second, "what led to the change has been told", func() (bool, string) {
		if n := sequence(s.A); n != last {
			last, since = n, time.Now()
		}
		f := s.A.Status().GetForwarder()
		return f.GetAppliedGeneration() == f.GetDesiredGeneration() && time.Since(since) > 500*time.Millisecond, f.String()
	})
	s.known = last
}

// all is the table that is expected now.
func (s *steady) all() map[int]pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.want)
}

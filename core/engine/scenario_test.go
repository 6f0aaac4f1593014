package engine

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/poise-lb/poise/core/model"
)

// Scenarios are txtar files that people who run directors can read. The comment says
// what is shown. The files of an archive but the last, "scenario", are configurations:
//
//	virtual TCP 192.0.2.100:80 rr DR quorum=2 hysteresis=1 sorry=192.0.2.9:80 sorry-inhibit
//	  real 192.0.2.1:80 100 check check=81 inhibit alpha retries=3
//	group VG
//	sync VG eth0 51
//
// The scenario has a line for each thing that happens, with its time:
//
//	0s  reload CONFIG            put a configuration in force
//	0s  adopt [known CONFIG]     the table found at start follows, and the
//	                             configuration it was made from
//	1s  up|down|unknown TARGET [REASON...]    verdict of the checks of a target
//	1s  weight TARGET N          verdict up that adds N to the weight
//	1s  role GROUP ROLE [REASON...]
//	1s  drain|maint|ready SERVER REAL [DURATION]
//	1s  weigh SERVER REAL N|default
//
// Lines of one time are one step, but a later line of the same time after an
// expectation is another. An expectation has its lines indented below it:
//
//	2s  table    what ipvsadm -Sn would show; "unchanged" if nothing was published
//	2s  checks   what is to be probed and what is known of it; "unchanged" likewise
//	2s  events   what happened since the last time this was asked
//	2s  status   real servers with state, reason and weight
//	2s  sync     the sync daemon
//	2s  next     when something changes by itself
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d scenarios: %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			runScenario(t, txtar.Parse(data))
		})
	}
}

var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// stage runs one scenario.
type stage struct {
	core    *core
	configs map[string]*model.Config
	pending []input
	now     time.Time
	// What was published since it was last asked for.
	forward bool
	checks  bool
	events  []string
	next    time.Time
	shown   struct{ forward, checks uint64 }
}

func runScenario(t *testing.T, archive *txtar.Archive) {
	s := &stage{core: newCore(), configs: map[string]*model.Config{}, now: start}
	for _, f := range archive.Files {
		if f.Name != "scenario" {
			s.configs[f.Name] = parseConfig(t, string(f.Data))
			continue
		}
		lines := strings.Split(string(f.Data), "\n")
		for i := 0; i < len(lines); i++ {
			words := strings.Fields(lines[i])
			if len(words) == 0 || strings.HasPrefix(words[0], "#") {
				continue
			}
			at, err := time.ParseDuration(words[0])
			if err != nil || len(words) < 2 {
				t.Fatalf("line %d: %q: %v", i+1, lines[i], err)
			}
			s.until(start.Add(at))
			var block []string
			line := i + 1
			for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "  ") {
				i++
				block = append(block, strings.TrimSpace(lines[i]))
			}
			if s.happens(t, line, words[1:], block) {
				continue
			}
			s.step()
			got := s.show(t, line, words[1])
			if !slices.Equal(got, block) {
				t.Errorf("line %d: at %s %s is\n  %s\nwant\n  %s", line, words[0], words[1], strings.Join(got, "\n  "), strings.Join(block, "\n  "))
			}
		}
		s.step()
	}
}

// until lets time pass, and what happens by itself happen.
func (s *stage) until(at time.Time) {
	if !at.After(s.now) {
		return
	}
	s.step()
	for !s.next.IsZero() && !s.next.After(at) {
		s.now = s.next
		s.force()
	}
	s.now = at
}

func (s *stage) step() {
	if len(s.pending) > 0 {
		s.force()
	}
}

func (s *stage) force() {
	out := s.core.step(s.pending, s.now)
	s.pending, s.next = nil, out.next
	for _, e := range out.events {
		s.events = append(s.events, fmt.Sprintf("%s %s %s: %s", s.now.Sub(start), e.Kind, e.Object, e.Message))
	}
}

func (s *stage) happens(t *testing.T, line int, words, block []string) bool {
	var in input
	reason := ""
	if len(words) > 2 {
		reason = strings.Join(words[2:], " ")
	}
	switch words[0] {
	case "reload":
		config := s.configs[words[1]]
		in = func(c *core, now time.Time) { c.setConfig(config, now) }
	case "adopt":
		a := &adoption{services: parseTable(t, block)}
		if len(words) == 3 && words[1] == "known" {
			a.configured = realServers(s.configs[words[2]])
		}
		in = func(c *core, now time.Time) { c.adopt(a, now) }
	case "up", "down", "unknown", "weight":
		v := model.Verdict{State: map[string]model.State{"up": model.Up, "down": model.Down, "weight": model.Up}[words[0]], Reason: reason, Since: s.now}
		if words[0] == "weight" {
			v.Weight, v.Reason = model.Weight{Value: number(t, words[2])}, ""
		}
		in = func(c *core, _ time.Time) { c.takeVerdicts(s.verdicts(words[1], v)) }
	case "role":
		role := model.RoleState{Role: map[string]model.Role{"master": model.Master, "backup": model.Backup, "fault": model.Fault}[words[2]],
			Reason: strings.Join(words[3:], " "), Since: s.now}
		in = func(c *core, now time.Time) { c.setRole(words[1], role, now) }
	case "drain", "maint", "ready", "weigh":
		protocol, server, addr, rest := words[1], words[2], words[3], words[4:]
		key := model.RealServerKey{Service: parseServiceKey(t, protocol, server), Addr: netip.MustParseAddrPort(addr)}
		in = func(c *core, now time.Time) {
			o := c.overrides[key]
			switch words[0] {
			case "weigh":
				o.Weight = nil
				if rest[0] != "default" {
					w := uint32(number(t, rest[0]))
					o.Weight = &w
				}
			case "drain":
				o.Admin, o.Deadline = model.Drain, time.Time{}
				if len(rest) > 0 {
					o.Deadline = now.Add(duration(t, rest[0]))
				}
			case "maint":
				o.Admin, o.Deadline = model.Maintenance, time.Time{}
			case "ready":
				o.Admin, o.Deadline = model.Ready, time.Time{}
			}
			c.setOverride(key, o, now)
		}
	default:
		return false
	}
	if in == nil {
		t.Fatalf("line %d: %v", line, words)
	}
	s.pending = append(s.pending, in)
	return true
}

// verdicts gives a verdict for every check of a target, configured or not.
func (s *stage) verdicts(target string, v model.Verdict) map[model.CheckID]model.Verdict {
	out := map[model.CheckID]model.Verdict{}
	for _, config := range s.configs {
		for _, server := range config.VirtualServers {
			for _, r := range server.RealServers {
				for _, check := range r.Checks {
					if check.Target.Addr.String() == target {
						out[check.ID()] = v
					}
				}
			}
		}
	}
	return out
}

func (s *stage) show(t *testing.T, line int, what string) []string {
	switch what {
	case "table":
		if s.shown.forward == s.core.forward.Generation {
			return []string{"unchanged"}
		}
		s.shown.forward = s.core.forward.Generation
		return showTable(s.core.forward.Services)
	case "checks":
		var out []string
		set := s.core.checkSet()
		if s.shown.checks == set.Generation {
			out = append(out, "unchanged")
		}
		s.shown.checks = set.Generation
		for _, c := range set.Checks {
			out = append(out, fmt.Sprintf("%s retries=%d %s", c.Check, c.Check.Schedule.Retries, c.Known.State))
		}
		slices.Sort(out)
		return out
	case "events":
		out := s.events
		s.events = nil
		return out
	case "status":
		return showStatus(s.core.snapshot(s.now))
	case "sync":
		if sync := s.core.forward.Sync; sync != nil {
			return []string{fmt.Sprintf("%s %s %d", sync.Role, sync.Sync.Interface, sync.Sync.ID)}
		}
		return []string{"none"}
	case "next":
		if s.next.IsZero() {
			return []string{"never"}
		}
		return []string{s.next.Sub(start).String()}
	}
	t.Fatalf("line %d: %q is not known", line, what)
	return nil
}

func showStatus(snapshot *model.Snapshot) []string {
	var out []string
	for _, v := range snapshot.Services {
		out = append(out, fmt.Sprintf("%s quorum=%v sorry=%v", v.Config.Key, v.QuorumUp, v.SorryActive))
		for _, r := range v.RealServers {
			line := fmt.Sprintf("%s %s in=%v weight=%d", r.Config.Addr, r.State, r.InTable, r.Weight)
			if !r.Since.IsZero() {
				line += " since=" + r.Since.Sub(start).String()
			}
			if r.Reason != "" {
				line += ": " + r.Reason
			}
			out = append(out, line)
		}
	}
	for _, g := range snapshot.Groups {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", g.Config.Name, g.Role, g.Reason)))
	}
	return out
}

func number(t *testing.T, text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func duration(t *testing.T, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

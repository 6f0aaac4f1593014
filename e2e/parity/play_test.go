package parity

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/poise-lb/poise/e2e/fault"
	"github.com/poise-lb/poise/e2e/lab"
)

const (
	// patience is for all probes of all cases.
	patience = 70 * time.Second
	// together is how many cases are played at a time: as many as a kernel that is a
	// process, on a processor that others want too, has the time for. Those that went
	// wrong are played again with fewer beside them.
	together = 24
	// stall is a time without a look at the table after which a wrong outcome proves
	// nothing, and attempts is how often such a case is played.
	stall, attempts = 300 * time.Millisecond, 3
)

// side is a daemon with its servers.
type side struct {
	daemon   lab.Daemon
	index    int
	host     *lab.Host
	servers  *lab.Host
	director *lab.Director
	faults   *lab.Faults
	// runs are the files in which scripts say that they have been run.
	runs map[uint16]string
	// programs are servers of somebody else's.
	programs []*exec.Cmd
}

// stage is both daemons, each on a host with a cable to servers of its own: the same
// addresses, and nothing that the other one's probes could change.
type stage struct {
	t     *testing.T
	lab   *lab.Lab
	sides []*side // poised, keepalived
	watch *lab.Watch
	// native: there is poised alone, with checks that keepalived has not.
	native bool
}

// entry is a case with its set.
type entry struct {
	Case
	checker string
	port    uint16
	// service is the virtual server: its port, or its mark.
	service uint16
}

// play plays the cases of all sets at the same time, and judges. Those that went wrong
// while the whole machine stood still are played again.
func play(t *testing.T, sets ...Set) {
	t.Helper()
	newStage(t).play(together, sets...)
}

// play plays the cases, so many at a time.
func (s *stage) play(at int, sets ...Set) {
	t := s.t
	t.Helper()
	var entries []entry
	for i, set := range sets {
		for _, c := range set.Cases {
			if asked(set.Checker) {
				e := entry{Case: c, checker: set.Checker, port: port(len(entries))}
				e.service = e.shared(i)
				entries = append(entries, e)
			}
		}
	}
	if len(entries) == 0 {
		t.Fatalf("no checker is asked for")
	}
	rows := map[uint16]row{}
	for attempt := 1; ; attempt++ {
		var wrong []entry
		longest := time.Duration(0)
		for part := range slices.Chunk(entries, max(1, at>>(2*(attempt-1)))) {
			wrong = append(wrong, s.attempt(part, rows)...)
			longest = max(longest, s.watch.Longest())
		}
		if len(wrong) == 0 || attempt == attempts || longest < stall {
			break
		}
		var names []string
		for _, e := range wrong {
			names = append(names, e.checker+", "+e.Name)
		}
		t.Logf("the machine stood still for %v: again: %s", longest.Round(time.Millisecond), strings.Join(names, "; "))
		entries = wrong
	}
	var list []row
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		r := rows[key]
		if list = append(list, r); r.wrong {
			t.Errorf("%s, %s: keepalived %q, poise %q, %s\n%s", r.checker, r.name, r.keepalived, r.poise, r.verdict, r.detail)
		}
	}
	report(list)
}

// asked says whether a checker is: `-run TestWebPairs/HTTP` plays one.
func asked(checker string) bool {
	_, below, found := strings.Cut(flag.Lookup("test.run").Value.String(), "/")
	if !found {
		return true
	}
	ok, err := regexp.MatchString(below, checker)
	return ok && err == nil
}

// newStage makes the hosts; nothing is started.
func newStage(t *testing.T) *stage {
	t.Helper()
	l := lab.Alone(t, "poised", "keepalived", "servers1", "servers2")
	s := &stage{t: t, lab: l}
	for i, daemon := range []lab.Daemon{lab.Poised, lab.Keepalived} {
		x := &side{daemon: daemon, index: i, host: l.Host(string(daemon)), servers: l.Host(fmt.Sprint("servers", i+1))}
		l.Link(x.host, x.servers, director+"/24", real+"/24")
		x.host.IP("address add 2001:db8::2/64 dev eth0", "address add 192.168.1.50/24 dev eth0", "route add "+lab.VIP+" dev eth0")
		x.servers.IP("address add "+real6+"/64 dev eth0", "address add "+lab.VIP+"/32 dev lo")
		x.director = l.Director(x.host, daemon, "")
		s.sides = append(s.sides, x)
	}
	s.sides[0].host.ProveKernel()
	return s
}

// start starts servers and daemons with these cases.
func (s *stage) start(entries []entry) {
	s.t.Helper()
	var ports, scripts []fault.Port
	config := configuration(entries)
	for _, e := range entries {
		list := append([]fault.Port{{Kind: e.Kind, Port: e.key(), Steps: e.fill(e.Steps, e.port)}}, e.Ports...)
		for i, p := range list {
			if i > 0 {
				p.Port += e.port
			}
			switch p.Kind {
			case "":
			case script:
				scripts = append(scripts, p)
			default:
				ports = append(ports, p)
			}
		}
	}
	for _, x := range s.sides {
		x.faults = s.lab.Faults(x.servers, ports)
		x.runs = map[uint16]string{}
		for _, p := range scripts {
			if err := x.writeScript(p); err != nil {
				s.t.Fatalf("write the script of %d: %v", p.Port, err)
			}
		}
		if s.native {
			x.director.SetFile("poise.yaml", nativeConfiguration(entries))
			continue
		}
		x.director.SetFile("keepalived.conf", strings.ReplaceAll(config, "DIR", x.director.Dir))
	}
	if out, code := s.sides[0].director.Test("-f", s.sides[0].director.File); code != 0 {
		s.t.Fatalf("poised -t gives %d:\n%s", code, out)
	}
	var hosts []*lab.Host
	for _, x := range s.sides {
		hosts = append(hosts, x.host)
	}
	s.watch = lab.WatchTables(s.t, hosts...)
	for _, x := range s.sides {
		x.director.Start()
	}
}

// stop ends servers and daemons, and empties the tables.
func (s *stage) stop() {
	s.t.Helper()
	s.watch.Stop()
	for _, x := range s.sides {
		x.director.Kill9()
		x.faults.Stop()
		x.host.Run("ipvsadm", "-C")
	}
}

// attempt plays the cases, writes their rows and gives those that went wrong.
func (s *stage) attempt(entries []entry, rows map[uint16]row) (wrong []entry) {
	s.t.Helper()
	s.start(entries)
	defer s.stop()
	err := lab.Poll(patience, "all probes have been made", func() (bool, string) {
		time.Sleep(500 * time.Millisecond) // looking costs what the daemons need
		var missing []string
		for _, e := range entries {
			for _, x := range s.sides {
				// One more: then what the last one led to has been seen.
				if got := len(x.probes(e)); e.Kind != "" && e.number() >= 0 && got <= e.number() {
					missing = append(missing, fmt.Sprintf("%s, %s, by %s: %d of %d", e.checker, e.Name, x.daemon, got, e.number()+1))
				}
			}
		}
		return len(missing) == 0, strings.Join(missing, "\n")
	})
	if err != nil {
		s.t.Logf("%v", err)
	}
	for _, e := range entries {
		if e.Kind == "" {
			continue
		}
		r := s.judge(e)
		rows[e.port] = r
		if r.wrong {
			wrong = append(wrong, e)
		}
	}
	return wrong
}

// judge compares what became of a case.
func (s *stage) judge(e entry) row {
	poised := s.sides[0]
	r := row{checker: e.checker, name: e.Name, poise: s.outcome(poised, e), keepalived: "-", verdict: "as expected"}
	r.detail = "probes of poise:" + times(poised.probes(e))
	want := e.Want
	if !s.native {
		keepalived := s.sides[1]
		r.keepalived, r.verdict = s.outcome(keepalived, e), "same"
		r.detail += "\nprobes of keepalived:" + times(keepalived.probes(e))
		if e.Poise != "" {
			want, r.verdict = e.Poise, "meant: "+e.Why
		}
	}
	if !s.native && r.keepalived != e.Want || r.poise != want {
		r.wrong, r.verdict = true, fmt.Sprintf("WRONG: want %q", e.Want)
		if want != e.Want {
			r.verdict += fmt.Sprintf(", and %q of poise", want)
		}
	}
	return r
}

// key is the case's port for the server of faults.
func (e entry) key() uint16 {
	if e.Kind == fault.Ping {
		if e.IPv6 {
			return 6
		}
		return 4
	}
	return e.port
}

// shared is the virtual server of a case: one for each set and family, or its own.
func (e entry) shared(set int) uint16 {
	const firstShared = 9000
	if mark, ok := strings.CutPrefix(e.Own, "fwmark "); ok {
		service := e.port
		_, _ = fmt.Sscan(mark, &service)
		return service
	}
	switch {
	case e.Own != "":
		return e.port
	case e.IPv6:
		return uint16(firstShared + 2*set + 1)
	}
	return uint16(firstShared + 2*set)
}

// configuration has the virtual servers of all cases.
func configuration(entries []entry) string {
	before, owns, heads, reals := "", "", map[uint16]string{}, map[uint16]string{}
	for _, e := range entries {
		before += e.fill(e.Before, e.port)
		if e.Own != "" {
			owns += server(e.fill(e.Own, e.port), e.config(e.checker, e.port))
			continue
		}
		address := virtual
		if e.IPv6 {
			address = virtual6
		}
		heads[e.service] = fmt.Sprint(address, " ", e.service)
		reals[e.service] += e.config(e.checker, e.port)
	}
	for _, key := range slices.Sorted(maps.Keys(heads)) {
		owns += server(heads[key], reals[key])
	}
	return before + "\n" + owns
}

func (x *side) probes(e entry) []fault.Probe {
	if e.Kind == script {
		return x.scriptRuns(e.port)
	}
	return x.faults.Probes(e.key())
}

// outcome is what a case's real server was during the probes that count.
func (s *stage) outcome(x *side, e entry) string { return s.outcomeOf(x, e, e, e.number()) }

// outcomeOf is what it was during the first probes of another case; n below 0: all.
func (s *stage) outcomeOf(x *side, e, probed entry, n int) string {
	probes := x.probes(probed)
	var out []string
	last := ""
	for _, change := range s.watch.Changes(x.index, e.service) {
		begun := 0
		for _, p := range probes {
			if p.At.Before(change.At) {
				begun++
			}
		}
		now := e.state(change.Weights)
		switch {
		case n >= 0 && begun > n || now == last:
			continue
		case begun == 0:
			// A service is there before its real servers.
			out = []string{now}
		case len(out) == 0:
			out = append(out, fmt.Sprintf("nothing %s@%d", now, begun))
		default:
			out = append(out, fmt.Sprintf("%s@%d", now, begun))
		}
		last = now
	}
	if e.Last && len(out) > 0 {
		word, _, _ := strings.Cut(out[len(out)-1], "@")
		return word
	}
	return strings.Join(out, " ")
}

// state is a word for what the virtual server has of a case.
func (e entry) state(weights map[string]int) string {
	var list []string
	for _, address := range slices.Sorted(maps.Keys(weights)) {
		if e.Own != "" || strings.HasSuffix(address, fmt.Sprintf(":%04X", e.port)) {
			list = append(list, fmt.Sprint(weights[address]))
		}
	}
	switch text := strings.Join(list, "+"); text {
	case "":
		return "out"
	case "1":
		return "in"
	default:
		return "w=" + text
	}
}

// times are for a person who looks at a failure.
func times(list []fault.Probe) string {
	var b strings.Builder
	for _, p := range list {
		fmt.Fprintf(&b, " %d:%s %s", p.Index, p.Step, p.At.Format("05.000"))
	}
	return b.String()
}

// row is a line of the table of pairs.
type row struct {
	checker, name, keepalived, poise, verdict, detail string
	wrong                                             bool
}

// report prints the table of pairs.
func report(rows []row) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "CHECKER\tCASE\tKEEPALIVED\tPOISE\tVERDICT\n")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.checker, r.name, r.keepalived, r.poise, r.verdict)
	}
	_ = w.Flush()
	fmt.Fprintf(os.Stdout, "\n%s\n", b.String())
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

// subject is a daemon under measurement, on a host of its own.
type subject struct {
	name     string
	director *lab.Director
}

// usage is what a host's daemon has used up to a moment.
type usage struct {
	at        time.Time
	cpu       time.Duration
	checks    uint64
	processes int
	pss, rss  uint64
}

func bench(t lab.TB, o options) {
	hosts := lab.Alone(t, "poised", "keepalived")
	var subjects []subject
	poised := hosts.Director(hosts.Host("poised"), lab.Poised, config(o))
	poised.SetFile("poise.yaml", "keepalived: keepalived.conf\nforwarder: \"null\"\n")
	subjects = append(subjects, subject{"poised", poised})
	if shim := buildShim(t, hosts.Dir, o.shim); shim != "" {
		d := hosts.Director(hosts.Host("keepalived"), lab.Keepalived, config(o))
		d.Env = []string{"LD_PRELOAD=" + shim}
		d.Args = []string{"-C"}
		subjects = append(subjects, subject{"keepalived", d})
	}
	for _, s := range subjects {
		// One server on all addresses of the loopback network.
		hosts.Serve(s.director.Host)
		s.director.Start()
	}
	fmt.Printf("%d real servers, %d to a virtual server, checked over TCP every %d s, for %v after %v ...\n",
		o.reals, o.perService, o.interval, o.measure, o.warm)
	time.Sleep(o.warm)
	before := make([]usage, len(subjects))
	for i, s := range subjects {
		before[i] = measure(t, s.director)
	}
	time.Sleep(o.measure)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "daemon\tprocesses\tchecks/s\tCPU %\tCPU ms / 1000 checks\tPSS kB\tRSS kB\t")
	for i, s := range subjects {
		row(w, s.name, before[i], measure(t, s.director))
	}
	_ = w.Flush()
	fmt.Println("CPU is the run time of all the daemon's processes, the kernel's network work for them included.")
}

func row(w *tabwriter.Writer, name string, from, to usage) {
	took, cpu, checks := to.at.Sub(from.at).Seconds(), to.cpu-from.cpu, to.checks-from.checks
	perThousand := "-"
	if checks > 0 {
		perThousand = fmt.Sprintf("%.1f", float64(cpu.Microseconds())/float64(checks))
	}
	fmt.Fprintf(w, "%s\t%d\t%.0f\t%.1f\t%s\t%d\t%d\t\n", name, to.processes, float64(checks)/took, 100*cpu.Seconds()/took, perThousand, to.pss, to.rss)
}

// config is the configuration of both.
func config(o options) string {
	var b strings.Builder
	for i := range o.reals {
		if i%o.perService == 0 {
			if i > 0 {
				b.WriteString("}\n")
			}
			v := i / o.perService
			fmt.Fprintf(&b, "virtual_server 192.0.%d.%d 80 {\n\tdelay_loop %d\n\tlb_algo rr\n\tlb_kind NAT\n\tprotocol TCP\n", 2+v/250, 1+v%250, o.interval)
		}
		fmt.Fprintf(&b, "\treal_server 127.1.%d.%d 80 {\n\t\tweight 1\n\t\tTCP_CHECK {\n\t\t\tconnect_timeout 1\n\t\t\tretry 0\n\t\t\tconnect_port 80\n\t\t}\n\t}\n", i/250, 1+i%250)
	}
	b.WriteString("}\n")
	return b.String()
}

// measure reads what the daemon's processes have used, and how many connections have
// been begun: each is a check.
func measure(t lab.TB, d *lab.Director) usage {
	u := usage{at: time.Now(), checks: opened(t, d)}
	for _, pid := range d.Descendants() {
		u.processes++
		u.cpu += runTime(pid)
		pss, rss := memory(pid)
		u.pss += pss
		u.rss += rss
	}
	if u.processes == 0 {
		t.Fatalf("the daemon on %s does not run; the end of its log:\n%s", d.Name, d.Log())
	}
	return u
}

// runTime is the time that all threads of a process have run.
func runTime(pid int) time.Duration {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	sum := time.Duration(0)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(b), " ")
		ns, _ := strconv.ParseInt(first, 10, 64)
		sum += time.Duration(ns)
	}
	return sum
}

// memory is a process's share of memory, and what it has mapped, in kB.
func memory(pid int) (pss, rss uint64) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch n, _ := strconv.ParseUint(f[1], 10, 64); f[0] {
		case "Pss:":
			pss = n
		case "Rss:":
			rss = n
		}
	}
	return pss, rss
}

// opened counts the connections that have been begun on the director's host.
func opened(t lab.TB, d *lab.Director) uint64 {
	var names, values []string
	for line := range strings.Lines(d.Run("cat", "/proc/net/snmp")) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == "Tcp:" {
			names, values = values, f
		}
	}
	for i, n := range names {
		if n == "ActiveOpens" && i < len(values) {
			v, _ := strconv.ParseUint(values[i], 10, 64)
			return v
		}
	}
	t.Fatalf("no count of connections on %s", d.Name)
	return 0
}

package main

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

// table prints a line for each setting and daemon.
type table struct{ out io.Writer }

func newTable(out io.Writer) *table {
	t := &table{out}
	fmt.Fprintln(out, "| kind | real servers | daemon | checks/s | CPU ms / 1,000 checks | ratio | PSS MB | late p50 | p99 | max |")
	fmt.Fprintln(out, "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	return t
}

func (t *table) add(s setting, daemons []lab.Daemon, turns []turn) {
	sums := map[lab.Daemon]turn{}
	for _, one := range turns {
		sum := sums[one.daemon]
		sum.took += one.took
		sum.cpu += one.cpu
		sum.checks += one.checks
		sum.pss = max(sum.pss, one.pss)
		sum.late = merge(sum.late, one.late)
		sums[one.daemon] = sum
	}
	for _, d := range daemons {
		sum, ratio := sums[d], "-"
		cost := perThousand(sum.cpu, sum.checks)
		if other, ok := sums[lab.Keepalived]; ok {
			ratio = fmt.Sprintf("%.2f", cost/perThousand(other.cpu, other.checks))
		}
		fmt.Fprintf(t.out, "| %s | %d | %s | %.0f | %.1f | %s | %.1f | %s | %s | %s |\n", s.kind, s.reals, d, float64(sum.checks)/sum.took.Seconds(),
			cost, ratio, float64(sum.pss)/1e3, millis(quantile(sum.late, 0.5)), millis(quantile(sum.late, 0.99)), millis(quantile(sum.late, 1)))
	}
}

func (t *table) legend() {
	fmt.Fprint(t.out, `
CPU is the run time of all threads of all the daemon's processes, the kernel's network work
for them included. The ratio is to keepalived's. A probe is late by what it comes later than
one interval after the probe before it of the same real server, as its first packet shows.
`)
}

// perThousand is the time for 1,000 checks in milliseconds.
func perThousand(cpu time.Duration, checks int) float64 {
	if checks == 0 {
		return math.NaN()
	}
	return float64(cpu.Microseconds()) / float64(checks)
}

// quantile of sorted times.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1e3) }

// merge joins two sorted lists.
func merge(a, b []time.Duration) []time.Duration {
	out := make([]time.Duration, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0] <= b[0] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

// turn is what one daemon did in one turn.
type turn struct {
	daemon lab.Daemon
	// took is the time of the measurement, cpu what the daemon's processes ran in it.
	took, cpu time.Duration
	// checks is how many connections were begun.
	checks    int
	processes int
	pss       uint64
	late      []time.Duration
}

func bench(t lab.TB, o options, out io.Writer) {
	l := lab.Alone(t, "bench")
	host := l.Host("bench")
	host.Sysctl("net/core/somaxconn=8192", "net/ipv4/tcp_max_syn_backlog=16384", "net/ipv4/ip_local_port_range=1024 65535")
	daemons := []lab.Daemon{lab.Poised, lab.Keepalived}
	if o.only != "" {
		daemons = []lab.Daemon{lab.Daemon(o.only)}
	}
	shim := ""
	if slices.Contains(daemons, lab.Keepalived) {
		if shim = buildShim(t, l.Dir, o.shim); shim == "" {
			daemons = daemons[:len(daemons)-1]
		}
	}
	serve(t, l, host)
	settings, err := o.cases()
	if err != nil {
		t.Fatalf("%v", err)
	}
	table := newTable(out)
	for _, s := range settings {
		var turns []turn
		for range o.turns {
			for _, d := range daemons {
				turns = append(turns, measureTurn(t, l, host, d, shim, s, o))
			}
		}
		table.add(s, daemons, turns)
	}
	table.legend()
}

// serve starts the nginx that all addresses of the loopback network lead to.
func serve(t lab.TB, l *lab.Lab, host *lab.Host) {
	dir := filepath.Join(l.Dir, "nginx")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatalf("make the directory of nginx: %v", err)
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, dir), 0o644); err != nil {
		t.Fatalf("write the configuration of nginx: %v", err)
	}
	cmd := host.Command("nginx", "-p", dir, "-c", file)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start nginx: %v", err)
	}
	t.Cleanup(func() { host.KillAll(); _ = cmd.Wait() })
	lab.Eventually(t, 10*time.Second, "nginx listens", func() (bool, string) {
		out := host.Run("cat", "/proc/net/tcp")
		return listens(out, 80), out
	})
}

// measureTurn runs one daemon alone for a while.
func measureTurn(t lab.TB, l *lab.Lab, host *lab.Host, daemon lab.Daemon, shim string, s setting, o options) turn {
	d := l.Director(host, daemon, s.config())
	if daemon == lab.Poised {
		d.SetFile("poise.yaml", "keepalived: keepalived.conf\nforwarder: \"null\"\n")
	} else {
		d.Env, d.Args = []string{"LD_PRELOAD=" + shim}, []string{"-C"}
	}
	d.Start()
	time.Sleep(o.warm / 2)
	for _, pid := range host.Pids() {
		urgent(pid)
	}
	time.Sleep(o.warm / 2)
	c := capture(t, host)
	from := usage(t, d)
	start := time.Now()
	time.Sleep(o.measure)
	to := usage(t, d)
	result := turn{daemon: daemon, took: time.Since(start), cpu: to.cpu - from.cpu, processes: to.processes, pss: to.pss}
	result.checks, result.late = c.stop(time.Duration(s.interval) * time.Second)
	d.Stop()
	fmt.Fprintf(os.Stderr, "%s %d %s: %.0f checks/s, %.1f ms / 1000 checks, %.1f MB, late p50 %s p99 %s max %s\n", s.kind, s.reals, daemon,
		float64(result.checks)/result.took.Seconds(), perThousand(result.cpu, result.checks), float64(result.pss)/1e3,
		millis(quantile(result.late, 0.5)), millis(quantile(result.late, 0.99)), millis(quantile(result.late, 1)))
	return result
}

// Command bench measures what checks cost and how punctual they are: poised with its null
// forwarder and Debian's keepalived with a library that answers for IPVS in its place,
// each checking the same real servers every second. It prints a table with the ratios and
// judges nothing.
//
// Both daemons check the same nginx in the same network namespace of this machine's own
// kernel. They run one after the other, in turns that are interleaved (A, B, A, B): two at
// once would compete for the processors, which is not what a director does, and would be
// late by each other's doing. Only the ratio within a run means anything.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

func main() {
	lab.RunRole()
	var o options
	flag.StringVar(&o.sizes, "sizes", "100,1000,5000,10000", "numbers of real servers, with commas")
	flag.StringVar(&o.kinds, "kinds", "tcp,http", "kinds of checks, with commas")
	flag.IntVar(&o.perService, "per-service", 100, "real servers of a virtual server")
	flag.IntVar(&o.interval, "interval", 1, "seconds between checks")
	flag.IntVar(&o.turns, "turns", 2, "turns of each daemon")
	flag.DurationVar(&o.warm, "warm", 5*time.Second, "time before the measurement of a turn")
	flag.DurationVar(&o.measure, "measure", 10*time.Second, "time of the measurement of a turn")
	flag.BoolVar(&o.quick, "quick", false, "a look at whether it works: 100 real servers, one turn of 2 s")
	flag.StringVar(&o.only, "only", "", "measure this daemon alone: poised or keepalived")
	flag.StringVar(&o.shim, "shim", "", "C source of the library that answers for IPVS (default: ../shared/bench/fakeipvs.c beside the repository)")
	flag.Parse()
	if o.quick {
		o.sizes, o.turns, o.warm, o.measure = "100", 1, 3*time.Second, 2*time.Second
	}
	if err := o.check(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if !lab.Program("bench", func(t lab.TB) { bench(t, o, os.Stdout) }) {
		os.Exit(1)
	}
}

type options struct {
	sizes, kinds, only          string
	perService, interval, turns int
	warm, measure               time.Duration
	quick                       bool
	shim                        string
}

// cases are the kinds and sizes to measure.
func (o *options) cases() ([]setting, error) {
	var out []setting
	for _, kind := range strings.Split(o.kinds, ",") {
		if kind != "tcp" && kind != "http" {
			return nil, fmt.Errorf("-kinds: %q is neither tcp nor http", kind)
		}
		for _, text := range strings.Split(o.sizes, ",") {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > maxReals {
				return nil, fmt.Errorf("-sizes: %q is not a number of 1 to %d", text, maxReals)
			}
			out = append(out, setting{kind: kind, reals: n, perService: o.perService, interval: o.interval})
		}
	}
	return out, nil
}

// check says what is missing.
func (o *options) check() error {
	if _, err := o.cases(); err != nil {
		return err
	}
	if o.perService < 1 || o.interval < 1 || o.turns < 1 || o.measure < time.Second {
		return errors.New("-per-service, -interval and -turns are at least 1, -measure at least 1s")
	}
	if o.only != "" && o.only != string(lab.Poised) && o.only != string(lab.Keepalived) {
		return errors.New("-only is poised or keepalived")
	}
	if os.Geteuid() != 0 {
		return errors.New("it makes network namespaces: run it as root")
	}
	if _, err := os.Stat(lab.Binary("poised")); err != nil {
		return errors.New("there is no " + lab.Binary("poised") + ": run make build")
	}
	if _, err := exec.LookPath("nginx"); err != nil {
		return errors.New("there is no nginx to be checked: run make deps")
	}
	if o.shim == "" {
		if root, err := lab.Root(); err == nil {
			o.shim = filepath.Join(root, "..", "shared", "bench", "fakeipvs.c")
		}
	}
	return nil
}

// buildShim compiles the library that answers for IPVS; "" after it has said why
// keepalived cannot run.
func buildShim(t lab.TB, dir, source string) string {
	if _, err := os.Stat(source); err != nil {
		t.Logf("keepalived is left out: there is no %s (see -shim)", source)
		return ""
	}
	for _, program := range []string{"keepalived", "cc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Logf("keepalived is left out: there is no program %s", program)
			return ""
		}
	}
	out := filepath.Join(dir, "fakeipvs.so")
	if text, err := exec.Command("cc", "-O2", "-shared", "-fPIC", "-o", out, source, "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", source, err, text)
	}
	return out
}

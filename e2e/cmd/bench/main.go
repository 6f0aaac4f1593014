// Command bench measures what checks cost: poised with its null forwarder and Debian's
// keepalived with a library that answers for IPVS in its place, side by side in one
// run, each checking 1,000 real servers every second over TCP. It prints a table and
// judges nothing.
//
// It runs on this machine's own kernel, in network namespaces of its own.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

func main() {
	lab.RunRole()
	var o options
	flag.IntVar(&o.reals, "reals", 1000, "real servers")
	flag.IntVar(&o.perService, "per-service", 100, "real servers of a virtual server")
	flag.IntVar(&o.interval, "interval", 1, "seconds between checks")
	flag.DurationVar(&o.warm, "warm", 8*time.Second, "time before the measurement")
	flag.DurationVar(&o.measure, "measure", 20*time.Second, "time of the measurement")
	flag.StringVar(&o.shim, "shim", "", "C source of the library that answers for IPVS (default: ../shared/bench/fakeipvs.c beside the repository)")
	flag.Parse()
	if err := o.check(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if !lab.Program("bench", func(t lab.TB) { bench(t, o) }) {
		os.Exit(1)
	}
}

type options struct {
	reals, perService, interval int
	warm, measure               time.Duration
	shim                        string
}

// check says what is missing.
func (o *options) check() error {
	if os.Geteuid() != 0 {
		return errors.New("it makes network namespaces: run it as root")
	}
	if o.reals < 1 || o.perService < 1 || o.interval < 1 || o.reals > 60000 {
		return errors.New("-reals is 1 to 60000, -per-service and -interval are at least 1")
	}
	if _, err := os.Stat(lab.Binary("poised")); err != nil {
		return errors.New("there is no " + lab.Binary("poised") + ": run make build")
	}
	if o.shim == "" {
		if root, err := lab.Root(); err == nil {
			o.shim = filepath.Join(root, "..", "shared", "bench", "fakeipvs.c")
		}
	}
	return nil
}

// buildShim compiles the library that answers for IPVS; "" says why keepalived cannot
// run.
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

// Command demo shows poise's main job in under two minutes: two directors, two real
// servers and a client that asks all the time, on a kernel of their own; a real server
// stops and comes back, the master director is lost and comes back. It prints what
// happened, when each side noticed, and what the client had of it.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/poise-lb/poise/e2e/lab"
	"github.com/poise-lb/poise/e2e/uml"
)

func main() {
	lab.RunRole()
	if uml.Inside() {
		if !lab.Program("demo", demo) {
			os.Exit(1)
		}
		return
	}
	bin := filepath.Dir(lab.Binary("poised"))
	if _, err := os.Stat(filepath.Join(bin, "poised")); err != nil {
		fmt.Fprintf(os.Stderr, "demo: there is no poised in %s: run make build\n", bin)
		os.Exit(1)
	}
	fmt.Println("Booting a Linux kernel of its own (user-mode Linux, with IPVS) ...")
	status, err := uml.Again(bin, false)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	os.Exit(status)
}

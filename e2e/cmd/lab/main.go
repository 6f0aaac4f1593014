// Command lab runs a command in the lab: a kernel of its own with a client, two
// directors that run poised on the seed configuration, and two real servers. Without a
// command it is a shell.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
	"github.com/poise-lb/poise/e2e/uml"
)

const usage = `usage: lab [-method DR|NAT|TUN] [-daemon poised|keepalived] [COMMAND...]

Runs COMMAND (default: a shell) on a kernel of its own. One word is a line for a shell.
The hosts are network namespaces: client, a, b, r1, r2, switch.

  on a ipvsadm -Ln         a command on director a
  poise-a status           poise for the daemon of a; poise-b for b's
  log-a, log-b             what the daemons have said
  ask 10ms                 a client: a request each interval until its input ends; a line
                           for each: start, connected, end in ns, server, error
  ip -n switch link set a-eth0 down     cut the cable of a
`

func main() {
	lab.RunRole()
	method := flag.String("method", string(lab.DR), "how directors forward: DR, NAT or TUN")
	daemon := flag.String("daemon", string(lab.Poised), "what directors run: poised or keepalived")
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	flag.Parse()
	status, err := 0, error(nil)
	if uml.Inside() {
		status, err = inside(lab.Method(*method), lab.Daemon(*daemon), flag.Args())
	} else {
		bin := filepath.Dir(lab.Binary("poised"))
		if _, err := os.Stat(filepath.Join(bin, "poised")); err != nil {
			fmt.Fprintf(os.Stderr, "lab: there is no poised in %s: run make build\n", bin)
			os.Exit(1)
		}
		args := append([]string{"-method", *method, "-daemon", *daemon, "--"}, flag.Args()...)
		status, err = uml.Again(bin, true, args...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
	os.Exit(status)
}

// inside builds the network, starts the daemons and runs the command.
func inside(method lab.Method, daemon lab.Daemon, command []string) (status int, err error) {
	ok := lab.Program("lab", func(t lab.TB) {
		l := lab.Plain(t, method, 2)
		l.ServeAll()
		a := l.Director(l.A, daemon, l.Config(l.A).Seed().String())
		b := l.Director(l.B, daemon, l.Config(l.B).Seed().String())
		a.Start()
		b.Start()
		a.WaitVIP(20*time.Second, true)
		a.WaitInTable(20*time.Second, l.Reals[0], true)
		if err = shortcuts(l, a, b); err == nil {
			status, err = run(command)
		}
	})
	if !ok {
		return 0, errors.New("the lab could not be built")
	}
	return status, err
}

// shortcuts are small programs for people.
func shortcuts(l *lab.Lab, directors ...*lab.Director) error {
	dir := filepath.Join(l.Dir, "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	scripts := map[string]string{"on": `exec ip netns exec "$@"`}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	scripts["ask"] = fmt.Sprintf(`%s="client %s ${1:-1s} %v" exec ip netns exec %s %s`, lab.RoleEnv, lab.Service, lab.RequestTimeout, l.Client.NS, self)
	for _, d := range directors {
		scripts["poise-"+d.Name] = fmt.Sprintf(`exec ip netns exec %s %s --runtime-dir %s "$@"`, d.NS, lab.Binary("poise"), filepath.Join(d.Dir, "run"))
		scripts["log-"+d.Name] = fmt.Sprintf(`exec cat %s`, filepath.Join(d.Dir, "log"))
	}
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			return err
		}
	}
	return os.Setenv("PATH", dir+":"+filepath.Dir(lab.Binary("poise"))+":"+os.Getenv("PATH"))
}

// run runs the command, or a shell.
func run(command []string) (int, error) {
	switch len(command) {
	case 0:
		fmt.Printf("hosts: client a b r1 r2 switch. Try: on a ipvsadm -Ln; poise-a status; log-a; ask 1s; exit\n")
		command = []string{"bash", "--norc", "-i"}
		if err := os.Setenv("PS1", "lab# "); err != nil {
			return 0, err
		}
	case 1:
		command = []string{"sh", "-c", command[0]}
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("run %s: %w", strings.Join(command, " "), err)
	}
	return 0, nil
}

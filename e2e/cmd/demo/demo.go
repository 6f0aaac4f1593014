package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

const picture = `
             client 192.168.1.10       asks on a new connection every 10 ms
                |
    192.168.1.100:80                   the virtual server: rr, DR
       |                |
    director a       director b        192.168.1.2, .3: poised, VRRP priority 100, 80
       |                |
    real server r1   real server r2    192.168.1.106, .107: each answers with its name
`

// demo is the show. What must not happen ends it with an error.
func demo(t lab.TB) {
	fmt.Print(picture)
	l := lab.Plain(t, lab.DR, 2)
	l.ProveKernel()
	servers := l.ServeAll()
	a := l.Director(l.A, lab.Poised, example(t, "seed.conf"))
	b := l.Director(l.B, lab.Poised, example(t, "seed-b.conf"))

	line := newTimeline(t)
	line.chapter("both directors start, with configs/seed.conf and configs/seed-b.conf")
	a.Start()
	b.Start()
	line.follow(a)
	line.follow(b)
	a.WaitVIP(20*time.Second, true)
	a.WaitInTable(20*time.Second, l.Reals[0], true)
	b.WaitInTable(20*time.Second, l.Reals[0], true)
	line.client(l.StartLoad(10 * time.Millisecond))
	line.watch(3 * time.Second)

	line.chapter("real server r1 stops: its port is closed (checked every 6 s, 3 retries, 3 s apart)")
	stopped := time.Now()
	servers[0].Stop()
	a.WaitInTable(40*time.Second, l.Reals[0], false)
	line.say("lab", fmt.Sprintf("r1 is out of a's table %v after it stopped", since(stopped)))
	b.WaitInTable(40*time.Second, l.Reals[0], false)
	line.watch(2 * time.Second)

	line.chapter("real server r1 comes back")
	started := time.Now()
	l.Serve(l.Reals[0])
	a.WaitInTable(40*time.Second, l.Reals[0], true)
	line.say("lab", fmt.Sprintf("r1 is in a's table %v after it started", since(started)))
	line.watch(2 * time.Second)

	line.chapter("the master is lost: all processes of director a are killed and its links cut")
	lost := time.Now()
	a.Kill9()
	l.Cut(l.A)
	b.WaitVIP(10*time.Second, true)
	line.say("lab", fmt.Sprintf("b holds %s %v after a was lost", lab.VIP, since(lost)))
	line.watch(3 * time.Second)

	line.chapter("director a comes back: poised starts with the address still on it, then its links")
	a.Start()
	line.follow(a)
	a.WaitVIP(10*time.Second, false)
	line.say("lab", fmt.Sprintf("%s is off a before a's links are back", lab.VIP))
	l.Mend(l.A)
	a.WaitVIP(20*time.Second, true)
	b.WaitVIP(5*time.Second, false)
	line.watch(3 * time.Second)

	line.summary()
	for _, d := range []*lab.Director{a, b} {
		show(d, "poise status", func() string { out, _ := d.Poise("status"); return out })
	}
	show(a, "ipvsadm -Ln", func() string { return a.Run("ipvsadm", "-Ln") })
}

func show(d *lab.Director, command string, run func() string) {
	fmt.Printf("\n--- on director %s: %s\n%s", d.Name, command, run())
}

func since(t time.Time) time.Duration { return time.Since(t).Round(10 * time.Millisecond) }

// example is a file of configs/.
func example(t lab.TB, name string) string {
	root, err := lab.Root()
	if err != nil {
		t.Fatalf("%v", err)
	}
	text, err := os.ReadFile(filepath.Join(root, "configs", name))
	if err != nil {
		t.Fatalf("read the example configuration: %v", err)
	}
	return strings.TrimSpace(string(text)) + "\n"
}

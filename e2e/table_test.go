package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
	"github.com/poise-lb/poise/e2e/uml"
)

// TestTableEqualsKeepalived runs the seed configuration by poised on two directors and
// by keepalived on two others, at the same time: the tables and the sync daemons are
// the same on master and backup, before and after a real server has failed and when it
// is back.
func TestTableEqualsKeepalived(t *testing.T) {
	ours, theirs := lab.New(t, lab.DR, 2), lab.New(t, lab.DR, 2)
	ours.ProveKernel()
	seed := seedConfig(t)
	ourServers, theirServers := ours.ServeAll(), theirs.ServeAll()
	poisedA := ours.Director(ours.A, lab.Poised, seed)
	poisedB := ours.Director(ours.B, lab.Poised, backup(t, seed))
	// keepalived 2.2 drops nb_get_retry: it is told in today's word.
	today := strings.ReplaceAll(seed, "nb_get_retry", "retry")
	keepalivedA := theirs.Director(theirs.A, lab.Keepalived, today)
	keepalivedB := theirs.Director(theirs.B, lab.Keepalived, backup(t, today))
	for _, d := range []*lab.Director{poisedA, poisedB, keepalivedA, keepalivedB} {
		d.Start()
	}
	// The first so many real servers are down.
	same := func(when string, down int) {
		t.Helper()
		want := theirs.Table(theirs.Reals[down:]...)
		keepalivedA.WaitIPVS(40*time.Second, want)
		keepalivedB.WaitIPVS(10*time.Second, want)
		for _, pair := range [][2]*lab.Director{{poisedA, keepalivedA}, {poisedB, keepalivedB}} {
			pair[0].WaitIPVS(10*time.Second, pair[1].IPVS())
			lab.Eventually(t, 10*time.Second, when+": the sync daemons are the same", func() (bool, string) {
				got, want := pair[0].Sync(), pair[1].Sync()
				return got == want && got != "", "poised " + got + "keepalived " + want
			})
			t.Logf("%s, on %s:\n%s%s", when, pair[0].Name, pair[0].IPVS(), pair[0].Sync())
		}
	}
	poisedA.WaitVIP(settle, true)
	keepalivedA.WaitVIP(settle, true)
	same("at the start", 0)
	// Both have seen the servers up: a failure now takes all its retries in both.
	time.Sleep(7 * time.Second)
	stopped := time.Now()
	ourServers[0].Stop()
	theirServers[0].Stop()
	same("a real server has failed", 1)
	t.Logf("the failure was in all four tables %v after it", time.Since(stopped).Round(time.Millisecond))
	ours.Serve(ours.Reals[0])
	theirs.Serve(theirs.Reals[0])
	same("it is back", 0)
}

// seedConfig is the configuration poise was made for, as it is; without it, the
// example of the same shape.
func seedConfig(t *testing.T) string {
	t.Helper()
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "..", "shared", "seed", "keepalived.conf"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Log("there is no shared seed beside the repository: the example is taken")
		text, err = os.ReadFile(filepath.Join(root, "configs", "seed.conf"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// backup makes director B's configuration of A's.
func backup(t *testing.T, config string) string {
	t.Helper()
	for _, x := range [][2]string{{"router_id LVS_MASTER", "router_id LVS_SLAVE"}, {"state MASTER", "state BACKUP"}, {"priority 100", "priority 80"}} {
		changed := strings.Replace(config, x[0], x[1], 1)
		if changed == config {
			t.Fatalf("the seed has no %q", x[0])
		}
		config = changed
	}
	return config
}

// TestTableOfEveryKind has a virtual server of every scheduler and every option that
// the table shows, run by both daemons.
func TestTableOfEveryKind(t *testing.T) {
	l := lab.New(t, lab.DR, 0)
	l.ProveKernel()
	config := everyKind()
	poised := l.Director(l.A, lab.Poised, config)
	keepalived := l.Director(l.B, lab.Keepalived, config)
	poised.Start()
	keepalived.Start()
	want := strings.Count(config, "virtual_server ") + strings.Count(config, "real_server ")
	lab.Eventually(t, settle, "keepalived has made its table", func() (bool, string) {
		got := keepalived.IPVS()
		return strings.Count(got, "\n") == want, got
	})
	poised.WaitIPVS(settle, keepalived.IPVS())
}

// TestMissingScheduler: a kernel that lacks a scheduler is an error that says which and
// what to load, and heals by itself when that has been done.
func TestMissingScheduler(t *testing.T) {
	l := lab.New(t, lab.DR, 2)
	l.ProveKernel()
	l.ServeAll()
	l.A.Run("rmmod", "ip_vs_ovf")
	loaded := false
	load := func() {
		if !loaded {
			l.A.Run("modprobe", "-d", uml.ModuleRoot, "ip_vs_ovf")
			loaded = true
		}
	}
	t.Cleanup(load)
	config := l.Config(l.A)
	config.NoFailover, config.Scheduler = true, "ovf"
	d := l.Director(l.A, lab.Poised, config.String())
	settings("reconcile_interval: 1s")(d)
	d.Start()
	lab.Eventually(t, settle, "status says what to load", func() (bool, string) {
		status, err := d.TryStatus()
		text := strings.Join(status.GetForwarder().GetErrors(), "\n")
		return err == nil && strings.Contains(text, "modprobe ip_vs_ovf"), text
	})
	load()
	d.WaitIPVS(10*time.Second, strings.Replace(l.Table(l.Reals...), "-s rr", "-s ovf", 1))
	lab.Eventually(t, 5*time.Second, "no error is left", func() (bool, string) {
		errs := d.Status().GetForwarder().GetErrors()
		return len(errs) == 0, strings.Join(errs, "\n")
	})
}

// everyKind is a configuration without checks: nothing of it needs an answer.
func everyKind() string {
	var b strings.Builder
	schedulers := []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "mh", "fo", "ovf"}
	server := func(key, options string, reals ...string) {
		fmt.Fprintf(&b, "virtual_server %s {\n\tdelay_loop 60\n%s", key, options)
		for _, r := range reals {
			fmt.Fprintf(&b, "\treal_server %s\n", r)
		}
		b.WriteString("}\n")
	}
	for i, s := range schedulers {
		server(fmt.Sprintf("192.0.2.1 %d", 8000+i), "\tlb_algo "+s+"\n\tlb_kind DR\n\tprotocol TCP\n",
			fmt.Sprintf("198.51.100.1 %d {\n\t\tweight 3\n\t}", 8000+i), fmt.Sprintf("198.51.100.2 %d {\n\t\tweight 0\n\t}", 8000+i))
	}
	tcp := "\tlb_algo wrr\n\tprotocol TCP\n"
	server("192.0.2.2 80", tcp+"\tlb_kind NAT\n", "198.51.100.1 8080 {\n\t\tweight 7\n\t}")
	server("192.0.2.3 80", tcp+"\tlb_kind TUN\n", "198.51.100.1 80 {\n\t\tweight 1\n\t}")
	server("192.0.2.4 80", tcp+"\tlb_kind DR\n\tpersistence_timeout 300\n", "198.51.100.1 80 {\n\t\tweight 1\n\t}")
	server("192.0.2.5 80", tcp+"\tlb_kind DR\n\tpersistence_timeout 60\n\tpersistence_granularity 255.255.255.0\n", "198.51.100.1 80 {\n\t\tweight 1\n\t}")
	server("192.0.2.6 53", "\tlb_algo rr\n\tlb_kind DR\n\tprotocol UDP\n", "198.51.100.1 53 {\n\t\tweight 1\n\t}")
	server("192.0.2.7 53", "\tlb_algo rr\n\tlb_kind DR\n\tprotocol UDP\n\tops\n", "198.51.100.1 53 {\n\t\tweight 1\n\t}")
	server("fwmark 3", "\tlb_algo rr\n\tlb_kind DR\n\tpersistence_timeout 90\n", "198.51.100.1 0 {\n\t\tweight 1\n\t}")
	server("2001:db8::1 80", tcp+"\tlb_kind DR\n", "2001:db8::11 80 {\n\t\tweight 5\n\t}")
	return b.String()
}

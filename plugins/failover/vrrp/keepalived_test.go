package vrrp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// keepalived runs Debian's keepalived at a host, with the seed's instance.
type keepalived struct {
	cmd    *exec.Cmd
	exited chan struct{}
	*process
}

const keepalivedConf = `global_defs {
    router_id TEST
}
vrrp_instance http {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority %d
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        192.0.2.100
    }
}
`

func (l *lab) keepalived(host, priority int) *keepalived {
	l.t.Helper()
	path, err := exec.LookPath("keepalived")
	if err != nil {
		missing(l.t, "keepalived is not installed (apt install keepalived)")
	}
	dir := l.dir()
	conf := filepath.Join(dir, "keepalived.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, keepalivedConf, priority), 0o600); err != nil {
		l.t.Fatal(err)
	}
	k := &keepalived{exited: make(chan struct{}), process: &process{}}
	k.cmd = exec.Command("ip", "netns", "exec", l.ns(host), path, "-n", "-l", "-D", "-P", "-G",
		"-f", conf, "-p", filepath.Join(dir, "k.pid"), "-r", filepath.Join(dir, "v.pid"), "-c", filepath.Join(dir, "c.pid"), "-b", filepath.Join(dir, "b.pid"))
	out := &lockedWriter{mu: &k.mu, w: &k.log}
	k.cmd.Stdout, k.cmd.Stderr = out, out
	if err := k.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() {
		k.cmd.Wait()
		close(k.exited)
	}()
	l.t.Cleanup(func() {
		k.stop()
		if l.t.Failed() {
			l.t.Logf("log of keepalived at host %d:\n%s", host, k.text())
		}
	})
	return k
}

// stop ends it as systemd would; its parent ends its child.
func (k *keepalived) stop() {
	k.cmd.Process.Signal(syscall.SIGTERM)
	<-k.exited
}

func (k *keepalived) text() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.log.String()
}

// complaint is what keepalived logs about packets it does not like.
var complaint = regexp.MustCompile(`(?i)invalid|incorrect|mismatch|checksum|bogus|authentication|wrong|drop|discard|expected`)

func (k *keepalived) checkLog(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(k.text()) {
		// A worse master's adverts are discarded until it yields, as they should be.
		if complaint.MatchString(line) && !strings.Contains(line, "lower priority") {
			wrong(t, "keepalived complains: %s", line)
		}
	}
}

// checkWire says whether every advert was what the seed's configuration sends, and was
// taken by our director.
func (l *lab) checkWire(t *testing.T, p *process) {
	t.Helper()
	for _, f := range l.seen("advert") {
		if f.Wrong != "" {
			wrong(t, "an advert of %s: %s", f.Source, f.Wrong)
		}
	}
	if errors := p.status("http").GetPacketErrors(); len(errors) > 0 {
		wrong(t, "packets refused: %v", errors)
	}
}

// TestWithKeepalivedAsBackup: ours is the better director.
func TestWithKeepalivedAsBackup(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2, 1)
	k := l.keepalived(2, 100)
	eventually(t, 10*time.Second, "keepalived is master alone", func() bool { return l.has(2, vip) })
	a := l.director(1, l.dir(), http(150))
	a.await(master, 2*time.Second+down(150)+jitter)
	eventually(t, time.Second, "keepalived yields", func() bool { return !l.has(2, vip) })

	start := time.Now()
	a.do(command{Do: "withdraw"})
	eventually(t, 2*time.Second, "keepalived takes over", func() bool { return l.has(2, vip) })
	if took := time.Since(start); took > time.Second {
		wrong(t, "keepalived took over %s after a clean stop", took)
	}
	eventually(t, time.Second, "ours has ended", a.ended)
	if l.has(1, vip) {
		wrong(t, "two directors have the address")
	}

	again := l.director(1, l.dir(), http(150))
	again.await(master, 2*time.Second+down(150)+jitter)
	eventually(t, time.Second, "keepalived yields", func() bool { return !l.has(2, vip) })
	last := time.Now()
	again.kill()
	eventually(t, down(100)+jitter, "keepalived takes over from a killed director", func() bool { return l.has(2, vip) })
	t.Logf("keepalived took over %s after the kill", time.Since(last))
	l.checkWire(t, again)
	k.checkLog(t)
}

// TestWithKeepalivedAsMaster: keepalived is the better director.
func TestWithKeepalivedAsMaster(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2, 1)
	b := l.director(2, l.dir(), http(100))
	b.await(master, 2*time.Second+down(100)+jitter)
	k := l.keepalived(1, 150)
	eventually(t, 10*time.Second, "keepalived takes over", func() bool { return l.has(1, vip) })
	b.await(backup, time.Second)
	eventually(t, time.Second, "ours yields", func() bool { return !l.has(2, vip) })
	eventually(t, 2*time.Second, "it is told who is master", func() bool {
		s := b.status("http")
		return s.GetMasterAddress() == "192.0.2.1" && s.GetMasterPriority() == 150
	})

	since := time.Now()
	k.stop()
	b.await(master, 2*time.Second)
	first, last := l.firstAdvert(2, since), l.adverts(1, since)
	if len(last) == 0 || last[len(last)-1].Priority != 0 {
		fatal(t, "keepalived did not say goodbye")
	}
	if took := first.Sub(last[len(last)-1].At); took < 600*time.Millisecond || took > 610*time.Millisecond+jitter {
		wrong(t, "ours took over %s after priority 0, its skew is 609 ms", took)
	}
	k.checkLog(t)

	k = l.keepalived(1, 150)
	eventually(t, 10*time.Second, "keepalived takes over again", func() bool { return l.has(1, vip) })
	b.await(backup, time.Second)
	l.ip(0, "link", "set", port(1, 0), "down")
	b.await(master, down(100)+jitter)
	l.checkWire(t, b)
	k.checkLog(t)
}

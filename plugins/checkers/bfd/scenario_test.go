package bfd

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	"github.com/poise-lb/poise/sdk"
)

// silence and word are what a lost neighbor leaves.
const (
	silence = "BFD session down: control detection time expired"
	word    = "BFD session down: neighbor signaled session down"
)

// ordinary timing: slow enough that a busy machine does not lose the session.
const ordinary = `{"min_rx":"100ms","min_tx":"100ms","multiplier":10}`

// TestPoise: both ends are ours; over IPv4, IPv6, link-local, several hops, and each with
// the other passive.
func TestPoise(t *testing.T) {
	tests := []struct {
		name       string
		a, b       *checkv1.Target
		parameters [2]string
	}{
		{"IPv4", at("192.0.2.2"), at("192.0.2.1"), [2]string{ordinary, ordinary}},
		{"passive", at("192.0.2.2"), at("192.0.2.1"), [2]string{ordinary, ordinary[:len(ordinary)-1] + `,"passive":true}`}},
		{"IPv6", at("2001:db8::2"), at("2001:db8::1"), [2]string{ordinary, ordinary}},
		{"link-local", &checkv1.Target{Address: "fe80::2", Interface: "eth0"}, &checkv1.Target{Address: "fe80::1", Interface: "eth0", SourceAddress: "fe80::2"}, [2]string{ordinary, ordinary}},
		{"multihop", &checkv1.Target{Address: "192.0.2.2", SourceAddress: "192.0.2.1"}, at("192.0.2.1"),
			[2]string{ordinary[:len(ordinary)-1] + `,"multihop":true,"ttl":64}`, ordinary[:len(ordinary)-1] + `,"multihop":true}`}},
	}
	l := newLab(t, 2)
	a, b := l.plugin(1), l.plugin(2)
	for _, test := range tests {
		id, other := test.a.GetAddress(), test.b.GetAddress()
		a.mu.Lock()
		a.verdicts = nil
		a.mu.Unlock()
		b.mu.Lock()
		b.verdicts = nil
		b.mu.Unlock()
		a.checks(check(test.a, test.parameters[0]))
		b.checks(check(test.b, test.parameters[1]))
		a.becomes(id, up)
		b.becomes(other, up)
		l.cut(2)
		because(t, a.becomes(id, down), silence, word)
		because(t, b.becomes(other, down), silence, word)
		l.plug(2)
		a.becomes(id, up)
		b.becomes(other, up)
		b.checks()
		because(t, a.becomes(id, down), word+" (administratively down: administratively down)")
		for _, v := range a.told(id) {
			if v.GetState() == unknown {
				t.Errorf("%s: told %v", test.name, v)
			}
		}
		a.checks()
		if t.Failed() {
			t.Fatal(test.name)
		}
	}
}

// TestRestart: a process that takes the place of another one does not tell of its own
// beginning.
func TestRestart(t *testing.T) {
	l := newLab(t, 2)
	b := l.plugin(2)
	b.checks(check(at("192.0.2.1"), ordinary))
	first := l.plugin(1)
	first.checks(check(at("192.0.2.2"), ordinary))
	first.becomes("192.0.2.2", up)
	_ = unix.Kill(first.Pid, unix.SIGKILL)
	b.becomes("192.0.2.1", down)
	second := l.plugin(1)
	c := check(at("192.0.2.2"), ordinary)
	c.Known = up
	second.checks(c)
	second.becomes("192.0.2.2", up)
	if told := second.told("192.0.2.2"); len(told) != 1 {
		t.Errorf("told %v, want up and nothing before", told)
	}
	b.becomes("192.0.2.1", up)
}

// TestStopped: a process that did not run for a time does not take its own silence for the
// neighbor's.
func TestStopped(t *testing.T) {
	l := newLab(t, 2)
	a, b := l.plugin(1), l.plugin(2)
	// The neighbor is patient, we are not.
	b.checks(check(at("192.0.2.1"), `{"min_rx":"1s","min_tx":"50ms","multiplier":4}`))
	a.checks(check(at("192.0.2.2"), `{"min_rx":"50ms","min_tx":"1s","multiplier":30}`))
	a.becomes("192.0.2.2", up)
	b.becomes("192.0.2.1", up)
	time.Sleep(2 * time.Second)
	for range 3 {
		if err := unix.Kill(a.Pid, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := unix.Kill(a.Pid, unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		a.stays("192.0.2.2", 300*time.Millisecond)
	}
	if told := a.told("192.0.2.2"); len(told) != 1 {
		t.Errorf("told %v, want up once", told)
	}
}

// TestFar: packets from further away than max_hops are not taken.
func TestFar(t *testing.T) {
	l := newLab(t, 2)
	a, b := l.plugin(1), l.plugin(2)
	far := ordinary[:len(ordinary)-1] + `,"ttl":253}`
	b.checks(check(at("192.0.2.1"), far))
	fast := ordinary[:len(ordinary)-1] + `,"multiplier":1}`
	fast = strings.Replace(fast, `"multiplier":10,`, "", 1)
	a.checks(check(at("192.0.2.2"), fast))
	because(t, a.becomes("192.0.2.2", down), "BFD session down: the neighbor has not been heard; packets come with TTL 253, less than 255: more than max_hops away")
	a.checks()
	a.checks(check(at("192.0.2.2"), ordinary[:len(ordinary)-1]+`,"max_hops":2}`))
	a.becomes("192.0.2.2", up)
}

// TestPort: when the port is taken the check is unknown, until it is free.
func TestPort(t *testing.T) {
	l := newLab(t, 2)
	a, b := l.plugin(1), l.plugin(2)
	in := l.plugin(1)
	in.checks(check(at("192.0.2.77"), ordinary))
	time.Sleep(200 * time.Millisecond)
	b.checks(check(at("192.0.2.1"), ordinary))
	a.checks(check(at("192.0.2.2"), ordinary))
	because(t, a.becomes("192.0.2.2", unknown), "listen on UDP port 3784: address already in use: another BFD daemon runs here")
	in.checks()
	a.becomes("192.0.2.2", up)
}

// TestSource: an address that is not there is unknown, until it is.
func TestSource(t *testing.T) {
	l := newLab(t, 2)
	a, b := l.plugin(1), l.plugin(2)
	b.checks(check(at("192.0.2.9"), ordinary))
	a.checks(check(&checkv1.Target{Address: "192.0.2.2", SourceAddress: "192.0.2.9"}, ordinary))
	because(t, a.becomes("192.0.2.2", unknown), "cannot assign requested address")
	l.ip(1, "addr", "add", "192.0.2.9/24", "dev", "eth0")
	a.becomes("192.0.2.2", up)
}

// TestShared: checks of one neighbor share a session; of other parameters there is none
// beside it; `poise probe` joins it.
func TestShared(t *testing.T) {
	l := newLab(t, 2)
	a, b := l.plugin(1), l.plugin(2)
	b.checks(check(at("192.0.2.1"), ordinary))
	one, two, three := check(at("192.0.2.2"), ordinary), check(at("192.0.2.2"), ordinary), check(at("192.0.2.2"), "{}")
	one.Id, two.Id, three.Id = "one", "two", "three"
	a.checks(one)
	a.becomes("one", up)
	a.checks(one, two, three)
	a.becomes("two", up)
	because(t, a.becomes("three", unknown), "there is a BFD session with this neighbor already that has other parameters")
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	answer, err := a.Check.Probe(ctx, &checkv1.ProbeRequest{Type: Type, Target: at("192.0.2.2"), Timeout: durationpb.New(10 * time.Second)})
	if err != nil || answer.GetState() != up {
		t.Errorf("got %v %v, want up", answer, err)
	}
	a.checks(three)
	a.becomes("three", up)
	answer, err = a.Check.Probe(ctx, &checkv1.ProbeRequest{Type: Type, Target: at("192.0.2.3"), Timeout: durationpb.New(time.Second)})
	if err != nil || answer.GetState() != down || answer.GetReason() != "BFD session down: the neighbor has not been heard" {
		t.Errorf("got %v %v, want down", answer, err)
	}
}

// testOutsider: with somebody else's BFD daemon on host 2: up, the daemon killed, up again, the link cut, up again, the daemon ended.
func testOutsider(t *testing.T, start func(l *lab) *exec.Cmd) {
	const id = "192.0.2.2"
	l := newLab(t, 2)
	a := l.plugin(1)
	a.checks(check(&checkv1.Target{Address: id, SourceAddress: "192.0.2.1"}, `{"min_rx":"100ms","min_tx":"100ms","multiplier":10}`))
	peer := start(l)
	a.becomes(id, up)
	a.stays(id, 3*time.Second)
	_ = peer.Process.Kill()
	_ = peer.Wait()
	killed := time.Now()
	v := a.becomes(id, down)
	because(t, v, silence, word)
	if took := v.GetDecidedAt().AsTime().Sub(killed); took > 5*time.Second {
		t.Errorf("seen after %s, want the detection time", took)
	}
	peer = start(l)
	a.becomes(id, up)
	l.cut(2)
	because(t, a.becomes(id, down), silence)
	l.plug(2)
	a.becomes(id, up)
	end(peer)
	because(t, a.becomes(id, down), silence, word)
	peer = start(l)
	a.becomes(id, up)
	a.checks()
}

func TestKeepalived(t *testing.T) {
	path, err := exec.LookPath("keepalived")
	if err != nil {
		t.Skip("keepalived is not installed: apt-get install keepalived")
	}
	testOutsider(t, func(l *lab) *exec.Cmd {
		dir := l.TempDir()
		file := filepath.Join(dir, "k.conf")
		if err := os.WriteFile(file, []byte(`bfd_instance a {
    neighbor_ip 192.0.2.1
    source_ip 192.0.2.2
    min_rx 100
    min_tx 100
    multiplier 10
}
vrrp_instance V {
    interface eth0
    virtual_router_id 7
    priority 100
    track_bfd {
        a
    }
    virtual_ipaddress {
        192.0.2.200
    }
}
`), 0o600); err != nil {
			l.Fatal(err)
		}
		return l.start(2, path, "-n", "-l", "-D", "-P", "-G", "-f", file, "-p", dir+"/p", "-r", dir+"/r", "-b", dir+"/b")
	})
}

func TestFRR(t *testing.T) {
	const bin = "/usr/lib/frr/"
	if _, err := os.Stat(bin + "bfdd"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("FRR is not installed: apt-get install frr")
		}
		t.Skip("FRR is not installed: apt-get install frr")
	}
	// They drop their privileges and need to write there.
	dir, err := os.MkdirTemp("", "poise-frr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	daemon := func(l *lab, name, config string, more ...string) *exec.Cmd {
		file := filepath.Join(dir, name+".conf")
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			l.Fatal(err)
		}
		return l.start(2, bin+name, append(more, "-f", file, "-i", filepath.Join(dir, name+".pid"), "-z", filepath.Join(dir, "zserv"),
			"--vty_socket", dir, "-P", "0", "--log", "stdout")...)
	}
	var zebra *exec.Cmd
	testOutsider(t, func(l *lab) *exec.Cmd {
		if zebra == nil {
			zebra = daemon(l, "zebra", "")
			for deadline := time.Now().Add(soon); ; time.Sleep(20 * time.Millisecond) {
				if _, err := os.Stat(filepath.Join(dir, "zserv")); err == nil {
					break
				}
				if time.Now().After(deadline) {
					l.Fatal("zebra does not start")
				}
			}
		}
		return daemon(l, "bfdd", `bfd
 peer 192.0.2.1 local-address 192.0.2.2 interface eth0
  detect-multiplier 10
  receive-interval 100
  transmit-interval 100
  no shutdown
 exit
exit
`, "--bfdctl", filepath.Join(dir, "bfdd.sock"))
	})
}

// TestPeer: what a target becomes.
func TestPeer(t *testing.T) {
	parsed, err := New().Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parsed.(*prober).peer(sdk.Target{Addr: netip.MustParseAddrPort("[fe80::1%eth0]:0")})
	if err != nil || got.Interface != "eth0" || got.Neighbor.Zone() != "" || got.MaxHops != 0 || got.TTL != 255 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := parsed.(*prober).peer(sdk.Target{}); err == nil {
		t.Error("no address: no error")
	}
}

func target(address string) sdk.Target {
	return sdk.Target{Addr: netip.AddrPortFrom(netip.MustParseAddr(address), 0)}
}

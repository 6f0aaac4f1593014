package f5

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/bigip"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// TestKills kills the plugin as often as there is time for; TestSoakKills 500 times.
func TestKills(t *testing.T) {
	t.Parallel()
	kills(t, 500, 35*time.Second)
}

func TestSoakKills(t *testing.T) {
	if os.Getenv("POISE_SOAK") == "" {
		t.Skip("takes minutes: POISE_SOAK=1")
	}
	kills(t, 500, time.Hour)
}

const (
	// leastKills have to fit, or there is nothing to show.
	leastKills = 15
	// mostTokens are what the predecessors of a process may leave: its own, and one that was
	// got and not yet written down.
	mostTokens = 10
)

// kills kills the plugin at random moments while what it should do changes all the time. In
// the end the BIG-IP has what it has when nobody kills anything.
func kills(t *testing.T, most int, within time.Duration) {
	s := newScene(t)
	for i := range 2 {
		s.reals = append(s.reals, newReal(t, fmt.Sprintf("10.0.0.%d", i+3)))
	}
	variants := []string{
		s.hybrid(),
		s.hybrid() + s.service(onDirector+":443", `"null", "f5:lab"`, "address: "+onBigIP) + "    persistence: 6m\n",
		s.hybrid() + s.service(onDirector+":53", `"null", "f5:lab"`, "address: 192.0.2.201") + "    protocol: udp\n    weight: 3\n",
		s.head("") + "virtual_servers:\n" + s.service(onDirector+":53", `"null", "f5:lab"`, "address: 192.0.2.201") + "    protocol: udp\n",
	}
	final := variants[1]
	want := undisturbed(t, s, final)

	s.both()
	// A device takes its time, so that some of the moments are within a transaction.
	s.unit.Fault(bigip.Fault{Kind: bigip.Slow, Path: "/mgmt/tm/transaction", Delay: 20 * time.Millisecond})
	stop := churn(t, s, variants)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	killed, opened, left, tokens, pid := 0, 0, 0, 0, uint32(0)
	for end := time.Now().Add(within); killed < most && time.Now().Before(end); {
		p := s.plugin()
		if p.GetPid() == 0 || p.GetPid() == pid {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		pid = p.GetPid()
		time.Sleep(time.Duration(random.Int64N(int64(700 * time.Millisecond))))
		if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
			t.Fatalf("kill the plugin: %v", err)
		}
		killed++
		// What nobody carries out or abandons the device forgets after a time.
		n := s.unit.Transactions()
		if n > left {
			opened++
		}
		left = n
		tokens = max(tokens, s.unit.Tokens("poise"))
	}
	stop()
	s.unit.ClearFaults()
	t.Logf("%d kills, %d of them with a transaction open; %d tokens at most", killed, opened, tokens)
	if killed < min(most, leastKills) {
		t.Errorf("%d kills only", killed)
	}
	if tokens > mostTokens {
		t.Errorf("the device held %d tokens: what a killed process had is to be deleted by the next", tokens)
	}
	for _, r := range s.reals {
		r.up()
	}
	s.reload(final)
	for _, r := range s.reals {
		if err := s.weight(r, controlv1.OverrideMode_OVERRIDE_MODE_WEIGHT_DEFAULT, 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if got := text(t, made(t, s.unit)); got != want {
			t.Logf("on the BIG-IP is\n%s\nwant\n%s", got, want)
		}
	})
	waitFor(t, "the BIG-IP has what is configured", func() bool { return s.settled() && text(t, made(t, s.unit)) == want })
	if out, code := s.poise("diff"); code != 0 {
		t.Errorf("poise diff: exit status %d\n%s", code, out)
	}
}

// undisturbed is what another BIG-IP has with the same configuration and nobody kills
// anything.
func undisturbed(t *testing.T, s *scene, yaml string) string {
	t.Helper()
	calm := bigip.New(bigip.Options{Partitions: []string{partition}, Users: map[string]string{"admin": "admin", "poise": "of the test"}})
	calm.AddForeign(partition, "Common")
	if err := calm.Start(""); err != nil {
		t.Fatal(err)
	}
	defer calm.Close()
	p := newPoised(t, string(bytes.ReplaceAll([]byte(yaml), []byte(s.unit.Addr()), []byte(calm.Addr()))))
	p.write("password", "of the test\n")
	p.write("ca.pem", string(calm.CA()))
	p.start()
	waitFor(t, "the BIG-IP that is left in peace has what is configured", p.settled)
	p.stop()
	return text(t, made(t, calm))
}

// churn changes what is wanted, all the time, until stop.
func churn(t *testing.T, s *scene, variants []string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var w sync.WaitGroup
	w.Add(2)
	go func() {
		defer w.Done()
		random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
		for ctx.Err() == nil {
			r := s.reals[random.IntN(len(s.reals))]
			switch random.IntN(3) {
			case 0:
				r.up()
			case 1:
				r.down()
			default:
				_ = s.weight(r, controlv1.OverrideMode_OVERRIDE_MODE_WEIGHT, uint32(1+random.IntN(100)))
			}
			time.Sleep(time.Duration(random.Int64N(int64(100 * time.Millisecond))))
		}
	}()
	go func() {
		defer w.Done()
		for i := 0; ctx.Err() == nil; i++ {
			s.configure(variants[i%len(variants)])
			// A reload may have to wait for a plugin that was killed, or be refused for it.
			_, _ = s.Reload(ctx, &controlv1.ReloadRequest{})
			time.Sleep(150 * time.Millisecond)
		}
	}()
	return func() { cancel(); w.Wait() }
}

// weight lays a wish over a real server, if its virtual server is there just now.
func (s *scene) weight(r *real, mode controlv1.OverrideMode, weight uint32) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := s.SetOverride(ctx, &controlv1.SetOverrideRequest{VirtualServer: serviceName, RealServer: r.address + ":80", Mode: mode, Weight: weight})
	return err
}

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/plugins/checkers/bfd"
	"github.com/poise-lb/poise/plugins/checkers/ping"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

const (
	// leakChecks is how many checks of each outcome run at once.
	leakChecks = 20
	// slowTimeout is the deadline of probes that nobody answers.
	slowTimeout = 25 * time.Millisecond
)

// leakCase is a type of check with targets that are well, targets that fail at once, and
// targets that leave the probe waiting until its deadline.
type leakCase struct {
	checker           sdk.Checker
	good, bad, silent []leakTarget
	// interval between probes of a check; 0: as short as it gets.
	interval time.Duration
	// drive makes news for checks that are watched; nil for those that are probed.
	drive func(i int)
	// brief: the checks come and go, because what they do lasts as long as they do.
	brief bool
}

type leakTarget struct {
	address    string
	port       int
	parameters string
}

// TestSoakLeaks: 100,000 probes of each type, half of them failing or timing out,
// leave no goroutine, descriptor, thread or process behind.
func TestSoakLeaks(t *testing.T) {
	if os.Getenv("POISE_SOAK") == "" {
		t.Skip("set POISE_SOAK=1, or make soak: 100,000 probes of each type take minutes; TestLeaks runs fewer")
	}
	leaks(t, 100_000)
}

// TestLeaks is TestSoakLeaks with fewer probes.
func TestLeaks(t *testing.T) { leaks(t, 2_000) }

func leaks(t *testing.T, probes uint64) {
	for _, kind := range leakTypes() {
		t.Run(kind, func(t *testing.T) {
			if (kind == ping.Type || kind == bfd.Type) && os.Getenv(envNamespace) == "" {
				inNamespace(t)
				return
			}
			leak(t, kind, newLeakCase(t, kind), probes)
		})
	}
}

const (
	// envNamespace tells the test's executable that it runs in a network of its own, where
	// silentHost swallows what it is sent and there is no way to unreachableHost.
	envNamespace    = "POISE_LEAK_NAMESPACE"
	silentHost      = "192.0.2.2"
	unreachableHost = "198.51.100.1"
)

// inNamespace runs this test in a network of its own.
func inNamespace(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `set -e
		ip link set lo up
		ip link add d0 arp off type veth peer name d1
		ip address add 192.0.2.1/24 dev d0
		ip link set d0 up
		ip link set d1 up
		ip route add unreachable 198.51.100.0/24
		exec "$0" "$@"`, self, "-test.v", "-test.timeout=30m", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
	cmd.Env = append(os.Environ(), envNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a network of its own (takes root): %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "probes,") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// leftovers is what a process holds.
type leftovers struct{ goroutines, descriptors, threads, children int }

func (l leftovers) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d threads, %d child processes", l.goroutines, l.descriptors, l.threads, l.children)
}

func holds(t *testing.T) leftovers {
	t.Helper()
	return leftovers{
		goroutines: runtime.NumGoroutine(), descriptors: entries(t, "/proc/self/fd"), threads: entries(t, "/proc/self/task"),
		children: children(t),
	}
}

func entries(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// children counts the process's children, those too that have ended and were not waited
// for.
func children(t *testing.T) int {
	t.Helper()
	n := 0
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		list, err := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		if err == nil {
			n += len(strings.Fields(string(list)))
		}
	}
	return n
}

func leak(t *testing.T, kind string, c leakCase, probes uint64) {
	client := plugintest.Serve(t, sdk.Plugin{Name: "leaks", Version: "test", Checkers: map[string]sdk.Checker{kind: c.checker}})
	client.Configure(t, "")
	stream, err := client.Check.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan *checkv1.RunResponse, 100)
	go func() {
		defer close(answers)
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			answers <- r
		}
	}()
	generation := uint64(0)
	set := func(checks []*checkv1.Check) {
		t.Helper()
		generation++
		if err := stream.Send(&checkv1.RunRequest{Message: &checkv1.RunRequest_SetChecks{SetChecks: &checkv1.SetChecks{Generation: generation, Checks: checks}}}); err != nil {
			t.Fatal(err)
		}
	}
	// run probes until so many have ended, and says how many failed.
	run := func(n uint64) (ended, failed uint64) {
		t.Helper()
		set(c.checks(kind))
		if c.drive != nil {
			defer drive(c.drive)()
		}
		start, deadline := uint64(0), time.After(15*time.Minute)
		failedBefore, first := uint64(0), true
		for {
			select {
			case r, ok := <-answers:
				if !ok {
					t.Fatal("the stream broke")
				}
				if rejected := r.GetApplied().GetRejected(); len(rejected) > 0 {
					t.Fatalf("rejected: %v", rejected)
				}
				b := r.GetBeat()
				if b == nil {
					continue
				}
				if first {
					start, failedBefore, first = b.GetProbes(), b.GetFailures(), false
				}
				if b.GetProbes()-start >= n {
					set(nil)
					return b.GetProbes() - start, b.GetFailures() - failedBefore
				}
			case <-deadline:
				t.Fatalf("%d probes have not ended within 15 minutes", n)
			}
		}
	}
	if c.brief {
		run = func(n uint64) (uint64, uint64) {
			t.Helper()
			for range n / leakChecks {
				set(c.checks(kind))
				await(t, answers, generation)
				set(nil)
				await(t, answers, generation)
			}
			return n, n
		}
	}
	// What is made once, such as an event loop, is there after some probes.
	run(300)
	before := settled(t, answers, leftovers{})
	ended, failed := run(probes)
	if failed*20 < ended*9 {
		t.Errorf("%d of %d probes failed, want half: this shows nothing of failures", failed, ended)
	}
	after := settled(t, answers, before)
	t.Logf("%d probes, %d failed; before: %s; after: %s", ended, failed, before, after)
	if after.goroutines > before.goroutines || after.descriptors > before.descriptors || after.children > before.children {
		t.Errorf("left behind: %s before, %s after %d probes", before, after, ended)
	}
	// The runtime keeps threads that once waited in a system call; they must not be one for
	// each probe.
	if after.threads > before.threads+50 {
		t.Errorf("%d threads before, %d after", before.threads, after.threads)
	}
}

// await waits until a set is in force.
func await(t *testing.T, answers <-chan *checkv1.RunResponse, generation uint64) {
	t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		select {
		case r := <-answers:
			if rejected := r.GetApplied().GetRejected(); len(rejected) > 0 {
				t.Fatalf("rejected: %v", rejected)
			}
			if r.GetApplied().GetGeneration() >= generation {
				return
			}
		case <-deadline:
			t.Fatalf("set %d is not in force within 10 s", generation)
		}
	}
}

// drive makes news until it is told to stop.
func drive(news func(int)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			news(i)
			// One change at a time is seen; two at once are one.
			time.Sleep(200 * time.Microsecond)
		}
	}()
	return func() { cancel(); <-done }
}

// settled is what is held when nothing changes any more, or is no more than enough.
func settled(t *testing.T, answers <-chan *checkv1.RunResponse, enough leftovers) leftovers {
	t.Helper()
	last, same := leftovers{}, 0
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		for len(answers) > 0 {
			<-answers
		}
		now := holds(t)
		if now.goroutines <= enough.goroutines && now.descriptors <= enough.descriptors && now.children <= enough.children {
			return now
		}
		if now == last {
			same++
		} else {
			last, same = now, 0
		}
		if enough == (leftovers{}) && same >= 10 {
			return now
		}
		time.Sleep(50 * time.Millisecond)
	}
	return last
}

func (c leakCase) checks(kind string) []*checkv1.Check {
	var out []*checkv1.Check
	interval := c.interval
	if interval == 0 {
		interval = 2 * time.Millisecond
	}
	add := func(name string, targets []leakTarget, n int, timeout time.Duration) {
		for i := range n {
			if len(targets) == 0 {
				return
			}
			to := targets[i%len(targets)]
			out = append(out, &checkv1.Check{
				Id: fmt.Sprintf("%s %d", name, i), Type: kind, ParametersJson: []byte(to.parameters),
				Target: &checkv1.Target{Address: to.address, Port: uint32(to.port)},
				Schedule: &checkv1.Schedule{
					Interval: durationpb.New(interval), Timeout: durationpb.New(timeout), RetryDelay: durationpb.New(interval),
				},
			})
		}
	}
	add("good", c.good, leakChecks, 5*time.Second)
	add("bad", c.bad, leakChecks*3/2, 5*time.Second)
	add("silent", c.silent, leakChecks, slowTimeout)
	return out
}

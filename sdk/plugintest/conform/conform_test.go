package conform

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(envFlaw) != "" {
		serveNaive()
	}
	os.Exit(m.Run())
}

// greeter is a server that greets.
func greeter(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("220 hello\r\n"))
			c.Close()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func options(t *testing.T, flaw string) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Path: self, Env: []string{envFlaw + "=" + flaw},
		Types: map[string]Type{"naive": {Parameters: `{"prefix":"220"}`, Target: greeter(t)}},
	}
}

// TestNaive: a plugin that is right passes, without the sdk, with and without TLS.
func TestNaive(t *testing.T) {
	for _, plain := range []bool{false, true} {
		o := options(t, "none")
		o.PlainText, o.Attempts = plain, 2
		o.Full = os.Getenv("POISE_SOAK") != ""
		o.Report = func(r Result) { t.Logf("%s (%s)", r, r.Took) }
		if plain {
			o.Only = []string{"describe", "probe", "reconnect"}
		}
		results, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Outcome == Failed || r.Outcome == Skipped && !strings.Contains(r.Detail, "full run") {
				t.Errorf("%s", r)
			}
		}
	}
}

// TestFlaws: each requirement is seen to be broken by plugins that break it.
func TestFlaws(t *testing.T) {
	flaws := []struct{ flaw, requirement, detail string }{
		{"listens elsewhere", "describe", "not on a unix socket in"},
		{"has no version", "describe", "none may be missing"},
		{"schema is no JSON", "schema", "not a JSON object"},
		{"problems are errors", "validate", "problems are an answer"},
		{"problems are about item 0", "validate", "has no problem"},
		{"takes unknown options", "unknown-option", "is taken"},
		{"is configured once", "configure", "called again"},
		{"takes any settings", "configure", "want InvalidArgument"},
		{"stops without a mode", "stop-mode", "want InvalidArgument"},
		{"dead is up", "probe", "nobody listens on is up"},
		{"gives no reason", "probe", "gives no reason"},
		{"wrong code", "probe-refused", "want InvalidArgument"},
		{"takes unknown options", "probe-refused", "want InvalidArgument"},
		{"any answer is good", "nonsense", "want down"},
		{"panics", "nonsense", "the process has ended"},
		{"ignores the source", "local-error", "want unknown"},
		{"local errors are down", "local-error", "want unknown"},
		{"ignores its deadline", "deadline", "say that they took"},
		{"answers late", "deadline", "return after"},
		{"leaks descriptors", "leaks", "descriptors are open"},
		{"leaks processes", "leaks", "processes are left"},
		{"leaks memory", "leaks", "MiB of memory"},
		{"takes any generation", "transcript", "line"},
		{"starts all anew", "transcript", "line"},
		{"rejects all", "bad-check", "was rejected"},
		{"takes unknown options", "bad-check", "was not rejected"},
		{"takes 4 MiB", "many-checks", "larger than max"},
		{"takes any generation", "generation", "not probed any more"},
		{"starts all anew", "unchanged", "probes were made"},
		{"keeps what is removed", "removal", "not in the set"},
		{"does not tell again", "reconnect", "known verdicts"},
		{"probes all again", "reconnect", "probes were made"},
		{"keeps both streams", "takeover", "stream"},
		{"retries at first", "first-failure", "want the first alone"},
		{"one failure is down", "retries", "was decided after"},
		{"retries once more", "retries", "want 3"},
		{"forgets what is known", "retries", "was decided after"},
		{"success has to last", "one-success", "want 1"},
		{"retries what is down", "known-down", "is not retried"},
		{"tells every probe", "changes-only", "times more"},
		{"loses the weight", "weights", "the probe 7"},
		{"local errors are down", "unknown", "want unknown"},
		{"beats with the probes", "hanging-target", "beats do not go on"},
		{"ignores its deadline", "hanging-target", "was down after"},
		{"probes twice as often", "interval", "want at most"},
		{"starts all at once", "warmup", "first probes ended within"},
		{"probes side by side", "overlap", "want at most"},
		{"beats as it likes", "beats", "beats come every"},
		{"stands still", "beats", "stood still"},
		{"queues everything", "back-pressure", "only the newest"},
		{"waits for the reader", "back-pressure", "must not wait"},
		{"dies of SIGTERM", "signals", "ended on signal 15"},
		{"goes on after Stop", "stop", "after Stop had returned"},
		{"does not end", "stop", "does not end by itself"},
		{"outlives the daemon", "host-gone", "still runs"},
	}
	tested := map[string]bool{}
	// Most of the time is spent waiting, so that more run at once than there are processors.
	var running sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, f := range flaws {
		tested[f.requirement] = true
		o := options(t, f.flaw)
		o.Only, o.patience = []string{f.requirement}, 8*time.Second
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			var results []Result
			caught := func() bool {
				var err error
				if results, err = Run(context.Background(), o); err != nil {
					t.Errorf("%s: %s", f.flaw, err)
				}
				failed := Failures(results)
				return len(failed) == 1 && failed[0].Requirement == f.requirement && strings.Contains(failed[0].Detail, f.detail)
			}
			// A machine that is too busy to start a process shows other things first.
			if !caught() && !caught() {
				t.Errorf("a plugin that %s: got %v, want %s to fail with %q", f.flaw, results, f.requirement, f.detail)
			}
		})
	}
	running.Wait()
	for _, q := range requirements() {
		if !tested[q.name] && q.of != isForward && q.of != isFailover && !q.full {
			t.Errorf("no plugin breaks %s", q.name)
		}
	}
	t.Cleanup(func() {
		left, _ := filepath.Glob(filepath.Join(os.TempDir(), "poise-elsewhere-*"))
		for _, dir := range left {
			_ = os.RemoveAll(dir)
		}
	})
}

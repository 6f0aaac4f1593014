package lab

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Request is one request of a client on a connection of its own.
type Request struct {
	// Start of the connection, when it stood (zero: never) and the end of the request.
	Start, Connected, End time.Time
	// Server that answered; "" if none did.
	Server string
	// Err says why there is no answer; "" if there is.
	Err string
}

// String is a line for people.
func (r Request) String() string {
	if r.Err == "" {
		return fmt.Sprintf("%s answered by %s after %v", clock(r.Start), r.Server, r.End.Sub(r.Start).Round(time.Millisecond))
	}
	phase := "connecting"
	if !r.Connected.IsZero() {
		phase = "connected"
	}
	return fmt.Sprintf("%s failed %s after %v: %s", clock(r.Start), phase, r.End.Sub(r.Start).Round(time.Millisecond), r.Err)
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }

// Load is a client at work.
type Load struct {
	cmd   *exec.Cmd
	stdin io.Closer
	done  chan struct{}

	t TB

	mu       sync.Mutex
	requests []Request
	// settled: all requests that were started before it have ended.
	settled time.Time
}

// RequestTimeout is how long a client waits for its answer: long enough for a lost
// packet to be sent again once, after a second, and not twice, after three.
const RequestTimeout = 2900 * time.Millisecond

// StartLoad starts a client that makes a request of the virtual server each interval.
func (l *Lab) StartLoad(interval time.Duration) *Load {
	l.t.Helper()
	cmd := l.Client.role("client", Service, interval.String(), RequestTimeout.String())
	cmd.Stderr = os.Stderr
	ld := &Load{t: l.t, cmd: cmd, done: make(chan struct{})}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatalf("start a client: %v", err)
	}
	ld.stdin = stdin
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		l.t.Fatalf("start a client: %v", err)
	}
	go ld.read(out)
	l.t.Cleanup(func() { ld.Stop() })
	return ld
}

func (ld *Load) read(out io.Reader) {
	defer close(ld.done)
	s := bufio.NewScanner(out)
	for s.Scan() {
		ld.mu.Lock()
		if r, ok := parseRequest(s.Text()); ok {
			ld.requests = append(ld.requests, r)
		} else if text, ok := strings.CutPrefix(s.Text(), doneWord+" "); ok {
			if ns, err := strconv.ParseInt(text, 10, 64); err == nil {
				ld.settled = time.Unix(0, ns)
			}
		}
		ld.mu.Unlock()
	}
}

// parseRequest reads a line of the client role.
func parseRequest(line string) (Request, bool) {
	f := strings.SplitN(line, " ", 5)
	if len(f) < 5 {
		return Request{}, false
	}
	var at [3]time.Time
	for i := range at {
		ns, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return Request{}, false
		}
		if ns != 0 {
			at[i] = time.Unix(0, ns)
		}
	}
	r := Request{Start: at[0], Connected: at[1], End: at[2], Server: f[3], Err: f[4]}
	if r.Server == "-" {
		r.Server = ""
	}
	return r, true
}

// Report is what has ended up to now, in the order of start.
func (ld *Load) Report() Report {
	ld.mu.Lock()
	defer ld.mu.Unlock()
	out := slices.Clone(ld.requests)
	slices.SortFunc(out, func(a, b Request) int { return a.Start.Compare(b.Start) })
	return out
}

// Settled waits until all requests that have been started by now have ended, and gives
// the report.
func (ld *Load) Settled() Report {
	ld.t.Helper()
	now := time.Now()
	Eventually(ld.t, RequestTimeout+30*time.Second, "all requests of the client have ended", func() (bool, string) {
		select {
		case <-ld.done:
			return true, ""
		default:
		}
		ld.mu.Lock()
		defer ld.mu.Unlock()
		return !ld.settled.Before(now), clock(ld.settled)
	})
	return ld.Report()
}

// Stop lets the requests that are open end and gives the report. It may be called again.
func (ld *Load) Stop() Report {
	_ = ld.stdin.Close()
	<-ld.done
	_ = ld.cmd.Wait()
	return ld.Report()
}

// Report is requests in the order of their start.
type Report []Request

// Since are the requests that started at t or later.
func (r Report) Since(t time.Time) Report {
	i, _ := slices.BinarySearchFunc(r, t, func(q Request, t time.Time) int { return q.Start.Compare(t) })
	return r[i:]
}

// Until are the requests that started before t.
func (r Report) Until(t time.Time) Report { return r[:len(r)-len(r.Since(t))] }

// Failed are the requests without an answer.
func (r Report) Failed() Report {
	return slices.DeleteFunc(slices.Clone(r), func(q Request) bool { return q.Err == "" })
}

// Answered counts the answers by server.
func (r Report) Answered() map[string]int {
	out := map[string]int{}
	for _, q := range r {
		if q.Err == "" {
			out[q.Server]++
		}
	}
	return out
}

// Back is how long after t the first request of those that started then was answered.
func (r Report) Back(t time.Time) (time.Duration, bool) {
	best, found := time.Duration(0), false
	for _, q := range r.Since(t) {
		if after := q.End.Sub(t); q.Err == "" && (!found || after < best) {
			best, found = after, true
		}
	}
	return best, found
}

// Slowest is the longest time that an answered request took.
func (r Report) Slowest() time.Duration {
	longest := time.Duration(0)
	for _, q := range r {
		if q.Err == "" {
			longest = max(longest, q.End.Sub(q.Start))
		}
	}
	return longest
}

// String sums up, with the first failures.
func (r Report) String() string {
	failed := r.Failed()
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests, answered by %v, slowest %v, %d failed", len(r), r.Answered(), r.Slowest().Round(time.Millisecond), len(failed))
	for i, q := range failed {
		if i == 10 {
			fmt.Fprintf(&b, "\n  ... and %d more, the last: %s", len(failed)-i, failed[len(failed)-1])
			break
		}
		fmt.Fprintf(&b, "\n  %s", q)
	}
	return b.String()
}

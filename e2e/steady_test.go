package e2e

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

// pool is a virtual server's real servers in the table, by host, with their weights.
type pool map[string]int

// steady looks at a director's table all the time, and takes down what is not as it
// should be. What is there for less than a look lasts is told by the daemon's events.
type steady struct {
	t       *testing.T
	address func(host string) string
	file    *os.File
	done    chan struct{}
	ended   sync.WaitGroup

	mu   sync.Mutex
	want map[int]pool
	// free are ports whose table may be any.
	free  map[int]bool
	wrong []string
	looks int
	// widest is the longest time between two looks.
	widest time.Duration
}

// lookInterval is short for a table that is written in one go, and wakes a machine of one
// processor up often enough.
const lookInterval = 50 * time.Millisecond

// watchSteady starts to look. address gives a host's.
func watchSteady(t *testing.T, d *lab.Director, address func(host string) string, want map[int]pool) *steady {
	t.Helper()
	s := &steady{t: t, address: address, done: make(chan struct{}), want: maps.Clone(want), free: map[int]bool{}}
	var err error
	// The file is the table of the network it was opened in, for good.
	d.Do(func() { s.file, err = os.Open("/proc/thread-self/net/ip_vs") })
	if err != nil {
		t.Fatalf("open the table of %s: %v", d.Name, err)
	}
	s.ended.Go(s.loop)
	t.Cleanup(s.stop)
	return s
}

func (s *steady) stop() {
	select {
	case <-s.done:
		return
	default:
		close(s.done)
	}
	s.ended.Wait()
	_ = s.file.Close()
}

func (s *steady) loop() {
	last := time.Now()
	for {
		select {
		case <-s.done:
			return
		case <-time.After(lookInterval):
		}
		s.mu.Lock()
		at := time.Now()
		got, err := s.read()
		s.looks++
		s.widest = max(s.widest, at.Sub(last))
		if problem := s.judge(got, err); problem != "" {
			s.wrong = append(s.wrong, at.Format("15:04:05.000")+" "+problem)
		}
		s.mu.Unlock()
		last = at
	}
}

// read is the kernel's table: for each service's line its real servers' lines, without the
// counters. The caller has the lock: the file has one place.
func (s *steady) read() (map[string][]string, error) {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(s.file)
	if err != nil {
		return nil, err
	}
	table, service := map[string][]string{}, ""
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		switch {
		case len(words) >= 4 && words[0] == "->" && service != "":
			table[service] = append(table[service], strings.Join(words[1:4], " "))
		case len(words) >= 3 && words[0] == "TCP":
			service = strings.Join(words, " ")
			table[service] = nil
		}
	}
	return table, nil
}

// judge says what is wrong with a table; empty: nothing.
func (s *steady) judge(got map[string][]string, err error) string {
	if err != nil {
		return err.Error()
	}
	problem := ""
	for port, reals := range s.want {
		service := fmt.Sprintf("TCP %s:%04X rr", hexadecimal(lab.VIP), port)
		have, there := got[service]
		delete(got, service)
		var want []string
		for host, weight := range reals {
			want = append(want, fmt.Sprintf("%s:%04X Route %d", hexadecimal(s.address(host)), port, weight))
		}
		slices.Sort(want)
		slices.Sort(have)
		if !s.free[port] && (!there || !slices.Equal(have, want)) {
			problem += fmt.Sprintf("port %d: there %v: %q, want %q; ", port, there, have, want)
		}
	}
	if len(got) > 0 {
		problem += fmt.Sprintf("also %v", got)
	}
	return problem
}

// hexadecimal is an address as the kernel writes it.
func hexadecimal(address string) string {
	var a, b, c, d byte
	_, _ = fmt.Sscanf(address, "%d.%d.%d.%d", &a, &b, &c, &d)
	return fmt.Sprintf("%02X%02X%02X%02X", a, b, c, d)
}

// expect waits until a port's table, which may be any meanwhile, is so.
func (s *steady) expect(port int, want pool) {
	s.t.Helper()
	s.mu.Lock()
	s.want[port], s.free[port] = want, true
	s.mu.Unlock()
	eventually(s.t, faultPatience, fmt.Sprintf("the table of port %d is %v", port, want), func() (bool, string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		got, err := s.read()
		s.free[port] = false
		problem := s.judge(got, err)
		s.free[port] = problem != ""
		return problem == "", problem
	})
}

// allow lets a port's table be any until it is expected to be something.
func (s *steady) allow(port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free[port] = true
}

// check fails the test if a look has seen anything wrong.
func (s *steady) check(when string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.wrong); n > 0 {
		s.t.Errorf("%s: %d of %d looks at the table saw something else:\n%s", when, n, s.looks, strings.Join(s.wrong[:min(n, 10)], "\n"))
		s.wrong = nil
	}
	s.t.Logf("%s: %d looks at the table, at most %v apart", when, s.looks, s.widest.Round(time.Millisecond))
	s.looks, s.widest = 0, 0
}

package lab

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Watch reads the kernel's tables of some hosts again and again.
type Watch struct {
	t     TB
	files []*os.File
	done  chan struct{}
	all   sync.WaitGroup

	mu sync.Mutex
	// seen has, for each host, the states of each service, by its port or its firewall mark.
	seen []map[uint16][]Change
	// longest is the longest time between two looks.
	longest time.Duration
}

// Change is a state of a virtual server that was not there before.
type Change struct {
	// At is when the look began that saw it first.
	At time.Time
	// Weights of the real servers by address and port as the kernel writes them:
	// C0A8016A:0050.
	Weights map[string]int
}

// watchInterval is far less than any time between probes; a look is cheap, but wakes a
// machine of one processor up.
const watchInterval = 100 * time.Millisecond

// WatchTables starts to look at the hosts' tables.
func WatchTables(t TB, hosts ...*Host) *Watch {
	t.Helper()
	w := &Watch{t: t, done: make(chan struct{})}
	for _, h := range hosts {
		var file *os.File
		var err error
		// The file is the table of the network it was opened in, for good.
		h.Do(func() { file, err = os.Open("/proc/thread-self/net/ip_vs") })
		if err != nil {
			t.Fatalf("open the table of %s: %v", h.Name, err)
		}
		w.files = append(w.files, file)
		w.seen = append(w.seen, map[uint16][]Change{})
	}
	w.all.Go(w.loop)
	t.Cleanup(w.Stop)
	return w
}

// Stop ends it; it may be called again.
func (w *Watch) Stop() {
	select {
	case <-w.done:
	default:
		close(w.done)
	}
	w.all.Wait()
}

func (w *Watch) loop() {
	defer func() {
		for _, f := range w.files {
			_ = f.Close()
		}
	}()
	buf := make([]byte, 64<<10)
	last := time.Now()
	for {
		select {
		case <-w.done:
			return
		case <-time.After(watchInterval):
		}
		for i, f := range w.files {
			if err := w.look(i, f, buf); err != nil {
				w.t.Errorf("read the kernel's table: %v", err)
				return
			}
		}
		w.mu.Lock()
		w.longest = max(w.longest, time.Since(last))
		w.mu.Unlock()
		last = time.Now()
	}
}

func (w *Watch) look(i int, file *os.File, buf []byte) error {
	at := time.Now()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var text strings.Builder
	for {
		n, err := file.Read(buf)
		text.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	table, err := parseTable(text.String())
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for service, weights := range table {
		list := w.seen[i][service]
		if len(list) == 0 || !maps.Equal(list[len(list)-1].Weights, weights) {
			w.seen[i][service] = append(list, Change{at, weights})
		}
	}
	return nil
}

// Longest is the longest time so far between two looks: what was there for less may not
// have been seen.
func (w *Watch) Longest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.longest
}

// Changes are the states that a virtual server of the i-th host was seen in.
func (w *Watch) Changes(i int, service uint16) []Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen[i][service])
}

// parseTable reads /proc/net/ip_vs.
func parseTable(text string) (map[uint16]map[string]int, error) {
	table := map[uint16]map[string]int{}
	var current map[string]int
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) < 3 || words[1] == "Virtual" || words[0] == "Prot" || words[1] == "RemoteAddress:Port":
		case words[0] == "->":
			if len(words) < 4 || current == nil {
				return nil, fmt.Errorf("a line is %q", line)
			}
			weight, err := strconv.Atoi(words[3])
			if err != nil {
				return nil, fmt.Errorf("a line is %q: %w", line, err)
			}
			current[words[1]] = weight
		default:
			digits := words[1][strings.LastIndexByte(words[1], ':')+1:]
			n, err := strconv.ParseUint(digits, 16, 32)
			if err != nil || n > 65535 {
				return nil, fmt.Errorf("a line is %q: no port and no small mark", line)
			}
			current = map[string]int{}
			table[uint16(n)] = current
		}
	}
	return table, nil
}

package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/poise-lb/poise/core/checker"
)

// watchInterval is how often checker processes are looked at.
const watchInterval = time.Second

// watchCheckers tells when a checker process falls silent or its probes hang, and when
// that is over: nothing else shows that verdicts are old.
func (d *Daemon) watchCheckers(ctx context.Context) {
	w := checkerWatch{since: map[string]time.Time{}, tell: func(at time.Time, name, message string) { d.tell(at, "plugin", name, message) }}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			w.look(now, d.Checkers())
		case <-ctx.Done():
			return
		}
	}
}

// checkerWatch remembers who is in trouble, and since when it was told.
type checkerWatch struct {
	since map[string]time.Time
	tell  func(at time.Time, name, message string)
}

func (w *checkerWatch) look(now time.Time, all map[string]checker.Stats) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		stats := all[name]
		stats.Rejected = nil // is no trouble of the process
		since, known := w.since[name]
		switch trouble := stats.Trouble(now); {
		case trouble != "" && !known:
			w.since[name] = now
			w.tell(now, name, fmt.Sprintf("%s; its checks keep their verdicts", trouble))
		case trouble == "" && known:
			delete(w.since, name)
			w.tell(now, name, fmt.Sprintf("its checks are probed again, after %s", now.Sub(since).Round(time.Second)))
		}
	}
	maps.DeleteFunc(w.since, func(name string, _ time.Time) bool { _, ok := all[name]; return !ok })
}

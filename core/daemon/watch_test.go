package daemon

import (
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/core/checker"
	"github.com/poise-lb/poise/core/model"
)

func TestWatchTellsOnceAndWhenItIsOver(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	good := func(s int) checker.Stats {
		return checker.Stats{Checks: 1, Since: began, HeardAt: at(s), Rejected: map[model.CheckID]string{"a": "why"}}
	}
	var told []string
	w := checkerWatch{since: map[string]time.Time{}, tell: func(_ time.Time, name, message string) { told = append(told, name+": "+message) }}
	hanging := good(40)
	hanging.HangingSince = at(30)
	for _, step := range []struct {
		at    int
		stats map[string]checker.Stats
	}{
		{1, map[string]checker.Stats{"a": good(0), "idle": {Since: began.Add(-time.Hour)}}},
		{10, map[string]checker.Stats{"a": good(5), "b": good(10)}},
		{11, map[string]checker.Stats{"a": good(5), "b": good(11)}},
		{15, map[string]checker.Stats{"a": good(15), "b": good(15)}},
		{40, map[string]checker.Stats{"b": hanging}},
		{41, map[string]checker.Stats{"b": good(41)}},
		{50, map[string]checker.Stats{"b": good(41)}},
		{51, nil},
	} {
		w.look(at(step.at), step.stats)
	}
	want := []string{
		"a: silent for 5s; its checks keep their verdicts", "a: its checks are probed again, after 5s",
		"b: its probes hang: none has ended for 10s; its checks keep their verdicts", "b: its checks are probed again, after 1s",
		"b: silent for 9s; its checks keep their verdicts",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if len(w.since) > 0 {
		t.Errorf("remembers %v", w.since)
	}
}

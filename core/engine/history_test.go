package engine

import (
	"fmt"
	"sync"
	"testing"

	"github.com/poise-lb/poise/core/model"
)

func TestHistory(t *testing.T) {
	h := newHistory()
	if events, missed, _ := h.After(0); len(events) != 0 || missed != 0 || h.Last() != 0 {
		t.Fatalf("a new history has %v, missed %d", events, missed)
	}
	for n := 1; n <= historySize+10; n++ {
		h.Record(start, "notice", "test", fmt.Sprint(n))
	}
	for _, c := range []struct{ after, first, missed uint64 }{
		{0, 11, 10}, {5, 11, 5}, {9, 11, 1}, {10, 11, 0}, {11, 12, 0}, {historySize + 9, historySize + 10, 0},
	} {
		events, missed, _ := h.After(c.after)
		if missed != c.missed || len(events) != int(historySize+10-c.first+1) {
			t.Fatalf("after %d: %d events, missed %d, want from %d and missed %d", c.after, len(events), missed, c.first, c.missed)
		}
		for i, e := range events {
			if want := c.first + uint64(i); e.Sequence != want || e.Message != fmt.Sprint(want) || e.Kind != "notice" || e.Object != "test" || !e.At.Equal(start) {
				t.Fatalf("after %d: event %d is %+v", c.after, i, e)
			}
		}
	}
	for _, after := range []uint64{historySize + 10, historySize + 99} {
		if events, missed, _ := h.After(after); len(events) != 0 || missed != 0 {
			t.Fatalf("after %d: %d events, missed %d", after, len(events), missed)
		}
	}
}

// A reader sees every event once and in order, or is told how many it has missed.
func TestHistoryReaders(t *testing.T) {
	h := newHistory()
	const total = 20_000
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			seen, lost := uint64(0), uint64(0)
			for seen < total {
				events, missed, more := h.After(seen)
				seen += missed
				lost += missed
				for _, e := range events {
					if seen++; e.Sequence != seen {
						t.Errorf("event %d in the place of %d", e.Sequence, seen)
						return
					}
				}
				if seen < total && len(events) == 0 {
					<-more
				}
			}
			if seen != total {
				t.Errorf("saw %d events, %d of them lost", seen, lost)
			}
		})
	}
	for range 4 {
		group.Go(func() {
			for range total / 4 {
				h.record([]model.Event{{Kind: "notice"}})
			}
		})
	}
	group.Wait()
}

func TestRecordedEventsAreNumberedWithTheEnginesOwn(t *testing.T) {
	r := run(t)
	r.engine.Record(start, "plugin", "checkers", "started")
	r.engine.SetConfig(parseConfig(t, small))
	events, _, _ := r.engine.History().After(0)
	if len(events) != 2 || events[0].Kind != "plugin" || events[1].Kind != "reload" || events[1].Sequence != 2 {
		t.Fatalf("events are %+v", events)
	}
}

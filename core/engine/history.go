package engine

import (
	"sync"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// historySize is how many events are held.
const historySize = 1000

// History holds the last events. Its methods may be called from any goroutine. Readers
// come for events at their own pace: one that is too slow misses some, is told how
// many, and never keeps anybody waiting.
type History struct {
	mu    sync.Mutex
	ring  [historySize]model.Event
	last  uint64 // sequence of the newest event; 0: none yet
	added chan struct{}
}

func newHistory() *History { return &History{added: make(chan struct{})} }

// Record adds an event. Its kind is one of model.Event's.
func (h *History) Record(at time.Time, kind, object, message string) {
	h.record([]model.Event{{At: at, Kind: kind, Object: object, Message: message}})
}

func (h *History) record(events []model.Event) {
	if len(events) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		h.last++
		e.Sequence = h.last
		h.ring[h.last%historySize] = e
	}
	close(h.added)
	h.added = make(chan struct{})
}

// Last is the sequence of the newest event; 0: none yet.
func (h *History) Last() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// After gives the events after a sequence number, oldest first, and how many of them
// are not held any more. more is closed when there is another one.
func (h *History) After(sequence uint64) (events []model.Event, missed uint64, more <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if sequence >= h.last {
		return nil, 0, h.added
	}
	first := sequence + 1
	if h.last > historySize && first <= h.last-historySize {
		missed = h.last - historySize - sequence
		first = h.last - historySize + 1
	}
	events = make([]model.Event, 0, h.last-first+1)
	for s := first; s <= h.last; s++ {
		events = append(events, h.ring[s%historySize])
	}
	return events, missed, h.added
}

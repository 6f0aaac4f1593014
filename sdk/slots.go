package sdk

import (
	"container/heap"
	"time"
)

// The grain of starts: all probes of a slot start at one wake-up, because wake-ups are what
// costs. It is coarse enough for some probes to share a slot, fine enough to spread them
// over an interval, and the finer the more probes there are, because those of a slot are
// late by the ones before them.
const (
	sparseSlot = 200 * time.Millisecond
	coarseSlot = 100 * time.Millisecond
	plainSlot  = 50 * time.Millisecond
	// narrowSlot is that of retries too, which are few and wanted soon.
	narrowSlot = 20 * time.Millisecond
	// fineSlot is for intervals so short that anything else would show.
	fineSlot = time.Millisecond
)

// slotWidth is the grain of a check's regular starts, where there are rate probes a second.
// Intervals that are no multiple of a coarse grain get a finer one, so that they are as
// long as they should be.
func slotWidth(interval time.Duration, rate float64) time.Duration {
	for _, slot := range []struct {
		width time.Duration
		below float64
	}{{sparseSlot, 200}, {coarseSlot, 500}, {plainSlot, 2000}} {
		if rate < slot.below && interval >= 5*slot.width && interval%slot.width == 0 {
			return slot.width
		}
	}
	if interval < 10*narrowSlot {
		return fineSlot
	}
	return narrowSlot
}

// slots holds checks by the time of their next start, counted from an epoch.
type slots struct {
	checks map[time.Duration][]*check
	order  durations
	spare  [][]*check
}

// add puts a check into the slot of a time.
func (s *slots) add(at time.Duration, c *check) {
	list, ok := s.checks[at]
	if !ok {
		heap.Push(&s.order, at)
		if n := len(s.spare); n > 0 {
			list, s.spare = s.spare[n-1], s.spare[:n-1]
		}
	}
	s.checks[at] = append(list, c)
}

// first gives the earliest slot.
func (s *slots) first() (time.Duration, bool) {
	if len(s.order) == 0 {
		return 0, false
	}
	return s.order[0], true
}

// pop takes the earliest slot out. The caller gives the list back with reuse.
func (s *slots) pop() []*check {
	at := heap.Pop(&s.order).(time.Duration)
	list := s.checks[at]
	delete(s.checks, at)
	return list
}

// reuse takes back the list of a slot.
func (s *slots) reuse(list []*check) {
	clear(list)
	s.spare = append(s.spare, list[:0])
}

// durations is a heap, the smallest first.
type durations []time.Duration

func (d durations) Len() int           { return len(d) }
func (d durations) Less(i, j int) bool { return d[i] < d[j] }
func (d durations) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *durations) Push(x any)        { *d = append(*d, x.(time.Duration)) }
func (d *durations) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	*d = (*d)[:last]
	return x
}

package sdk

import (
	"container/heap"
	"time"
)

const (
	// slotWidth is the grain of starts: all probes of a slot start at one wake-up,
	// because wake-ups are what costs.
	slotWidth = 20 * time.Millisecond
	// fineSlotWidth is the grain of checks whose interval is so short that slotWidth
	// would show.
	fineSlotWidth = time.Millisecond
)

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

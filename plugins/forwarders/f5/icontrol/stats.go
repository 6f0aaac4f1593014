package icontrol

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Outcome is how a request ended.
type Outcome struct {
	Method string
	// HTTP is the status, 0 without an answer.
	HTTP int
}

// Stats are numbers since New.
type Stats struct {
	// Requests counts every attempt that was made, logins and tokens included.
	Requests map[Outcome]uint64
	// Retries are those of them that repeated another.
	Retries uint64
	// Logins and Renewals count the successful ones.
	Logins, Renewals uint64
	Latency          Latency
}

// Latency is a histogram of how long requests took, up to the end of the answer.
type Latency struct {
	// Bounds are the upper ends of all but the last of Counts, rising.
	Bounds []time.Duration
	// Counts are not cumulative.
	Counts []uint64
	Sum    time.Duration
}

var latencyBounds = []time.Duration{
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

type counters struct {
	mu    sync.Mutex
	stats Stats
}

func newCounters() *counters {
	return &counters{stats: Stats{
		Requests: map[Outcome]uint64{},
		Latency:  Latency{Bounds: latencyBounds, Counts: make([]uint64, len(latencyBounds)+1)},
	}}
}

func (c *counters) request(o Outcome, took time.Duration) {
	at, _ := slices.BinarySearch(latencyBounds, took)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Requests[o]++
	c.stats.Latency.Counts[at]++
	c.stats.Latency.Sum += took
}

func (c *counters) count(number *uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*number++
}

// Stats gives the numbers as they are now.
func (c *Client) Stats() Stats {
	c.counters.mu.Lock()
	defer c.counters.mu.Unlock()
	s := c.counters.stats
	s.Requests = maps.Clone(s.Requests)
	s.Latency.Bounds = slices.Clone(s.Latency.Bounds)
	s.Latency.Counts = slices.Clone(s.Latency.Counts)
	return s
}

package bigip

import (
	"sync"
	"time"
)

// Clock is the time of a unit or a pair. It runs with the machine's, ahead by what
// Advance added, until Set stops it. The zero value is ready.
type Clock struct {
	mu     sync.Mutex
	offset time.Duration
	fixed  *time.Time
}

// Now is the time by this clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fixed != nil {
		return *c.fixed
	}
	return time.Now().Add(c.offset)
}

// Advance moves the clock forward, whether it runs or stands still.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fixed != nil {
		t := c.fixed.Add(d)
		c.fixed = &t
		return
	}
	c.offset += d
}

// Set stops the clock at a time. From then on only Advance and Set move it.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fixed = &t
}

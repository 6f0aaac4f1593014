package checker

import (
	"fmt"
	"time"

	"github.com/poise-lb/poise/core/model"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

// SilentAfter is how long a process may say nothing: its beats are due every second.
const SilentAfter = 3 * time.Second

// Stats are what a checker process has done since it started.
type Stats struct {
	Probes, Failures, Overdue uint64
	// Rejected are checks that cannot be carried out, and why.
	Rejected map[model.CheckID]string
	// Checks is how many it was sent.
	Checks int
	// Since is when it was first wanted, SessionAt when the process that runs was ready.
	Since, SessionAt time.Time
	// HeardAt is when it was last heard, ProbedAt when it last told of a probe that has
	// ended, also by an earlier process; zero: never.
	HeardAt, ProbedAt time.Time
	// Lateness is how late probes were started.
	Lateness Lateness
	// HangingSince is since when no probe has ended although some should have; zero: that
	// is not so.
	HangingSince time.Time
}

// Lateness counts how late probes were started against their schedule, since the process
// started.
type Lateness struct {
	// Starts in all, and the sum of how late they were.
	Starts uint64
	Sum    time.Duration
	// Buckets have the starts that were late by a time or less.
	Buckets map[time.Duration]uint64
}

// StaleSince says since when there has been no fresh probe of a check because of the
// process; zero: probes are fresh.
func (s Stats) StaleSince(check *model.Check, now time.Time) time.Time {
	allowed := check.Schedule.Interval + check.Schedule.Timeout + SilentAfter
	heard, probed := latest(s.HeardAt, s.Since), latest(s.ProbedAt, s.Since)
	switch {
	case now.Sub(heard) > allowed:
		return heard
	case !s.HangingSince.IsZero() && now.Sub(s.HangingSince) > allowed:
		return s.HangingSince
	case probed.Before(s.SessionAt) && now.Sub(probed) > allowed && now.Sub(s.SessionAt) <= allowed:
		// The process that runs has not had the time yet, and those before it did not live
		// long enough. One that had the time has checks whose results come by themselves.
		return probed
	}
	return time.Time{}
}

// Trouble says what is wrong with the process's work, for people; empty: nothing.
func (s Stats) Trouble(now time.Time) string {
	if s.Checks == 0 && len(s.Rejected) == 0 {
		return ""
	}
	if silent := now.Sub(latest(s.HeardAt, s.Since)); silent > SilentAfter {
		return fmt.Sprintf("silent for %s", silent.Round(time.Second))
	}
	if !s.HangingSince.IsZero() {
		return fmt.Sprintf("its probes hang: none has ended for %s", now.Sub(s.HangingSince).Round(time.Second))
	}
	switch n := len(s.Rejected); {
	case n == 1:
		return "1 check cannot be carried out"
	case n > 1:
		return fmt.Sprintf("%d checks cannot be carried out", n)
	}
	return ""
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (c *Checker) heard(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.HeardAt = now
}

// takeBeat takes what the process has done.
func (c *Checker) takeBeat(b *checkv1.Beat, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case b.GetProbes() > c.stats.Probes:
		c.stats.ProbedAt, c.leftOutAt = now, time.Time{}
	case b.GetOverdue() > c.stats.Overdue && c.leftOutAt.IsZero():
		c.leftOutAt = now
	}
	c.stats.Probes, c.stats.Failures, c.stats.Overdue = b.GetProbes(), b.GetFailures(), b.GetOverdue()
	if h := b.GetLatenessHistogram(); h != nil {
		// A new one each time: who has the last one goes on reading it.
		c.stats.Lateness = Lateness{Starts: h.GetStarts(), Sum: h.GetSum().AsDuration(), Buckets: make(map[time.Duration]uint64, len(h.GetBuckets()))}
		for _, bucket := range h.GetBuckets() {
			c.stats.Lateness.Buckets[bucket.GetAtMost().AsDuration()] = bucket.GetStarts()
		}
	}
}

// hangingSince: a probe was left out because the one before had not returned, and in the
// time that any may take none has. A type whose results come by themselves leaves none
// out.
func (c *Checker) hangingSince(now time.Time) time.Time {
	if c.leftOutAt.IsZero() || now.Sub(c.leftOutAt) <= c.longest {
		return time.Time{}
	}
	return latest(c.stats.ProbedAt, c.stats.Since)
}

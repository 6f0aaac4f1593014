package sdk

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestLifeline says after how long a daemon is taken for lost.
func TestLifeline(t *testing.T) {
	tests := []struct {
		name  string
		grace time.Duration
		// run does what happens; parent changes who the parent is.
		run  func(l *lifeline, parent *atomic.Int64)
		want time.Duration
	}{
		{"parent changes", orphanGrace, func(_ *lifeline, parent *atomic.Int64) {
			time.Sleep(1500 * time.Millisecond)
			parent.Store(1)
		}, 2 * time.Second},
		{"stream breaks, parent stays", orphanGrace, func(l *lifeline, _ *atomic.Int64) {
			closed := l.open()
			time.Sleep(5 * time.Second)
			closed()
		}, 15 * time.Second},
		{"stream breaks with a provider", 0, func(l *lifeline, _ *atomic.Int64) {
			closed := l.open()
			time.Sleep(5 * time.Second)
			closed()
		}, 5 * time.Second},
		{"stream ends by a stop", 0, func(l *lifeline, _ *atomic.Int64) {
			closed := l.open()
			time.Sleep(5 * time.Second)
			l.stop()
			closed()
		}, 15 * time.Second},
		{"stream breaks, then the parent is gone", orphanGrace, func(l *lifeline, parent *atomic.Int64) {
			closed := l.open()
			time.Sleep(5 * time.Second)
			closed()
			time.Sleep(10 * time.Millisecond)
			parent.Store(1)
		}, 5*time.Second + brokenPoll},
		{"opened again", orphanGrace, func(l *lifeline, _ *atomic.Int64) {
			l.open()()
			time.Sleep(9 * time.Second)
			closed := l.open()
			time.Sleep(30 * time.Second)
			closed()
		}, 49 * time.Second},
		{"one stream of two", orphanGrace, func(l *lifeline, _ *atomic.Int64) {
			other := l.open()
			l.open()()
			time.Sleep(time.Minute)
			other()
		}, 70 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var parent atomic.Int64
				parent.Store(77)
				l := &lifeline{parent: func() int { return int(parent.Load()) }, born: 77, changed: make(chan struct{}, 1)}
				start := time.Now()
				go test.run(l, &parent)
				l.lost(nil, test.grace)
				if took := time.Since(start); took != test.want {
					t.Errorf("lost after %s, want %s", took, test.want)
				}
			})
		})
	}
}

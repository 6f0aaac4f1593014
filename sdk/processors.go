package sdk

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// busyShare of the processors in use is when more are taken, idleShare of one
	// processor less when they are given back, after calmLooks looks.
	busyShare = 0.6
	idleShare = 0.4
	calmLooks = 3
	// leastLook is the least time between two looks that says something.
	leastLook = 500 * time.Millisecond
)

// processors keeps the number of processors that Go code runs on as small as the work
// allows: every wake-up costs the more the more there are, because each looks for work at
// the others'.
type processors struct {
	// most is what the machine, or the process's share of it, has.
	most int
	// now is how many are in use.
	now  int
	calm int
	at   time.Time
	used time.Duration
	// set and spent are the runtime and the kernel.
	set   func(n int)
	spent func() time.Duration
}

func newProcessors() *processors {
	n := runtime.GOMAXPROCS(0)
	return &processors{most: n, now: n, set: func(n int) { runtime.GOMAXPROCS(n) }, spent: processTime}
}

// look compares what has been used since the last look with what is there.
func (p *processors) look(now time.Time) {
	if !p.at.IsZero() && now.Sub(p.at) < leastLook {
		return
	}
	used := p.spent()
	took, busy := now.Sub(p.at), used-p.used
	first := p.at.IsZero()
	p.at, p.used = now, used
	if first {
		return
	}
	share := busy.Seconds() / took.Seconds()
	switch {
	case share > busyShare*float64(p.now):
		p.calm = 0
		p.change(p.now * 2)
	case share < idleShare*float64(p.now-1):
		if p.calm++; p.calm >= calmLooks {
			p.calm = 0
			p.change(max(p.now/2, 1))
		}
	default:
		p.calm = 0
	}
}

func (p *processors) change(n int) {
	if n = min(n, p.most); n != p.now {
		p.now = n
		p.set(n)
	}
}

// processTime is what all threads of the process have used.
func processTime() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

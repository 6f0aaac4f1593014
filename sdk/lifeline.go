package sdk

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

const (
	// orphanGrace is how long a plugin without a failover provider goes on after its
	// streams have broken.
	orphanGrace = 10 * time.Second
	// parentPoll is how often the parent is looked at, brokenPoll while no stream is
	// open: a process that dies closes its streams a moment before it is gone.
	parentPoll = time.Second
	brokenPoll = 50 * time.Millisecond
)

// lifeline watches whether the daemon is there: its streams, and who our parent is.
type lifeline struct {
	parent func() int
	born   int
	// looked is called every parentPoll or so while a stream is open; nil: nothing.
	looked func(now time.Time)

	mu      sync.Mutex
	streams int
	opened  bool
	stopped bool
	broken  time.Time
	changed chan struct{}
}

func newLifeline() *lifeline {
	return &lifeline{parent: os.Getppid, born: os.Getppid(), changed: make(chan struct{}, 1)}
}

// open tells of a stream that is for life; the function tells of its end.
func (l *lifeline) open() (closed func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened = true
	l.streams++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.streams--; l.streams == 0 {
			l.broken = time.Now()
		}
		nudge(l.changed)
	}
}

// stop says that the daemon has told the plugin to stop: its streams end by that, and
// the process waits to be ended, so that the daemon hears the answer.
func (l *lifeline) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
}

// orphaned says that the daemon that started us is gone.
func (l *lifeline) orphaned() bool { return l.parent() != l.born }

// lost waits until the daemon is gone, or all its streams have been broken for grace,
// or end is closed.
func (l *lifeline) lost(end <-chan struct{}, grace time.Duration) {
	for !l.orphaned() {
		wait := parentPoll
		l.mu.Lock()
		if l.opened && l.streams == 0 {
			limit := grace
			if l.stopped {
				limit = max(limit, orphanGrace)
			}
			wait = min(brokenPoll, time.Until(l.broken.Add(limit)))
		}
		l.mu.Unlock()
		if wait <= 0 {
			return
		}
		if l.looked != nil {
			l.looked(time.Now())
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.changed:
		case <-end:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// ignoreSignals keeps the process alive through what hits a whole terminal, service or
// closed pipe: it ends by the daemon's word, or when the daemon is gone. Signals are
// caught rather than ignored, so that processes started from here do not inherit it.
func ignoreSignals(l *lifeline, logger hclog.Logger) {
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		for s := range ends {
			if l.orphaned() {
				nudge(l.changed)
				continue
			}
			logger.Debug("signal ignored: the daemon that started this plugin still runs", "signal", s.String())
		}
	}()
}

// closeExecutable closes a descriptor of our own executable that was left open for
// the start: it would keep an old file's space on disk, and be inherited.
func closeExecutable() {
	const inherited = 3
	var file, self unix.Stat_t
	if unix.Fstat(inherited, &file) != nil || unix.Stat("/proc/self/exe", &self) != nil {
		return
	}
	if file.Dev == self.Dev && file.Ino == self.Ino {
		_ = unix.Close(inherited)
	}
}

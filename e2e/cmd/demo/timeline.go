package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// timeline prints what happens as it happens, and keeps the chapters for the summary.
type timeline struct {
	t        lab.TB
	begun    time.Time
	mu       sync.Mutex
	load     *lab.Load
	chapters []chapter
}

type chapter struct {
	title string
	begun time.Time
}

func newTimeline(t lab.TB) *timeline { return &timeline{t: t, begun: time.Now()} }

// at prints a line with the time since the beginning.
func (l *timeline) at(when time.Time, who, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Printf("%7.3f s  %-10s  %s\n", when.Sub(l.begun).Seconds(), who, text)
}

func (l *timeline) say(who, text string) { l.at(time.Now(), who, text) }

// chapter begins a part of the show.
func (l *timeline) chapter(title string) {
	l.told()
	l.mu.Lock()
	l.chapters = append(l.chapters, chapter{title: title, begun: time.Now()})
	fmt.Printf("\n== %s\n", title)
	l.mu.Unlock()
}

// client is the one whose requests are counted.
func (l *timeline) client(load *lab.Load) {
	l.load = load
	l.say("client", "begins to ask")
}

// watch lets time pass.
func (l *timeline) watch(d time.Duration) { time.Sleep(d) }

// told says what the client had of the last chapter.
func (l *timeline) told() {
	if l.load == nil || len(l.chapters) == 0 {
		return
	}
	report := l.load.Settled().Since(l.chapters[len(l.chapters)-1].begun)
	l.say("client", account(report)+during(report))
}

// account sums requests up for people.
func account(r lab.Report) string {
	failed, answered := r.Failed(), r.Answered()
	return fmt.Sprintf("%d requests: r1 answered %d, r2 answered %d, %d failed", len(r), answered["r1"], answered["r2"], len(failed))
}

// during says in which time requests have failed.
func during(r lab.Report) string {
	failed := r.Failed()
	if len(failed) == 0 {
		return ""
	}
	return fmt.Sprintf(", all begun within %.1f s", failed[len(failed)-1].Start.Sub(failed[0].Start).Seconds())
}

// summary says it all again, in short.
func (l *timeline) summary() {
	l.told()
	report := l.load.Stop()
	fmt.Printf("\n== what the client had of it\n")
	for i, c := range l.chapters {
		part := report.Since(c.begun)
		if i+1 < len(l.chapters) {
			part = part.Until(l.chapters[i+1].begun)
		}
		fmt.Printf("  %s\n      %s\n", c.title, account(part)+during(part))
	}
	fmt.Printf("  all in all\n      %s\n", account(report))
}

// quiet are kinds of events that say the same as another one, or too much.
var quiet = map[string]bool{"verdict": true, "daemon": true}

// follow prints the events of a director from now on, until its daemon ends.
func (l *timeline) follow(d *lab.Director) {
	control := d.Control()
	go func() {
		deadline := time.Now().Add(10 * time.Second)
		for last := uint64(0); time.Now().Before(deadline) && last == 0; time.Sleep(50 * time.Millisecond) {
			stream, err := control.Events(context.Background(), &controlv1.EventsRequest{Follow: true})
			for err == nil {
				var e *controlv1.EventsResponse
				if e, err = stream.Recv(); err == nil {
					last = e.GetSequence()
					l.event(d, e)
				}
			}
		}
	}()
}

func (l *timeline) event(d *lab.Director, e *controlv1.EventsResponse) {
	if !quiet[e.GetKind()] {
		l.at(e.GetAt().AsTime(), "director "+d.Name, strings.Join([]string{e.GetKind(), e.GetObject() + ":", e.GetMessage()}, " "))
	}
}

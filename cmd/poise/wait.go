package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

const (
	// pollInterval is how often the connections are looked at.
	pollInterval = 500 * time.Millisecond
	// settleTime is how long there must have been none: poised knows the connections of
	// at most a second ago.
	settleTime = 2500 * time.Millisecond
)

// drainWait waits for the end of a drain.
type drainWait struct {
	status       func(context.Context) (*controlv1.StatusResponse, error)
	say          io.Writer
	poll, settle time.Duration
}

// run returns nil when the real server has no connection or is out of the table, and an
// error when the drain was taken back or poised does not answer.
func (w *drainWait) run(ctx context.Context, virtualServer, realServer string) error {
	var idleSince time.Time
	said := ""
	for {
		s, err := w.status(ctx)
		if err != nil {
			return err
		}
		r := find(s, virtualServer, realServer)
		switch {
		case r == nil:
			return errors.New("the configuration has the real server no longer")
		case !strings.HasPrefix(r.GetOverride(), "drain"):
			return errors.New("the drain was taken back")
		case !r.GetInTable() && settled(s):
			fmt.Fprintln(w.say, "it is out of the table; connections that were still open are cut")
			return nil
		}
		n := r.GetActiveConnections() + r.GetInactiveConnections()
		if n > 0 || r.GetWeight() > 0 || !settled(s) {
			idleSince = time.Time{}
		} else if idleSince.IsZero() {
			idleSince = time.Now()
		} else if time.Since(idleSince) >= w.settle {
			fmt.Fprintln(w.say, "no connection is left")
			return nil
		}
		if text := fmt.Sprintf("waiting: %d active, %d inactive", r.GetActiveConnections(), r.GetInactiveConnections()); text != said && n > 0 {
			fmt.Fprintln(w.say, text)
			said = text
		}
		select {
		case <-time.After(w.poll):
		case <-ctx.Done():
			return errors.New("interrupted; the drain goes on")
		}
	}
}

// settled: the table is the one that is wanted.
func settled(s *controlv1.StatusResponse) bool {
	return s.GetForwarder().GetAppliedGeneration() == s.GetForwarder().GetDesiredGeneration()
}

func find(s *controlv1.StatusResponse, virtualServer, realServer string) *controlv1.RealServer {
	for _, v := range s.GetVirtualServers() {
		if v.GetName() != virtualServer {
			continue
		}
		for _, r := range v.GetRealServers() {
			if r.GetName() == realServer {
				return r
			}
		}
	}
	return nil
}

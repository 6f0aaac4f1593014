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
	// applianceSettle is that for real servers on appliances, which are read less often.
	applianceSettle = 15 * time.Second
)

// drainWait waits for the end of a drain.
type drainWait struct {
	status func(context.Context) (*controlv1.StatusResponse, error)
	say    io.Writer
	poll   time.Duration
	// settle is how long there must have been no connection, applianceSettle the same
	// where an appliance has the real server too.
	settle, applianceSettle time.Duration
}

// run returns nil when the real server has no connection, here and on appliances, or is
// out of the table, and an error when the drain was taken back or poised does not answer.
func (w *drainWait) run(ctx context.Context, virtualServer, realServer string) error {
	var idleSince time.Time
	said := ""
	for {
		s, err := w.status(ctx)
		if err != nil {
			return err
		}
		v, r := find(s, virtualServer, realServer)
		behind := unsettled(s, v, realServer)
		settle := w.settle
		if len(v.GetCarried()) > 0 {
			settle = w.applianceSettle
		}
		switch {
		case r == nil:
			return errors.New("the configuration has the real server no longer")
		case !strings.HasPrefix(r.GetOverride(), "drain"):
			return errors.New("the drain was taken back")
		case !r.GetInTable() && behind == "":
			fmt.Fprintln(w.say, ended(v))
			return nil
		}
		n, text := connections(v, r)
		if n > 0 || r.GetWeight() > 0 || behind != "" {
			idleSince = time.Time{}
		} else if idleSince.IsZero() {
			idleSince = time.Now()
		} else if time.Since(idleSince) >= settle {
			fmt.Fprintln(w.say, "no connection is left")
			return nil
		}
		if n == 0 {
			text = behind
		}
		if text != said && text != "" {
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

// ended says what became of the connections when the deadline has passed.
func ended(v *controlv1.VirtualServer) string {
	const cut, stay = "connections that were still open are cut", "those on an appliance go on"
	switch {
	case v.GetAppliancesOnly():
		return "it is offline; connections that are still open go on"
	case len(v.GetCarried()) > 0:
		return "it is out of the table; " + cut + ", " + stay
	}
	return "it is out of the table; " + cut
}

// connections are those of a real server, in the kernel and on appliances.
func connections(v *controlv1.VirtualServer, r *controlv1.RealServer) (n uint64, text string) {
	n = uint64(r.GetActiveConnections()) + uint64(r.GetInactiveConnections())
	var parts []string
	if !v.GetAppliancesOnly() {
		parts = append(parts, fmt.Sprintf("%d active, %d inactive", r.GetActiveConnections(), r.GetInactiveConnections()))
	}
	for _, c := range v.GetCarried() {
		for _, m := range c.GetMembers() {
			if m.GetName() == r.GetName() {
				n += uint64(m.GetActiveConnections())
				parts = append(parts, fmt.Sprintf("%d active on %s", m.GetActiveConnections(), c.GetForwarder()))
			}
		}
	}
	return n, "waiting: " + strings.Join(parts, ", ")
}

// unsettled says which table does not have the drain yet; "": all that have the virtual
// server do. One that another director writes to is that one's care.
func unsettled(s *controlv1.StatusResponse, v *controlv1.VirtualServer, realServer string) string {
	if s.GetForwarder().GetAppliedGeneration() != s.GetForwarder().GetDesiredGeneration() {
		return "waiting: the kernel's table does not have the drain yet"
	}
	for _, c := range v.GetCarried() {
		for _, f := range s.GetAppliances() {
			if f.GetName() != c.GetForwarder() || f.GetHeld() != "" {
				continue
			}
			switch {
			case f.GetPlatform() == "":
				return "waiting: " + f.GetName() + " has not answered yet"
			case f.GetAppliedGeneration() != f.GetDesiredGeneration() || enabled(c, realServer):
				// What it was asked for may not have got there.
				return strings.Join(append([]string{"waiting: " + f.GetName() + " does not have the drain yet"}, f.GetErrors()...), "; ")
			}
		}
	}
	return ""
}

// enabled says that a real server takes connections on an appliance, as was read last.
func enabled(c *controlv1.Carried, realServer string) bool {
	for _, m := range c.GetMembers() {
		if m.GetName() == realServer {
			return m.GetState() == "enabled"
		}
	}
	return false
}

// find gives nil for what is not there.
func find(s *controlv1.StatusResponse, virtualServer, realServer string) (*controlv1.VirtualServer, *controlv1.RealServer) {
	for _, v := range s.GetVirtualServers() {
		if v.GetName() != virtualServer {
			continue
		}
		for _, r := range v.GetRealServers() {
			if r.GetName() == realServer {
				return v, r
			}
		}
	}
	return nil, nil
}

package bigip

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// FaultKind is a way for a request to go wrong.
type FaultKind string

// What can go wrong. Those before Slow do not reach the configuration.
const (
	// HTML503 is the page of a restarting httpd.
	HTML503 FaultKind = "html-503"
	// JSON503 says that an asynchronous task is running.
	JSON503 FaultKind = "json-503"
	// MCPDLost is a 500: the connection to mcpd has been lost.
	MCPDLost FaultKind = "mcpd-lost"
	// NotRegistered is a 404 that says nothing about the object.
	NotRegistered FaultKind = "not-registered"
	// Unauthorized is a 401 that has nothing to do with the credentials.
	Unauthorized FaultKind = "unauthorized"
	// Unauthorized503 is a 401 around a 503.
	Unauthorized503 FaultKind = "unauthorized-503"
	// Reset breaks the connection before anything is done.
	Reset FaultKind = "reset"
	// Hang keeps the request, without an answer, until the client gives up or the fault
	// is cleared; then nothing has been done.
	Hang FaultKind = "hang"

	// Slow waits for Delay, then does what was asked.
	Slow FaultKind = "slow"
	// ResetAfter does what was asked and breaks the connection instead of answering.
	ResetAfter FaultKind = "reset-after"
	// Timeout500 does what was asked and answers with the HTML page of a request that
	// took more than a minute.
	Timeout500 FaultKind = "timeout-500"
	// Failover makes the standby unit active and the active one standby, then does what
	// was asked.
	Failover FaultKind = "failover"
	// RefuseCommit refuses a commit at its Command'th command.
	RefuseCommit FaultKind = "refuse-commit"
	// FailCommit applies nothing and answers a commit with 200 and the state FAILED.
	FailCommit FaultKind = "fail-commit"
)

var faultKinds = []FaultKind{HTML503, JSON503, MCPDLost, NotRegistered, Unauthorized, Unauthorized503, Reset, Hang,
	Slow, ResetAfter, Timeout500, Failover, RefuseCommit, FailCommit}

// Fault is something that goes wrong with the requests that it matches. The zero values
// match every request for ever.
type Fault struct {
	Kind FaultKind
	// Method and Path choose requests: the method, and what the path begins with. With
	// neither, RefuseCommit, FailCommit and ResetAfter choose commits of transactions.
	Method, Path string
	// After is how many matching requests are let through first.
	After int
	// Times is how many requests it hits; 0: all.
	Times int
	// For is how long it lasts by the unit's clock; 0: until it is cleared.
	For time.Duration
	// Delay of Slow.
	Delay time.Duration
	// Command of RefuseCommit: the first is 1; 0 is the last.
	Command int
	// Message of RefuseCommit, in place of the one that it makes up.
	Message string
}

// ActiveFault is a fault that was set on a unit.
type ActiveFault struct {
	Fault
	unit    *Unit
	ends    time.Time
	seen    int
	hits    int
	cleared chan struct{}
}

// Fault sets a fault. Several at once are tried in the order in which they were set; the
// first that matches has its way, except that Slow and Failover leave room for another.
func (u *Unit) Fault(f Fault) *ActiveFault {
	a := &ActiveFault{Fault: f, unit: u, cleared: make(chan struct{})}
	if f.For > 0 {
		a.ends = u.clock.Now().Add(f.For)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.faults = append(u.faults, a)
	return a
}

// Clear ends the fault. Requests that hang come back with their connections broken.
func (a *ActiveFault) Clear() {
	a.unit.mu.Lock()
	defer a.unit.mu.Unlock()
	a.clear()
}

func (a *ActiveFault) clear() {
	select {
	case <-a.cleared:
	default:
		close(a.cleared)
	}
}

// Hits is how many requests the fault has hit.
func (a *ActiveFault) Hits() int {
	a.unit.mu.Lock()
	defer a.unit.mu.Unlock()
	return a.hits
}

// ClearFaults ends all faults of the unit.
func (u *Unit) ClearFaults() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, a := range u.faults {
		a.clear()
	}
	u.faults = nil
}

func (a *ActiveFault) over(now time.Time) bool {
	select {
	case <-a.cleared:
		return true
	default:
	}
	return a.Times > 0 && a.hits >= a.Times || !a.ends.IsZero() && !now.Before(a.ends)
}

func (a *ActiveFault) matches(method, path string) bool {
	if a.Method == "" && a.Path == "" {
		switch a.Kind {
		case RefuseCommit, FailCommit, ResetAfter:
			return isCommit(method, path)
		}
	}
	return (a.Method == "" || a.Method == method) && strings.HasPrefix(path, a.Path)
}

// hit finds the faults that a request runs into, and counts them.
func (u *Unit) hit(method, path string) []*ActiveFault {
	now := u.clock.Now()
	var out []*ActiveFault
	for _, a := range u.faults {
		if a.over(now) || !a.matches(method, path) {
			continue
		}
		a.seen++
		if a.seen <= a.After {
			continue
		}
		a.hits++
		out = append(out, a)
		if a.Kind != Slow && a.Kind != Failover {
			break
		}
	}
	return out
}

// answer is what a fault says instead of doing anything; nil: it is not of that sort.
func (k FaultKind) answer(path string, entry *Request) *reply {
	switch k {
	case HTML503:
		return page(http.StatusServiceUnavailable, "<h1>Configuration Utility restarting...</h1>")
	case JSON503:
		return tmError(http.StatusServiceUnavailable, 32964609, "There is an active asynchronous task executing.")
	case MCPDLost:
		return tmError(http.StatusInternalServerError, 32768001, "The connection to mcpd has been lost, try again.")
	case NotRegistered:
		return notRegistered(path, entry)
	case Unauthorized:
		return noCredentials(path, entry)
	case Unauthorized503:
		return restError(http.StatusUnauthorized, entry, `java.net.ProtocolException: status:503, body:{"code":503,"message":"There is an active asynchronous task executing.","errorStack":[],"apiError":32964609}`)
	}
	return nil
}

func page(status int, text string) *reply {
	return &reply{status: status, html: "<!DOCTYPE html>\n<html><head><title>BIG-IP</title></head><body>" + text + "</body></html>\n"}
}

// UnmarshalText reads the name of a kind.
func (k *FaultKind) UnmarshalText(text []byte) error {
	for _, known := range faultKinds {
		if string(known) == string(text) {
			*k = known
			return nil
		}
	}
	return fmt.Errorf("read a fault: no kind %q among %v", text, faultKinds)
}

package bigip

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/e2e/bigip/internal/state"
)

// idle is how long a transaction is kept without a request for it.
const idle = 120 * time.Second

type transaction struct {
	id      int64
	touched time.Time
	// commands are in the order in which they will be done.
	commands []*queued
	last     int
}

// queued is a command of a transaction.
type queued struct {
	command
	id int
	// address is the path and query of the request, below /mgmt/.
	address  string
	segments []string
}

func isCommit(method, path string) bool {
	rest, found := strings.CutPrefix(path, "/mgmt/tm/transaction/")
	return found && method == http.MethodPatch && !strings.Contains(strings.TrimSuffix(rest, "/"), "/")
}

// expire lets transactions vanish that nobody asked for any more.
func (u *Unit) expire() {
	now := u.clock.Now()
	maps.DeleteFunc(u.transactions, func(_ int64, t *transaction) bool { return now.Sub(t.touched) >= idle })
}

// Transactions is how many transactions are open.
func (u *Unit) Transactions() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.expire()
	return len(u.transactions)
}

func (u *Unit) transaction(id string) (*transaction, *state.Error) {
	u.expire()
	n, err := strconv.ParseInt(id, 10, 64)
	t := u.transactions[n]
	if err != nil || t == nil {
		return nil, &state.Error{HTTP: http.StatusNotFound, API: 1, Message: fmt.Sprintf("transaction %s is not found.", id)}
	}
	t.touched = u.clock.Now()
	return t, nil
}

func (u *Unit) transactionLink(t *transaction, rest string) string {
	return u.view().Link("transaction/"+strconv.FormatInt(t.id, 10)+rest, "")
}

func (u *Unit) transactionBody(t *transaction, status string, validateOnly bool) map[string]any {
	return map[string]any{
		"transId": t.id, "state": status, "timeoutSeconds": int(idle.Seconds()), "asyncExecution": false,
		"validateOnly": validateOnly, "executionTimeout": 300, "executionTime": 0, "failureReason": "",
		"kind": "tm:transactionstate", "selfLink": u.transactionLink(t, ""),
	}
}

// transactionCall answers what is below /mgmt/tm/transaction.
func (u *Unit) transactionCall(c *call) *reply {
	s := c.segments
	if s[1] != "transaction" || len(s) > 5 || len(s) >= 4 && s[3] != "commands" {
		return notRegistered(c.path, c.entry)
	}
	if len(s) == 2 {
		return u.transactionList(c)
	}
	// A commit that names its own transaction in the header is one more command of it.
	if c.entry.Transaction != "" && c.method != http.MethodGet {
		return u.queue(c)
	}
	t, err := u.transaction(s[2])
	if err != nil {
		return refusal(err)
	}
	if len(s) > 3 {
		return u.commandCall(c, t)
	}
	switch c.method {
	case http.MethodGet:
		return ok(u.transactionBody(t, "STARTED", false))
	case http.MethodDelete:
		delete(u.transactions, t.id)
		return &reply{status: http.StatusOK}
	case http.MethodPatch:
		return u.commit(c, t)
	}
	return restError(http.StatusMethodNotAllowed, c.entry, "Method not allowed")
}

func (u *Unit) transactionList(c *call) *reply {
	u.expire()
	switch c.method {
	case http.MethodGet:
		var items []any
		for _, id := range slices.Sorted(maps.Keys(u.transactions)) {
			items = append(items, u.transactionBody(u.transactions[id], "STARTED", false))
		}
		return u.listing(c, "tm:transactioncollectionstate", "transaction", items)
	case http.MethodPost:
		if len(c.body) > 0 {
			return tmError(http.StatusBadRequest, state.APIProperty, "the simulator makes transactions from an empty body only")
		}
		now := u.clock.Now()
		u.lastID = max(u.lastID+1, now.UnixMicro())
		t := &transaction{id: u.lastID, touched: now}
		u.transactions[t.id] = t
		return ok(u.transactionBody(t, "STARTED", false))
	}
	return restError(http.StatusMethodNotAllowed, c.entry, "Method not allowed")
}

// queue puts a command into the transaction that its header names. Whether it can be done
// is seen when the transaction is committed.
func (u *Unit) queue(c *call) *reply {
	t, err := u.transaction(c.entry.Transaction)
	if err != nil {
		return refusal(err)
	}
	t.last++
	q := &queued{command: command{method: c.method, body: c.body, query: c.query}, id: t.last, segments: c.segments}
	q.address = strings.Join(c.segments, "/")
	if c.rawQuery != "" {
		q.address += "?" + c.rawQuery
	}
	t.commands = append(t.commands, q)
	return ok(u.commandBody(t, q))
}

func (u *Unit) commandBody(t *transaction, q *queued) map[string]any {
	body := q.body
	if body == nil {
		body = map[string]any{}
	}
	return map[string]any{
		"method": q.method, "uri": "https://localhost/mgmt/" + q.address, "body": body,
		"evalOrder": slices.Index(t.commands, q) + 1, "commandId": q.id,
		"kind": "tm:transaction:commandsstate", "selfLink": u.transactionLink(t, "/commands/"+strconv.Itoa(q.id)),
	}
}

// commandCall lists, reads, moves and removes the commands of a transaction.
func (u *Unit) commandCall(c *call, t *transaction) *reply {
	if len(c.segments) == 4 {
		if c.method != http.MethodGet {
			return restError(http.StatusMethodNotAllowed, c.entry, "Method not allowed")
		}
		var items []any
		for _, q := range t.commands {
			items = append(items, u.commandBody(t, q))
		}
		return u.listing(c, "tm:transaction:commandscollectionstate", "transaction/"+strconv.FormatInt(t.id, 10)+"/commands", items)
	}
	at := slices.IndexFunc(t.commands, func(q *queued) bool { return strconv.Itoa(q.id) == c.segments[4] })
	if at < 0 {
		return tmError(http.StatusNotFound, 1, fmt.Sprintf("there is no command %s in the transaction.", c.segments[4]))
	}
	q := t.commands[at]
	switch c.method {
	case http.MethodGet:
		return ok(u.commandBody(t, q))
	case http.MethodDelete:
		t.commands = slices.Delete(t.commands, at, at+1)
		return &reply{status: http.StatusOK}
	case http.MethodPatch:
		order, isNumber := c.body["evalOrder"].(float64)
		to := int(order) - 1
		if !isNumber || len(c.body) != 1 || to < 0 || to >= len(t.commands) {
			return tmError(http.StatusBadRequest, state.APIProperty, "evalOrder must be a place in the transaction")
		}
		t.commands = slices.Insert(slices.Delete(t.commands, at, at+1), to, q)
		return ok(u.commandBody(t, q))
	}
	return restError(http.StatusMethodNotAllowed, c.entry, "Method not allowed")
}

// commit does the commands of a transaction, all or none. Either way it is over then.
func (u *Unit) commit(c *call, t *transaction) *reply {
	validateOnly, isBool := false, true
	if v, given := c.body["validateOnly"]; given {
		validateOnly, isBool = v.(bool)
	}
	for name := range c.body {
		if name != "state" && name != "validateOnly" {
			return tmError(http.StatusBadRequest, state.APIProperty, fmt.Sprintf("%q unknown property", name))
		}
	}
	if c.body["state"] != "VALIDATING" || !isBool {
		return tmError(http.StatusBadRequest, state.APIProperty, fmt.Sprintf("invalid property value \"state\":\"%v\"", c.body["state"]))
	}
	if len(t.commands) == 0 {
		return tmError(http.StatusNotFound, 1, "there is no command to commit in the transaction.")
	}
	delete(u.transactions, t.id)
	for _, f := range c.faults {
		if f.Kind == FailCommit {
			body := u.transactionBody(t, "FAILED", validateOnly)
			body["failureReason"] = "transaction failed"
			return ok(body)
		}
	}
	e := u.store.Begin(u.clock.Now())
	for i, q := range t.commands {
		err := u.refused(c, i, len(t.commands))
		if err == nil {
			err = u.execute(e, q)
		}
		if err != nil {
			return tmError(http.StatusBadRequest, state.APITransaction, "transaction failed:"+err.Message)
		}
		e.Transaction = true
	}
	if !validateOnly {
		u.take(e)
	}
	return ok(u.transactionBody(t, "COMPLETED", validateOnly))
}

// refused tells whether a fault refuses the command at a place.
func (u *Unit) refused(c *call, at, of int) *state.Error {
	for _, f := range c.faults {
		if f.Kind != RefuseCommit {
			continue
		}
		k := f.Command
		if k <= 0 || k > of {
			k = of
		}
		if at == k-1 {
			message := f.Message
			if message == "" {
				message = fmt.Sprintf("01070734:3: Configuration error: command %d was refused on demand", k)
			}
			return &state.Error{HTTP: http.StatusBadRequest, Message: message}
		}
	}
	return nil
}

// execute does a command that was queued.
func (u *Unit) execute(e *state.Edit, q *queued) *state.Error {
	if q.segments[0] == "tm" {
		if t, valid := find(q.segments[1:]); valid && !t.stats {
			_, err := u.write(e, t, q.command)
			return err
		}
	}
	return &state.Error{HTTP: http.StatusBadRequest, Message: "/mgmt/" + q.address + " cannot be part of a transaction"}
}

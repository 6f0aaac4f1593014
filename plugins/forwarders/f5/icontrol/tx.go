package icontrol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

var transactionPath = Collection("transaction")

// Command is one request of a transaction. Verb is POST, to a collection, or PATCH or
// DELETE, of an object.
type Command struct {
	Verb string
	Path Path
	Body any
}

// Tx is a transaction: the device carries all its commands out in their order, or none.
// It is for concurrent use, but the order is that in which the calls of Add came.
type Tx struct {
	client *Client
	id     string
	// idle is after how long without a command the device forgets it.
	idle time.Duration

	mu       sync.Mutex
	commands int
	last     time.Time
	// over says why nothing more can be done with it.
	over error
	// gone: the device has no such transaction any more, or nobody knows.
	gone bool
}

// Begin opens a transaction.
func (c *Client) Begin(ctx context.Context) (*Tx, error) {
	var answer struct {
		ID      json.Number `json:"transId"`
		Timeout float64     `json:"timeoutSeconds"`
	}
	// One that was opened without our knowledge ends by itself.
	r := &request{method: http.MethodPost, path: transactionPath, body: []byte("{}"), out: &answer, repeatable: true}
	if err := c.do(ctx, r); err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.Unknown = false
		}
		return nil, err
	}
	if _, err := answer.ID.Int64(); err != nil {
		return nil, &Error{Method: r.method, Path: r.path, HTTP: http.StatusOK, Message: "the answer has no number of a transaction", means: permanent}
	}
	tx := &Tx{client: c, id: answer.ID.String(), last: c.options.Clock.Now(), idle: 120 * time.Second}
	if answer.Timeout > 0 && answer.Timeout < 1e6 {
		tx.idle = time.Duration(answer.Timeout * float64(time.Second))
	}
	return tx, nil
}

// ID is the device's number of the transaction.
func (t *Tx) ID() string { return t.id }

// Len is how many commands it has.
func (t *Tx) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.commands
}

// Add puts a command at the end. The device does not look at objects before the commit.
// After an error the transaction can only be abandoned: it is not what it should be.
func (t *Tx) Add(ctx context.Context, command Command) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable("add to"); err != nil {
		return err
	}
	var queued struct {
		ID *json.Number `json:"commandId"`
	}
	// Queued twice is not the same as once, whatever the command.
	r := &request{method: command.Verb, path: command.Path, transaction: t.id, out: &queued}
	err := t.client.prepare(r, command.Body)
	switch {
	case err != nil:
	case command.Verb != http.MethodPost && command.Verb != http.MethodPatch && command.Verb != http.MethodDelete:
		err = fmt.Errorf("%s %s: a command is POST, PATCH or DELETE", command.Verb, command.Path)
	default:
		err = t.client.do(ctx, r)
	}
	if err == nil && queued.ID == nil {
		err = &Error{
			Method: r.method, Path: r.path, HTTP: http.StatusOK, Unknown: true, means: permanent,
			Message: "the device carried a command out instead of keeping it for the transaction",
		}
	}
	if err != nil {
		t.over = fmt.Errorf("transaction %s lacks a command: %w", t.id, err)
		return err
	}
	t.commands++
	t.last = t.client.options.Clock.Now()
	return nil
}

// Commit has the commands carried out. Nil says that all were. Of the errors,
// ErrUnknownOutcome says that they may have been, and that the caller has to read; after
// any other none was. A transaction is of no use after a Commit, unless the error is
// ErrTransient and not ErrUnknownOutcome: then the device did not look at it, and Commit
// may be called again.
func (t *Tx) Commit(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable("commit"); err != nil {
		return err
	}
	if t.commands == 0 {
		return fmt.Errorf("commit transaction %s: it has no commands", t.id)
	}
	var answer struct {
		State  string `json:"state"`
		Reason string `json:"failureReason"`
	}
	// Without the transaction's header: with it the commit itself would be queued.
	r := &request{method: http.MethodPatch, path: transactionPath.Sub(t.id), out: &answer, timeout: t.client.options.CommitTimeout}
	err := r.encode(map[string]string{"state": "VALIDATING"})
	if err == nil {
		err = t.client.do(ctx, r)
	}
	if err == nil {
		err = t.result(r, answer.State, answer.Reason)
	}
	if err == nil || !errors.Is(err, ErrTransient) || errors.Is(err, ErrUnknownOutcome) {
		t.over, t.gone = fmt.Errorf("transaction %s was committed already", t.id), true
	}
	return err
}

func (t *Tx) result(r *request, state, reason string) error {
	if state == "COMPLETED" {
		return nil
	}
	e := &Error{Method: r.method, Path: r.path, HTTP: http.StatusOK}
	e.Code, e.Message = splitCode(reason)
	e.means = classify(e)
	if state == "FAILED" {
		e.Message = t.client.clean("transaction failed: " + e.Message)
		return e
	}
	// Whether it goes on is known to nobody.
	e.Unknown = true
	e.Message = t.client.clean(fmt.Sprintf("the state of the transaction is %q after the commit: %s", state, e.Message))
	return e
}

// Abandon drops the transaction, if it has not been committed. It is for a defer.
func (t *Tx) Abandon(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return nil
	}
	t.gone = true
	t.over = fmt.Errorf("transaction %s was abandoned", t.id)
	err := t.client.do(ctx, &request{method: http.MethodDelete, path: transactionPath.Sub(t.id), repeatable: true})
	var e *Error
	if errors.As(err, &e) && e.HTTP == http.StatusNotFound && !errors.Is(e, ErrTransient) {
		return nil
	}
	return err
}

func (t *Tx) usable(verb string) error {
	if t.over != nil {
		return fmt.Errorf("%s transaction: %w", verb, t.over)
	}
	if idle := t.client.options.Clock.Now().Sub(t.last); idle >= t.idle {
		t.over = fmt.Errorf("transaction %s has ended: it was without a command for %s", t.id, idle.Round(time.Second))
		t.gone = true
		return fmt.Errorf("%s transaction: %w", verb, t.over)
	}
	return nil
}

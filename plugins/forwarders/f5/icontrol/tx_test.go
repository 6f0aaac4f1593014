package icontrol_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
)

const commits = "PATCH /mgmt/tm/transaction/"

func begin(t *testing.T, c *icontrol.Client) *icontrol.Tx {
	t.Helper()
	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func add(t *testing.T, tx *icontrol.Tx, verb string, path icontrol.Path, body any) {
	t.Helper()
	if err := tx.Add(t.Context(), icontrol.Command{Verb: verb, Path: path, Body: body}); err != nil {
		t.Fatal(err)
	}
}

func TestTransaction(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	tx := begin(t, c)
	for i := range 5 {
		add(t, tx, http.MethodPost, pools, poolBody(fmt.Sprint("p", i)))
	}
	add(t, tx, http.MethodPatch, named("p3"), map[string]any{"description": "x"})
	add(t, tx, http.MethodDelete, named("web"), nil)
	if got := u.names(); len(got) != 1 || tx.Len() != 7 {
		t.Errorf("before the commit of %d commands there are %v", tx.Len(), got)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(u.names()); got != "[/lab/p0 /lab/p1 /lab/p2 /lab/p3 /lab/p4]" {
		t.Errorf("pools are %v", got)
	}
	before := u.asked("")
	if err := tx.Abandon(t.Context()); err != nil || u.asked("") != before {
		t.Errorf("Abandon after Commit: %v", err)
	}
	if err := tx.Commit(t.Context()); err == nil || u.asked("") != before {
		t.Error("a transaction was committed twice")
	}
	if err := tx.Add(t.Context(), icontrol.Command{Verb: http.MethodDelete, Path: named("p0")}); err == nil || u.asked("") != before {
		t.Error("a command was added after the commit")
	}
}

func TestTransactionRefused(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	tx := begin(t, c)
	add(t, tx, http.MethodPost, pools, poolBody("new"))
	add(t, tx, http.MethodPost, pools, poolBody("web"))
	err := tx.Commit(t.Context())
	var e *icontrol.Error
	if !errors.As(err, &e) || e.Code != icontrol.CodeExists || errors.Is(err, icontrol.ErrUnknownOutcome) || errors.Is(err, icontrol.ErrTransient) {
		t.Errorf("the error is %v", err)
	}
	if got := u.names(); len(got) != 1 {
		t.Errorf("half of it was done: %v", got)
	}
}

func TestTransactionAbandoned(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	tx := begin(t, c)
	add(t, tx, http.MethodDelete, named("web"), nil)
	for range 2 {
		if err := tx.Abandon(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if len(u.pending) != 0 || len(u.names()) != 1 || u.asked("DELETE /mgmt/tm/transaction") != 1 {
		t.Errorf("transactions %v, pools %v", u.pending, u.names())
	}
	// The device has forgotten it: that is as good.
	tx = begin(t, c)
	u.set(func() { clear(u.pending) })
	if err := tx.Abandon(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTransactionWithoutCommands(t *testing.T) {
	u := withPool(t)
	tx := begin(t, u.client(t))
	if err := tx.Commit(t.Context()); err == nil || u.asked(commits) != 0 {
		t.Errorf("%d commits, %v", u.asked(commits), err)
	}
	if err := tx.Add(t.Context(), icontrol.Command{Verb: http.MethodPut, Path: named("web"), Body: map[string]any{}}); err == nil || u.asked("PUT") != 0 {
		t.Errorf("%d PUTs, %v", u.asked("PUT"), err)
	}
}

// TestCommitAnswers: only COMPLETED is a success.
func TestCommitAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		answer  func(w http.ResponseWriter)
		unknown bool
		sent    int
	}{
		"failed": {func(w http.ResponseWriter) {
			answer(w, map[string]any{"state": "FAILED", "failureReason": "01070333:3: Virtual Server"})
		}, false, 1},
		"started":  {func(w http.ResponseWriter) { answer(w, map[string]any{"state": "STARTED"}) }, true, 1},
		"no state": {func(w http.ResponseWriter) { answer(w, map[string]any{}) }, true, 1},
		"nothing":  {func(http.ResponseWriter) {}, true, 1},
		"queued":   {func(w http.ResponseWriter) { answer(w, map[string]any{"commandId": 4}) }, true, 1},
		"a page":   {func(w http.ResponseWriter) { page(w, 503, restarting) }, true, 1},
		"too long": {func(w http.ResponseWriter) { page(w, 500, "<html>AsyncContext timeout</html>") }, true, 1},
		"mcpd lost": {func(w http.ResponseWriter) {
			refuse(w, 500, "The connection to mcpd has been lost, try again.", 32768001)
		}, true, 1},
		"mcpd lost2": {func(w http.ResponseWriter) {
			refuse(w, 400, "transaction failed:The connection to mcpd has been lost, try again.", 2)
		}, true, 1},
		"forgotten": {func(w http.ResponseWriter) { refuse(w, 404, "transaction 7 does not exist", 1) }, false, 1},
		"busy for long": {func(w http.ResponseWriter) {
			refuse(w, 503, "There is an active asynchronous task executing.", 32964609)
		}, false, 4},
	} {
		u := withPool(t)
		c := u.client(t)
		tx := begin(t, c)
		add(t, tx, http.MethodPost, pools, poolBody("new"))
		u.set(func() {
			u.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				hit := strings.HasPrefix(r.URL.Path, "/mgmt/tm/transaction/") && r.Method == http.MethodPatch
				if hit {
					test.answer(w)
				}
				return hit
			}
		})
		err := tx.Commit(t.Context())
		if err == nil || errors.Is(err, icontrol.ErrUnknownOutcome) != test.unknown {
			t.Errorf("%s: %v", name, err)
		}
		if got := u.asked(commits); got != test.sent {
			t.Errorf("%s: committed %d times", name, got)
		}
		if name == "failed" && !errors.Is(err, icontrol.ErrAddressTaken) {
			t.Errorf("%s: %v", name, err)
		}
		u.set(func() { u.fault = nil })
		// What was turned away can be tried again, and nothing else.
		err = tx.Commit(t.Context())
		if again := name == "busy for long"; (err == nil) != again || (len(u.names()) == 2) != again {
			t.Errorf("%s, again: %v, pools %v", name, err, u.names())
		}
	}
}

// TestCommitAnswerLost: it was done, and the error says that this is not known.
func TestCommitAnswerLost(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	tx := begin(t, c)
	add(t, tx, http.MethodPost, pools, poolBody("new"))
	u.set(func() { u.lost = func(r *http.Request) bool { return r.Method == http.MethodPatch } })
	err := tx.Commit(t.Context())
	if !errors.Is(err, icontrol.ErrUnknownOutcome) {
		t.Errorf("the error is %v", err)
	}
	if u.asked(commits) != 1 || len(u.names()) != 2 {
		t.Errorf("%d commits, pools %v", u.asked(commits), u.names())
	}
}

func TestCommitGivenUp(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	tx := begin(t, c)
	add(t, tx, http.MethodPost, pools, poolBody("new"))
	ctx, cancel := context.WithCancel(t.Context())
	u.set(func() {
		u.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			cancel()
			hang(w, r)
			return true
		}
	})
	if err := tx.Commit(ctx); !errors.Is(err, icontrol.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// TestCommitAfterTokenEnded: the refusal came before anything was done.
func TestCommitAfterTokenEnded(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	tx := begin(t, c)
	add(t, tx, http.MethodPost, pools, poolBody("new"))
	u.set(func() { clear(u.tokens) })
	if err := tx.Commit(t.Context()); err != nil {
		t.Errorf("the error is %v", err)
	}
	if u.asked(commits) != 2 || len(u.names()) != 2 {
		t.Errorf("%d commits, pools %v", u.asked(commits), u.names())
	}
}

// TestAddAnswerLost: a command may be there or not; the transaction is not committed.
func TestAddAnswerLost(t *testing.T) {
	for _, verb := range []string{http.MethodPost, http.MethodPatch, http.MethodDelete} {
		u := withPool(t)
		c := u.client(t)
		tx := begin(t, c)
		var once atomic.Bool
		u.set(func() {
			u.lost = func(r *http.Request) bool {
				return r.Header.Get("X-F5-REST-Coordination-Id") != "" && once.CompareAndSwap(false, true)
			}
		})
		path := named("web")
		if verb == http.MethodPost {
			path = pools
		}
		if err := tx.Add(t.Context(), icontrol.Command{Verb: verb, Path: path, Body: map[string]any{"name": "a", "partition": "lab"}}); !errors.Is(err, icontrol.ErrUnknownOutcome) {
			t.Errorf("%s: %v", verb, err)
		}
		if err := tx.Add(t.Context(), icontrol.Command{Verb: http.MethodDelete, Path: named("web")}); err == nil {
			t.Errorf("%s: another command was added", verb)
		}
		if err := tx.Commit(t.Context()); err == nil || u.asked(commits) != 0 {
			t.Errorf("%s: it was committed: %v", verb, err)
		}
		if err := tx.Abandon(t.Context()); err != nil || len(u.pending) != 0 {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

// TestAddCarriedOut: a device that ignores the header must not be taken for one that queues.
func TestAddCarriedOut(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	tx := begin(t, c)
	u.set(func() {
		u.fault = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
			r.Header.Del("X-F5-REST-Coordination-Id")
			return false
		}
	})
	err := tx.Add(t.Context(), icontrol.Command{Verb: http.MethodPatch, Path: named("web"), Body: map[string]any{"description": "x"}})
	if !errors.Is(err, icontrol.ErrUnknownOutcome) || !strings.Contains(err.Error(), "instead of keeping it") {
		t.Errorf("the error is %v", err)
	}
}

// TestTransactionEnds: a device forgets one that is left alone.
func TestTransactionEnds(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	tx := begin(t, c)
	for range 10 {
		u.clock.advance(100 * time.Second)
		add(t, tx, http.MethodDelete, named("web"), nil)
	}
	u.clock.advance(120 * time.Second)
	before := u.asked("")
	if err := tx.Commit(t.Context()); err == nil || errors.Is(err, icontrol.ErrUnknownOutcome) || u.asked("") != before {
		t.Errorf("the error is %v", err)
	}
}

func TestBeginAnswers(t *testing.T) {
	for name, state := range map[string]map[string]any{"nothing": {}, "a word": {"transId": "x/../y"}, "a fraction": {"transId": 1.5}} {
		u := newUnit(t)
		c := u.client(t)
		u.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			hit := strings.HasPrefix(r.URL.Path, "/mgmt/tm/transaction")
			if hit {
				answer(w, state)
			}
			return hit
		}
		if tx, err := c.Begin(t.Context()); err == nil {
			t.Errorf("%s: it began %s", name, tx.ID())
		}
	}
}

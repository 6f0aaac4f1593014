package icontrol_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
)

// TestKilledOften: processes that never get to Close do not use up the user's tokens.
func TestKilledOften(t *testing.T) {
	u := withPool(t)
	u.limit = 5
	file := filepath.Join(t.TempDir(), "tokens")
	for range 15 {
		c := u.client(t, func(o *icontrol.Options) { o.Keeper = icontrol.KeepIn(file) })
		get(t, c, "web")
		eventually(t, "no request under way", func() bool { return settled(u, file) })
	}
	if got := u.live(); got != 1 {
		t.Errorf("%d tokens after 15 processes", got)
	}
	c := u.client(t, func(o *icontrol.Options) { o.Keeper = icontrol.KeepIn(file) })
	get(t, c, "web")
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) || u.live() != 0 {
		t.Errorf("after Close: %v, %d tokens", err, u.live())
	}
}

// settled: the file has the one token that lives.
func settled(u *unit, file string) bool {
	tokens, err := icontrol.KeepIn(file).Load()
	if err != nil || len(tokens) != 1 || u.live() != 1 {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	_, ok := u.tokens[string(tokens[0])]
	return ok
}

// TestKeptBeforeUse: whenever the process is killed, what is stored is what lives.
func TestKeptBeforeUse(t *testing.T) {
	u := withPool(t)
	file := filepath.Join(t.TempDir(), "tokens")
	missing := 0
	u.fault = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		token := r.Header.Get("X-F5-Auth-Token")
		tokens, _ := icontrol.KeepIn(file).Load()
		if token != "" && !slices.Contains(tokens, icontrol.Secret(token)) {
			u.set(func() { missing++ })
		}
		return false
	}
	c := u.client(t, func(o *icontrol.Options) { o.Keeper = icontrol.KeepIn(file) })
	for range 5 {
		get(t, c, "web")
		u.set(func() { clear(u.tokens) })
	}
	if missing != 0 {
		t.Errorf("%d requests with a token that was not stored", missing)
	}
}

// TestLeftTokenIsKept: what Close could not delete, the next one does.
func TestLeftTokenIsKept(t *testing.T) {
	u := withPool(t)
	file := filepath.Join(t.TempDir(), "tokens")
	keep := func(o *icontrol.Options) { o.Keeper = icontrol.KeepIn(file) }
	c := u.client(t, keep)
	get(t, c, "web")
	u.set(func() {
		u.fault = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool { page(w, 503, restarting); return true }
	})
	if err := c.Close(t.Context()); err == nil || u.live() != 1 {
		t.Fatalf("%d tokens, %v", u.live(), err)
	}
	u.set(func() { u.fault = nil })
	get(t, u.client(t, keep), "web")
	eventually(t, "one token", func() bool { return settled(u, file) })
}

func TestFileKeeper(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	k := icontrol.KeepIn(file)
	if got, err := k.Load(); err != nil || got != nil {
		t.Errorf("at first: %v, %v", got, err)
	}
	if err := k.Store(nil); err != nil {
		t.Error(err)
	}
	if err := k.Store([]icontrol.Secret{"A1", "B2"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	if got, err := k.Load(); err != nil || !slices.Equal(got, []icontrol.Secret{"A1", "B2"}) {
		t.Errorf("loaded %q, %v", got, err)
	}
	if err := os.WriteFile(file, []byte("A1\n../x\n..\nB2\r\n\x00\n"+strings.Repeat("C", 600)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := k.Load(); err != nil || !slices.Equal(got, []icontrol.Secret{"A1", "B2"}) {
		t.Errorf("loaded from a spoiled file: %d tokens, %v", len(got), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
		t.Errorf("files left: %v, %v", entries, err)
	}
}

// TestKeeperFails: the client works on, and says so without the token.
func TestKeeperFails(t *testing.T) {
	u := withPool(t)
	log := &records{}
	c := u.client(t, func(o *icontrol.Options) {
		o.Keeper, o.Logger = icontrol.KeepIn(filepath.Join(t.TempDir(), "none", "tokens")), log
	})
	get(t, c, "web")
	if got := log.all(); !strings.Contains(got, "could not be stored") || strings.Contains(got, "TOKEN0") {
		t.Errorf("the log is %q", got)
	}
}

type records struct {
	mu    sync.Mutex
	texts []string
}

func (r *records) Debug(message string, args ...any) { r.Warn(message, args...) }

func (r *records) Warn(message string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range args {
		if text, ok := a.(string); ok {
			message += " " + text
		}
	}
	r.texts = append(r.texts, message)
}

func (r *records) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.texts, "\n")
}

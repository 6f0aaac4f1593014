package icontrol_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
)

const (
	logins  = "POST /mgmt/shared/authn/login"
	renewed = "PATCH /mgmt/shared/authz/tokens/"
	deleted = "DELETE /mgmt/shared/authz/tokens/"
)

// eventually waits for what a goroutine of the client's does by itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within 5 s: %s", what)
}

func get(t *testing.T, c *icontrol.Client, name string) {
	t.Helper()
	if err := c.Get(t.Context(), named(name), nil, nil); err != nil {
		t.Fatal(err)
	}
}

func withPool(t *testing.T) *unit {
	u := newUnit(t)
	u.pools["/lab/web"] = map[string]any{"name": "web", "partition": "lab", "fullPath": "/lab/web"}
	return u
}

func TestOneLoginForMany(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	if u.asked("") != 0 {
		t.Error("something was sent before the first request")
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := c.Get(t.Context(), named("web"), nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := u.asked(logins); got != 1 {
		t.Errorf("%d logins", got)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if u.live() != 0 {
		t.Errorf("%d tokens after Close", u.live())
	}
	if err := c.Get(t.Context(), named("web"), nil, nil); !errors.Is(err, icontrol.ErrClosed) {
		t.Errorf("a request after Close: %v", err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

// TestTokenIsRenewed: four hours of a request every minute on one token, and a day on few.
func TestTokenIsRenewed(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	for range 4 * 60 {
		get(t, c, "web")
		// It is on a goroutine of its own, for which no time passes here.
		eventually(t, "no renewal under way", c.Quiet)
		u.clock.advance(time.Minute)
	}
	if got := u.asked(logins); got != 1 {
		t.Errorf("%d logins in four hours", got)
	}
	if c.Stats().Renewals < 3 {
		t.Errorf("%d renewals in four hours", c.Stats().Renewals)
	}
	for range 20 * 60 {
		get(t, c, "web")
		eventually(t, "no renewal under way", c.Quiet)
		u.clock.advance(time.Minute)
		if u.live() > 1 {
			eventually(t, "one token", func() bool { return u.live() <= 1 })
		}
	}
	// A token becomes 10 hours old at most.
	if got := u.asked(logins); got < 2 || got > 6 {
		t.Errorf("%d logins in a day", got)
	}
}

func TestTokenEndsWhileIdle(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	get(t, c, "web")
	u.clock.advance(19*time.Minute + 30*time.Second)
	// It lives, but not long enough to be relied on.
	get(t, c, "web")
	if got := u.asked(logins); got != 2 {
		t.Errorf("%d logins", got)
	}
	eventually(t, "the old token is deleted", func() bool { return u.live() == 1 })
	u.clock.advance(time.Hour)
	get(t, c, "web")
	if got := u.asked(logins); got != 3 {
		t.Errorf("%d logins after the end of the token", got)
	}
	if n := c.Stats().Requests[icontrol.Outcome{Method: http.MethodGet, HTTP: 401}]; n != 0 {
		t.Errorf("%d requests with a token that had ended", n)
	}
}

// TestDeviceForgets: the device was restarted and knows no token.
func TestDeviceForgets(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	get(t, c, "web")
	u.set(func() { clear(u.tokens) })
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := c.Get(t.Context(), named("web"), nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := u.asked(logins); got != 2 {
		t.Errorf("%d logins", got)
	}
	if slept := u.clock.sleeps(); len(slept) != 0 {
		t.Errorf("it waited %v before the new login", slept)
	}
	u.set(func() { clear(u.tokens) })
	if err := c.Post(t.Context(), pools, poolBody("new"), nil); err != nil {
		t.Errorf("a POST whose token was refused: %v", err)
	}
	if got := u.names(); len(got) != 2 {
		t.Errorf("pools are %v", got)
	}
}

// TestFlap: a device under load refuses good tokens for a while.
func TestFlap(t *testing.T) {
	for _, times := range []int{1, 2, 3} {
		u := withPool(t)
		c := u.client(t)
		get(t, c, "web")
		left := times
		u.set(func() {
			u.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				u.mu.Lock()
				defer u.mu.Unlock()
				if r.Method != http.MethodGet || left == 0 {
					return false
				}
				left--
				refuse(w, 401, "Authorization failed: no user authentication header or token detected. Uri:http://localhost:8100/mgmt/tm/ltm/pool", 0)
				return true
			}
		})
		get(t, c, "web")
		if got := u.asked(logins); got != 2 {
			t.Errorf("%d refusals: %d logins", times, got)
		}
		if got, want := len(u.clock.sleeps()), max(0, times-1); got != want {
			t.Errorf("%d refusals: waited %d times, not %d", times, got, want)
		}
		eventually(t, "one token", func() bool { return u.live() == 1 })
	}
}

// TestFlapForLong: refused for good is transient, and costs one login a request.
func TestFlapForLong(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	u.set(func() {
		u.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.Method == http.MethodGet {
				refuse(w, 401, "Authorization failed: no user authentication header or token detected.", 0)
			}
			return r.Method == http.MethodGet
		}
	})
	err := c.Get(t.Context(), named("web"), nil, nil)
	if !errors.Is(err, icontrol.ErrTransient) || errors.Is(err, icontrol.ErrAuth) {
		t.Errorf("the error is %v", err)
	}
	if got := u.asked(logins); got != 2 {
		t.Errorf("%d logins", got)
	}
	u.set(func() { u.fault = nil })
	get(t, c, "web")
	eventually(t, "one token", func() bool { return u.live() == 1 })
}

// TestCloseWhileLoggingIn: the token that comes is deleted.
func TestCloseWhileLoggingIn(t *testing.T) {
	u := withPool(t)
	reached, release := make(chan struct{}), make(chan struct{})
	u.fault = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.URL.Path == "/mgmt/shared/authn/login" {
			close(reached)
			<-release
		}
		return false
	}
	c := u.client(t)
	done := make(chan struct{})
	go func() { _ = c.Get(t.Context(), named("web"), nil, nil); close(done) }()
	<-reached
	go func() { time.Sleep(20 * time.Millisecond); close(release) }()
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	<-done
	if u.live() != 0 {
		t.Errorf("%d tokens after Close", u.live())
	}
}

func TestCloseIsBounded(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	get(t, c, "web")
	u.set(func() {
		u.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool { hang(w, r); return true }
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := c.Close(ctx)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("Close took %s", took)
	}
	if err == nil || !strings.Contains(err.Error(), "a token is left") {
		t.Errorf("the error is %v", err)
	}
}

// TestRenewalFails: the token is used to its end, then there is a new one.
func TestRenewalFails(t *testing.T) {
	for name, refusal := range map[string]func(http.ResponseWriter){
		"transient": func(w http.ResponseWriter) { page(w, 503, restarting) },
		"refused":   func(w http.ResponseWriter) { refuse(w, 406, "Auth-token absolute timeout (36000 seconds) exceeded", 0) },
		"no answer": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"no times":  func(w http.ResponseWriter) { answer(w, map[string]any{}) },
	} {
		u := withPool(t)
		u.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.Method != http.MethodPatch {
				return false
			}
			refusal(w)
			return true
		}
		c := u.client(t)
		for range 60 {
			get(t, c, "web")
			eventually(t, "no renewal under way", c.Quiet)
			u.clock.advance(time.Minute)
		}
		if got := u.asked(logins); got < 3 || got > 8 {
			t.Errorf("%s: %d logins in an hour", name, got)
		}
		if got := u.asked(renewed); got < 3 || got > 40 {
			t.Errorf("%s: %d renewals in an hour", name, got)
		}
		eventually(t, name+": one token", func() bool { return u.live() <= 1 })
	}
}

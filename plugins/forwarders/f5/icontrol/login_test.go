package icontrol_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
)

func TestWrongPassword(t *testing.T) {
	u := withPool(t)
	c := u.client(t, func(o *icontrol.Options) { o.Password = "other-pass" })
	err := c.Get(t.Context(), named("web"), nil, nil)
	if !errors.Is(err, icontrol.ErrAuth) || errors.Is(err, icontrol.ErrTransient) {
		t.Errorf("the error is %v", err)
	}
	if got := u.asked(logins); got != 1 {
		t.Errorf("%d logins with a wrong password, which may lock the user out", got)
	}
	if strings.Contains(err.Error(), "other-pass") {
		t.Errorf("the error says the password: %v", err)
	}
	// The device was wrong, as it is under load.
	u.set(func() {
		u.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.URL.Path != "/mgmt/shared/authn/login" {
				return false
			}
			u.mu.Lock()
			defer u.mu.Unlock()
			u.login(w, []byte(`{"username":"poise","password":"s3cr\"et&wörd","loginProviderName":"tmos"}`))
			return true
		}
	})
	get(t, c, "web")
}

func TestTooManyTokens(t *testing.T) {
	u := withPool(t)
	for range 100 {
		u.set(func() {
			u.made++
			u.tokens[strings.Repeat("X", u.made)] = stamps{u.clock.Now(), u.clock.Now().Add(time.Hour)}
		})
	}
	c := u.client(t)
	if err := c.Get(t.Context(), named("web"), nil, nil); !errors.Is(err, icontrol.ErrTransient) {
		t.Errorf("the error is %v", err)
	}
	if u.live() != 100 {
		t.Errorf("%d tokens: those of others were touched", u.live())
	}
}

// TestLoginGoesOn: a caller that gives up does not cost a token.
func TestLoginGoesOn(t *testing.T) {
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
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { failed <- c.Get(ctx, named("web"), nil, nil) }()
	<-reached
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	close(release)
	get(t, c, "web")
	if u.asked(logins) != 1 || u.live() != 1 {
		t.Errorf("%d logins, %d tokens", u.asked(logins), u.live())
	}
}

// TestLoginAnswers that cannot be used are said to be so, and never repeated in an error.
func TestLoginAnswers(t *testing.T) {
	for name, state := range map[string]map[string]any{
		"nothing":      {},
		"no times":     {"token": "SECRETTOKEN"},
		"ended":        {"token": "SECRETTOKEN", "lastUpdateMicros": 5, "expirationMicros": 5},
		"backwards":    {"token": "SECRETTOKEN", "lastUpdateMicros": 5, "expirationMicros": 1},
		"a path":       {"token": "../SECRETTOKEN", "lastUpdateMicros": 1, "expirationMicros": 1200000001},
		"two lines":    {"token": "SECRETTOKEN\r\nX: y", "lastUpdateMicros": 1, "expirationMicros": 1200000001},
		"out of range": {"token": "SECRETTOKEN", "lastUpdateMicros": 1, "expirationMicros": int64(1) << 62},
		"not a number": {"token": "SECRETTOKEN", "lastUpdateMicros": "SECRETTOKEN", "expirationMicros": 1},
	} {
		u := newUnit(t)
		u.fault = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			answer(w, map[string]any{"token": state})
			return true
		}
		err := u.client(t).Get(t.Context(), named("web"), nil, nil)
		if err == nil || strings.Contains(err.Error(), "SECRETTOKEN") || !strings.HasPrefix(err.Error(), "POST /mgmt/shared/authn/login: ") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

// TestUnavailableInside: a 401 around a 503 is no reason to log in again.
func TestUnavailableInside(t *testing.T) {
	for _, target := range []string{"/mgmt/shared/authn/login", "/mgmt/tm/ltm/pool/~lab~web"} {
		u := withPool(t)
		left := 2
		u.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			u.mu.Lock()
			defer u.mu.Unlock()
			if r.URL.Path != target || left == 0 {
				return false
			}
			left--
			refuse(w, 401, `java.net.ProtocolException: status:503, body:{"code":503,"message":"There is an active asynchronous task executing."}`, 0)
			return true
		}
		c := u.client(t)
		get(t, c, "web")
		if slept := u.clock.sleeps(); len(slept) != 2 {
			t.Errorf("%s: waited %v", target, slept)
		}
		if u.live() != 1 {
			t.Errorf("%s: %d tokens", target, u.live())
		}
	}
}

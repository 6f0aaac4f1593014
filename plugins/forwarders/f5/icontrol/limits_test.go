package icontrol_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
)

// TestSlow: a device that does not answer, or drips, costs one timeout an attempt.
func TestSlow(t *testing.T) {
	for name, what := range map[string]func(http.ResponseWriter, *http.Request){
		"hung": hang,
		"drips": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(5 * time.Millisecond)
			}
		},
	} {
		u := withPool(t)
		c := u.client(t, func(o *icontrol.Options) { o.RequestTimeout = 300 * time.Millisecond })
		get(t, c, "web")
		onPools(u, 1, what)
		start := time.Now()
		get(t, c, "web")
		if took := time.Since(start); took < 300*time.Millisecond || took > 5*time.Second {
			t.Errorf("%s: it took %s", name, took)
		}
		onPools(u, -1, what)
		err := c.Post(t.Context(), pools, poolBody("new"), nil)
		if !errors.Is(err, icontrol.ErrUnknownOutcome) || !errors.Is(err, icontrol.ErrTransient) || !strings.Contains(err.Error(), "no answer within 300ms") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLargeAnswer(t *testing.T) {
	u := withPool(t)
	c := u.client(t, func(o *icontrol.Options) { o.MaxBody = 10_000 })
	answerOf := func(n int) {
		onPools(u, -1, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `"`+strings.Repeat("x", n-2)+`"`)
		})
	}
	var out string
	answerOf(10_000)
	if err := c.Get(t.Context(), named("web"), nil, &out); err != nil || len(out) != 9_998 {
		t.Errorf("an answer of the limit: %v", err)
	}
	for _, n := range []int{10_001, 5_000_000} {
		answerOf(n)
		err := c.Get(t.Context(), named("web"), nil, &out)
		if !errors.Is(err, icontrol.ErrTooLarge) || errors.Is(err, icontrol.ErrTransient) || !strings.Contains(err.Error(), "10000") {
			t.Errorf("an answer of %d bytes: %v", n, err)
		}
	}
	if err := c.Post(t.Context(), pools, poolBody("new"), &out); !errors.Is(err, icontrol.ErrUnknownOutcome) {
		t.Errorf("a POST whose answer is too large: %v", err)
	}
	onPools(u, -1, func(w http.ResponseWriter, _ *http.Request) { page(w, 400, strings.Repeat("<p>word</p>", 1_000_000)) })
	if err := c.Get(t.Context(), named("web"), nil, nil); err == nil || len(err.Error()) > 1000 {
		t.Errorf("a large refusal: %d bytes", len(err.Error()))
	}
}

func TestRedirect(t *testing.T) {
	var reached atomic.Bool
	other := newUnit(t)
	other.fault = func(http.ResponseWriter, *http.Request, []byte) bool { reached.Store(true); return false }
	u := withPool(t)
	c := u.client(t)
	onPools(u, -1, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	err := c.Get(t.Context(), named("web"), nil, nil)
	if err == nil || errors.Is(err, icontrol.ErrTransient) || !strings.Contains(err.Error(), "redirect") || reached.Load() {
		t.Errorf("the error is %v; followed: %v", err, reached.Load())
	}
}

func TestCertificate(t *testing.T) {
	u := withPool(t)
	for name, change := range map[string]func(*icontrol.Options){
		"unknown authority": func(o *icontrol.Options) { o.RootCAs = x509.NewCertPool() },
		"of the system":     func(o *icontrol.Options) { o.RootCAs = nil },
		"other name":        func(o *icontrol.Options) { o.ServerName = "bigip.example.net" },
	} {
		err := u.client(t, change).Get(t.Context(), named("web"), nil, nil)
		if err == nil || errors.Is(err, icontrol.ErrTransient) || !strings.Contains(err.Error(), "not trusted") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if u.asked("") != 0 {
		t.Errorf("%d requests were sent to a device that is not trusted", u.asked(""))
	}
}

// TestNobodyThere: nothing can have been done.
func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	u := newUnit(t)
	c := u.client(t, func(o *icontrol.Options) { o.Address = address })
	err = c.Post(t.Context(), pools, poolBody("web"), nil)
	if !errors.Is(err, icontrol.ErrTransient) || errors.Is(err, icontrol.ErrUnknownOutcome) {
		t.Errorf("the error is %v", err)
	}
	var e *icontrol.Error
	if !errors.As(err, &e) || e.HTTP != 0 {
		t.Errorf("the error is %#v", err)
	}
}

// TestConnections: at most two, and they are kept.
func TestConnections(t *testing.T) {
	u := newUnit(t)
	u.pools["/lab/web"] = map[string]any{"name": "web"}
	var open, opened, most atomic.Int64
	c := u.client(t)
	get(t, c, "web")
	onPools(u, -1, func(w http.ResponseWriter, _ *http.Request) {
		now := open.Add(1)
		defer open.Add(-1)
		opened.Add(1)
		for {
			have := most.Load()
			if now <= have || most.CompareAndSwap(have, now) {
				break
			}
		}
		time.Sleep(2 * time.Millisecond)
		answer(w, map[string]any{})
	})
	var remotes sync.Map
	u.set(func() {
		inner := u.fault
		u.fault = func(w http.ResponseWriter, r *http.Request, b []byte) bool {
			remotes.Store(r.RemoteAddr, true)
			return inner(w, r, b)
		}
	})
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() { _ = c.Get(t.Context(), named("web"), nil, nil) })
	}
	all.Wait()
	n := 0
	remotes.Range(func(any, any) bool { n++; return true })
	if opened.Load() != 40 || most.Load() > 2 || n > 2 {
		t.Errorf("%d requests, %d at a time, over %d connections", opened.Load(), most.Load(), n)
	}
}

// TestContextEndsWaiting: with the real clock, because what is tested is that it ends.
func TestContextEndsWaiting(t *testing.T) {
	u := withPool(t)
	c := u.client(t, func(o *icontrol.Options) { o.Clock = nil })
	ctx, cancel := context.WithCancel(t.Context())
	onPools(u, -1, func(w http.ResponseWriter, _ *http.Request) {
		page(w, 503, restarting)
		time.AfterFunc(20*time.Millisecond, cancel)
	})
	start := time.Now()
	err := c.Get(ctx, named("web"), nil, nil)
	if took := time.Since(start); took > 900*time.Millisecond {
		t.Errorf("it took %s", took)
	}
	if !errors.Is(err, context.Canceled) || !errors.Is(err, icontrol.ErrTransient) || !strings.Contains(err.Error(), "restarting") {
		t.Errorf("the error is %v", err)
	}
}

func TestContextEndsRequest(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	get(t, c, "web")
	ctx, cancel := context.WithCancel(t.Context())
	onPools(u, -1, func(w http.ResponseWriter, r *http.Request) { cancel(); hang(w, r) })
	err := c.Get(ctx, named("web"), nil, nil)
	if !errors.Is(err, context.Canceled) || errors.Is(err, icontrol.ErrTransient) || errors.Is(err, icontrol.ErrUnknownOutcome) {
		t.Errorf("a GET that was given up: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	onPools(u, -1, func(w http.ResponseWriter, r *http.Request) { cancel(); hang(w, r) })
	err = c.Post(ctx, pools, poolBody("new"), nil)
	if !errors.Is(err, icontrol.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) || errors.Is(err, icontrol.ErrTransient) {
		t.Errorf("a POST that was given up: %v", err)
	}
}

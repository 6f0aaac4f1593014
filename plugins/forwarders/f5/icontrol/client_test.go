package icontrol_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
)

const poolsPath = "/mgmt/tm/ltm/pool"

// onPools makes a fault of what happens to requests for pools, some times. -1 is always.
func onPools(u *unit, times int, what func(w http.ResponseWriter, r *http.Request)) {
	left := times
	u.set(func() {
		u.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if !strings.HasPrefix(r.URL.Path, poolsPath) {
				return false
			}
			u.mu.Lock()
			hit := left != 0
			if hit {
				left--
			}
			u.mu.Unlock()
			if hit {
				what(w, r)
			}
			return hit
		}
	})
}

func reset(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// hang never answers. An answer to a client that is hanging up might still arrive.
func hang(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

func TestObjects(t *testing.T) {
	u := newUnit(t)
	c := u.client(t)
	var made struct{ FullPath string }
	if err := c.Post(t.Context(), pools, poolBody("web"), &made); err != nil || made.FullPath != "/lab/web" {
		t.Errorf("POST: %+v, %v", made, err)
	}
	if err := c.Post(t.Context(), pools, poolBody("web"), nil); !errors.Is(err, icontrol.ErrConflict) {
		t.Errorf("POST again: %v", err)
	}
	if err := c.Patch(t.Context(), named("web"), map[string]any{"description": "x", "slowRampTime": 0}, nil); err != nil {
		t.Errorf("PATCH: %v", err)
	}
	var read map[string]any
	if err := c.Get(t.Context(), named("web"), url.Values{"$select": {"name"}}, &read); err != nil || read["description"] != "x" || read["slowRampTime"] != 0.0 {
		t.Errorf("GET: %v, %v", read, err)
	}
	if err := c.Delete(t.Context(), named("web")); err != nil {
		t.Errorf("DELETE: %v", err)
	}
	if err := c.Delete(t.Context(), named("web")); !errors.Is(err, icontrol.ErrNotFound) {
		t.Errorf("DELETE again: %v", err)
	}
	if err := c.Get(t.Context(), named("web"), nil, nil); !errors.Is(err, icontrol.ErrNotFound) {
		t.Errorf("GET of nothing: %v", err)
	}
	if u.asked("PUT") != 0 {
		t.Error("a PUT was sent")
	}
}

// TestTransient: what passes is waited for, of whatever method, as long as the device
// cannot have done it.
func TestTransient(t *testing.T) {
	for name, what := range map[string]func(http.ResponseWriter, *http.Request){
		"not registered": func(w http.ResponseWriter, r *http.Request) {
			refuse(w, 404, "Public URI path not registered: "+r.URL.Path, 0)
		},
		"busy": func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, 503, "There is an active asynchronous task executing.", 32964609)
		},
		"too many": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) },
	} {
		u := withPool(t)
		c := u.client(t)
		for method, do := range map[string]func() error{
			"GET":    func() error { return c.Get(t.Context(), named("web"), nil, nil) },
			"POST":   func() error { return c.Post(t.Context(), pools, poolBody("new"), nil) },
			"PATCH":  func() error { return c.Patch(t.Context(), named("web"), map[string]any{"description": "x"}, nil) },
			"DELETE": func() error { return c.Delete(t.Context(), named("web")) },
		} {
			u.set(func() {
				u.pools["/lab/web"] = map[string]any{"name": "web"}
				delete(u.pools, "/lab/new")
			})
			before := u.asked(method + " " + poolsPath)
			onPools(u, 2, what)
			if err := do(); err != nil {
				t.Errorf("%s %s: %v", name, method, err)
			}
			if got := u.asked(method+" "+poolsPath) - before; got != 3 {
				t.Errorf("%s %s: sent %d times", name, method, got)
			}
			before += 3
			onPools(u, -1, what)
			if err := do(); !errors.Is(err, icontrol.ErrTransient) || errors.Is(err, icontrol.ErrUnknownOutcome) {
				t.Errorf("%s %s, for ever: %v", name, method, err)
			}
			if got := u.asked(method+" "+poolsPath) - before; got != 4 {
				t.Errorf("%s %s, for ever: sent %d times", name, method, got)
			}
		}
	}
}

// TestMayBeDone: what nobody knows is repeated if that does no harm, and only then.
func TestMayBeDone(t *testing.T) {
	for name, what := range map[string]func(http.ResponseWriter, *http.Request){
		"reset":    reset,
		"a page":   func(w http.ResponseWriter, _ *http.Request) { page(w, 503, restarting) },
		"too long": func(w http.ResponseWriter, _ *http.Request) { page(w, 500, "<html>AsyncContext timeout</html>") },
		"mcpd lost": func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, 500, "The connection to mcpd has been lost, try again.", 32768001)
		},
		"mcpd says nothing": func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, 400, "can't get object count from mcpd", 0)
		},
		"half an answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"name":`)
		},
		"a page of success": func(w http.ResponseWriter, _ *http.Request) { page(w, 200, restarting) },
	} {
		u := withPool(t)
		c := u.client(t)
		var out map[string]any
		for _, do := range []func() error{
			func() error { return c.Get(t.Context(), named("web"), nil, &out) },
			func() error { return c.Patch(t.Context(), named("web"), map[string]any{"description": "x"}, &out) },
		} {
			onPools(u, 1, what)
			if err := do(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		before := u.asked("POST " + poolsPath)
		onPools(u, -1, what)
		err := c.Post(t.Context(), pools, poolBody("new"), &out)
		if !errors.Is(err, icontrol.ErrUnknownOutcome) || !errors.Is(err, icontrol.ErrTransient) {
			t.Errorf("%s: POST: %v", name, err)
		}
		if got := u.asked("POST "+poolsPath) - before; got != 1 {
			t.Errorf("%s: POST was sent %d times", name, got)
		}
		if err := c.Get(t.Context(), named("web"), nil, &out); !errors.Is(err, icontrol.ErrTransient) || errors.Is(err, icontrol.ErrUnknownOutcome) {
			t.Errorf("%s, for ever: GET: %v", name, err)
		}
		if err := c.Patch(t.Context(), named("web"), map[string]any{"description": "x"}, &out); !errors.Is(err, icontrol.ErrTransient) || !errors.Is(err, icontrol.ErrUnknownOutcome) {
			t.Errorf("%s, for ever: PATCH: %v", name, err)
		}
	}
}

// TestDeleteAnswerLost: that it is gone now is what was asked for.
func TestDeleteAnswerLost(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	var once atomic.Bool
	u.lost = func(r *http.Request) bool { return r.Method == http.MethodDelete && once.CompareAndSwap(false, true) }
	if err := c.Delete(t.Context(), named("web")); err != nil {
		t.Error(err)
	}
	if len(u.names()) != 0 || u.asked("DELETE "+poolsPath) != 2 {
		t.Errorf("pools %v after %d requests", u.names(), u.asked("DELETE "+poolsPath))
	}
}

func TestPostAnswerLost(t *testing.T) {
	u := newUnit(t)
	c := u.client(t)
	u.lost = func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, poolsPath) }
	if err := c.Post(t.Context(), pools, poolBody("web"), nil); !errors.Is(err, icontrol.ErrUnknownOutcome) {
		t.Error(err)
	}
	if got := u.names(); len(got) != 1 {
		t.Errorf("pools are %v", got)
	}
}

func TestBackOff(t *testing.T) {
	u := withPool(t)
	c := u.client(t, func(o *icontrol.Options) { o.Retry = icontrol.Retry{Attempts: 12} })
	onPools(u, -1, func(w http.ResponseWriter, _ *http.Request) { page(w, 503, restarting) })
	if err := c.Get(t.Context(), named("web"), nil, nil); err == nil {
		t.Fatal("no error")
	}
	slept := u.clock.sleeps()
	if len(slept) != 11 {
		t.Fatalf("waited %v", slept)
	}
	for i, d := range slept {
		if ceiling := min(time.Minute, time.Second<<(i+1)); d < time.Second || d > ceiling {
			t.Errorf("wait %d was %s, not 1 s to %s", i, d, ceiling)
		}
	}
	if slices.Max(slept) < 5*time.Second {
		t.Errorf("the waits do not grow: %v", slept)
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

func TestAllowed(t *testing.T) {
	u := withPool(t)
	c := u.client(t, func(o *icontrol.Options) { o.Allowed = icontrol.Within("lab") })
	other := pools.Object(icontrol.Name{Partition: "Common", Name: "web"})
	ctx := t.Context()
	tx, err := c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	before := u.asked("")
	for name, err := range map[string]error{
		"GET":                    c.Get(ctx, other, nil, nil),
		"PATCH":                  c.Patch(ctx, other, map[string]any{"description": ""}, nil),
		"DELETE":                 c.Delete(ctx, other),
		"DELETE of a member":     c.Delete(ctx, other.Sub("members").Object(icontrol.Name{Partition: "lab", Name: "a:80"})),
		"POST":                   c.Post(ctx, pools, map[string]any{"name": "x", "partition": "Common"}, nil),
		"POST without partition": c.Post(ctx, pools, map[string]any{"name": "x"}, nil),
		"POST of a full path":    c.Post(ctx, pools, map[string]any{"name": "/Common/x", "partition": "lab"}, nil),
		"POST of a bad name":     c.Post(ctx, pools, map[string]any{"name": "a/../b", "partition": "lab"}, nil),
		"POST of a command":      c.Post(ctx, icontrol.Collection("sys", "config"), map[string]any{"command": "load"}, nil),
		"DELETE of a collection": c.Delete(ctx, pools),
		"a command":              tx.Add(ctx, icontrol.Command{Verb: http.MethodDelete, Path: other}),
		"a list":                 c.List(ctx, other.Sub("members"), nil, 0, nil),
	} {
		if err == nil || !strings.Contains(err.Error(), "lab") && !strings.Contains(err.Error(), "name") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := u.asked("") - before; got != 0 {
		t.Errorf("%d requests were sent", got)
	}
	for name, err := range map[string]error{
		"GET":              c.Get(ctx, named("web"), nil, nil),
		"POST":             c.Post(ctx, pools, poolBody("new"), nil),
		"PATCH":            c.Patch(ctx, named("web"), map[string]any{"description": ""}, nil),
		"tx":               tx.Abandon(ctx),
		"member of Common": icontrol.Within("lab")("DELETE", named("web").Sub("members").Object(icontrol.Name{Partition: "Common", Name: "a:80"})),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadPath(t *testing.T) {
	u := newUnit(t)
	c := u.client(t)
	for _, path := range []icontrol.Path{{}, pools.Object(icontrol.Name{Partition: "lab", Name: "a/b"})} {
		if err := c.Get(t.Context(), path, nil, nil); err == nil {
			t.Errorf("%v was asked for", path)
		}
	}
	if u.asked("") != 0 {
		t.Errorf("%d requests were sent", u.asked(""))
	}
}

func TestOptions(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:443", "192.0.2.1:8443": "192.0.2.1:8443", "2001:db8::1": "[2001:db8::1]:443", "[2001:db8::1]": "[2001:db8::1]:443",
		"[2001:db8::1]:8443": "[2001:db8::1]:8443", "bigip.example.net": "bigip.example.net:443",
	} {
		c, err := icontrol.New(icontrol.Options{Address: address, Username: "u", Password: "p"})
		if err != nil || c.Address() != want {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, o := range []icontrol.Options{
		{Username: "u", Password: "p"}, {Address: ":443", Username: "u", Password: "p"}, {Address: "a:0", Username: "u", Password: "p"},
		{Address: "a:x", Username: "u", Password: "p"}, {Address: "a:65536", Username: "u", Password: "p"}, {Address: "a", Password: "p"},
		{Address: "a", Username: "u"}, {Address: "a", Username: "u", Password: "p", MaxBody: -1}, {Address: "https://a", Username: "u", Password: "p"},
		{Address: "a/b", Username: "u", Password: "p"}, {Address: "u@a", Username: "u", Password: "p"},
	} {
		if c, err := icontrol.New(o); err == nil {
			t.Errorf("%+v made a client of %s", o, c.Address())
		}
	}
}

func TestStats(t *testing.T) {
	u := withPool(t)
	c := u.client(t)
	get(t, c, "web")
	// Of a GET on a connection that was used before, net/http repeats one reset itself.
	onPools(u, 2, reset)
	get(t, c, "web")
	_ = c.Get(t.Context(), named("none"), nil, nil)
	s := c.Stats()
	want := map[icontrol.Outcome]uint64{{Method: "POST", HTTP: 200}: 1, {Method: "GET", HTTP: 200}: 2, {Method: "GET"}: 1, {Method: "GET", HTTP: 404}: 1}
	if fmt.Sprint(s.Requests) != fmt.Sprint(want) || s.Retries != 1 || s.Logins != 1 {
		t.Errorf("stats are %+v", s)
	}
	total := uint64(0)
	for _, n := range s.Latency.Counts {
		total += n
	}
	if total != 5 || len(s.Latency.Counts) != len(s.Latency.Bounds)+1 {
		t.Errorf("latency is %+v", s.Latency)
	}
	s.Requests[icontrol.Outcome{}] = 9
	if len(c.Stats().Requests) != 4 {
		t.Error("a snapshot is not one")
	}
}

func TestList(t *testing.T) {
	u := newUnit(t)
	c := u.client(t)
	all := make([]string, 25)
	for i := range all {
		all[i] = fmt.Sprintf("p%02d", i)
	}
	// serve is a device with pages; it can be one that does not know $skip or $top.
	serve := func(knowsSkip, knowsTop bool, change func(skip int)) {
		onPools(u, -1, func(w http.ResponseWriter, r *http.Request) {
			var skip, top int
			_, _ = fmt.Sscan(r.URL.Query().Get("$skip"), &skip)
			_, _ = fmt.Sscan(r.URL.Query().Get("$top"), &top)
			if !knowsSkip {
				skip = 0
			}
			if !knowsTop || top == 0 {
				top = len(all)
			}
			if change != nil {
				change(skip)
			}
			var items []map[string]any
			for _, name := range all[min(skip, len(all)):min(skip+top, len(all))] {
				items = append(items, map[string]any{"name": name, "fullPath": "/lab/" + name})
			}
			body := map[string]any{"kind": "tm:ltm:pool:poolcollectionstate"}
			if items != nil {
				body["items"] = items
			}
			answer(w, body)
		})
	}
	list := func(page int) ([]string, error) {
		var names []string
		err := c.List(t.Context(), pools, url.Values{"$filter": {"partition eq lab"}}, page, func(item json.RawMessage) error {
			var in struct{ Name string }
			err := json.Unmarshal(item, &in)
			names = append(names, in.Name)
			return err
		})
		return names, err
	}
	for _, page := range []int{0, 1, 10, 24, 25, 26, 100} {
		serve(true, true, nil)
		if got, err := list(page); err != nil || !slices.Equal(got, all) {
			t.Errorf("pages of %d: %v, %v", page, got, err)
		}
	}
	serve(true, false, nil)
	if got, err := list(10); err != nil || !slices.Equal(got, all) {
		t.Errorf("a device that does not know $top: %v, %v", got, err)
	}
	for _, knowsTop := range []bool{true, false} {
		serve(false, knowsTop, nil)
		before := u.asked("GET")
		if got, err := list(10); err == nil || !strings.Contains(err.Error(), "were there before") {
			t.Errorf("a device that does not turn pages: %v, %v", got, err)
		}
		if n := u.asked("GET") - before; n != 2 {
			t.Errorf("a device that does not turn pages was asked %d times", n)
		}
	}
	// One more in front while the pages are turned.
	original := slices.Clone(all)
	serve(true, true, func(skip int) {
		if skip == 10 {
			all = append([]string{"new"}, original...)
		}
	})
	if got, err := list(10); err != nil || !slices.Equal(got, original) {
		t.Errorf("a collection that grows: %v, %v", got, err)
	}
	all = nil
	serve(true, true, nil)
	for _, page := range []int{0, 10} {
		if got, err := list(page); err != nil || got != nil {
			t.Errorf("nothing, in pages of %d: %v, %v", page, got, err)
		}
	}
	all = original
	stop := errors.New("enough")
	if err := c.List(t.Context(), pools, nil, 5, func(json.RawMessage) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the caller: %v", err)
	}
	if err := c.List(t.Context(), pools, nil, -1, nil); err == nil {
		t.Error("a negative page was asked for")
	}
}

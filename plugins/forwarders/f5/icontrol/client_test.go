package icontrol_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
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

// TestSameReasonSameText: a connection that is cut has another port each time, and that is no
// news.
func TestSameReasonSameText(t *testing.T) {
	u := withPool(t)
	u.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.Method != http.MethodGet {
			return false
		}
		connection, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return false
		}
		if plain, ok := connection.(*tls.Conn); ok {
			_ = plain.NetConn().(*net.TCPConn).SetLinger(0)
			connection = plain.NetConn()
		}
		_ = connection.Close()
		return true
	}
	c := u.client(t, func(o *icontrol.Options) { o.Retry.Attempts = 1 })
	first := c.Get(t.Context(), named("web"), nil, nil)
	second := c.Get(t.Context(), named("web"), nil, nil)
	if first == nil || second == nil || first.Error() != second.Error() || strings.Contains(first.Error(), "->") {
		t.Errorf("%v, then %v", first, second)
	}
}

package icontrol_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
)

const (
	user     = "poise"
	password = `s3cr"et&wörd`
)

// unit is a device that behaves: tokens with an end, pools, transactions. Its clock is the
// client's, five hours off.
type unit struct {
	*httptest.Server
	clock *clock

	mu       sync.Mutex
	requests []string
	tokens   map[string]stamps
	made     int
	pools    map[string]map[string]any
	pending  map[string][]queued
	// life of new tokens, and limit to their number.
	life  time.Duration
	limit int
	// fault, if not nil, sees every request first and says whether it dealt with it.
	fault func(w http.ResponseWriter, r *http.Request, body []byte) bool
	// lost breaks the connection after the request was carried out, if it says so.
	lost func(r *http.Request) bool
}

type stamps struct{ start, end time.Time }

type queued struct {
	method, path string
	body         []byte
}

func newUnit(t *testing.T) *unit {
	t.Helper()
	u := &unit{
		clock: &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, life: 20 * time.Minute, limit: 100,
		tokens: map[string]stamps{}, pools: map[string]map[string]any{}, pending: map[string][]queued{},
	}
	u.Server = httptest.NewUnstartedServer(http.HandlerFunc(u.serve))
	u.Server.Config.ErrorLog = quiet()
	u.StartTLS()
	t.Cleanup(u.Server.Close)
	return u
}

func (u *unit) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(u.Certificate())
	return pool
}

// client makes one that is closed at the end.
func (u *unit) client(t *testing.T, change ...func(*icontrol.Options)) *icontrol.Client {
	t.Helper()
	o := icontrol.Options{
		Address: u.Listener.Addr().String(), Username: user, Password: password, RootCAs: u.pool(), ServerName: "example.com",
		Clock: u.clock, RequestTimeout: 5 * time.Second,
	}
	for _, f := range change {
		f(&o)
	}
	c, err := icontrol.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// set changes the unit while it runs.
func (u *unit) set(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f()
}

// asked counts requests that begin with a text, like "POST /mgmt/tm/ltm/pool".
func (u *unit) asked(prefix string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for _, r := range u.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

func (u *unit) live() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.tokens)
}

func (u *unit) names() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Sorted(maps.Keys(u.pools))
}

func (u *unit) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	u.requests = append(u.requests, r.Method+" "+r.URL.EscapedPath())
	fault, lost := u.fault, u.lost
	u.mu.Unlock()
	if fault != nil && fault(w, r, body) {
		return
	}
	answer := httptest.NewRecorder()
	u.mu.Lock()
	u.route(answer, r, body)
	u.mu.Unlock()
	if lost != nil && lost(r) {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

func (u *unit) route(w http.ResponseWriter, r *http.Request, body []byte) {
	path := r.URL.Path
	if path == "/mgmt/shared/authn/login" {
		u.login(w, body)
		return
	}
	held, known := u.tokens[r.Header.Get("X-F5-Auth-Token")]
	switch {
	case !known:
		refuse(w, 401, "X-F5-Auth-Token does not exist.", 0)
		return
	case u.clock.Now().After(held.end):
		delete(u.tokens, r.Header.Get("X-F5-Auth-Token"))
		refuse(w, 401, "X-F5-Auth-Token has expired.", 0)
		return
	}
	if id := r.Header.Get("X-F5-REST-Coordination-Id"); id != "" {
		if _, ok := u.pending[id]; !ok {
			refuse(w, 404, "transaction "+id+" does not exist", 1)
			return
		}
		u.pending[id] = append(u.pending[id], queued{r.Method, path, body})
		n := len(u.pending[id])
		answer(w, map[string]any{"method": r.Method, "commandId": n, "evalOrder": n, "kind": "tm:transaction:commandsstate"})
		return
	}
	switch {
	case strings.HasPrefix(path, "/mgmt/shared/authz/tokens/"):
		u.serveToken(w, r.Method, strings.TrimPrefix(path, "/mgmt/shared/authz/tokens/"), body)
	case strings.HasPrefix(path, "/mgmt/tm/transaction"):
		u.transaction(w, r.Method, strings.TrimPrefix(path, "/mgmt/tm/transaction"), body)
	case strings.HasPrefix(path, "/mgmt/tm/ltm/pool"):
		u.object(w, u.pools, queued{r.Method, path, body})
	default:
		refuse(w, 404, "Public URI path not registered: "+path, 0)
	}
}

func (u *unit) login(w http.ResponseWriter, body []byte) {
	var in struct{ Username, Password, LoginProviderName string }
	if json.Unmarshal(body, &in) != nil || in.Username != user || in.Password != password || in.LoginProviderName != "tmos" {
		refuse(w, 401, "Authentication failed. "+string(body), 0)
		return
	}
	if len(u.tokens) >= u.limit {
		refuse(w, 400, "user 1234 has reached maximum active login tokens", 0)
		return
	}
	u.made++
	name := fmt.Sprintf("TOKEN%021d", u.made)
	u.tokens[name] = stamps{u.clock.Now(), u.clock.Now().Add(u.life)}
	answer(w, map[string]any{"username": user, "token": u.describe(name)})
}

func (u *unit) describe(name string) map[string]any {
	const skew = 5 * time.Hour
	return map[string]any{
		"token": name, "timeout": int(u.life.Seconds()), "lastUpdateMicros": u.clock.Now().Add(skew).UnixMicro(),
		"expirationMicros": u.tokens[name].end.Add(skew).UnixMicro(), "kind": "shared:authz:tokens:authtokenitemstate",
	}
}

func (u *unit) serveToken(w http.ResponseWriter, method, name string, body []byte) {
	held, ok := u.tokens[name]
	if !ok {
		refuse(w, 404, "no such token", 0)
		return
	}
	if method == http.MethodDelete {
		delete(u.tokens, name)
		answer(w, map[string]any{"token": name})
		return
	}
	var in struct{ Timeout int }
	_ = json.Unmarshal(body, &in)
	end := u.clock.Now().Add(time.Duration(in.Timeout) * time.Second)
	if end.Sub(held.start) > 36000*time.Second {
		refuse(w, 406, "Auth-token absolute timeout (36000 seconds) exceeded", 0)
		return
	}
	u.tokens[name] = stamps{held.start, end}
	answer(w, u.describe(name))
}

func (u *unit) transaction(w http.ResponseWriter, method, rest string, body []byte) {
	id := strings.TrimPrefix(rest, "/")
	if method == http.MethodPost {
		u.made++
		id = fmt.Sprint(1526674837169915 + u.made)
		u.pending[id] = []queued{}
		answer(w, map[string]any{"transId": json.Number(id), "state": "STARTED", "timeoutSeconds": 120})
		return
	}
	commands, ok := u.pending[id]
	if !ok {
		refuse(w, 404, "transaction "+id+" does not exist", 1)
		return
	}
	delete(u.pending, id)
	if method == http.MethodDelete {
		return
	}
	if !bytes.Contains(body, []byte("VALIDATING")) {
		refuse(w, 400, "invalid property value", 0)
		return
	}
	// All or nothing: on a copy first.
	pools := map[string]map[string]any{}
	for name, p := range u.pools {
		pools[name] = maps.Clone(p)
	}
	for _, q := range commands {
		result := httptest.NewRecorder()
		if u.object(result, pools, q); result.Code != 200 {
			var e struct{ Message string }
			_ = json.Unmarshal(result.Body.Bytes(), &e)
			refuse(w, 400, "transaction failed:"+e.Message, 2)
			return
		}
	}
	u.pools = pools
	answer(w, map[string]any{"transId": json.Number(id), "state": "COMPLETED"})
}

func (u *unit) object(w http.ResponseWriter, pools map[string]map[string]any, q queued) {
	name := strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(q.path, "/mgmt/tm/ltm/pool"), "/"), "~", "/")
	var in map[string]any
	_ = json.Unmarshal(q.body, &in)
	if q.method == http.MethodPost {
		name = fmt.Sprintf("/%v/%v", in["partition"], in["name"])
		if pools[name] != nil {
			refuse(w, 409, "01020066:3: The requested Pool ("+name+") already exists in partition lab.", 3)
			return
		}
		in["fullPath"] = name
		pools[name] = in
		answer(w, in)
		return
	}
	have := pools[name]
	if have == nil {
		refuse(w, 404, "01020036:3: The requested Pool ("+name+") was not found.", 3)
		return
	}
	switch q.method {
	case http.MethodDelete:
		delete(pools, name)
	case http.MethodPatch:
		maps.Copy(have, in)
		answer(w, have)
	default:
		answer(w, have)
	}
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, message string, apiError int) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"code": status, "message": message, "errorStack": []any{}, "apiError": apiError})
}

const restarting = `<!DOCTYPE html><html><head><title>Configuration Utility restarting...</title><script>var a = "<b>";</script></head><body><p>Please wait</p></body></html>`

func page(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// clock stands still but for sleeps, which pass at once.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.slept = append(c.slept, d)
	return nil
}

func (c *clock) sleeps() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.slept)
}

var pools = icontrol.Collection("ltm", "pool")

func named(name string) icontrol.Path {
	return pools.Object(icontrol.Name{Partition: "lab", Name: name})
}

func poolBody(name string) map[string]any { return map[string]any{"name": name, "partition": "lab"} }

package bigip

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/poise-lb/poise/e2e/bigip/internal/auth"
	"github.com/poise-lb/poise/e2e/bigip/internal/state"
)

// largest is the size of a body above which a request is refused.
const largest = 16 << 20

// Request is an entry of the log.
type Request struct {
	// Number counts from 1 for each unit.
	Number int
	// Time is by the unit's clock.
	Time   time.Time
	Method string
	// Path is as it was sent, escapes and all.
	Path  string
	Query string
	Body  []byte
	// Transaction is the X-F5-REST-Coordination-Id that was sent.
	Transaction string
	// User is empty if nobody was recognised.
	User string
	// Kind and Object are what the request is about, if it is about an object: the kind's
	// path ("ltm/pool", "ltm/pool/members") and the object's ("/lab/web"; for a member
	// that of the pool, a space, and its own).
	Kind, Object string
	// Status is that of the answer; 0: there was none.
	Status int
	// Faults are what the request ran into.
	Faults []FaultKind

	remote string
}

// Write tells whether the request was to change something: not GET, not a login or logout.
func (r Request) Write() bool {
	return r.Method != http.MethodGet && !strings.HasPrefix(r.Path, "/mgmt/shared/authn/") && !strings.HasPrefix(r.Path, "/mgmt/shared/authz/")
}

// Requests is the log: all requests in the order in which they came.
func (u *Unit) Requests() []Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]Request(nil), u.requests...)
}

// ClearRequests empties the log. Numbers go on.
func (u *Unit) ClearRequests() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.requests = nil
}

// reply is an answer before it is written.
type reply struct {
	status int
	// body is written as JSON; nil: no body.
	body any
	html string
}

func ok(body any) *reply { return &reply{status: http.StatusOK, body: body} }

func tmError(status, api int, message string) *reply {
	return &reply{status: status, body: map[string]any{"code": status, "message": message, "errorStack": []any{}, "apiError": api}}
}

func refusal(err *state.Error) *reply { return tmError(err.HTTP, err.API, err.Message) }

// restError is an error of the layer in front of the configuration.
func restError(status int, r *Request, message string) *reply {
	return &reply{status: status, body: map[string]any{
		"code": status, "message": message, "referer": r.remote, "restOperationId": 7000000 + r.Number, "kind": ":resterrorresponse",
	}}
}

func notRegistered(path string, r *Request) *reply {
	return restError(http.StatusNotFound, r, "Public URI path not registered: "+strings.ReplaceAll(strings.TrimPrefix(path, "/mgmt"), "~", "?"))
}

func noCredentials(path string, r *Request) *reply {
	return restError(http.StatusUnauthorized, r, fmt.Sprintf(
		"Authorization failed: no user authentication header or token detected. Uri:http://localhost:8100%s Referrer:%s Sender:%s", path, r.remote, r.remote))
}

// call is a request on its way to its answer.
type call struct {
	method string
	path   string
	// segments are the parts of the path below /mgmt/, escaped.
	segments []string
	query    url.Values
	rawQuery string
	body     map[string]any
	entry    *Request
	faults   []*ActiveFault
}

// ServeHTTP answers as the device does.
func (u *Unit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, largest+1))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	path := r.URL.EscapedPath()
	u.mu.Lock()
	entry := &Request{
		Number: u.sequence + 1, Time: u.clock.Now(), Method: r.Method, Path: path, Query: r.URL.RawQuery,
		Body: raw, Transaction: r.Header.Get("X-F5-REST-Coordination-Id"),
	}
	u.sequence++
	entry.remote, _, _ = net.SplitHostPort(r.RemoteAddr)
	faults := u.hit(r.Method, path)
	for _, f := range faults {
		entry.Faults = append(entry.Faults, f.Kind)
	}
	u.requests = append(u.requests, *entry)
	u.mu.Unlock()

	var answer *reply
	for _, f := range faults {
		switch f.Kind {
		case Slow:
			if !wait(r, f, f.Delay) {
				drop(w)
			}
		case Hang:
			wait(r, f, 0)
			drop(w)
		case Reset:
			drop(w)
		default:
			answer = f.Kind.answer(path, entry)
		}
	}
	u.mu.Lock()
	if answer == nil {
		u.settle()
		answer = u.respond(&call{method: r.Method, path: path, rawQuery: r.URL.RawQuery, entry: entry, faults: faults}, r)
		u.settle()
	}
	entry.Status = answer.status
	for _, f := range faults {
		switch f.Kind {
		case ResetAfter:
			entry.Status = 0
		case Timeout500:
			answer = page(http.StatusInternalServerError, "<h1>HTTP ERROR 500</h1><p>AsyncContext timeout</p>")
			entry.Status = answer.status
		}
	}
	// The log may have been emptied meanwhile.
	if i := entry.Number - 1 - (u.sequence - len(u.requests)); i >= 0 {
		u.requests[i] = *entry
	}
	u.mu.Unlock()
	if entry.Status == 0 {
		drop(w)
	}
	answer.write(w)
}

// wait lets time pass: d, or for ever if it is 0. False: the client or the fault gave up.
func wait(r *http.Request, f *ActiveFault, d time.Duration) bool {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
		return true
	case <-f.cleared:
		return d > 0
	case <-r.Context().Done():
		return false
	}
}

// drop breaks the connection with a reset and does not return.
func drop(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			inner := conn
			if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
				inner = t.NetConn()
			}
			if tcp, ok := inner.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = inner.Close()
		}
	}
	panic(http.ErrAbortHandler)
}

func (a *reply) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Server", "Jetty(9.4.49.v20220914)")
	h.Set("Cache-Control", "no-store")
	if a.html != "" {
		h.Set("Content-Type", "text/html")
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.html)
		return
	}
	h.Set("Content-Type", "application/json;charset=utf-8")
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(a.body); err != nil {
		panic("bigip: encode an answer: " + err.Error())
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(bytes.TrimSuffix(out.Bytes(), []byte("\n")))
}

// respond finds out who asks and gets the answer. The unit is locked.
func (u *Unit) respond(c *call, r *http.Request) *reply {
	rest, found := strings.CutPrefix(c.path, "/mgmt/")
	if !found {
		return notRegistered(c.path, c.entry)
	}
	c.segments = strings.Split(strings.TrimSuffix(rest, "/"), "/")
	var err error
	if c.query, err = url.ParseQuery(c.rawQuery); err != nil {
		return restError(http.StatusBadRequest, c.entry, "Malformed query: "+err.Error())
	}
	if len(c.entry.Body) > largest {
		return restError(http.StatusRequestEntityTooLarge, c.entry, "Request body is too large")
	}
	if c.method != http.MethodGet && len(bytes.TrimSpace(c.entry.Body)) > 0 {
		if json.Unmarshal(c.entry.Body, &c.body) != nil || c.body == nil {
			return tmError(http.StatusBadRequest, state.APIProperty, "Found invalid JSON body in the request.")
		}
	}
	if rest == "shared/authn/login" {
		return u.login(c)
	}
	if answer := u.recognise(c, r); answer != nil {
		return answer
	}
	for _, f := range c.faults {
		if f.Kind == Failover {
			u.switchOver()
		}
	}
	return u.route(c)
}

// recognise finds the user of a request, by token or password.
func (u *Unit) recognise(c *call, r *http.Request) *reply {
	if token := r.Header.Get("X-F5-Auth-Token"); token != "" {
		user, err := u.tokens.Use(token, u.clock.Now())
		if err != nil {
			return authError(c.entry, err)
		}
		c.entry.User = user
		return nil
	}
	user, password, ok := r.BasicAuth()
	switch {
	case !ok:
		return noCredentials(c.path, c.entry)
	case !u.tokens.Check(user, password):
		return page(http.StatusUnauthorized, "<h1>401 Unauthorized</h1>")
	}
	c.entry.User = user
	return nil
}

func authError(entry *Request, err error) *reply {
	var refused *auth.Error
	if errors.As(err, &refused) {
		return restError(refused.HTTP, entry, refused.Message)
	}
	return restError(http.StatusInternalServerError, entry, err.Error())
}

func (u *Unit) login(c *call) *reply {
	if c.method != http.MethodPost {
		return restError(http.StatusMethodNotAllowed, c.entry, "Method not allowed")
	}
	user, _ := c.body["username"].(string)
	password, _ := c.body["password"].(string)
	provider, _ := c.body["loginProviderName"].(string)
	if provider != "" && provider != "tmos" && provider != "local" {
		return restError(http.StatusUnauthorized, c.entry, "Authentication failed.")
	}
	// The log is for tests and people: no passwords in it.
	shown := maps.Clone(c.body)
	if _, ok := shown["password"]; ok {
		shown["password"] = "********"
	}
	c.entry.Body, _ = json.Marshal(shown)
	token, err := u.tokens.Login(user, password, u.clock.Now())
	if err != nil {
		return authError(c.entry, err)
	}
	c.entry.User = user
	return ok(map[string]any{
		"username":          user,
		"loginReference":    map[string]any{"link": "https://localhost/mgmt/cm/system/authn/providers/tmos/1f44a60e-11a7-3c51-a49f-82983026b41b/login"},
		"loginProviderName": "tmos",
		"token":             tokenBody(token, c.entry.remote),
		"generation":        0, "lastUpdateMicros": 0,
	})
}

func tokenBody(t *auth.Token, remote string) map[string]any {
	return map[string]any{
		"token": t.ID, "name": t.ID, "userName": t.User, "authProviderName": "tmos",
		"user":    map[string]any{"link": "https://localhost/mgmt/shared/authz/users/" + t.User},
		"timeout": int(t.Timeout.Seconds()), "startTime": t.Start.Format("2006-01-02T15:04:05.000-0700"),
		"address": remote, "partition": "[All]", "generation": 1,
		"lastUpdateMicros": t.Updated.UnixMicro(), "expirationMicros": t.Expires.UnixMicro(),
		"kind":     "shared:authz:tokens:authtokenitemstate",
		"selfLink": "https://localhost/mgmt/shared/authz/tokens/" + t.ID,
	}
}

// tokenCall is GET, PATCH and DELETE of tokens.
func (u *Unit) tokenCall(c *call) *reply {
	now, user := u.clock.Now(), c.entry.User
	if len(c.segments) == 3 {
		if c.method != http.MethodGet {
			return restError(http.StatusMethodNotAllowed, c.entry, "Method not allowed")
		}
		items := []any{}
		for _, t := range u.tokens.List(user, now) {
			items = append(items, tokenBody(t, c.entry.remote))
		}
		return ok(map[string]any{"items": items, "generation": 1, "kind": "shared:authz:tokens:authtokencollectionstate", "selfLink": "https://localhost/mgmt/shared/authz/tokens"})
	}
	id := c.segments[3]
	var token *auth.Token
	var err error
	switch c.method {
	case http.MethodGet:
		token, err = u.tokens.Get(id, user, now)
	case http.MethodDelete:
		token, err = u.tokens.Revoke(id, user, now)
	case http.MethodPatch:
		seconds, number := c.body["timeout"].(float64)
		if text, isText := c.body["timeout"].(string); isText {
			_, scanned := fmt.Sscanf(text, "%g", &seconds)
			number = scanned == nil
		}
		if !number || len(c.body) != 1 || seconds < 1 {
			return restError(http.StatusBadRequest, c.entry, "timeout must be a number of seconds, and is all that can be changed")
		}
		token, err = u.tokens.Extend(id, user, time.Duration(seconds)*time.Second, now)
	default:
		return restError(http.StatusMethodNotAllowed, c.entry, "Method not allowed")
	}
	if err != nil {
		return authError(c.entry, err)
	}
	return ok(tokenBody(token, c.entry.remote))
}

// Tokens is how many tokens a user has that are good now.
func (u *Unit) Tokens(user string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for _, t := range u.tokens.List(user, u.clock.Now()) {
		if t.User == user {
			n++
		}
	}
	return n
}

package bigip

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/poise-lb/poise/e2e/bigip/internal/schema"
	"github.com/poise-lb/poise/e2e/bigip/internal/state"
)

// target is what an address below /mgmt/tm/ points at.
type target struct {
	kind  *schema.Kind
	owner string
	// path of an object; "": the collection.
	path string
	// child is a subcollection that is a list within the object, item one of its entries.
	child, item string
	stats       bool
}

// lists are subcollections that are lists within their object.
var lists = map[string][]string{"ltm/virtual": {"profiles", "policies"}, "cm/device-group": {"devices"}}

// find reads the segments of an address below /mgmt/tm/.
func find(segments []string) (target, bool) {
	var t target
	var rest []string
	for n := len(segments); n > 0; n-- {
		if k := schema.Kinds[strings.Join(segments[:n], "/")]; k != nil && k.Owner == "" {
			t.kind, rest = k, segments[n:]
			break
		}
	}
	if t.kind == nil {
		return t, false
	}
	if len(rest) > 0 && rest[len(rest)-1] == "stats" {
		t.stats, rest = true, rest[:len(rest)-1]
	}
	if len(rest) == 0 {
		return t, true
	}
	path, valid := objectPath(rest[0], t.kind.Bare)
	if !valid {
		return t, false
	}
	t.path, rest = path, rest[1:]
	if len(rest) == 0 {
		return t, true
	}
	child := rest[0]
	if k := schema.Kinds[t.kind.Path+"/"+child]; k != nil && k.Owner == t.kind.Path {
		t.kind, t.owner, t.path = k, t.path, ""
		if len(rest) > 1 {
			t.path, valid = objectPath(rest[1], false)
		}
		return t, valid && len(rest) <= 2
	}
	if slices.Contains(lists[t.kind.Path], child) && !t.stats {
		t.child = child
		if len(rest) > 1 {
			t.item, valid = objectPath(rest[1], false)
		}
		return t, valid && len(rest) <= 2
	}
	return t, false
}

// objectPath reads a name in an address: ~P~name, or a bare name, which is in /Common.
func objectPath(segment string, bare bool) (string, bool) {
	name, err := url.PathUnescape(segment)
	if err != nil || name == "" || strings.Contains(name, "/") || bare && strings.Contains(name, "~") {
		return "", false
	}
	switch {
	case bare:
		return name, true
	case strings.HasPrefix(name, "~"):
		return strings.ReplaceAll(name, "~", "/"), true
	}
	return "/Common/" + name, true
}

// route sends a request to what answers it.
func (u *Unit) route(c *call) *reply {
	s := c.segments
	path := strings.Join(s, "/")
	switch {
	case strings.HasPrefix(path, "shared/authz/tokens") && s[2] == "tokens" && len(s) <= 4:
		return u.tokenCall(c)
	case s[0] != "tm":
		return notRegistered(c.path, c.entry)
	case strings.HasPrefix(path, "tm/transaction"):
		return u.transactionCall(c)
	}
	if answer := u.systemCall(c, strings.TrimPrefix(path, "tm/")); answer != nil {
		return answer
	}
	t, valid := find(s[1:])
	if !valid {
		return notRegistered(c.path, c.entry)
	}
	u.note(c, t)
	switch {
	case c.method == http.MethodGet && t.stats:
		return u.readStats(c, t)
	case c.method == http.MethodGet:
		return u.read(c, t)
	case t.stats:
		return notRegistered(c.path, c.entry)
	}
	if err := checkQuery(c.query, "options"); err != nil {
		return refusal(err)
	}
	if c.entry.Transaction != "" {
		return u.queue(c)
	}
	e := u.store.Begin(u.clock.Now())
	body, err := u.write(e, t, command{method: c.method, body: c.body, query: c.query})
	if err != nil {
		return refusal(err)
	}
	u.take(e)
	if body == nil {
		return &reply{status: http.StatusOK}
	}
	return ok(body(u.store.Config))
}

// note writes into the log what a request is about.
func (u *Unit) note(c *call, t target) {
	c.entry.Kind = t.kind.Path
	path := t.path
	if path == "" && c.method == http.MethodPost {
		name, _ := c.body["name"].(string)
		partition, _ := c.body["partition"].(string)
		switch {
		case partition == "" && t.owner != "":
			partition = strings.Split(t.owner, "/")[1]
		case partition == "":
			partition = "Common"
		}
		switch {
		case strings.HasPrefix(name, "/") || t.kind.Bare:
			path = name
		case name != "":
			path = "/" + partition + "/" + name
		}
	}
	c.entry.Object = strings.TrimSpace(t.owner + " " + path)
}

// command is a write that is done now or when its transaction is committed.
type command struct {
	method string
	body   map[string]any
	query  url.Values
}

// render makes the body of the answer from the configuration after the change.
type render func(*state.Config) map[string]any

// write does a POST, PATCH or DELETE of an object. No body: the answer has none.
func (u *Unit) write(e *state.Edit, t target, c command) (render, *state.Error) {
	if t.kind.ReadOnly || t.child == "devices" {
		return nil, &state.Error{HTTP: http.StatusMethodNotAllowed, API: state.APIProperty, Message: "the simulator has " + t.kind.Path + " for reading only"}
	}
	if t.child != "" {
		return u.writeItem(e, t, c)
	}
	if c.method == http.MethodPost {
		if t.path != "" {
			return nil, &state.Error{HTTP: http.StatusBadRequest, API: state.APIProperty, Message: "POST is for collections"}
		}
		o, err := e.Create(t.kind.Path, t.owner, c.body)
		return u.show(o), err
	}
	if t.path == "" {
		return nil, &state.Error{HTTP: http.StatusBadRequest, API: state.APIProperty, Message: c.method + " is for objects, not for collections"}
	}
	o := e.Get(t.kind.Path, t.owner, t.path)
	if o == nil {
		return nil, state.Absent(t.kind, t.owner, t.path, c.method)
	}
	switch c.method {
	case http.MethodDelete:
		return nil, e.Delete(o)
	case http.MethodPatch:
		body := c.body
		if fragment := c.query.Get("options"); fragment != "" {
			var err *state.Error
			if body, err = addRecords(o, fragment, c.body); err != nil {
				return nil, err
			}
		}
		o, err := e.Modify(o, body)
		return u.show(o), err
	}
	// What PUT does to fields that are left out is not known.
	return nil, &state.Error{HTTP: http.StatusMethodNotAllowed, API: state.APIProperty, Message: "the simulator has no " + c.method + " of objects"}
}

func (u *Unit) show(o *state.Object) render {
	return func(c *state.Config) map[string]any { return c.Body(o, u.view()) }
}

// writeItem changes a list within an object as if it were a collection.
func (u *Unit) writeItem(e *state.Edit, t target, c command) (render, *state.Error) {
	o := e.Get(t.kind.Path, t.owner, t.path)
	if o == nil {
		return nil, state.Absent(t.kind, t.owner, t.path, c.method)
	}
	entries, _ := o.Values[t.child].([]any)
	at := slices.IndexFunc(entries, func(v any) bool { return state.EntryPath(v) == t.item })
	var next []any
	switch {
	case c.method == http.MethodPost && t.item == "":
		next = append(append(next, plain(entries)...), c.body)
	case c.method == http.MethodDelete && at >= 0:
		next = plain(slices.Delete(slices.Clone(entries), at, at+1))
	case t.item != "" && at < 0:
		return nil, state.NotFound(t.child, t.item)
	default:
		return nil, &state.Error{HTTP: http.StatusMethodNotAllowed, API: state.APIProperty, Message: "the simulator has no " + c.method + " of " + t.child}
	}
	o, err := e.Modify(o, map[string]any{t.child: next})
	if err != nil || c.method == http.MethodDelete {
		return nil, err
	}
	entries, _ = o.Values[t.child].([]any)
	path := state.EntryPath(entries[len(entries)-1])
	return func(config *state.Config) map[string]any {
		for _, item := range config.Children(o, t.child, u.view()) {
			if m := item.(map[string]any); m["fullPath"] == path {
				return m
			}
		}
		return nil
	}, nil
}

// plain is entries as they are written.
func plain(entries []any) []any {
	var out []any
	for _, entry := range entries {
		m := map[string]any{"name": state.EntryPath(entry)}
		if context, ok := entry.(map[string]any)["context"]; ok {
			m["context"] = context
		}
		out = append(out, m)
	}
	return out
}

// addRecords reads the one form of ?options= that is simulated: records add { k { data v } }.
func addRecords(o *state.Object, fragment string, body map[string]any) (map[string]any, *state.Error) {
	words := strings.Fields(strings.NewReplacer("{", " { ", "}", " } ").Replace(fragment))
	bad := &state.Error{HTTP: http.StatusBadRequest, API: state.APIProperty, Message: "the simulator has no options " + fragment}
	if o.Kind.Field("records") == nil || len(words) < 4 || words[0] != "records" || words[1] != "add" || words[2] != "{" || words[len(words)-1] != "}" || len(body) > 0 {
		return nil, bad
	}
	old, _ := o.Values["records"].([]any)
	records := slices.Clone(old)
	for w := words[3 : len(words)-1]; len(w) > 0; {
		record := map[string]any{"name": w[0]}
		switch {
		case len(w) >= 5 && w[1] == "{" && w[2] == "data" && w[4] == "}":
			record["data"], w = w[3], w[5:]
		case len(w) >= 3 && w[1] == "{" && w[2] == "}":
			w = w[3:]
		default:
			return nil, bad
		}
		records = append(records, record)
	}
	return map[string]any{"records": records}, nil
}

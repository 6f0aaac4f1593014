package bigip

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/e2e/bigip/internal/state"
)

// parameters are the query parameters that reading knows.
var parameters = []string{"expandSubcollections", "$filter", "$top", "$skip", "$select", "ver"}

func checkQuery(query url.Values, known ...string) *state.Error {
	for name := range query {
		if name != "ver" && !slices.Contains(known, name) {
			return badQuery(name)
		}
	}
	return nil
}

func badQuery(name string) *state.Error {
	return &state.Error{HTTP: http.StatusBadRequest, API: state.APIProperty, Message: "Query parameter " + name + " is invalid."}
}

// read answers GET of a collection, an object or a subcollection.
func (u *Unit) read(c *call, t target) *reply {
	if err := checkQuery(c.query, parameters...); err != nil {
		return refusal(err)
	}
	view := u.view()
	view.Expand = c.query.Get("expandSubcollections") == "true"
	if t.owner != "" {
		if parent := t.kind.Owner; u.store.Config.Get(parent, "", t.owner) == nil {
			return refusal(state.NotFound("Pool", t.owner))
		}
	}
	if t.path == "" {
		return u.readCollection(c, t, view)
	}
	o := u.store.Config.Get(t.kind.Path, t.owner, t.path)
	if o == nil {
		return refusal(state.Absent(t.kind, t.owner, t.path, c.method))
	}
	if t.child != "" {
		return u.readChild(c, t, o, view)
	}
	view.Query = shownQuery(c.rawQuery)
	return ok(project(u.store.Config.Body(o, view), c.query.Get("$select")))
}

// shownQuery is the query as selfLink repeats it: without the version, which it adds.
func shownQuery(raw string) string {
	var out []string
	for _, part := range strings.Split(raw, "&") {
		if part != "" && !strings.HasPrefix(part, "ver=") {
			out = append(out, part)
		}
	}
	return strings.Join(out, "&")
}

func (u *Unit) readCollection(c *call, t target, view state.View) *reply {
	objects := u.store.Config.List(t.kind.Path, t.owner)
	if filter := c.query.Get("$filter"); filter != "" {
		partition, found := strings.CutPrefix(filter, "partition eq ")
		if !found {
			return refusal(badQuery("$filter"))
		}
		if u.store.Config.Get("sys/folder", "", "/"+partition) == nil {
			return refusal(state.NoFolder("/" + partition))
		}
		objects = slices.DeleteFunc(objects, func(o *state.Object) bool { return o.Partition != partition })
	}
	skip, err := count(c.query, "$skip", 0)
	if err != nil {
		return refusal(err)
	}
	top, err := count(c.query, "$top", len(objects))
	if err != nil {
		return refusal(err)
	}
	objects = objects[min(skip, len(objects)):]
	objects = objects[:min(top, len(objects))]
	var items []any
	for _, o := range objects {
		items = append(items, project(u.store.Config.Body(o, view), c.query.Get("$select")))
	}
	address := t.kind.Path
	if t.owner != "" {
		address = t.kind.Owner + "/" + state.Escape(t.owner) + strings.TrimPrefix(t.kind.Path, t.kind.Owner)
	}
	return ok(collection(t.kind.Collection(), view.Link(address, shownQuery(c.rawQuery)), items))
}

// listing answers GET of a collection that is not made of objects of the configuration,
// with the same parameters: a server that ignores $skip makes clients ask for ever.
func (u *Unit) listing(c *call, kind, path string, items []any) *reply {
	if err := checkQuery(c.query, parameters...); err != nil {
		return refusal(err)
	}
	if filter := c.query.Get("$filter"); filter != "" {
		partition, found := strings.CutPrefix(filter, "partition eq ")
		if !found {
			return refusal(badQuery("$filter"))
		}
		items = slices.DeleteFunc(items, func(item any) bool { return item.(map[string]any)["partition"] != partition })
	}
	skip, err := count(c.query, "$skip", 0)
	if err != nil {
		return refusal(err)
	}
	top, err := count(c.query, "$top", len(items))
	if err != nil {
		return refusal(err)
	}
	items = items[min(skip, len(items)):]
	items = items[:min(top, len(items))]
	for i, item := range items {
		items[i] = project(item.(map[string]any), c.query.Get("$select"))
	}
	return ok(collection(kind, u.view().Link(path, shownQuery(c.rawQuery)), items))
}

// collection is a body with items, or without the key when there are none.
func collection(kind, self string, items []any) map[string]any {
	out := map[string]any{"kind": kind, "selfLink": self}
	if len(items) > 0 {
		out["items"] = items
	}
	return out
}

func count(query url.Values, name string, absent int) (int, *state.Error) {
	text := query.Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, badQuery(name)
	}
	return n, nil
}

// project keeps the keys that $select names.
func project(body map[string]any, names string) map[string]any {
	if names == "" {
		return body
	}
	out := map[string]any{}
	for _, name := range strings.Split(names, ",") {
		if v, ok := body[strings.TrimSpace(name)]; ok {
			out[strings.TrimSpace(name)] = v
		}
	}
	return out
}

func (u *Unit) readChild(c *call, t target, o *state.Object, view state.View) *reply {
	items := u.store.Config.Children(o, t.child, view)
	if t.child == "devices" {
		items = u.groupDevices(o, view)
	}
	if t.item == "" {
		kind := "tm:" + strings.ReplaceAll(t.kind.Path, "/", ":") + ":" + t.child + ":" + t.child + "collectionstate"
		return u.listing(c, kind, o.Address()+"/"+t.child, items)
	}
	for _, item := range items {
		if m := item.(map[string]any); m["fullPath"] == t.item {
			return ok(m)
		}
	}
	return refusal(state.NotFound(t.child, t.item))
}

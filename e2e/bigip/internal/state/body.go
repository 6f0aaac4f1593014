package state

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/poise-lb/poise/e2e/bigip/internal/schema"
)

// View is how bodies are written.
type View struct {
	Version string
	// Query is the query of the request, which selfLink repeats.
	Query string
	// Expand puts the items of subcollections into the body.
	Expand bool
	// Health is what the monitors of a member or node say: up, down or checking.
	Health func(*Object) string
}

// Link is an address in a body: always of localhost, with the version.
func (v View) Link(path, query string) string {
	if query != "" {
		query += "&"
	}
	return "https://localhost/mgmt/tm/" + path + "?" + query + "ver=" + v.Version
}

// Escape is a path as a part of an address.
func Escape(path string) string {
	return strings.NewReplacer("/", "~", "%", "%25").Replace(path)
}

// Address is where an object is below /mgmt/tm/.
func (o *Object) Address() string {
	if o.Kind.Owner != "" {
		name := strings.TrimPrefix(o.Kind.Path, o.Kind.Owner+"/")
		return o.Kind.Owner + "/" + Escape(o.Owner) + "/" + name + "/" + Escape(o.Path())
	}
	return o.Kind.Path + "/" + Escape(o.Path())
}

// Body is an object as GET shows it.
func (c *Config) Body(o *Object, view View) map[string]any {
	out := map[string]any{
		"kind": o.Kind.State(), "name": o.Name, "fullPath": o.Path(),
		"generation": o.Generation, "selfLink": view.Link(o.Address(), view.Query),
	}
	if o.Partition != "" {
		out["partition"] = o.Partition
	}
	if o.SubPath != "" {
		out["subPath"] = o.SubPath
	}
	c.values(o, o.Kind.Fields, o.Values, out, view)
	for _, child := range o.Kind.Children {
		sub := map[string]any{"link": view.Link(o.Address()+"/"+child, ""), "isSubcollection": true}
		if view.Expand {
			if items := c.Children(o, child, view); len(items) > 0 {
				sub["items"] = items
			}
		}
		out[child+"Reference"] = sub
	}
	if o.Kind.Field("session") != nil {
		out["session"], out["state"] = c.shown(o, view)
	}
	return out
}

func (c *Config) values(o *Object, fields []schema.Field, values, out map[string]any, view View) {
	for i := range fields {
		f := &fields[i]
		v, ok := values[f.Name]
		if !ok || f.Hidden {
			continue
		}
		switch f.Type {
		case schema.Ref:
			if to := c.Resolve(f.To, "", v.(string)); to != nil && f.Link {
				out[f.Name+"Reference"] = map[string]any{"link": view.Link(to.Address(), "")}
			}
		case schema.RefList:
			var links []any
			for _, item := range v.([]any) {
				if to := c.Resolve(f.To, "", item.(string)); to != nil {
					links = append(links, map[string]any{"link": view.Link(to.Address(), "")})
				}
			}
			out[f.Name+"Reference"] = links
		case schema.RefObjects:
			var items []any
			for _, item := range v.([]any) {
				entry := maps.Clone(item.(map[string]any))
				if to := c.Resolve(f.To, "", EntryPath(item)); to != nil {
					entry["nameReference"] = map[string]any{"link": view.Link(to.Address(), "")}
				}
				items = append(items, entry)
			}
			v = items
		case schema.Group:
			group := map[string]any{}
			c.values(o, f.Fields, v.(map[string]any), group, view)
			v = group
		case schema.Monitor:
			// A list of monitors is read with a space after it.
			if strings.Contains(v.(string), " and ") {
				v = v.(string) + " "
			}
		}
		out[f.Name] = v
	}
}

// Children is the items of a subcollection.
func (c *Config) Children(o *Object, child string, view View) []any {
	var items []any
	view.Query = ""
	if k := schema.Kinds[o.Kind.Path+"/"+child]; k != nil {
		for _, m := range c.List(k.Path, o.Path()) {
			items = append(items, c.Body(m, view))
		}
		return items
	}
	f := o.Kind.Field(child)
	if f == nil {
		return nil
	}
	entries, _ := o.Values[child].([]any)
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b any) int { return strings.Compare(EntryPath(a), EntryPath(b)) })
	for _, entry := range entries {
		item := maps.Clone(entry.(map[string]any))
		path := EntryPath(entry)
		item["kind"] = "tm:" + strings.ReplaceAll(o.Kind.Path, "/", ":") + ":" + child + ":" + child + "state"
		item["fullPath"], item["generation"] = path, o.Generation
		item["selfLink"] = view.Link(o.Address()+"/"+child+"/"+Escape(path), "")
		if to := c.Resolve(f.To, "", path); to != nil {
			item["nameReference"] = map[string]any{"link": view.Link(to.Address(), "")}
		}
		items = append(items, item)
	}
	return items
}

// monitored tells whether monitors decide about a member or node.
func (c *Config) monitored(o *Object) bool {
	own, _ := o.Values["monitor"].(string)
	if own == "default" && o.Kind.Owner != "" {
		pool := c.Get(o.Kind.Owner, "", o.Owner)
		return pool != nil && pool.Values["monitor"] != nil
	}
	return own != "default" && own != "none" && own != ""
}

// shown is session and state as they are read, which is not as they are written.
func (c *Config) shown(o *Object, view View) (session, state any) {
	session, state = o.Values["session"], "unchecked"
	health := ""
	if c.monitored(o) {
		health = "checking"
		if view.Health != nil {
			if h := view.Health(o); h != "" {
				health = h
			}
		}
		state = health
	}
	if o.Values["address"] == "any6" && health == "" {
		state = "fqdn-up"
	}
	switch {
	case o.Values["state"] == "user-down":
		state = "user-down"
	case session == "user-enabled" && health != "":
		session = "monitor-enabled"
	}
	return session, state
}

// Dump is all that was configured, and what of the system's own was changed, as JSON that
// is the same for the same configuration.
func (c *Config) Dump() []byte {
	var all []any
	for _, path := range schema.Paths() {
		for _, o := range c.List(path, "") {
			if !o.System || o.Generation > 1 {
				all = append(all, o.plain())
			}
		}
	}
	return encode(all)
}

func (o *Object) plain() map[string]any {
	m := map[string]any{"kind": o.Kind.Path, "path": o.Path(), "generation": o.Generation, "values": o.Values}
	if o.Owner != "" {
		m["owner"] = o.Owner
	}
	return m
}

// Encode is some objects as JSON, in the form of Dump.
func Encode(objects []*Object) []byte {
	var all []any
	for _, o := range objects {
		if o != nil {
			all = append(all, o.plain())
		}
	}
	return encode(all)
}

func encode(v any) []byte {
	out, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		panic("state: encode the configuration: " + err.Error())
	}
	return append(out, '\n')
}

// Absent is what a request for an object that is not there answers.
func Absent(k *schema.Kind, owner, path, method string) *Error {
	if k.Path == "ltm/pool/members" && method == "GET" {
		return ObjectNotFound(path)
	}
	return absent(k, owner, path)
}

package state

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/e2e/bigip/internal/schema"
)

// Edit is a change of the configuration that is not taken over yet. An Edit that refused
// something must be thrown away.
type Edit struct {
	*Config
	before     *Config
	store      *Store
	generation int
	index      int
	now        time.Time
	// Transaction: other commands came before this one in the same change.
	Transaction bool
	// nodes finds nodes by address; nil until someone asks.
	nodes map[where]*Object
}

func (e *Edit) put(o *Object) {
	e.Config.put(o)
	if e.nodes != nil && o.Kind.Path == "ltm/node" {
		e.remember(o)
	}
}

func (e *Edit) drop(o *Object) {
	e.Config.drop(o)
	if o.Kind.Path == "ltm/node" {
		e.nodes = nil
	}
}

// identity is what names an object in a body.
var identity = []string{"name", "partition", "subPath", "fullPath", "kind", "selfLink", "generation"}

// Create makes an object of a kind, below an owner if the kind has one.
func (e *Edit) Create(kind, owner string, body map[string]any) (*Object, *Error) {
	k := schema.Kinds[kind]
	o := &Object{Kind: k, Owner: owner, Values: defaults(k.Fields)}
	if k.Owner != "" && e.Get(k.Owner, "", owner) == nil {
		return nil, NotFound(strings.ToLower(schema.Kinds[k.Owner].Title), owner)
	}
	if err := e.identify(o, body); err != nil {
		return nil, err
	}
	if err := e.vacant(o); err != nil {
		return nil, err
	}
	if k.Inherits {
		if err := e.inherit(o, body); err != nil {
			return nil, err
		}
	}
	if _, err := e.apply(o, body, true); err != nil {
		return nil, err
	}
	if err := e.settle(nil, o, body); err != nil {
		return nil, err
	}
	return e.keep(nil, o), nil
}

// Modify changes what the body names and nothing else.
func (e *Edit) Modify(old *Object, body map[string]any) (*Object, *Error) {
	o := *old
	o.Values = maps.Clone(old.Values)
	if err := named(&o, body); err != nil {
		return nil, err
	}
	n, err := e.apply(&o, body, false)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, nothing()
	}
	if err := e.settle(old, &o, body); err != nil {
		return nil, err
	}
	return e.keep(old, &o), nil
}

// Delete removes an object that nothing refers to, and what belongs to it.
func (e *Edit) Delete(o *Object) *Error {
	if o.System {
		return coded("01070083:3: The default %s (%s) cannot be deleted.", o.Kind.Title, o.Path())
	}
	if by := e.Config.referrer(o); by != nil {
		return inUse(o, by)
	}
	// mcpd looks at what was in force before the transaction for monitors.
	if e.Transaction && o.Kind.Class == "monitor" {
		if by := e.before.referrer(o); by != nil {
			return inUse(o, by)
		}
	}
	if err := e.removable(o); err != nil {
		return err
	}
	e.drop(o)
	for _, child := range schema.Paths() {
		if schema.Kinds[child].Owner == o.Kind.Path {
			for _, m := range e.List(child, o.Path()) {
				e.drop(m)
			}
		}
	}
	e.generation++
	e.removed(o)
	return nil
}

// keep puts an object in place, unless it is as it was.
func (e *Edit) keep(old, o *Object) *Object {
	if old != nil && same(old, o) {
		return old
	}
	if o.Kind.Field("lastModifiedTime") != nil {
		stamp := e.now.UTC().Format(time.RFC3339)
		o.Values["lastModifiedTime"] = stamp
		if old == nil {
			o.Values["creationTime"] = stamp
		}
	}
	e.generation++
	o.Generation = e.generation
	e.put(o)
	return o
}

func same(a, b *Object) bool { return reflect.DeepEqual(a.Values, b.Values) }

// identify takes name and partition from the body of a new object.
func (e *Edit) identify(o *Object, body map[string]any) *Error {
	name, ok := body["name"].(string)
	if !ok || name == "" {
		return &Error{400, APIProperty, `"name" must be specified`}
	}
	for _, property := range []string{"partition", "subPath"} {
		if v, ok := body[property]; ok {
			if _, ok := v.(string); !ok {
				return invalid(property, v)
			}
		}
	}
	partition, _ := body["partition"].(string)
	o.SubPath, _ = body["subPath"].(string)
	if o.Kind.Bare {
		if strings.Contains(name, "/") || partition != "" {
			return invalid("name", name)
		}
		o.Name = name
		return nil
	}
	if strings.HasPrefix(name, "/") {
		parts := strings.Split(name[1:], "/")
		if len(parts) < 2 || partition != "" && partition != parts[0] {
			return invalid("name", name)
		}
		partition, o.SubPath, name = parts[0], strings.Join(parts[1:len(parts)-1], "/"), parts[len(parts)-1]
	}
	if strings.Contains(name, "/") || name == "" {
		return invalid("name", name)
	}
	if partition == "" {
		partition = "Common"
		if owner := e.Get(o.Kind.Owner, "", o.Owner); owner != nil {
			partition = owner.Partition
		}
	}
	o.Partition, o.Name = partition, name
	if f := o.folder(); e.Get("sys/folder", "", f) == nil {
		return NoFolder(f)
	}
	return nil
}

// vacant refuses a name that is taken.
func (e *Edit) vacant(o *Object) *Error {
	for kind, k := range schema.Kinds {
		if k.SharesNames(o.Kind) && e.Get(kind, o.Owner, o.Path()) != nil {
			partition := o.Partition
			if o.Kind.Bare {
				partition = "Common"
			}
			return exists(o.Kind.Title, o.Path(), partition)
		}
	}
	return nil
}

// named refuses a body that names another object than the address of the request.
func named(o *Object, body map[string]any) *Error {
	for property, want := range map[string]string{"name": o.Name, "partition": o.Partition, "fullPath": o.Path()} {
		if v, ok := body[property]; ok && v != want && !(property == "name" && v == o.Path()) {
			return invalid(property, v)
		}
	}
	return nil
}

// inherit gives a new object the values of its parent.
func (e *Edit) inherit(o *Object, body map[string]any) *Error {
	f := o.Kind.Field("defaultsFrom")
	name, ok := body["defaultsFrom"].(string)
	if !ok {
		name = f.Default.(string)
	}
	parent := e.Resolve(f.To, o.Partition, name)
	if parent == nil {
		return NotFound(o.Kind.Title, name)
	}
	for name, v := range parent.Values {
		if name != "description" {
			o.Values[name] = v
		}
	}
	o.Values["defaultsFrom"] = parent.Path()
	return nil
}

// apply writes the fields of a body and counts them.
func (e *Edit) apply(o *Object, body map[string]any, creating bool) (int, *Error) {
	n := 0
	for _, name := range slices.Sorted(maps.Keys(body)) {
		if slices.Contains(identity, name) {
			continue
		}
		f := o.Kind.Field(name)
		switch {
		case f == nil:
			return 0, unknown(name)
		case f.Device, f.Fixed && !creating:
			return 0, readOnly(name)
		case f.Type == schema.Flag && body[name] == false && (f.Opposite == "" || body[f.Opposite] == true):
			// Clients send both of a pair. What one alone means when it is false is not
			// known: set refuses it.
			delete(o.Values, name)
			n++
			continue
		}
		if err := e.set(o, f, o.Values, body[name]); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

func defaults(fields []schema.Field) map[string]any {
	out := map[string]any{}
	for _, f := range fields {
		switch {
		case f.Type == schema.Group:
			out[f.Name] = defaults(f.Fields)
		case f.Default != nil:
			out[f.Name] = f.Default
		}
	}
	return out
}

package state

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/e2e/bigip/internal/schema"
)

// Object is one object of the configuration. It is never changed once it is in a Config.
type Object struct {
	Kind *schema.Kind
	// Owner is the path of the object that this one is below; "" for most.
	Owner string
	// Partition, SubPath and Name make the path. A partition has a Name only.
	Partition, SubPath, Name string
	// Generation rises on each device by itself.
	Generation int
	Values     map[string]any
	// System objects were there before anyone configured anything.
	System bool
}

// Path is the identity of an object within its kind and owner: "/P/name".
func (o *Object) Path() string {
	if o.Kind.Bare {
		return o.Name
	}
	return join(o.Partition, o.SubPath, o.Name)
}

func (o *Object) folder() string { return join(o.Partition, o.SubPath) }

func join(parts ...string) string {
	out := ""
	for _, p := range parts {
		if p != "" {
			out += "/" + p
		}
	}
	return out
}

// Config is all objects of a device.
type Config struct {
	kinds map[string]map[string]*Object
	// own are the kinds whose map this Config does not share with another.
	own map[string]bool
}

func key(owner, path string) string { return owner + "\n" + path }

// Get finds an object; nil: there is none.
func (c *Config) Get(kind, owner, path string) *Object { return c.kinds[kind][key(owner, path)] }

// List is all objects of a kind, or those of one owner, in order of their paths.
func (c *Config) List(kind, owner string) []*Object {
	var out []*Object
	for _, o := range c.kinds[kind] {
		if owner == "" || o.Owner == owner {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *Object) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Path(), b.Path()))
	})
	return out
}

// Resolve finds the object that a reference points at: by its full path, or by a name
// that is looked for in the partition and then in /Common.
func (c *Config) Resolve(to []string, partition, name string) *Object {
	paths := []string{name}
	if !strings.HasPrefix(name, "/") {
		paths = []string{join(partition, name), join("Common", name)}
	}
	for _, path := range paths {
		for kind, objects := range c.kinds {
			if k := schema.Kinds[kind]; k.Matches(to) {
				if o := objects[key("", path)]; o != nil {
					return o
				}
			}
		}
	}
	return nil
}

func (c *Config) clone() *Config {
	c.own = map[string]bool{}
	return &Config{kinds: maps.Clone(c.kinds), own: map[string]bool{}}
}

func (c *Config) writable(kind string) map[string]*Object {
	if !c.own[kind] {
		c.own[kind] = true
		c.kinds[kind] = maps.Clone(c.kinds[kind])
		if c.kinds[kind] == nil {
			c.kinds[kind] = map[string]*Object{}
		}
	}
	return c.kinds[kind]
}

func (c *Config) put(o *Object)  { c.writable(o.Kind.Path)[key(o.Owner, o.Path())] = o }
func (c *Config) drop(o *Object) { delete(c.writable(o.Kind.Path), key(o.Owner, o.Path())) }

// Store is the configuration of a device and its counters.
type Store struct {
	Config *Config
	// Generation is the device's counter of changes.
	Generation int
	index      int
	// KeepOmitted: fields that an inline list of members leaves out keep their values in
	// members that are there already, instead of going back to the defaults. Which of the
	// two a device does is not known.
	KeepOmitted bool
}

// New is a device with nothing but what every device has.
func New() *Store {
	s := &Store{Config: &Config{kinds: map[string]map[string]*Object{}, own: map[string]bool{}}, Generation: 1}
	e := s.Begin(time.Time{})
	for _, path := range schema.Paths() {
		k := schema.Kinds[path]
		for _, b := range k.Builtins {
			o := &Object{Kind: k, Partition: "Common", Name: b.Name, Generation: 1, Values: defaults(k.Fields), System: true}
			if k.Bare {
				o.Partition = ""
			}
			maps.Copy(o.Values, b.Values)
			e.put(o)
		}
	}
	e.put(&Object{Kind: schema.Kinds["sys/folder"], Name: "Common", Generation: 1, Values: defaults(schema.Kinds["sys/folder"].Fields), System: true})
	s.Take(e)
	return s
}

// Begin starts a change at a time.
func (s *Store) Begin(now time.Time) *Edit {
	return &Edit{Config: s.Config.clone(), before: s.Config, store: s, generation: s.Generation, index: s.index, now: now}
}

// Take makes a change the configuration.
func (s *Store) Take(e *Edit) { s.Config, s.Generation, s.index = e.Config, e.generation, e.index }

// Copy takes over the configuration of another device. Objects that are the same keep
// their generation, which is each device's own.
func (s *Store) Copy(from *Config) {
	next := from.clone()
	for kind, objects := range from.kinds {
		for _, id := range slices.Sorted(maps.Keys(objects)) {
			o := objects[id]
			if old := s.Config.kinds[kind][id]; old != nil && same(old, o) {
				next.put(old)
				continue
			}
			s.Generation++
			c := *o
			c.Generation = s.Generation
			next.put(&c)
		}
	}
	s.Config = next
}

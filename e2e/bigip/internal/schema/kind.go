package schema

import (
	"fmt"
	"slices"
	"strings"
)

// Type says what values a field takes and how they are shown.
type Type int

const (
	// Text is any string. "" and "none" stand for no value: the key is absent, or has the
	// default where there is one.
	Text Type = iota
	// Choice is one of Words.
	Choice
	// Number is a JSON number from Min to Max, or one of Words. A string of digits is taken
	// too.
	Number
	// Digits is a number that travels as a string, or one of Words.
	Digits
	// Flag is true or absent. Setting it removes its Opposite.
	Flag
	// Ref is the path of an object of one of the kinds of To.
	Ref
	// RefList is a list of such paths.
	RefList
	// RefObjects is a list of objects with name and partition that point at such an
	// object; Fields are what else they may have.
	RefObjects
	// Monitor is an expression of monitors: "/Common/a and /Common/b", or
	// "min 1 of { /Common/a /Common/b }".
	Monitor
	// Group is an object with Fields.
	Group
	// Items is a list of objects with Fields, the first of which is their key.
	Items
	// Special is for values that package state has code for.
	Special
)

// Field is one property of a kind.
type Field struct {
	Name string
	Type Type
	// Default is what a new object has; nil: the key is absent.
	Default any
	Words   []string
	// Min and Max bound a Number; both 0: any that is not negative.
	Min, Max int
	// Opposite of a Flag: exactly one of the two is there.
	Opposite string
	// To are the kinds that a reference may point at: paths, or prefixes that end with "/".
	To []string
	// Link: the body also has <Name>Reference with the address of what is referred to.
	Link bool
	// Fixed: can be set when the object is made, not later.
	Fixed bool
	// Device: set by the device; writing it is refused.
	Device bool
	// Hidden: can be written and is not shown.
	Hidden bool
	Fields []Field
}

// Kind is a kind of object.
type Kind struct {
	// Path is the address below /mgmt/tm/. That of a subcollection is Owner's path and its
	// own name.
	Path string
	// Title is the name that messages of the device have for it.
	Title string
	// Class is what shares names: a profile of one kind cannot be called as one of
	// another. "": the kind on its own.
	Class string
	// Owner is the kind that this is a subcollection of.
	Owner  string
	Fields []Field
	// Children are the subcollections that bodies point at.
	Children []string
	// Builtins are on every device, in /Common, and cannot be deleted.
	Builtins []Builtin
	// Inherits: a new object has the values of the one that defaultsFrom names.
	Inherits bool
	// ReadOnly kinds can be listed and read.
	ReadOnly bool
	// Bare objects belong to no partition (partitions themselves).
	Bare bool
}

// Builtin is an object that is there from the start.
type Builtin struct {
	Name   string
	Values map[string]any
}

// Field finds a field by its name; nil: the kind has none of that name.
func (k *Kind) Field(name string) *Field { return find(k.Fields, name) }

func find(fields []Field, name string) *Field {
	if i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name }); i >= 0 {
		return &fields[i]
	}
	return nil
}

// Find finds a field in a group or item.
func (f *Field) Find(name string) *Field { return find(f.Fields, name) }

// State, Collection, Stats and CollectionStats are the values of "kind" in bodies.
func (k *Kind) State() string           { return k.name("state") }
func (k *Kind) Collection() string      { return k.name("collectionstate") }
func (k *Kind) Stats() string           { return k.name("stats") }
func (k *Kind) CollectionStats() string { return k.name("collectionstats") }

func (k *Kind) name(suffix string) string {
	parts := strings.Split(k.Path, "/")
	return "tm:" + strings.Join(parts, ":") + ":" + parts[len(parts)-1] + suffix
}

// Matches tells whether objects of this kind are what a reference may point at.
func (k *Kind) Matches(to []string) bool {
	return slices.ContainsFunc(to, func(p string) bool {
		return p == k.Path || strings.HasSuffix(p, "/") && strings.HasPrefix(k.Path, p)
	})
}

// SharesNames tells whether two kinds cannot both have an object of one name.
func (k *Kind) SharesNames(other *Kind) bool {
	return k == other || k.Class != "" && k.Class == other.Class
}

// Kinds are all that the simulated device knows, by path.
var Kinds = index(ltm, monitors, profiles, persistence, system)

func index(groups ...[]*Kind) map[string]*Kind {
	all := map[string]*Kind{}
	for _, group := range groups {
		for _, k := range group {
			if all[k.Path] != nil {
				panic(fmt.Sprintf("schema: two kinds with the path %s", k.Path))
			}
			all[k.Path] = k
		}
	}
	return all
}

// Paths are the paths of Kinds in order.
func Paths() []string {
	var out []string
	for path := range Kinds {
		out = append(out, path)
	}
	slices.Sort(out)
	return out
}

package schema

import (
	"slices"
	"strings"
	"testing"
)

// TestTable shows that the table does not contradict itself.
func TestTable(t *testing.T) {
	for _, path := range Paths() {
		k := Kinds[path]
		if k.Title == "" || k.Owner != "" && !strings.HasPrefix(path, k.Owner+"/") {
			t.Errorf("%s: title %q, owner %q", path, k.Title, k.Owner)
		}
		check(t, path, k.Fields)
		for _, child := range k.Children {
			if Kinds[path+"/"+child] == nil && k.Field(child) == nil && path != "cm/device-group" {
				t.Errorf("%s: no child %s", path, child)
			}
		}
		for _, b := range k.Builtins {
			for name := range b.Values {
				if k.Field(name) == nil {
					t.Errorf("%s: %s has the unknown field %s", path, b.Name, name)
				}
			}
		}
	}
}

func check(t *testing.T, path string, fields []Field) {
	t.Helper()
	seen := map[string]bool{}
	for i := range fields {
		f := &fields[i]
		if seen[f.Name] {
			t.Errorf("%s: two fields %s", path, f.Name)
		}
		seen[f.Name] = true
		text, isText := f.Default.(string)
		number, isNumber := f.Default.(int)
		switch f.Type {
		case Choice:
			if f.Default != nil && !slices.Contains(f.Words, text) {
				t.Errorf("%s: %s is %q by default, not one of %v", path, f.Name, text, f.Words)
			}
		case Number:
			if isNumber && (number < f.Min || f.Max > 0 && number > f.Max) || isText {
				t.Errorf("%s: %s is %v by default", path, f.Name, f.Default)
			}
		case Flag:
			if f.Opposite != "" && (find(fields, f.Opposite) == nil || find(fields, f.Opposite).Opposite != f.Name) {
				t.Errorf("%s: %s is not the opposite of %s", path, f.Opposite, f.Name)
			}
		case Ref, RefList, RefObjects, Monitor:
			if !slices.ContainsFunc(Paths(), func(p string) bool { return Kinds[p].Matches(f.To) }) {
				t.Errorf("%s: %s refers to %v, which there is not", path, f.Name, f.To)
			}
		}
		check(t, path+"."+f.Name, f.Fields)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// schema is what is shown of a JSON Schema. A plugin of a third party may write anything
// into it: what is not understood is left out.
type schema struct {
	Type        any                `json:"type"`
	Description string             `json:"description"`
	Default     json.RawMessage    `json:"default"`
	Properties  map[string]*schema `json:"properties"`
	Items       *schema            `json:"items"`
	Required    []string           `json:"required"`
	Enum        []json.RawMessage  `json:"enum"`
}

// maxDepth bounds how far a schema is followed.
const maxDepth = 6

// schemaTable are the parameters of a type as lines.
func schemaTable(data []byte) []string {
	if len(data) == 0 {
		return []string{"  it says nothing of its parameters"}
	}
	var s schema
	if json.Unmarshal(data, &s) != nil {
		return []string{"  what it says of its parameters is no JSON Schema"}
	}
	t := &table{}
	t.add("PARAMETER", "TYPE", "DEFAULT", "MEANING")
	s.rows(t, "", 0)
	if len(t.rows) == 1 {
		return []string{"  no parameters"}
	}
	return t.lines("  ")
}

func (s *schema) rows(t *table, prefix string, depth int) {
	if depth > maxDepth {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		if p == nil {
			continue
		}
		standard := compact(p.Default)
		if slices.Contains(s.Required, name) {
			standard = "required"
		}
		t.add(prefix+name, p.kind(), standard, p.Description)
		p.rows(t, prefix+name+".", depth+1)
		if p.Items != nil {
			p.Items.rows(t, prefix+name+".N.", depth+1)
		}
	}
}

// kind gives "string", "list of string", "a|b".
func (s *schema) kind() string {
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			values = append(values, strings.Trim(compact(v), `"`))
		}
		return strings.Join(values, "|")
	}
	switch k := s.Type.(type) {
	case string:
		if k == "array" && s.Items != nil {
			return "list of " + s.Items.kind()
		}
		return k
	case []any:
		var kinds []string
		for _, x := range k {
			if text, ok := x.(string); ok {
				kinds = append(kinds, text)
			}
		}
		return strings.Join(kinds, "|")
	}
	return "any"
}

func compact(v json.RawMessage) string {
	var out bytes.Buffer
	if len(v) == 0 || json.Compact(&out, v) != nil {
		return ""
	}
	return out.String()
}

package state

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/e2e/bigip/internal/schema"
)

// longest is the length above which the device takes no string.
const longest = 65535

// set writes one value after checking it against its field.
func (e *Edit) set(o *Object, f *schema.Field, values map[string]any, v any) *Error {
	if s, ok := v.(string); ok && len(s) > longest {
		return coded("01020057:3: The string with more than %d characters cannot be stored in a message.", longest)
	}
	switch f.Type {
	case schema.Text:
		return setText(f, values, v)
	case schema.Choice:
		if s, ok := v.(string); ok && slices.Contains(f.Words, s) {
			values[f.Name] = s
			return nil
		}
	case schema.Number:
		if s, ok := v.(string); ok && slices.Contains(f.Words, s) {
			values[f.Name] = s
			return nil
		}
		if n, ok := whole(v); ok && n >= f.Min && (f.Max == 0 || n <= f.Max) {
			values[f.Name] = n
			return nil
		}
	case schema.Digits:
		s, _ := v.(string)
		if slices.Contains(f.Words, s) {
			values[f.Name] = s
			return nil
		}
		if n, ok := whole(v); ok && n >= 0 {
			values[f.Name] = strconv.Itoa(n)
			return nil
		}
	case schema.Flag:
		if v == true {
			values[f.Name] = true
			delete(values, f.Opposite)
			return nil
		}
	case schema.Ref:
		return e.setRef(o, f, values, v)
	case schema.RefList:
		return e.setRefList(o, f, values, v)
	case schema.RefObjects:
		return e.setRefObjects(o, f, values, v)
	case schema.Monitor:
		return e.setMonitor(o, f, values, v)
	case schema.Group:
		return e.setGroup(o, f, values, v)
	case schema.Items:
		return e.setItems(o, f, values, v)
	case schema.Special:
		return e.setSpecial(o, f, values, v)
	}
	return invalid(f.Name, v)
}

func setText(f *schema.Field, values map[string]any, v any) *Error {
	s, ok := v.(string)
	switch {
	case !ok:
		return invalid(f.Name, v)
	case s != "" && s != "none":
		values[f.Name] = s
	case f.Default != nil && f.Default != "none" && f.Default != "":
		// A default that means something is not brought back by an empty string.
		values[f.Name] = s
	default:
		unset(f, values)
	}
	return nil
}

func unset(f *schema.Field, values map[string]any) {
	delete(values, f.Name)
	if f.Default != nil {
		values[f.Name] = f.Default
	}
}

// whole reads a number, or a string of digits, without fraction.
func whole(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case float64:
		return int(v), v == math.Trunc(v) && math.Abs(v) < 1<<53
	case string:
		n, err := strconv.Atoi(v)
		return n, err == nil
	}
	return 0, false
}

// target finds what a reference points at and checks that it may.
func (e *Edit) target(o *Object, f *schema.Field, name string) (*Object, *Error) {
	to := e.Resolve(f.To, o.Partition, name)
	if to == nil {
		title := strings.ToLower(f.Name)
		for _, path := range schema.Paths() {
			if k := schema.Kinds[path]; k.Matches(f.To) {
				title = k.Title
				break
			}
		}
		if !strings.HasPrefix(name, "/") {
			name = join(o.Partition, name)
		}
		return nil, NotFound(title, name)
	}
	if to.Partition != o.Partition && to.Partition != "Common" {
		return nil, coded("01070726:3: %s %s in partition %s cannot reference %s %s in partition %s",
			o.Kind.Title, o.Path(), o.Partition, to.Kind.Title, to.Path(), to.Partition)
	}
	return to, nil
}

func (e *Edit) setRef(o *Object, f *schema.Field, values map[string]any, v any) *Error {
	name, ok := v.(string)
	if !ok {
		return invalid(f.Name, v)
	}
	if name == "" || name == "none" {
		unset(f, values)
		return nil
	}
	to, err := e.target(o, f, name)
	if err != nil {
		return err
	}
	values[f.Name] = to.Path()
	return nil
}

// list takes a list; "" and "none" are the empty one.
func list(f *schema.Field, v any) ([]any, *Error) {
	switch v := v.(type) {
	case []any:
		return v, nil
	case string:
		if v == "" || v == "none" {
			return nil, nil
		}
	}
	return nil, invalid(f.Name, v)
}

func (e *Edit) setRefList(o *Object, f *schema.Field, values map[string]any, v any) *Error {
	items, err := list(f, v)
	if err != nil {
		return err
	}
	var out []any
	for _, item := range items {
		name, ok := item.(string)
		if !ok {
			return invalid(f.Name, v)
		}
		if o.Kind.Path == "ltm/snatpool" {
			if err := e.translate(o, name); err != nil {
				return err
			}
		}
		to, err := e.target(o, f, name)
		if err != nil {
			return err
		}
		if slices.Contains(out, any(to.Path())) {
			return invalid(f.Name, v)
		}
		out = append(out, to.Path())
	}
	store(f, values, out)
	return nil
}

// store keeps a list; an empty one leaves no key behind.
func store(f *schema.Field, values map[string]any, items []any) {
	if len(items) == 0 {
		delete(values, f.Name)
		return
	}
	values[f.Name] = items
}

func (e *Edit) setRefObjects(o *Object, f *schema.Field, values map[string]any, v any) *Error {
	items, err := list(f, v)
	if err != nil {
		return err
	}
	var out []any
	for _, item := range items {
		if name, ok := item.(string); ok {
			item = map[string]any{"name": name}
		}
		body, ok := item.(map[string]any)
		name, named := body["name"].(string)
		if !ok || !named {
			return invalid(f.Name, v)
		}
		if partition, ok := body["partition"].(string); ok && !strings.HasPrefix(name, "/") {
			name = join(partition, name)
		}
		to, err := e.target(o, f, name)
		if err != nil {
			return err
		}
		entry := defaults(f.Fields)
		for _, property := range slices.Sorted(maps.Keys(body)) {
			if slices.Contains(identity, property) {
				continue
			}
			own := f.Find(property)
			if own == nil {
				return unknown(property)
			}
			if err := e.set(o, own, entry, body[property]); err != nil {
				return err
			}
		}
		entry["name"], entry["partition"] = to.Name, to.Partition
		if to.SubPath != "" {
			entry["subPath"] = to.SubPath
		}
		out = append(out, entry)
	}
	store(f, values, out)
	return nil
}

func (e *Edit) setGroup(o *Object, f *schema.Field, values map[string]any, v any) *Error {
	body, ok := v.(map[string]any)
	if !ok {
		return invalid(f.Name, v)
	}
	old, _ := values[f.Name].(map[string]any)
	group := maps.Clone(old)
	if group == nil {
		group = map[string]any{}
	}
	for _, name := range slices.Sorted(maps.Keys(body)) {
		own := f.Find(name)
		if own == nil {
			return unknown(name)
		}
		if err := e.set(o, own, group, body[name]); err != nil {
			return err
		}
	}
	values[f.Name] = group
	return nil
}

func (e *Edit) setItems(o *Object, f *schema.Field, values map[string]any, v any) *Error {
	items, err := list(f, v)
	if err != nil {
		return err
	}
	var out []any
	seen := map[string]bool{}
	id := f.Fields[0].Name
	for _, item := range items {
		body, ok := item.(map[string]any)
		if !ok {
			return invalid(f.Name, v)
		}
		entry := defaults(f.Fields)
		for _, property := range slices.Sorted(maps.Keys(body)) {
			own := f.Find(property)
			if own == nil {
				return unknown(property)
			}
			if err := e.set(o, own, entry, body[property]); err != nil {
				return err
			}
		}
		name, _ := entry[id].(string)
		if name == "" || seen[name] {
			return invalid(f.Name, v)
		}
		seen[name] = true
		out = append(out, entry)
	}
	store(f, values, out)
	return nil
}

func (e *Edit) setMonitor(o *Object, f *schema.Field, values map[string]any, v any) *Error {
	text, ok := v.(string)
	if !ok {
		return invalid(f.Name, v)
	}
	text = strings.TrimSpace(text)
	if text == "" || text == "default" && f.Default == nil {
		unset(f, values)
		return nil
	}
	if text == "none" && f.Default == nil {
		delete(values, f.Name)
		return nil
	}
	if text == "default" || text == "none" {
		values[f.Name] = text
		return nil
	}
	least, names, ok := ParseMonitor(text)
	if !ok {
		return invalid(f.Name, v)
	}
	for i, name := range names {
		to, err := e.target(o, f, name)
		if err != nil {
			return err
		}
		names[i] = to.Path()
	}
	values[f.Name] = formatMonitor(least, names)
	return nil
}

// ParseMonitor reads an expression of monitors. At least 0: all of them must be up.
func ParseMonitor(text string) (least int, names []string, ok bool) {
	text = strings.TrimSpace(text)
	if rest, found := strings.CutPrefix(text, "min "); found {
		number, rest, _ := strings.Cut(strings.TrimSpace(rest), " ")
		n, err := strconv.Atoi(number)
		rest = strings.TrimSpace(rest)
		rest, found := strings.CutPrefix(rest, "of")
		rest = strings.TrimSpace(rest)
		// Clients leave the braces out, because older devices refused them.
		if inner, braced := strings.CutPrefix(rest, "{"); braced {
			inner, closed := strings.CutSuffix(inner, "}")
			found = found && closed
			rest = inner
		}
		names = strings.Fields(rest)
		return n, names, err == nil && found && n >= 1 && len(names) >= n
	}
	for i, word := range strings.Fields(text) {
		if i%2 == 1 {
			if word != "and" {
				return 0, nil, false
			}
			continue
		}
		names = append(names, word)
	}
	return 0, names, len(names) > 0 && !strings.HasSuffix(text, " and")
}

func formatMonitor(least int, names []string) string {
	if least > 0 {
		return "min " + strconv.Itoa(least) + " of { " + strings.Join(names, " ") + " }"
	}
	return strings.Join(names, " and ")
}

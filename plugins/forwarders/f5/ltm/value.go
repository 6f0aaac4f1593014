package ltm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// object is a JSON object of the device. Its methods take a value by its key, with the
// default for one that is absent; a value of the wrong type is kept as the first error.
// The device writes many numbers as strings, so scalars are read as either.
type object struct {
	keys map[string]json.RawMessage
	what string
	err  *error
}

func newObject(raw json.RawMessage, what string) (object, error) {
	o := object{what: what, err: new(error)}
	if err := json.Unmarshal(raw, &o.keys); err != nil {
		return o, fmt.Errorf("read %s: not a JSON object", what)
	}
	return o, nil
}

func (o object) fail(key, want string) {
	if *o.err == nil {
		*o.err = fmt.Errorf("read %s: %s is not %s: %s", o.what, key, want, shorten(string(o.keys[key])))
	}
}

func shorten(text string) string {
	if len(text) > 60 {
		return strings.ToValidUTF8(text[:60], "") + "..."
	}
	return text
}

func (o object) has(key string) bool {
	raw, ok := o.keys[key]
	return ok && !bytes.Equal(raw, []byte("null"))
}

// scalar reads a string, number or truth value as text.
func scalar(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 {
		return "", false
	}
	switch raw[0] {
	case '"':
		// Most strings are written as they are.
		if plain := raw[1:max(len(raw)-1, 1)]; !bytes.ContainsAny(plain, "\\\"") && utf8.Valid(plain) {
			return string(plain), true
		}
		var text string
		err := json.Unmarshal(raw, &text)
		return text, err == nil
	case '{', '[', 'n':
		return "", false
	}
	return string(raw), true
}

func (o object) text(key, otherwise string) string {
	if !o.has(key) {
		return otherwise
	}
	text, ok := scalar(o.keys[key])
	if !ok {
		o.fail(key, "a text or number")
		return otherwise
	}
	return strings.TrimSpace(text)
}

// raw is a text with its white space.
func (o object) raw(key string) string {
	text := ""
	if o.has(key) && json.Unmarshal(o.keys[key], &text) != nil {
		o.fail(key, "a text")
	}
	return text
}

// name is a text that says "none" for nothing.
func (o object) name(key string) string {
	if text := o.text(key, ""); text != "none" {
		return text
	}
	return ""
}

func (o object) number(key string, otherwise int) int {
	if !o.has(key) {
		return otherwise
	}
	text, ok := scalar(o.keys[key])
	n, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil || n < -1<<53 || n > 1<<53 {
		o.fail(key, "a number")
		return otherwise
	}
	return int(n)
}

// on reads the device's spellings of truth.
func (o object) on(key string, otherwise bool) bool {
	switch o.text(key, "") {
	case "enabled", "yes", "true":
		return true
	case "disabled", "no", "false":
		return false
	}
	return otherwise
}

func (o object) list(key string) []json.RawMessage {
	if !o.has(key) {
		return nil
	}
	var items []json.RawMessage
	if json.Unmarshal(o.keys[key], &items) != nil {
		if text, ok := scalar(o.keys[key]); !ok || text != "" && text != "none" {
			o.fail(key, "a list")
		}
		return nil
	}
	return items
}

// child is an object within this one; empty if absent.
func (o object) child(key string) object {
	c := object{what: o.what + ": " + key, err: o.err}
	if o.has(key) && json.Unmarshal(o.keys[key], &c.keys) != nil {
		o.fail(key, "an object")
	}
	return c
}

// texts is a list of texts.
func (o object) texts(key string) []string {
	var out []string
	for _, raw := range o.list(key) {
		text, ok := scalar(raw)
		if !ok {
			o.fail(key, "a list of texts")
			return nil
		}
		out = append(out, text)
	}
	return out
}

// references is a list of names, each a text or an object with name and partition, as
// full paths.
func (o object) references(key, partition string) []string {
	var out []string
	for _, raw := range o.list(key) {
		if text, ok := scalar(raw); ok {
			out = append(out, full(partition, text))
			continue
		}
		item, err := newObject(raw, o.what+": "+key)
		if err != nil {
			o.fail(key, "a list of names")
			return nil
		}
		out = append(out, item.path(partition))
	}
	return out
}

// path is the full path of an object.
func (o object) path(partition string) string {
	if path := o.text("fullPath", ""); path != "" {
		return full(partition, path)
	}
	name := o.text("name", "")
	if strings.HasPrefix(name, "/") {
		return name
	}
	partition = o.text("partition", partition)
	if sub := o.text("subPath", ""); sub != "" {
		partition += "/" + sub
	}
	return full(partition, name)
}

// items are the objects of a collection, or of an expanded subcollection.
func (o object) items() []json.RawMessage { return o.list("items") }

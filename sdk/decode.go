package sdk

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// ParameterError says what is wrong with parameters, and where.
type ParameterError struct {
	// Path is a JSON pointer (RFC 6901); empty for the whole.
	Path string
	// Message says what is wrong and what to do.
	Message string
}

// Error gives "/url/0/path: must start with a slash".
func (e *ParameterError) Error() string {
	if e.Path == "" {
		return e.Message
	}
	return e.Path + ": " + e.Message
}

// Errorf makes a ParameterError; path is a JSON pointer, empty for the whole.
func Errorf(path, format string, args ...any) error {
	return &ParameterError{Path: path, Message: fmt.Sprintf(format, args...)}
}

// Decode reads parameters into a struct, which holds the defaults before. It is strict:
// a key that is no field's name is refused, upper and lower case count, and so does
// the type. Empty parameters and null change nothing. Every error is a *ParameterError.
//
// Fields are named by their json tags. A type that implements json.Unmarshaler or
// encoding.TextUnmarshaler reads itself.
func Decode(parameters json.RawMessage, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return Errorf("", "cannot read parameters into a %T: this is a fault of the plugin", into)
	}
	if len(bytes.TrimSpace(parameters)) == 0 {
		return nil
	}
	var syntax *json.SyntaxError
	var whole json.RawMessage
	if err := json.Unmarshal(parameters, &whole); errors.As(err, &syntax) {
		return Errorf("", "not JSON at byte %d: %s", syntax.Offset, syntax)
	} else if err != nil {
		return Errorf("", "not JSON: %s", err)
	}
	return decodeValue(whole, v.Elem(), "")
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// decodeValue descends as long as there are paths to be told.
func decodeValue(raw json.RawMessage, v reflect.Value, path string) error {
	t := v.Type()
	if reflect.PointerTo(t).Implements(jsonUnmarshaler) || reflect.PointerTo(t).Implements(textUnmarshaler) {
		return decodeLeaf(raw, v, path)
	}
	null := string(raw) == "null"
	switch t.Kind() {
	case reflect.Struct:
		if null {
			return nil
		}
		return decodeStruct(raw, v, path)
	case reflect.Pointer:
		if null {
			v.SetZero()
			return nil
		}
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		return decodeValue(raw, v.Elem(), path)
	case reflect.Slice:
		var items []json.RawMessage
		if t.Elem().Kind() == reflect.Uint8 || json.Unmarshal(raw, &items) != nil {
			return decodeLeaf(raw, v, path)
		}
		list := reflect.MakeSlice(t, len(items), len(items))
		for i, item := range items {
			if err := decodeValue(item, list.Index(i), path+"/"+strconv.Itoa(i)); err != nil {
				return err
			}
		}
		v.Set(list)
		return nil
	}
	return decodeLeaf(raw, v, path)
}

func decodeStruct(raw json.RawMessage, v reflect.Value, path string) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return Errorf(path, "must be an object, not %s", kindOf(raw))
	}
	known := fields(v.Type())
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		here := path + "/" + pointerEscaper.Replace(key)
		i := slices.IndexFunc(known, func(f field) bool { return f.name == key })
		if i < 0 {
			return Errorf(here, "unknown key %q; %s", key, knownKeys(known))
		}
		value, err := v.FieldByIndexErr(known[i].index)
		if err != nil {
			return Errorf(here, "cannot be set: %s: this is a fault of the plugin", err)
		}
		if err := decodeValue(object[key], value, here); err != nil {
			return err
		}
	}
	return nil
}

// pointerEscaper is RFC 6901, section 3.
var pointerEscaper = strings.NewReplacer("~", "~0", "/", "~1")

func knownKeys(known []field) string {
	if len(known) == 0 {
		return "there are no keys here"
	}
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.name
	}
	return "known are " + strings.Join(names, ", ")
}

func decodeLeaf(raw json.RawMessage, v reflect.Value, path string) error {
	err := json.Unmarshal(raw, v.Addr().Interface())
	if err == nil {
		return nil
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return Errorf(path, "must be %s, not %s", wanted(wrong.Type), wrong.Value)
	}
	return Errorf(path, "%s", strings.TrimPrefix(err.Error(), "json: "))
}

// wanted names a Go type for people.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return fmt.Sprintf("a whole number of at most %d bits", t.Bits())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("a whole number, not negative, of at most %d bits", t.Bits())
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "an object"
}

// kindOf names the kind of a JSON value.
func kindOf(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "text"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}

// field is a struct field by its name in JSON.
type field struct {
	name  string
	index []int
	typ   reflect.Type
	doc   string
}

// fields lists the fields of a struct that JSON knows, embedded structs' too.
func fields(t reflect.Type) []field {
	var out []field
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous || !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		out = append(out, field{name: name, index: f.Index, typ: f.Type, doc: f.Tag.Get("doc")})
	}
	return out
}

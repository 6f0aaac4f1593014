package config

import (
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// node is a value of a file, with the JSON pointer that tells where it stands.
type node struct {
	n       *native
	pointer string
	value   any
}

func (v node) place() place { return v.n.placeOf(v.pointer) }

func (v node) errorf(format string, args ...any) { v.n.errorf(v.place(), format, args...) }

// wrong tells that a value is not what its key takes. The value itself is not told:
// it may be a secret.
func (v node) wrong(takes string) { v.errorf("%s takes %s", v.name(), takes) }

// name is the last key of its pointer that is not an index.
func (v node) name() string {
	parts := strings.Split(v.pointer, "/")
	for i := len(parts) - 1; i > 0; i-- {
		if _, err := strconv.Atoi(parts[i]); err != nil {
			return unescape(parts[i])
		}
	}
	return "the file"
}

// text takes a string.
func (v node) text() (string, bool) {
	s, ok := v.value.(string)
	switch {
	case ok && s != "":
		return s, true
	case ok:
		v.wrong("a word, and this is empty")
	default:
		v.wrong("a word: put it in quotes")
	}
	return "", false
}

// number takes a whole number.
func (v node) number(least, most uint64) (uint64, bool) {
	var n uint64
	ok := true
	switch x := v.value.(type) {
	case int:
		n, ok = uint64(x), x >= 0
	case int64:
		n, ok = uint64(x), x >= 0
	case uint64:
		n = x
	case float64:
		n, ok = uint64(x), x >= 0 && x == math.Trunc(x) && x < 1<<53
	default:
		ok = false
	}
	if !ok {
		v.wrong("a whole number")
		return 0, false
	}
	if n < least || n > most {
		v.errorf("%s %d: not in %d..%d", v.name(), n, least, most)
		return 0, false
	}
	return n, true
}

// duration takes a string like 3s or 500ms.
func (v node) duration(least time.Duration) (time.Duration, bool) {
	s, ok := v.value.(string)
	if !ok {
		v.wrong("a time with its unit: 3s, 500ms, 1m")
		return 0, false
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		v.errorf("%s %s: not a time; write 3s, 500ms, 1m", v.name(), s)
	case d < least && least <= 1:
		v.errorf("%s %s: too short", v.name(), s)
	case d < least:
		v.errorf("%s %s: less than %s", v.name(), s, least)
	default:
		return d, true
	}
	return 0, false
}

// address takes a literal address.
func (v node) address() (netip.Addr, bool) {
	s, ok := v.text()
	if !ok {
		return netip.Addr{}, false
	}
	a, err := parseAddress(s)
	if err != nil {
		v.errorf("%s %s: %v", v.name(), s, err)
	}
	return a, err == nil
}

// endpoint takes "192.0.2.1:80", "[2001:db8::1]:80"; without needPort the port may be
// missing.
func (v node) endpoint(needPort bool) (netip.AddrPort, bool) {
	s, ok := v.text()
	if !ok {
		return netip.AddrPort{}, false
	}
	if a, err := parseAddress(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		if needPort {
			v.errorf("%s %s has no port: write %s", v.name(), s, netip.AddrPortFrom(a, 80))
			return netip.AddrPort{}, false
		}
		return netip.AddrPortFrom(a, 0), true
	}
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i+1:]
	}
	bare, bracketed := strings.CutPrefix(host, "[")
	bare = strings.TrimSuffix(bare, "]")
	a, err := parseAddress(bare)
	if err == nil && a.Is6() && !bracketed {
		err = errAddress
	}
	if err != nil {
		v.errorf("%s %s: %v", v.name(), s, err)
		return netip.AddrPort{}, false
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || p == 0 {
		v.errorf("%s %s: the port %s is not in 1..65535", v.name(), s, port)
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, uint16(p)), true
}

// items are the elements of a list; a value that is none is a list of one.
func (v node) items() []node {
	list, ok := v.value.([]any)
	if !ok {
		return []node{v}
	}
	out := make([]node, 0, len(list))
	for i, x := range list {
		out = append(out, node{v.n, v.pointer + "/" + strconv.Itoa(i), x})
	}
	return out
}

// canonical gives a value as JSON with sorted keys, and the lines of its parts.
func (v node) canonical() (string, map[string]int) {
	m, ok := v.value.(map[string]any)
	if !ok {
		v.wrong("a map of the plugin's own parameters")
		return "", nil
	}
	text := v.json(m)
	if text == "" {
		return "", nil
	}
	return text, v.below()
}

// json gives what a plugin gets of a value as JSON with sorted keys; empty: nothing.
func (v node) json(m map[string]any) string {
	if len(m) == 0 {
		return ""
	}
	b, err := json.Marshal(plainFloats(m))
	if err != nil {
		v.errorf("%s cannot be given to a plugin as JSON: %v", v.name(), err)
		return ""
	}
	return string(b)
}

// below are the lines of a value's parts, by the pointer from it.
func (v node) below() map[string]int {
	lines := map[string]int{}
	for p, l := range v.n.lines {
		if rest, ok := strings.CutPrefix(p, v.pointer+"/"); ok {
			lines["/"+rest] = l
		}
	}
	return lines
}

// plainFloats makes whole numbers of the floats that are: JSON knows no others, and -0
// is 0.
func plainFloats(v any) any {
	switch x := v.(type) {
	case float64:
		if x == math.Trunc(x) && math.Abs(x) < 1<<53 {
			return int64(x)
		}
	case map[string]any:
		for k := range x {
			x[k] = plainFloats(x[k])
		}
	case []any:
		for i := range x {
			x[i] = plainFloats(x[i])
		}
	}
	return v
}

// object is a map of a file. It remembers what it is asked for, and what it is not
// asked for is an unknown key.
type object struct {
	node
	values map[string]any
	asked  []string
}

func (v node) object() (*object, bool) {
	m, ok := v.value.(map[string]any)
	if !ok && v.value != nil {
		v.wrong("keys with values")
		return nil, false
	}
	return &object{node: v, values: m}, true
}

// get gives the value of a key; a value that is left out counts as none.
func (o *object) get(key string) (node, bool) {
	o.asked = append(o.asked, key)
	x, ok := o.values[key]
	return node{o.n, o.pointer + "/" + escape(key), x}, ok && x != nil
}

// done tells of the keys that nobody asked for.
func (o *object) done() {
	for key := range o.values {
		known := false
		for _, a := range o.asked {
			known = known || a == key
		}
		if !known {
			at := node{o.n, o.pointer + "/" + escape(key), nil}
			where := ""
			if o.pointer != "" {
				where = " in " + o.name()
			}
			at.errorf("unknown key %s%s%s", key, where, meant(key, o.asked))
		}
	}
}

func (o *object) object(key string) (*object, bool) {
	v, ok := o.get(key)
	if !ok {
		return nil, false
	}
	return v.object()
}

// list gives the elements of a key's list.
func (o *object) list(key string) []node {
	v, ok := o.get(key)
	if !ok {
		return nil
	}
	return v.items()
}

func (o *object) string(key string, to *string) {
	if v, ok := o.get(key); ok {
		if s, ok := v.text(); ok {
			*to = s
		}
	}
}

func (o *object) boolean(key string, to *bool) {
	if v, ok := o.get(key); ok {
		b, ok := v.value.(bool)
		if !ok {
			v.wrong("true or false")
			return
		}
		*to = b
	}
}

func (o *object) duration(key string, to *time.Duration, least time.Duration) {
	if v, ok := o.get(key); ok {
		if d, ok := v.duration(least); ok {
			*to = d
		}
	}
}

func (o *object) address(key string, to *netip.Addr) {
	if v, ok := o.get(key); ok {
		if a, ok := v.address(); ok {
			*to = a
		}
	}
}

// whole takes a whole number into a field.
func whole[T uint8 | uint16 | uint32](o *object, key string, to *T, least, most uint64) {
	if v, ok := o.get(key); ok {
		if x, ok := v.number(least, min(most, uint64(^T(0)))); ok {
			*to = T(x)
		}
	}
}

// escape makes a key a part of a JSON pointer.
func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

func unescape(part string) string {
	return strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
}

// parent cuts the last part off a pointer.
func parent(pointer string) string { return pointer[:strings.LastIndexByte(pointer, '/')] }

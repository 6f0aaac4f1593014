package config

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// word takes the next word of a statement; a missing one is an error.
func (k *keepalived) word(t *statement) (string, bool) {
	if t.next >= len(t.words) {
		k.errorf(t.place, "%s has no value: write one after it", t.sofar())
		return "", false
	}
	t.next++
	w := t.words[t.next-1]
	if w == "" {
		k.errorf(t.place, "%s has an empty value", t.keyword())
	}
	return w, w != ""
}

// sofar is the statement up to the word that was read last, for messages.
func (t *statement) sofar() string { return strings.Join(t.words[:t.next], " ") }

// more tells whether a statement has a word left.
func (t *statement) more() bool { return t.next < len(t.words) }

// number takes a whole number.
func (k *keepalived) number(t *statement, least, most uint64) (uint64, bool) {
	w, ok := k.word(t)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(w, 10, 64)
	if err != nil && !isRange(err) {
		k.errorf(t.place, "%s: not a whole number", t.sofar())
		return 0, false
	}
	if err != nil || n < least || n > most {
		k.errorf(t.place, "%s: not in %d..%d", t.sofar(), least, most)
		return 0, false
	}
	return n, true
}

// integer takes a whole number that may be negative.
func (k *keepalived) integer(t *statement, least, most int64) (int64, bool) {
	w, ok := k.word(t)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(w, 10, 64)
	if err != nil && !isRange(err) {
		k.errorf(t.place, "%s: not a whole number", t.sofar())
		return 0, false
	}
	if err != nil || n < least || n > most {
		k.errorf(t.place, "%s: not in %d..%d", t.sofar(), least, most)
		return 0, false
	}
	return n, true
}

func isRange(err error) bool { return strings.Contains(err.Error(), strconv.ErrRange.Error()) }

// set takes a whole number into a field; a wrong one leaves it alone.
func set[T uint8 | uint16 | uint32](to *T, k *keepalived, t *statement, least, most uint64) {
	if n, ok := k.number(t, least, min(most, uint64(^T(0)))); ok {
		*to = T(n)
	}
}

// give is set for a value that may stay unset.
func give[T uint8 | uint16 | uint32](to **T, k *keepalived, t *statement, least, most uint64) {
	if n, ok := k.number(t, least, min(most, uint64(^T(0)))); ok {
		v := T(n)
		*to = &v
	}
}

var timerPattern = regexp.MustCompile(`^([0-9]+\.?[0-9]*|\.[0-9]+)$`)

// maxTimer is what a keepalived timer can hold.
const maxTimer = 4294967295 * time.Second

// timer takes decimal seconds, exact to the microsecond.
func (k *keepalived) timer(t *statement, least, most time.Duration) (time.Duration, bool) {
	return k.decimal(t, time.Second, least, most)
}

// decimal takes a decimal number of units, seconds or milliseconds.
func (k *keepalived) decimal(t *statement, unit, least, most time.Duration) (time.Duration, bool) {
	w, ok := k.word(t)
	if !ok {
		return 0, false
	}
	name, short := "seconds", "s"
	if unit == time.Millisecond {
		name, short = "milliseconds", "ms"
	}
	if !timerPattern.MatchString(w) {
		hint := ""
		if _, err := time.ParseDuration(w); err == nil {
			hint = ", without a unit"
		}
		k.errorf(t.place, "%s %s: not a number of %s%s", t.keyword(), w, name, hint)
		return 0, false
	}
	d, err := time.ParseDuration(w + short)
	d = d.Truncate(time.Microsecond)
	if err != nil || d < least || d > most {
		k.errorf(t.place, "%s %s: not in %g..%.0f %s", t.keyword(), w, float64(least)/float64(unit), float64(most)/float64(unit), name)
		return 0, false
	}
	return d, true
}

// giveTimer is timer for a value that may stay unset.
func (k *keepalived) giveTimer(to **time.Duration, t *statement, least time.Duration) {
	if d, ok := k.timer(t, least, maxTimer); ok {
		*to = &d
	}
}

// seconds takes whole seconds into a field.
func (k *keepalived) seconds(t *statement, to *time.Duration) {
	if n, ok := k.number(t, 0, 4294967295); ok {
		*to = time.Duration(n) * time.Second
	}
}

// boolean takes an optional on, off, true, false, yes or no; none is on.
func (k *keepalived) boolean(t *statement) bool {
	if !t.more() {
		return true
	}
	switch w, _ := k.word(t); w {
	case "on", "true", "yes":
		return true
	case "off", "false", "no":
		return false
	default:
		k.errorf(t.place, "%s %s: write on or off", t.keyword(), w)
		return false
	}
}

// address takes a literal address.
func (k *keepalived) address(t *statement) (netip.Addr, bool) {
	w, ok := k.word(t)
	if !ok {
		return netip.Addr{}, false
	}
	a, err := parseAddress(w)
	if err != nil {
		k.errorf(t.place, "%s %s: %v", t.keyword(), w, err)
		return netip.Addr{}, false
	}
	return a, true
}

// endpoint takes an address and a port that may be missing or 0.
func (k *keepalived) endpoint(t *statement) (netip.AddrPort, bool) {
	a, ok := k.address(t)
	if !ok {
		return netip.AddrPort{}, false
	}
	port := uint16(0)
	if t.more() {
		w, _ := k.word(t)
		n, err := strconv.ParseUint(w, 10, 16)
		if err != nil {
			k.errorf(t.place, "%s: the port is not a number in 0..65535", t.sofar())
			return netip.AddrPort{}, false
		}
		port = uint16(n)
	}
	return netip.AddrPortFrom(a, port), true
}

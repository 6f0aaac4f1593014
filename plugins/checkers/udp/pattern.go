package udp

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
)

// pattern is bytes of which some halves do not matter.
type pattern struct {
	value []byte
	// mask has a bit for each bit of value that matters.
	mask []byte
}

// parsePattern reads pairs of hexadecimal digits, with X for a digit that does not matter
// and blanks between pairs.
func parsePattern(s string) (pattern, error) {
	var p pattern
	for word := range strings.FieldsSeq(s) {
		if len(word)%2 == 1 {
			return pattern{}, fmt.Errorf("%q has an odd number of digits: write each byte with two", word)
		}
		for i := 0; i < len(word); i += 2 {
			high, highMask, ok := nibble(word[i])
			low, lowMask, also := nibble(word[i+1])
			if !ok || !also {
				return pattern{}, fmt.Errorf("%q is not hexadecimal: digits are 0 to 9, a to f, and X for any", word[i:i+2])
			}
			p.value, p.mask = append(p.value, high<<4|low), append(p.mask, highMask<<4|lowMask)
		}
	}
	if len(p.value) == 0 {
		return pattern{}, errors.New("has no digits: give bytes in hexadecimal, or leave it out")
	}
	return p, nil
}

// nibble reads a digit.
func nibble(c byte) (value, mask byte, ok bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', 0xF, true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, 0xF, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, 0xF, true
	case c == 'x' || c == 'X':
		return 0, 0, true
	}
	return 0, 0, false
}

// exact says that all of it matters.
func (p pattern) exact() bool {
	return bytes.Count(p.mask, []byte{0xFF}) == len(p.mask)
}

// expected is what a reply has to be.
type expected struct {
	pattern
	least, most int
}

// room is how many bytes of a reply have to be looked at.
func (e expected) room() int {
	if e.most == math.MaxUint16 {
		// No reply is too long: as much as is compared or has to be there.
		return max(len(e.value), e.least)
	}
	return max(e.most, len(e.value))
}

// judge says what is wrong with a reply, of which room()+1 bytes are enough.
func (e expected) judge(b []byte) error {
	switch {
	case len(b) < e.least:
		return fmt.Errorf("%d bytes, want at least %d: %s", len(b), e.least, shown(b))
	case len(b) > e.most:
		return fmt.Errorf("more than %d bytes: %s", e.most, shown(b))
	}
	for i := range min(len(b), len(e.value)) {
		if (b[i]^e.value[i])&e.mask[i] != 0 {
			return fmt.Errorf("byte %d is %02x, want %s: %s", i, b[i], e.digits(i), shown(b))
		}
	}
	return nil
}

// digits writes a byte of the pattern.
func (p pattern) digits(i int) string {
	d := []byte(fmt.Sprintf("%02x", p.value[i]))
	if p.mask[i]&0xF0 == 0 {
		d[0] = 'X'
	}
	if p.mask[i]&0x0F == 0 {
		d[1] = 'X'
	}
	return string(d)
}

// shown shows bytes, in part if they are many; it is made when it is asked for.
type shown []byte

func (s shown) String() string {
	if len(s) > traced {
		return fmt.Sprintf("%x and more", []byte(s[:traced]))
	}
	return fmt.Sprintf("%d bytes %x", len(s), []byte(s))
}

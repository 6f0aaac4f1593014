// Package printable makes texts from files fit for protos and Prometheus labels, which
// carry UTF-8 only: a keepalived.conf may be in any encoding.
package printable

import (
	"strconv"
	"unicode/utf8"
)

// Text is s, with what is not UTF-8 written as \x escapes.
func Text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

// Texts is Text of each.
func Texts(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = Text(s)
	}
	return out
}

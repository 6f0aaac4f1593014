package misc

import (
	"strings"
	"unicode"
)

const (
	// keptOutput is how much of a command's output is kept, the first of it.
	keptOutput = 400
	// quotedOutput is how much of that goes into a reason.
	quotedOutput = 200
)

// quote makes the output part of a reason: one line of text, without what could steer a
// terminal.
func quote(output []byte) string {
	words := strings.FieldsFunc(strings.ToValidUTF8(string(output), "\uFFFD"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
	line := strings.Join(words, " ")
	if line == "" {
		return ""
	}
	if len(line) > quotedOutput {
		line = strings.ToValidUTF8(line[:quotedOutput], "") + "..."
	}
	return ": " + line
}

package icontrol

import "strings"

const hidden = "[hidden]"

// Secret is text that prints as a placeholder in every form.
type Secret string

// String gives the placeholder.
func (Secret) String() string { return hidden }

// GoString gives the placeholder.
func (Secret) GoString() string { return hidden }

// MarshalText gives the placeholder.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// hide takes secrets out of a text that comes from the other side: a device may repeat in an
// error what it was sent.
func hide(text string, secrets ...string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, hidden)
		}
	}
	return text
}

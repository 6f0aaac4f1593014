package printable

import (
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":           "",
		"VGM":        "VGM",
		"同步组":        "同步组",
		"\xb2\xe2 a": `\xb2\xe2 a`,
		"a\xff\"b":   `a\xff\"b`,
	} {
		if got := Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

// Different names stay different, and every result is UTF-8.
func FuzzText(f *testing.F) {
	f.Add("VGM", "\xff")
	f.Add("\xfe", "\xff")
	f.Fuzz(func(t *testing.T, a, b string) {
		ta, tb := Text(a), Text(b)
		if !utf8.ValidString(ta) {
			t.Errorf("Text(%q) = %q is not UTF-8", a, ta)
		}
		if !utf8.ValidString(a) && !utf8.ValidString(b) && a != b && ta == tb {
			t.Errorf("Text(%q) and Text(%q) are both %q", a, b, ta)
		}
	})
}

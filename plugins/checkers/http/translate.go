package http

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// dialect is how a regex of PCRE is meant.
type dialect struct {
	options regexp2.RegexOptions
	// utf: characters; else bytes. ucp: with Unicode's properties; else ASCII's.
	utf, ucp                                                             bool
	extended, multiline, altCircumflex, dollarEnd, emptyClass, firstLine bool
}

// translation makes a regex for the library out of one of PCRE.
type translation struct {
	dialect
	in  string
	pos int
	out strings.Builder
	// lines: ^ may stand for the start of a line, but not for one after the last end of
	// a line, as it does for the library.
	lines bool
}

var inlineMultiline = regexp.MustCompile(`\(\?[a-zA-Z]*m`)

// Between letters and others in ASCII.
const (
	wordSet     = `[0-9A-Z_a-z]`
	boundary    = `(?:(?<=` + wordSet + `)(?!` + wordSet + `)|(?<!` + wordSet + `)(?=` + wordSet + `))`
	notBoundary = `(?:(?<=` + wordSet + `)(?=` + wordSet + `)|(?<!` + wordSet + `)(?!` + wordSet + `))`
)

// asciiSets are the names in posix of sets that have an escape of their own.
var asciiSets = map[byte]string{'d': "digit", 's': "space", 'w': "word", 'D': "^digit", 'S': "^space", 'W': "^word"}

// translate says in the library's syntax what a regex means to PCRE. What it cannot
// say is an error, and so is what the library would take for something else.
func (d dialect) translate(pattern string) (string, error) {
	t := &translation{dialect: d, in: pattern}
	t.lines = !d.altCircumflex && (d.multiline || inlineMultiline.MatchString(pattern))
	for t.pos < len(t.in) {
		if err := t.item(); err != nil {
			return "", err
		}
	}
	return t.out.String(), nil
}

func (t *translation) item() error {
	switch c := t.in[t.pos]; {
	case c == '\\':
		return t.escape()
	case c == '[':
		return t.class()
	case c == '(':
		return t.group()
	case c == '^' && t.lines:
		t.out.WriteString(`(?:^(?!(?<=\n)\z))`)
		t.pos++
	case c == '$' && t.dollarEnd && !t.multiline:
		t.out.WriteString(`\z`)
		t.pos++
	case c == '#' && t.extended:
		// The library would look for the end of the comment in what is written here.
		end := strings.IndexByte(t.in[t.pos:], '\n')
		if end < 0 {
			end = len(t.in) - t.pos
		}
		t.pos += end
	default:
		t.char()
	}
	return nil
}

// char copies a character, or what stands for a byte.
func (t *translation) char() {
	if t.utf || t.in[t.pos] < utf8.RuneSelf {
		_, n := utf8.DecodeRuneInString(t.in[t.pos:])
		t.out.WriteString(t.in[t.pos : t.pos+n])
		t.pos += n
		return
	}
	t.out.WriteRune(byteRune(t.in[t.pos]))
	t.pos++
}

// Sets of characters that the library has no name for, in the inside of a class.
const (
	horizontal    = `\t \u00A0\u1680\u180E\u2000-\u200A\u202F\u205F\u3000`
	notHorizontal = `\u0000-\u0008\u000A-\u001F!-\u009F\u00A1-\u167F\u1681-\u180D\u180F-\u1FFF\u200B-\u202E\u2030-\u205E\u2060-\u2FFF\u3001-\uFFFF`
	vertical      = `\n\u000B\f\r\u0085\u2028\u2029`
	notVertical   = `\u0000-\u0009\u000E-\u0084\u0086-\u2027\u202A-\uFFFF`
	notNewline    = `\u0000-\u0009\u000B-\uFFFF`
)

// Of bytes, A0 is a horizontal blank and 85 a vertical one.
const (
	horizontalBytes    = `\t \uE0A0`
	notHorizontalBytes = `\u0000-\u0008\u000A-\u001F!-\uE09F\uE0A1-\uFFFF`
	verticalBytes      = `\n\u000B\f\r\uE085`
	notVerticalBytes   = `\u0000-\u0009\u000E-\uE084\uE086-\uFFFF`
)

// set gives the inside of a class for an escape that stands for a set and means another
// one to the library, "" for others.
func (t *translation) set(c byte) string {
	if name, ok := asciiSets[c]; ok && t.utf && !t.ucp {
		return t.posixSet(name)
	}
	sets := map[byte][2]string{
		'h': {horizontalBytes, horizontal}, 'H': {notHorizontalBytes, notHorizontal},
		'v': {verticalBytes, vertical}, 'V': {notVerticalBytes, notVertical}, 'N': {notNewline, notNewline},
	}[c]
	if t.utf {
		return toTheLast(sets[1])
	}
	return sets[0]
}

// toTheLast makes a set that ends with FFFF one that ends with the last character.
func toTheLast(set string) string {
	return strings.ReplaceAll(set, `\uFFFF`, string(utf8.MaxRune))
}

// escape translates what begins with a backslash, outside of a class.
func (t *translation) escape() error {
	if t.pos+1 == len(t.in) {
		return errors.New("ends with a backslash")
	}
	c := t.in[t.pos+1]
	switch {
	case c == 'Q':
		t.pos += 2
		t.quoted(func(s string) { t.out.WriteString(regexp2.Escape(s)) })
	case c == 'E':
		t.pos += 2
	case c == 'N' && strings.HasPrefix(t.in[t.pos+2:], "{U+"):
		return errors.New(`\N{U+...} is not supported: write \x{...}`)
	case t.set(c) != "":
		t.out.WriteString("[" + t.set(c) + "]")
		t.pos += 2
	case c == 'K':
		// Where a match is said to start is not asked for.
		t.pos += 2
	case c == 'R' && !t.utf:
		t.out.WriteString(`(?>\r\n|[` + verticalBytes + `])`)
		t.pos += 2
	case (c == 'b' || c == 'B') && t.utf && !t.ucp:
		t.out.WriteString(map[byte]string{'b': boundary, 'B': notBoundary}[c])
		t.pos += 2
	case c == 'X' && !t.utf:
		return errors.New(`\X needs the option utf`)
	case c == 'g':
		return t.reference()
	case strings.IndexByte("ABGRXZbDdSsWwz", c) >= 0:
		t.out.WriteString(t.in[t.pos : t.pos+2])
		t.pos += 2
	case c == 'k':
		return t.named()
	case c >= '1' && c <= '9':
		n := digits(t.in[t.pos+1:], 3)
		if n == 3 && c > '3' {
			return fmt.Errorf(`\%s is not supported: write \o{...} or \g{...}`, t.in[t.pos+1:t.pos+4])
		}
		t.out.WriteString(`(?:\` + t.in[t.pos+1:t.pos+1+n] + `)`)
		t.pos += 1 + n
	default:
		r, literal, err := t.literalEscape()
		if err != nil {
			return err
		}
		if literal {
			t.out.WriteString(runeText(r))
		}
	}
	return nil
}

// quoted hands on what stands between \Q and \E.
func (t *translation) quoted(take func(string)) {
	text, after, _ := strings.Cut(t.in[t.pos:], `\E`)
	t.pos = len(t.in) - len(after)
	if t.utf {
		take(text)
		return
	}
	var runes strings.Builder
	for i := range len(text) {
		runes.WriteRune(byteRune(text[i]))
	}
	take(runes.String())
}

// reference translates \g1, \g{1}, \g{-1} and \g{name}.
func (t *translation) reference() error {
	rest := t.in[t.pos+2:]
	if n := digits(rest, 3); n > 0 {
		t.out.WriteString(`(?:\` + rest[:n] + `)`)
		t.pos += 2 + n
		return nil
	}
	name, _, found := strings.Cut(strings.TrimPrefix(rest, "{"), "}")
	if !found || !strings.HasPrefix(rest, "{") || !isName(name) {
		return errors.New(`\g must be followed by a group's number, or its number or name in braces; calls of groups are not supported`)
	}
	t.out.WriteString(`\k<` + name + `>`)
	t.pos += 2 + len(name) + 2
	return nil
}

// named translates \k<name>, \k'name' and \k{name}.
func (t *translation) named() error {
	rest := t.in[t.pos+2:]
	if rest != "" {
		if closing, ok := map[byte]string{'<': ">", '\'': "'", '{': "}"}[rest[0]]; ok {
			if name, _, found := strings.Cut(rest[1:], closing); found && isName(name) {
				t.out.WriteString(`\k<` + name + `>`)
				t.pos += 2 + len(name) + 2
				return nil
			}
		}
	}
	return errors.New(`\k must be followed by a group's name, as \k<name>`)
}

// literalEscape reads an escape that stands for one character. literal is false for
// one that has been written already.
func (t *translation) literalEscape() (r rune, literal bool, err error) {
	c := t.in[t.pos+1]
	t.pos += 2
	simple := map[byte]rune{'a': 7, 'e': 27, 'f': 12, 'n': '\n', 'r': '\r', 't': '\t'}
	if r, ok := simple[c]; ok {
		return r, true, nil
	}
	rest := t.in[t.pos:]
	switch {
	case c == '0':
		n := octalDigits(rest, 2)
		v, _ := strconv.ParseUint("0"+rest[:n], 8, 32)
		t.pos += n
		return t.code(v)
	case c == 'x' && strings.HasPrefix(rest, "{"), c == 'o' && strings.HasPrefix(rest, "{"):
		number, _, _ := strings.Cut(rest[1:], "}")
		base := map[byte]int{'x': 16, 'o': 8}[c]
		v, err := strconv.ParseUint(number, base, 32)
		if err != nil || len(rest) < len(number)+2 {
			return 0, false, fmt.Errorf(`\%c{%s is not the number of a character in braces`, c, number)
		}
		t.pos += len(number) + 2
		return t.code(v)
	case c == 'x':
		n := 0
		for n < 2 && n < len(rest) && hexDigit(rest[n]) >= 0 {
			n++
		}
		v, _ := strconv.ParseUint("0"+rest[:n], 16, 32)
		t.pos += n
		return t.code(v)
	case c == 'c' && rest != "" && rest[0] >= ' ' && rest[0] < 0x7f:
		t.pos++
		return rune(strings.ToUpper(rest[:1])[0] ^ 0x40), true, nil
	case c == 'p' || c == 'P':
		if !t.utf {
			return 0, false, fmt.Errorf(`\%c needs the option utf`, c)
		}
		t.out.WriteString(`\` + string(c))
		return 0, false, nil
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return 0, false, fmt.Errorf(`\%c is not supported`, c)
	case c < utf8.RuneSelf:
		return rune(c), true, nil
	case t.utf:
		r, n := utf8.DecodeRuneInString(t.in[t.pos-1:])
		t.pos += n - 1
		return r, true, nil
	}
	return byteRune(c), true, nil
}

// code is the character of a number.
func (t *translation) code(v uint64) (rune, bool, error) {
	switch {
	case !t.utf && v > 0xff:
		return 0, false, fmt.Errorf("character %#x needs the option utf", v)
	case !t.utf:
		return byteRune(byte(v)), true, nil
	case v > utf8.MaxRune || v >= 0xd800 && v < 0xe000:
		return 0, false, fmt.Errorf("there is no character %#x", v)
	}
	return rune(v), true, nil
}

// runeText writes a character so that it is nothing but itself, in a class and outside.
func runeText(r rune) string {
	if r > 0xffff {
		return string(r)
	}
	return fmt.Sprintf(`\u%04X`, r)
}

// isName takes a group's name; numbers too, which name groups to the library.
func isName(s string) bool {
	if len(s) > 1 && s[0] == '-' {
		return false
	}
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}) < 0
}

// digits counts the decimal digits that a text begins with.
func digits(s string, most int) int {
	n := 0
	for n < most && n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func octalDigits(s string, most int) int {
	n := 0
	for n < most && n < len(s) && s[n] >= '0' && s[n] <= '7' {
		n++
	}
	return n
}

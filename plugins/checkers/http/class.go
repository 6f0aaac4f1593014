package http

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// posix are the classes [:name:] as PCRE has them for ASCII, and their complements.
var posix = map[string][2]string{
	"alnum":  {`0-9A-Za-z`, `\u0000-/:-@\u005B-\u0060\u007B-\uFFFF`},
	"alpha":  {`A-Za-z`, `\u0000-@\u005B-\u0060\u007B-\uFFFF`},
	"ascii":  {`\u0000-\u007F`, `\u0080-\uFFFF`},
	"blank":  {`\t `, `\u0000-\u0008\u000A-\u001F!-\uFFFF`},
	"cntrl":  {`\u0000-\u001F\u007F`, ` -\u007E\u0080-\uFFFF`},
	"digit":  {`0-9`, `\u0000-/:-\uFFFF`},
	"graph":  {`!-\u007E`, `\u0000- \u007F-\uFFFF`},
	"lower":  {`a-z`, `\u0000-\u0060\u007B-\uFFFF`},
	"print":  {` -\u007E`, `\u0000-\u001F\u007F-\uFFFF`},
	"punct":  {`!-/:-@\u005B-\u0060\u007B-\u007E`, `\u0000- 0-9A-Za-z\u007F-\uFFFF`},
	"space":  {`\u0009-\u000D `, `\u0000-\u0008\u000E-\u001F!-\uFFFF`},
	"upper":  {`A-Z`, `\u0000-@\u005B-\uFFFF`},
	"word":   {`0-9A-Z_a-z`, `\u0000-/:-@\u005B-\u005E\u0060\u007B-\uFFFF`},
	"xdigit": {`0-9A-Fa-f`, `\u0000-/:-@G-\u0060g-\uFFFF`},
}

// unicodeSets are those of posix that have properties of Unicode.
var unicodeSets = map[string][2]string{
	"alpha": {`\p{L}`, `\P{L}`}, "digit": {`\p{Nd}`, `\P{Nd}`}, "lower": {`\p{Ll}`, `\P{Ll}`}, "upper": {`\p{Lu}`, `\P{Lu}`},
	"space": {`\s`, `\S`}, "word": {`\w`, `\W`}, "alnum": {`\p{L}\p{N}`, ""},
}

// posixSet gives the inside of a class for a name in posix, perhaps with ^ before it;
// "" where it cannot be said.
func (t *translation) posixSet(name string) string {
	plain, negated := strings.CutPrefix(name, "^")
	sets := posix[plain]
	if _, special := unicodeSets[plain]; t.ucp && (special || plain == "graph" || plain == "print" || plain == "punct") {
		sets = unicodeSets[plain]
	}
	if negated {
		return toTheLast(sets[1])
	}
	return sets[0]
}

// class translates a class in brackets. Every character of it is written as a number,
// so that none means more to the library than to PCRE.
func (t *translation) class() error {
	t.pos++
	open := "["
	if strings.HasPrefix(t.in[t.pos:], "^") {
		open, t.pos = "[^", t.pos+1
	}
	if posixAlone.MatchString(t.in[t.pos-1:]) {
		return errors.New("a class like [:alpha:] can only stand in brackets of its own, as [[:alpha:]]")
	}
	if t.emptyClass && strings.HasPrefix(t.in[t.pos:], "]") {
		t.out.WriteString(map[string]string{"[": "(?!)", "[^": toTheLast(`[\u0000-\uFFFF]`)}[open])
		t.pos++
		return nil
	}
	t.out.WriteString(open)
	for first := true; ; first = false {
		if t.pos == len(t.in) {
			return errors.New("a class [ has no end")
		}
		if t.in[t.pos] == ']' && !first {
			t.out.WriteString("]")
			t.pos++
			return nil
		}
		if err := t.classItem(); err != nil {
			return err
		}
	}
}

// classItem translates a character, a range or a set.
func (t *translation) classItem() error {
	from, single, err := t.classAtom()
	if err != nil || !single {
		return err
	}
	rest := t.in[t.pos:]
	if len(rest) < 2 || rest[0] != '-' || rest[1] == ']' {
		t.out.WriteString(runeText(from))
		return nil
	}
	t.pos++
	to, single, err := t.classAtom()
	switch {
	case err != nil:
		return err
	case !single:
		return errors.New("a range in a class ends with a set of characters")
	case to < from:
		return fmt.Errorf("the range %c-%c in a class is the wrong way round", from, to)
	}
	t.out.WriteString(runeText(from) + "-" + runeText(to))
	return nil
}

// classAtom reads one character, or writes a set.
func (t *translation) classAtom() (r rune, single bool, err error) {
	rest := t.in[t.pos:]
	switch {
	case strings.HasPrefix(rest, "[:"):
		name, _, found := strings.Cut(rest[2:], ":]")
		plain := strings.TrimPrefix(name, "^")
		_, known := posix[plain]
		if found && !known && isName(plain) {
			return 0, false, fmt.Errorf("there is no class [:%s:]", name)
		}
		if found && known {
			set := t.posixSet(name)
			if set == "" {
				return 0, false, fmt.Errorf("[:%s:] is not supported with the option ucp", name)
			}
			t.out.WriteString(set)
			t.pos += len(name) + 4
			return 0, false, t.noRange()
		}
	case strings.HasPrefix(rest, "[.") || strings.HasPrefix(rest, "[="):
		return 0, false, errors.New("collating elements in a class are not supported")
	case rest[0] == '\\':
		return t.classEscape()
	}
	if t.utf || rest[0] < utf8.RuneSelf {
		r, n := utf8.DecodeRuneInString(rest)
		t.pos += n
		return r, true, nil
	}
	t.pos++
	return byteRune(rest[0]), true, nil
}

// posixAlone is what PCRE takes for a mistake.
var posixAlone = regexp.MustCompile(`^\[([:.=])[\^A-Za-z]*[:.=]\]`)

// noRange refuses a range that begins with a set.
func (t *translation) noRange() error {
	if rest := t.in[t.pos:]; len(rest) > 1 && rest[0] == '-' && rest[1] != ']' {
		return errors.New("a range in a class begins with a set of characters")
	}
	return nil
}

func (t *translation) classEscape() (r rune, single bool, err error) {
	if t.pos+1 == len(t.in) {
		return 0, false, errors.New("ends with a backslash")
	}
	c := t.in[t.pos+1]
	switch {
	case c == 'b':
		t.pos += 2
		return 8, true, nil
	case c == 'Q':
		t.pos += 2
		t.quoted(func(s string) {
			for _, r := range s {
				t.out.WriteString(runeText(r))
			}
		})
		return 0, false, nil
	case c == 'E':
		t.pos += 2
		return 0, false, nil
	case c != 'N' && t.set(c) != "":
		t.out.WriteString(t.set(c))
		t.pos += 2
		return 0, false, t.noRange()
	case strings.IndexByte("dDsSwW", c) >= 0:
		t.out.WriteString(t.in[t.pos : t.pos+2])
		t.pos += 2
		return 0, false, t.noRange()
	case c >= '1' && c <= '7':
		n := octalDigits(t.in[t.pos+1:], 3)
		v := uint64(0)
		for _, d := range t.in[t.pos+1 : t.pos+1+n] {
			v = v<<3 | uint64(d-'0')
		}
		t.pos += 1 + n
		return t.code(v)
	case strings.IndexByte("ABGKNRXZgkz", c) >= 0:
		return 0, false, fmt.Errorf(`\%c has no meaning in a class`, c)
	}
	return t.literalEscape()
}

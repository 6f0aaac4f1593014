package http

import (
	"errors"
	"fmt"
	"strings"
)

// group copies what opens a group, where PCRE and the library agree.
func (t *translation) group() error {
	rest := t.in[t.pos:]
	copied := func(n int, text string) error {
		t.out.WriteString(text)
		t.pos += n
		return nil
	}
	switch {
	case strings.HasPrefix(rest, "(*"):
		return errors.New("verbs like (*UTF) are not supported: use regex_options")
	case !strings.HasPrefix(rest, "(?"):
		return copied(1, "(")
	case strings.HasPrefix(rest, "(?#"):
		end := strings.IndexByte(rest, ')')
		if end < 0 {
			return errors.New("a comment (?# has no end")
		}
		return copied(end+1, "(?:)")
	case strings.HasPrefix(rest, "(?P="):
		name, _, found := strings.Cut(rest[4:], ")")
		if !found || !isName(name) {
			return errors.New("(?P= must be followed by a group's name")
		}
		return copied(4+len(name)+1, `\k<`+name+`>`)
	}
	for _, open := range []string{"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"} {
		if strings.HasPrefix(rest, open) {
			return copied(len(open), open)
		}
	}
	for open, closing := range map[string]string{"(?<": ">", "(?P<": ">", "(?'": "'"} {
		if strings.HasPrefix(rest, open) {
			name, _, found := strings.Cut(rest[len(open):], closing)
			if !found || !isName(name) {
				return fmt.Errorf("%s must be followed by a group's name", open)
			}
			return copied(len(open)+len(name)+1, "(?<"+name+">")
		}
	}
	return t.inline(rest)
}

// inline copies options that are set within a regex, as (?i) and (?i:...).
func (t *translation) inline(rest string) error {
	end := strings.IndexAny(rest, ":)")
	if end < 0 {
		return errors.New("(? has no end")
	}
	options := rest[2:end]
	if strings.Trim(options, "imsxnJU-") != "" || options == "" || strings.Contains(options, "xx") {
		return fmt.Errorf("(?%s is not supported", rest[2:end+1])
	}
	if strings.ContainsAny(options, "xm") {
		// Where x holds decides how # is read, and m what $ is.
		if strings.Contains(options, "x") && !t.extended {
			return errors.New("use the option extended for the whole regex in place of x within it")
		}
		if strings.Contains(options, "m") && t.dollarEnd {
			return errors.New("the option dollar_endonly does not go with m within the regex")
		}
	}
	options = strings.NewReplacer("J", "", "U", "").Replace(options)
	if strings.Trim(options, "-") == "" {
		if rest[end] == ')' {
			t.pos += end + 1
			return nil
		}
		options = ""
	}
	t.out.WriteString("(?" + strings.TrimSuffix(options, "-") + rest[end:end+1])
	t.pos += end + 1
	return nil
}

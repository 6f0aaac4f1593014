package config

import (
	"os"
	"regexp"
	"strings"
)

var (
	definePattern = regexp.MustCompile(`^\$([A-Za-z_][A-Za-z0-9_]*)=[ \t]*(.*)$`)
	// usePattern is ${NAME}, ${_ENV NAME}, or $NAME; after the last a blank, a comma, a
	// closing parenthesis or the end of the line has to follow.
	usePattern = regexp.MustCompile(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)([ \t][^}]*)?\}|([A-Za-z_][A-Za-z0-9_]*))`)
)

// maxRounds bounds how often definitions are replaced by what they hold.
const maxRounds = 32

func define(text string) (name, value string, ok bool) {
	m := definePattern.FindStringSubmatch(text)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

// expand replaces definitions by their values until nothing changes. more are the
// further lines of a definition of several lines that stands at the end.
func (s *scanner) expand(at place, text string) (out string, more []sourceLine) {
	if !strings.Contains(text, "$") {
		return text, nil
	}
	unknown := ""
	for round := 0; ; round++ {
		unknown = ""
		var next strings.Builder
		last, changed := 0, false
		for _, m := range usePattern.FindAllStringSubmatchIndex(text, -1) {
			name, argument := group(text, m, 1), strings.TrimSpace(group(text, m, 2))
			if name == "" {
				name = group(text, m, 3)
				if m[1] < len(text) && !strings.ContainsRune(" \t,)", rune(text[m[1]])) {
					continue
				}
			}
			value, lines, ok := s.value(at, name, argument)
			if !ok {
				unknown = name
				continue
			}
			if len(lines) > 0 {
				if m[1] != len(text) {
					s.errorf(at, "$%s has several lines, so nothing may follow it on its line", name)
					continue
				}
				more = append(append([]sourceLine(nil), lines...), more...)
			}
			next.WriteString(text[last:m[0]])
			next.WriteString(value)
			last, changed = m[1], true
		}
		next.WriteString(text[last:])
		text = next.String()
		if !changed {
			break
		}
		if round == maxRounds || len(text) > maxLineLength || len(more) > maxLines {
			s.errorf(at, "the definitions in this line have no end: do they hold each other?")
			return "", nil
		}
	}
	if unknown != "" {
		s.unknownDefinition(at, text, unknown)
	}
	return text, more
}

// unknownDefinition warns, without a word of a password.
func (s *scanner) unknownDefinition(at place, text, name string) {
	if firstWord(text) == "auth_pass" {
		s.warnf(at, "the password looks like the use of a definition that does not exist: it is taken as it is written")
		return
	}
	s.warnf(at, "$%s is not defined: it is taken as it is written", name)
}

func group(text string, m []int, i int) string {
	if m[2*i] < 0 {
		return ""
	}
	return text[m[2*i]:m[2*i+1]]
}

// value of a definition, or of one of keepalived's own.
func (s *scanner) value(at place, name, argument string) (text string, more []sourceLine, ok bool) {
	if d, ok := s.definitions[name]; ok && argument == "" {
		return d.text, d.more, true
	}
	switch name {
	case "_PWD":
		return s.directory(), nil, true
	case "_INSTANCE":
		return s.configID, nil, true
	case "_HASH":
		return "#", nil, true
	case "_BANG":
		return "!", nil, true
	case "_ENV":
		return os.Getenv(argument), nil, true
	case "_RANDOM":
		s.errorf(at, "${_RANDOM} is not built: a configuration that differs each time it is read cannot be reloaded")
		return "", nil, true
	}
	return "", nil, false
}

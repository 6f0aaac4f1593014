package config

import (
	"bytes"
	"path/filepath"
	"strings"
)

// Bounds of what a file may make of itself by definitions and includes.
const (
	maxLineLength   = 1 << 16
	maxLines        = 1 << 20
	maxDefinedLines = 1 << 17
	maxIncludeDepth = 32
	// keepalivedLine is the longest line that keepalived reads.
	keepalivedLine = 1023
)

// token is a brace, or the words of a line between braces: keepalived's unit of
// meaning.
type token struct {
	place
	// brace is '{', '}' or 0.
	brace byte
	words []string
}

// scanner cuts a keepalived.conf into tokens: comments, conditions, definitions and
// includes are behind it.
type scanner struct {
	*problems
	configID    string
	definitions map[string]*definition
	tokens      []token
	// lines are counted, and those of them that definitions made.
	lines, defined int
	// open are the files being read, outermost first.
	open []string
}

// definition is the value of a $NAME. Of several lines, text is the first.
type definition struct {
	text string
	more []sourceLine
}

// sourceLine is a line without its comment.
type sourceLine struct {
	place
	text string
}

// file reads one file. name is how messages call it, at is what asked for it.
func (s *scanner) file(at place, path string) {
	if len(s.open) >= maxIncludeDepth {
		s.errorf(at, "files are included more than %d deep: does %s include itself?", maxIncludeDepth, path)
		return
	}
	data, ok := s.readFile(at, path)
	if !ok {
		return
	}
	s.seen(path)
	s.open = append(s.open, path)
	s.text(path, data)
	s.open = s.open[:len(s.open)-1]
}

func (s *scanner) text(path string, data []byte) {
	if rest, ok := bytes.CutPrefix(data, []byte("\ufeff")); ok {
		s.warnf(place{path, 1}, "the file begins with a byte order mark, which keepalived takes for a part of the first word: remove it")
		data = rest
	}
	var many *definition
	for number := 1; len(data) > 0; number++ {
		var raw []byte
		raw, data, _ = bytes.Cut(data, []byte("\n"))
		at := place{path, number}
		if bytes.IndexByte(raw, 0) >= 0 {
			s.errorf(at, "the line has a zero byte: this is not a text file")
			continue
		}
		if len(raw) > keepalivedLine {
			s.warnf(at, "the line is longer than %d bytes, and keepalived drops it: break it", keepalivedLine)
		}
		if len(raw) > maxLineLength {
			s.errorf(at, "the line is longer than %d bytes", maxLineLength)
			continue
		}
		text := s.withoutComment(at, strings.TrimRight(string(raw), " \t\r"))
		switch {
		case many != nil:
			part, goesOn := strings.CutSuffix(text, `\`)
			many.more = append(many.more, sourceLine{at, part})
			if !goesOn {
				many = nil
			}
		default:
			many = s.line(sourceLine{at, text}, 0)
		}
	}
	if many != nil && len(many.more) > 0 {
		s.errorf(many.more[len(many.more)-1].place, `the definition goes on at the end of the file: remove the last \`)
	}
}

// line reads one line. If it begins a definition of several lines, that is given
// back.
func (s *scanner) line(l sourceLine, depth int) *definition {
	if s.lines++; s.lines > maxLines {
		if s.lines == maxLines+1 {
			s.errorf(l.place, "the configuration is longer than %d lines: does a definition hold itself?", maxLines)
		}
		return nil
	}
	if depth > 0 {
		s.defined++
	}
	if s.defined > maxDefinedLines {
		if s.defined == maxDefinedLines+1 {
			s.errorf(l.place, "definitions make more than %d lines: does one hold itself?", maxDefinedLines)
		}
		return nil
	}
	text, ok := s.condition(l)
	if !ok || text == "" {
		return nil
	}
	if name, value, ok := define(text); ok {
		d := &definition{text: value}
		s.definitions[name] = d
		first, goesOn := strings.CutSuffix(value, `\`)
		if !goesOn {
			return nil
		}
		if d.text = ""; strings.TrimSpace(first) != "" {
			d.more = []sourceLine{{l.place, first}}
		}
		return d
	}
	if strings.HasPrefix(text, "~SEQ") || strings.HasPrefix(text, "~LST") {
		s.errorf(l.place, "%s is not built yet: write the lines out", text[:4])
		return nil
	}
	text, more := s.expand(l.place, text)
	if len(more) > 0 && depth >= maxIncludeDepth {
		s.errorf(l.place, "definitions hold each other more than %d deep", maxIncludeDepth)
		return nil
	}
	s.cut(l.place, text)
	for _, m := range more {
		s.line(m, depth+1)
	}
	return nil
}

// condition strips "@ID " and "@^ID " from the front; ok is false if the line is not
// for this configuration.
func (s *scanner) condition(l sourceLine) (text string, ok bool) {
	text = strings.TrimLeft(l.text, " \t")
	for strings.HasPrefix(text, "@") {
		id, rest := text[1:], ""
		if i := strings.IndexAny(text, " \t"); i >= 0 {
			id, rest = text[1:i], strings.TrimLeft(text[i:], " \t")
		}
		id, not := strings.CutPrefix(id, "^")
		if (id == s.configID) == not {
			return "", false
		}
		text = rest
	}
	return text, true
}

// cut cuts a line into tokens and carries out what it includes.
func (s *scanner) cut(at place, text string) {
	if words := strings.Fields(text); len(words) > 0 && includes[words[0]] != nil {
		for i := range words {
			words[i] = strings.Trim(words[i], `"`)
		}
		s.include(at, words)
		return
	}
	tokens, ok := split(text)
	if !ok {
		s.errorf(at, `a quote is not closed: add the missing "`)
	}
	for _, t := range tokens {
		t.place = at
		if len(t.words) > 0 && includes[t.words[0]] != nil {
			s.include(at, t.words)
			continue
		}
		s.tokens = append(s.tokens, t)
	}
}

// withoutComment ends the text at its first # or ! outside quotes; \# and \! are the
// characters themselves.
func (s *scanner) withoutComment(at place, text string) string {
	if !strings.ContainsAny(text, "#!") {
		return text
	}
	keyword := firstWord(text)
	var out strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text) && (text[i+1] == '#' || text[i+1] == '!'):
			if quoted {
				out.WriteByte(c)
			}
			i++
			c = text[i]
		case c == '\\' && quoted && i+1 < len(text) && scripts[keyword]:
			out.WriteByte(c)
			i++
			c = text[i]
		case c == '"':
			quoted = !quoted
		case (c == '#' || c == '!') && !quoted:
			if keyword == "auth_pass" && i > 0 && text[i-1] != ' ' && text[i-1] != '\t' {
				s.warnf(at, "%c begins a comment, so the password ends before it: put the password in double quotes if it is a part of it", c)
			}
			return strings.TrimRight(out.String(), " \t")
		}
		out.WriteByte(c)
	}
	return out.String()
}

// firstWord is the keyword of a line, behind its conditions.
func firstWord(text string) string {
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t{}", r) }) {
		if !strings.HasPrefix(w, "@") {
			return w
		}
	}
	return ""
}

// directory is that of the file being read.
func (s *scanner) directory() string {
	if len(s.open) == 0 {
		return "."
	}
	return filepath.Dir(s.open[len(s.open)-1])
}

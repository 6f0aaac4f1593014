package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// includeRule says what an include demands; what it does not demand is a warning.
type includeRule struct {
	// read: every match must be a file that can be read; match: there must be one;
	// wildcard: even if the name has wildcards; brace: for each alternative in braces.
	read, match, wildcard, brace bool
}

var includes = map[string]*includeRule{
	"include":  {},
	"includer": {read: true},
	"includem": {read: true, match: true},
	"includew": {read: true, match: true, wildcard: true},
	"includeb": {brace: true},
	"includea": {read: true, match: true, wildcard: true, brace: true},
}

// maxAlternatives bounds what the braces of one include may make.
const maxAlternatives = 1024

// include reads the files that a line asks for. Names are relative to the file that
// the line stands in.
func (s *scanner) include(at place, line []string) {
	rule := includes[line[0]]
	if len(line) < 2 {
		s.errorf(at, "%s names no file", line[0])
		return
	}
	if len(line) > 2 {
		s.warnf(at, "extra words after %s %s are ignored: %s", line[0], line[1], strings.Join(line[2:], " "))
	}
	found := 0
	patterns := alternatives(line[1])
	for _, p := range patterns {
		n := s.includePattern(at, rule, p)
		if n == 0 && rule.brace && len(patterns) > 1 {
			s.errorf(at, "%s %s: no file is called %s", line[0], line[1], p)
		}
		found += n
	}
	if found > 0 {
		return
	}
	switch wild := strings.ContainsAny(line[1], "*?[{"); {
	case rule.wildcard, rule.match && !wild:
		s.errorf(at, "%s %s: there is no such file", line[0], line[1])
	case !wild:
		s.warnf(at, "%s %s: there is no such file", line[0], line[1])
	}
}

// includePattern reads the files of one name or pattern and counts them.
func (s *scanner) includePattern(at place, rule *includeRule, pattern string) int {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(s.directory(), pattern)
	}
	matches, err := filepath.Glob(pattern)
	if err != nil {
		s.errorf(at, "the pattern %s cannot be read: %v", pattern, err)
		return 0
	}
	n := 0
	for _, m := range matches {
		info, err := os.Stat(m)
		switch {
		case err != nil:
			s.errorf(at, "cannot include %s: %v", m, err)
		case !info.Mode().IsRegular() || info.Mode()&0o111 != 0:
			s.includeRefused(at, rule, m)
		case slices.Contains(s.open, m):
			s.errorf(at, "%s includes itself", m)
			n++
		default:
			s.file(at, m)
			n++
		}
	}
	return n
}

func (s *scanner) includeRefused(at place, rule *includeRule, path string) {
	const message = "%s is not included: keepalived reads regular files only, and none that are executable"
	if rule.read {
		s.errorf(at, message, path)
		return
	}
	s.warnf(at, message, path)
}

// alternatives expands csh's braces: a{b,c} is ab and ac.
func alternatives(pattern string) []string {
	out := []string{pattern}
	for i := 0; i < len(out) && len(out) < maxAlternatives; {
		before, inside, after, ok := braces(out[i])
		if !ok {
			i++
			continue
		}
		var all []string
		for _, a := range inside {
			all = append(all, before+a+after)
		}
		out = slices.Replace(out, i, i+1, all...)
	}
	return out
}

// braces cuts a pattern at its first pair of braces.
func braces(pattern string) (before string, inside []string, after string, ok bool) {
	open := strings.IndexByte(pattern, '{')
	if open < 0 {
		return "", nil, "", false
	}
	depth, start := 0, open+1
	for i := open; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '{':
			depth++
		case c == ',' && depth == 1:
			inside = append(inside, pattern[start:i])
			start = i + 1
		case c == '}':
			if depth--; depth == 0 {
				return pattern[:open], append(inside, pattern[start:i]), pattern[i+1:], true
			}
		}
	}
	return "", nil, "", false
}

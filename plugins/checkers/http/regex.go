package http

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"

	"github.com/poise-lb/poise/sdk"
)

const (
	// windowSize is how much of a body is kept for a regex to look at.
	windowSize = 256 << 10
	// reach is how far after its start a match is looked for, where the body is longer
	// than the window; behind is how far before it a regex can look then.
	reach  = 64 << 10
	behind = 4 << 10
	// keptSize is the longest window that is kept for the next probe, of any check.
	keptSize = 64 << 10
	// matchTime bounds a match that got no shorter time, and backtrackLimit its memory,
	// in words.
	matchTime      = 10 * time.Second
	backtrackLimit = 1 << 20
)

// matcher looks for a regex in a body that comes in parts. Of a body longer than the
// window it keeps the end only: a match is found if it can be told by the reach bytes
// after its start.
type matcher struct {
	re *regexp2.Regexp
	// literal is what to look for where the regex is no more than that.
	literal  []byte
	min, max int64
	// utf: the regex is about characters; else about bytes.
	utf       bool
	firstLine bool
	// deadline of the probe; zero: none.
	deadline time.Time

	*scratch
	// start is the offset in the body of the window's first byte, and from of the first
	// one at which no match has been looked for.
	start, from int64
	// newline is the offset of the first end of a line, -1 while there is none.
	newline int64
	found   bool
	// over: no match can start in what is still to come.
	over bool
}

// scratch is the memory of a matcher while a probe runs.
type scratch struct {
	window []byte
	runes  []rune
}

// scratches are shared by all checks, of which few probe at once.
var scratches = sync.Pool{New: func() any { return new(scratch) }}

// regexOptions are keepalived's names for options. Those without effect tell PCRE how
// to work, or forbid what cannot be said here anyway.
var regexOptions = map[string]func(*dialect){
	"allow_empty_class": func(d *dialect) { d.emptyClass = true },
	"caseless":          func(d *dialect) { d.options |= regexp2.IgnoreCase },
	"dollar_endonly":    func(d *dialect) { d.dollarEnd = true },
	"dotall":            func(d *dialect) { d.options |= regexp2.Singleline },
	"extended":          func(d *dialect) { d.options |= regexp2.IgnorePatternWhitespace; d.extended = true },
	"firstline":         func(d *dialect) { d.firstLine = true },
	"multiline":         func(d *dialect) { d.options |= regexp2.Multiline; d.multiline = true },
	"no_auto_capture":   func(d *dialect) { d.options |= regexp2.ExplicitCapture },
	"ucp":               func(d *dialect) { d.ucp = true },
	"utf":               func(d *dialect) { d.utf = true },
	"alt_circumflex":    func(d *dialect) { d.altCircumflex = true },
	"alt_verbnames":     nil, "auto_callout": nil, "dupnames": nil, "never_backslash_c": nil,
	"never_ucp": nil, "never_utf": nil, "no_auto_possess": nil, "no_dotstar_anchor": nil, "no_start_optimize": nil,
	"ungreedy": nil, "use_offset_limit": nil,
}

// refusedOptions change what a regex means in ways that the library has not.
var refusedOptions = []string{"alt_bsux", "match_unset_backref"}

func newMatcher(u *URL, path string) (*matcher, error) {
	var d dialect
	for i, name := range u.RegexOptions {
		apply, known := regexOptions[name]
		here := fmt.Sprintf("%s/regex_options/%d", path, i)
		switch {
		case slices.Contains(refusedOptions, name):
			return nil, sdk.Errorf(here, "%s is not supported here: say it in the regex itself", name)
		case !known:
			return nil, sdk.Errorf(here, "there is no option %q; there are %s", name, optionNames())
		case apply != nil:
			apply(&d)
		}
	}
	if d.ucp && !d.utf {
		return nil, sdk.Errorf(path+"/regex_options", "ucp needs utf beside it: bytes have no properties of Unicode")
	}
	if d.utf && !utf8.ValidString(u.Regex) {
		return nil, sdk.Errorf(path+"/regex", "is not UTF-8, which the option utf takes it for")
	}
	m := &matcher{min: u.RegexMinOffset, max: u.RegexMaxOffset, utf: d.utf, firstLine: d.firstLine}
	if d == (dialect{utf: d.utf, ucp: d.ucp}) && !bytes.ContainsAny([]byte(u.Regex), `\^$.|?*+()[]{}`) {
		m.literal = []byte(u.Regex)
		return m, nil
	}
	pattern, err := d.translate(u.Regex)
	if err != nil {
		return nil, sdk.Errorf(path+"/regex", "%s", err)
	}
	m.re, err = regexp2.Compile(pattern, d.options, regexp2.OptionMaxBacktrackingStackSize(backtrackLimit))
	if err != nil {
		return nil, sdk.Errorf(path+"/regex", "cannot be used: %s", err)
	}
	return m, nil
}

func optionNames() string {
	var names []string
	for name := range regexOptions {
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Sprint(names)
}

// begin prepares for another body.
func (m *matcher) begin(deadline time.Time) {
	m.deadline = deadline
	if m.scratch == nil {
		m.scratch = scratches.Get().(*scratch)
	}
	m.window = m.window[:0]
	m.start, m.from, m.newline, m.found, m.over = 0, m.min, -1, false, false
}

// release gives the memory to other checks.
func (m *matcher) release() {
	if m.scratch == nil {
		return
	}
	if cap(m.window) <= keptSize {
		scratches.Put(m.scratch)
	}
	m.scratch = nil
}

// write takes a part of the body.
func (m *matcher) write(p []byte) error {
	for len(p) > 0 && !m.found && !m.over {
		n := min(len(p), windowSize-len(m.window))
		m.window = append(m.window, p[:n]...)
		p = p[n:]
		if len(m.window) == windowSize {
			if err := m.search(int64(windowSize - reach)); err != nil {
				return err
			}
			m.slide()
		}
	}
	return nil
}

// end says whether the body that is whole now matches.
func (m *matcher) end() (bool, error) {
	if !m.found && !m.over {
		if err := m.search(int64(len(m.window)) + 1); err != nil {
			return false, err
		}
	}
	return m.found, nil
}

// slide drops what has been looked at.
func (m *matcher) slide() {
	drop := min(max(0, m.from-m.start-behind), int64(len(m.window)))
	if m.utf {
		// Not in the middle of a character.
		for drop > 0 && drop < int64(len(m.window)) && !utf8.RuneStart(m.window[drop]) {
			drop--
		}
	}
	m.window = m.window[:copy(m.window, m.window[drop:])]
	m.start += drop
}

// search looks for a match that starts in the window, before end.
func (m *matcher) search(end int64) error {
	if m.firstLine && m.newline < 0 {
		if i := bytes.IndexByte(m.window, '\n'); i >= 0 {
			m.newline = m.start + int64(i)
		}
	}
	last := m.start + end - 1
	if m.max > 0 {
		last = min(last, m.max)
	}
	if m.firstLine && m.newline >= 0 {
		last = min(last, m.newline)
	}
	if m.from <= last {
		at, err := m.first(m.from-m.start, last-m.start)
		if err != nil {
			return err
		}
		m.found = at >= 0 && m.start+at <= last
		m.from = last + 1
	}
	m.over = m.max > 0 && m.from > m.max || m.firstLine && m.newline >= 0 && m.from > m.newline
	return nil
}

// first gives where in the window the first match starts at from or after it; -1:
// nowhere. Who calls does not care for what starts after last.
func (m *matcher) first(from, last int64) (int64, error) {
	if from > int64(len(m.window)) {
		return -1, nil
	}
	if m.literal != nil {
		stop := min(int64(len(m.window)), last+int64(len(m.literal)))
		at := bytes.Index(m.window[from:stop], m.literal)
		if at < 0 {
			return -1, nil
		}
		return from + int64(at), nil
	}
	m.decode()
	start := from
	if m.utf {
		start = int64(utf8.RuneCount(m.window[:from]))
	}
	m.re.MatchTimeout = matchTime
	if !m.deadline.IsZero() {
		m.re.MatchTimeout = max(time.Millisecond, time.Until(m.deadline))
	}
	match, err := m.re.FindRunesMatchStartingAt(m.runes, int(start))
	switch {
	case errors.Is(err, regexp2.ErrBacktrackingStackLimit):
		return 0, errors.New("the regex takes too much memory on this body")
	case err != nil:
		return 0, errors.New("the regex takes too long on this body")
	case match == nil:
		return -1, nil
	case !m.utf:
		return int64(match.RuneIndex), nil
	}
	at := int64(0)
	for _, r := range m.runes[:match.RuneIndex] {
		at += int64(max(1, utf8.RuneLen(r)))
	}
	return at, nil
}

// decode makes runes of the window: characters, or bytes.
func (m *matcher) decode() {
	m.runes = slices.Grow(m.runes[:0], len(m.window))
	if !m.utf {
		for _, b := range m.window {
			m.runes = append(m.runes, byteRune(b))
		}
		return
	}
	for rest := m.window; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		m.runes = append(m.runes, r)
		rest = rest[n:]
	}
}

// byteRune is the rune that stands for a byte where a regex is about bytes. What is not
// ASCII becomes one of private use, which is no letter, digit or blank and has no other
// case: so do such bytes count for PCRE.
func byteRune(b byte) rune {
	if b < utf8.RuneSelf {
		return rune(b)
	}
	return privateUse + rune(b)
}

const privateUse = 0xE000

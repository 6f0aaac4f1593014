package http

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// match looks for a regex in a body that comes in parts of a size.
func match(t testing.TB, u URL, body string, part int) (bool, error) {
	t.Helper()
	m, err := newMatcher(&u, "/urls/0")
	if err != nil {
		t.Fatalf("%+v: %s", u, err)
	}
	m.begin(time.Time{})
	defer m.release()
	for rest := body; rest != ""; rest = rest[min(part, len(rest)):] {
		if err := m.write([]byte(rest[:min(part, len(rest))])); err != nil {
			return false, err
		}
	}
	return m.end()
}

// TestPCRE: the same is found as PCRE2 finds.
func TestPCRE(t *testing.T) {
	table, err := os.ReadFile("testdata/pcre.tsv")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(table)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		regex, err1 := strconv.Unquote(fields[0])
		subject, err2 := strconv.Unquote(fields[2])
		if err1 != nil || err2 != nil || len(fields) != 4 {
			t.Fatalf("%q is no line of the table", line)
		}
		found, err := match(t, URL{Regex: regex, RegexOptions: strings.Fields(fields[1])}, subject, 3)
		if err != nil || found != (fields[3] == "1") {
			t.Errorf("%s: found: %t, %v", line, found, err)
		}
		n++
	}
	if n < 1000 {
		t.Errorf("the table has %d lines only", n)
	}
}

func TestRegexRefused(t *testing.T) {
	for _, test := range []struct{ regex, options, want string }{
		{"(a", "", "/u/regex: cannot be used: "},
		{"a**", "", "/u/regex: cannot be used: "},
		{`\y`, "", `/u/regex: \y is not supported`},
		{`a\`, "", "/u/regex: ends with a backslash"},
		{"[a", "", "/u/regex: a class [ has no end"},
		{"[z-a]", "", "/u/regex: the range z-a in a class is the wrong way round"},
		{`[\d-z]`, "", "/u/regex: a range in a class begins with a set"},
		{"[:alpha:]", "", "/u/regex: a class like [:alpha:] can only stand in brackets"},
		{"[[:nope:]]", "", "/u/regex: there is no class [:nope:]"},
		{"(?R)", "", "/u/regex: (?R) is not supported"},
		{"(*UTF)a", "", "/u/regex: verbs like (*UTF) are not supported"},
		{`(?xx)a`, "extended", "/u/regex: (?xx) is not supported"},
		{`\400`, "", `/u/regex: \400 is not supported`},
		{`\N{U+41}`, "", `/u/regex: \N{U+...} is not supported`},
		{`\p{L}`, "", `/u/regex: \p needs the option utf`},
		{`\x{20ac}`, "", "/u/regex: character 0x20ac needs the option utf"},
		{"\xff", "utf", "/u/regex: is not UTF-8"},
		{"a", "none", `/u/regex_options/0: there is no option "none"; there are `},
		{"a", "utf alt_bsux", "/u/regex_options/1: alt_bsux is not supported here"},
		{"a", "ucp", "/u/regex_options: ucp needs utf"},
	} {
		_, err := newMatcher(&URL{Regex: test.regex, RegexOptions: strings.Fields(test.options)}, "/u")
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %s", test.regex, err, test.want)
		}
	}
}

// TestRegexOffsets: a match may start at the offsets themselves, as for keepalived 2.2.7
// with a body that comes after its headers.
func TestRegexOffsets(t *testing.T) {
	const body = "hello world\n"
	for _, test := range []struct {
		url  URL
		want bool
	}{
		{URL{Regex: "world", RegexMinOffset: 6}, true},
		{URL{Regex: "world", RegexMinOffset: 7}, false},
		{URL{Regex: "wor.d", RegexMinOffset: 6}, true},
		{URL{Regex: "wor.d", RegexMinOffset: 7}, false},
		{URL{Regex: "^world", RegexMinOffset: 6}, false},
		{URL{Regex: "(?<=hello.)world", RegexMinOffset: 6}, true},
		{URL{Regex: "world", RegexMaxOffset: 5}, false},
		{URL{Regex: "world", RegexMaxOffset: 6}, true},
		{URL{Regex: "wor.d", RegexMaxOffset: 5}, false},
		{URL{Regex: "wor.d", RegexMaxOffset: 6}, true},
		{URL{Regex: "world", RegexMinOffset: 100}, false},
		{URL{Regex: "$", RegexMinOffset: 12}, true},
		{URL{Regex: "o", RegexMinOffset: 5, RegexMaxOffset: 6}, false},
		{URL{Regex: "o w|d", RegexMinOffset: 5, RegexMaxOffset: 10}, true},
	} {
		for _, part := range []int{1, 5, 100} {
			if got, err := match(t, test.url, body, part); err != nil || got != test.want {
				t.Errorf("%+v in parts of %d: %t, %v", test.url, part, got, err)
			}
		}
	}
}

// TestRegexWindow: long bodies are looked at in pieces.
func TestRegexWindow(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, test := range []struct {
		name, regex, options, body string
		want                       bool
	}{
		{"at the end", "wor.d$", "", x(3<<20) + "world", true},
		{"at the end, literal", "world", "", x(3<<20) + "world", true},
		{"before the edge", "wor.d", "", x(windowSize-3) + "world" + x(windowSize), true},
		{"before the edge, literal", "world", "", x(windowSize-3) + "world" + x(windowSize), true},
		{"at the reach", "wor.d", "", x(windowSize-reach-2) + "world" + x(windowSize), true},
		{"a start that is none", "^xworld", "", x(2*windowSize) + "world", false},
		{"an end that is none", "xxx$", "", x(2*windowSize) + "world", false},
		{"behind", "(?<=abc)d", "", x(windowSize-reach) + "abcd" + x(windowSize), true},
		{"within reach", "a[^b]*b", "", x(windowSize) + "a" + x(reach-10) + "b" + x(windowSize), true},
		{"characters", "^é{400000}é*w.rld", "utf", strings.Repeat("é", 1000) + "world", false},
		{"characters at the edge", "w.rld", "utf", "x" + strings.Repeat("é", windowSize) + "world", true},
		{"nowhere", "w[o]rlds", "", x(windowSize) + "world" + x(windowSize), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, part := range []int{1000, 1 << 16} {
				if got, err := match(t, URL{Regex: test.regex, RegexOptions: strings.Fields(test.options)}, test.body, part); err != nil || got != test.want {
					t.Errorf("in parts of %d: %t, %v", part, got, err)
				}
			}
		})
	}
}

// TestRegexBounded: a body cannot make a match last, nor take memory.
func TestRegexBounded(t *testing.T) {
	m, err := newMatcher(&URL{Regex: `(a|aa)+$`}, "")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	m.begin(start.Add(200 * time.Millisecond))
	if err := m.write(append(bytes.Repeat([]byte{'a'}, 100<<10), 'b')); err != nil {
		t.Fatal(err)
	}
	_, err = m.end()
	if took := time.Since(start); err == nil || took > 20*time.Second {
		t.Errorf("%v after %s, want an error soon", err, took)
	}
}

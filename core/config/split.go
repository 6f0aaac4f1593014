package config

import "strings"

// split cuts a line at blanks and braces; ok is false if a quote is not closed. A
// quote ends a word and begins another; in a script's value quotes are those of a
// shell: of both kinds, glued to their neighbours, with escapes.
func split(text string) (tokens []token, ok bool) {
	var words []string
	var word []byte
	inWord := false
	endWord := func() {
		if inWord {
			words = append(words, string(word))
		}
		word, inWord = word[:0], false
	}
	endLine := func() {
		endWord()
		if len(words) > 0 {
			tokens = append(tokens, token{words: words})
		}
		words = nil
	}
	ok = true
	for i := 0; i < len(text); i++ {
		c := text[i]
		script := len(words) > 0 && scripts[words[0]]
		switch {
		case c == ' ' || c == '\t' || c == '\r':
			endWord()
		case c == '{' || c == '}':
			endLine()
			tokens = append(tokens, token{brace: c})
		case c == '"' || script && c == '\'':
			if !script {
				endWord()
			}
			inWord = true
			for i++; i < len(text) && text[i] != c; i++ {
				b := text[i]
				if script && b == '\\' && i+1 < len(text) {
					b, i = escaped(text, i+1)
				}
				word = append(word, b)
			}
			if i >= len(text) {
				ok = false
			}
			if !script {
				endWord()
			}
		case script && c == '\\' && i+1 < len(text):
			c, i = escaped(text, i+1)
			word, inWord = append(word, c), true
		default:
			word, inWord = append(word, c), true
		}
	}
	endLine()
	return tokens, ok
}

// escapes are the letters that are a control character behind a backslash.
var escapes = map[byte]byte{
	'a': '\a', 'b': '\b', 'E': 0x1b, 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
}

// escaped gives the character that an escape in a script's value means, of which text[i]
// is the first behind the backslash, and where it ends.
func escaped(text string, i int) (c byte, end int) {
	c = text[i]
	if e, ok := escapes[c]; ok {
		return e, i
	}
	switch {
	case c == 'c' && i+1 < len(text):
		return text[i+1] & 0x1f, i + 1
	case c == 'x':
		if n, end := digits(text, i+1, 16, 2); end > i {
			return n, end
		}
	case c >= '0' && c <= '7':
		return digits(text, i, 8, 3)
	}
	return c, i
}

// digits reads up to most digits from text[i] on; end is the last, before i if there is
// none.
func digits(text string, i int, base byte, most int) (n byte, end int) {
	for end = i - 1; end+1 < len(text) && end+1 < i+most; end++ {
		d := strings.IndexByte("0123456789abcdefABCDEF", text[end+1])
		if d > 15 {
			d -= 6
		}
		if d < 0 || d >= int(base) {
			break
		}
		n = n*base + byte(d)
	}
	return n, end
}

package config

// statement is a keyword with its words, and the statements in its braces.
type statement struct {
	place
	words []string
	block bool
	body  []*statement
	// next is the word that is read next.
	next int
}

func (s *statement) keyword() string { return s.words[0] }

// name is how messages call it: the keyword, and for a block what it is called.
func (s *statement) name() string {
	if s.block && len(s.words) > 1 {
		return s.words[0] + " " + s.words[1]
	}
	return s.words[0]
}

// parse makes statements of tokens and tells of braces that do not fit.
func parse(p *problems, tokens []token) []*statement {
	root := &statement{words: []string{"the file"}}
	open := []*statement{root}
	for i, t := range tokens {
		top := open[len(open)-1]
		switch {
		case t.brace == '{':
			if len(top.body) == 0 || top.body[len(top.body)-1].block {
				p.errorf(t.place, "a { without a keyword before it: remove it, or write what it belongs to")
				top.body = append(top.body, &statement{place: t.place, words: []string{"{"}})
			}
			last := top.body[len(top.body)-1]
			last.block = true
			open = append(open, last)
		case t.brace == '}' && len(open) == 1:
			p.errorf(t.place, "a } too many: nothing is open here; remove it, or look above for a block that is closed too early")
		case t.brace == '}':
			open = open[:len(open)-1]
		default:
			begins := i+1 < len(tokens) && tokens[i+1].brace == '{'
			if begins && len(open) > 1 && rootOnly[t.words[0]] {
				p.errorf(top.place, "a } is missing: %s, which begins here, is still open where %s begins (%s:%d)", top.name(), t.words[0], t.file, t.line)
				open = open[:1]
				top = root
			}
			top.body = append(top.body, &statement{place: t.place, words: t.words, next: 1})
		}
	}
	if top := open[len(open)-1]; top != root {
		p.errorf(top.place, "a } is missing: %s, which begins here, is still open at the end of the file", top.name())
	}
	return root.body
}

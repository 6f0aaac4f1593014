package config

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// httpGet is what only HTTP_GET and SSL_GET have.
type httpGet struct {
	tls         bool
	version     string
	virtualHost string
	sni         bool
	sniName     string
	sniNameAt   *statement
	fast        bool
	compliant   *bool
	urls        []*httpURL
	// blocks counts those that are left out, too; told: why one is, is told already.
	blocks int
	told   bool
}

// httpURL is a url block.
type httpURL struct {
	*checker
	at         *statement
	parameters map[string]any
	lines      map[string]int
	codes      statusCodes
	compliant  *bool
	// told: what is wrong with the path is told already.
	told bool
}

func (h *httpGet) keyword(c *checker, t *statement) {
	switch t.keyword() {
	case "url":
		h.url(c, t)
	case "http_protocol":
		h.setProtocol(c, t)
	case "virtualhost":
		h.virtualHost, _ = c.text(t)
	case "fast_recovery":
		if c.boolean(t) {
			c.set(t, "fast_recovery", true)
		} else {
			delete(c.parameters, "fast_recovery")
		}
	case "enable_sni":
		h.sni = true
		h.onlyTLS(c, t)
	case "sni_name":
		h.sniName, _ = c.text(t)
		h.sniNameAt = t
		h.onlyTLS(c, t)
	case "tls_compliant":
		b := c.boolean(t)
		h.compliant = &b
		h.onlyTLS(c, t)
	}
}

// onlyTLS tells of what a check without TLS has no use for.
func (h *httpGet) onlyTLS(c *checker, t *statement) {
	if !h.tls {
		c.warnf(t.place, "%s has no effect in HTTP_GET, which does not speak TLS: remove it, or write SSL_GET", t.keyword())
	}
}

// setProtocol reads the version of HTTP. keepalived writes 1.0c as 1.0C.
func (h *httpGet) setProtocol(c *checker, t *statement) {
	w, ok := c.word(t)
	if !ok {
		return
	}
	switch strings.ToUpper(w) {
	case "1.0", "1.0C", "1.1":
		h.version = strings.ToUpper(w)
		c.mark(t, "/http_protocol")
	default:
		c.warnf(t.place, "unknown http_protocol %s: it is 1.0; keepalived knows 1.0, 1.0C and 1.1", w)
	}
}

func (h *httpGet) url(c *checker, t *statement) {
	u := &httpURL{checker: c, at: t, parameters: map[string]any{}, lines: map[string]int{}}
	c.each(inURL, t.body, func(t *statement) { h.urlKeyword(u, t) })
	h.blocks++
	if _, ok := u.parameters["path"]; !ok {
		if u.told {
			h.told = true
			return
		}
		c.warnf(t.place, "the url has no path: it is left out, as in keepalived; write path / into it")
		return
	}
	u.finish()
	h.urls = append(h.urls, u)
}

func (h *httpGet) urlKeyword(u *httpURL, t *statement) {
	switch t.keyword() {
	case "path", "virtualhost":
		w, ok := u.text(t)
		if ok {
			u.set(t, t.keyword(), w)
		}
		u.told = u.told || !ok
	case "status_code":
		u.codes.read(u.keepalived, t)
		u.mark(t, "status")
	case "digest":
		u.digest(t)
	case "regex":
		u.regex(t)
	case "regex_no_match":
		u.set(t, "regex_no_match", true)
	case "regex_options":
		u.options(t)
	case "regex_min_offset", "regex_max_offset":
		if n, ok := u.number(t, 0, 1<<31-1); ok {
			u.set(t, t.keyword(), n)
		}
	case "tls_compliant":
		b := u.boolean(t)
		u.compliant = &b
		h.onlyTLS(u.checker, t)
	}
}

func (u *httpURL) set(t *statement, name string, v any) {
	u.parameters[name] = v
	u.mark(t, name)
}

func (u *httpURL) mark(t *statement, name string) {
	if t.file == u.checker.at.file {
		u.lines["/"+name] = t.line
	}
}

// digest reads an MD5 in hexadecimal. keepalived leaves a wrong one out and so looks at
// less than was asked for; here it is an error.
func (u *httpURL) digest(t *statement) {
	w, ok := u.word(t)
	if !ok {
		return
	}
	w = strings.ToLower(w)
	if b, err := hex.DecodeString(w); err != nil || len(b) != 16 {
		u.errorf(t.place, "digest %s: not 32 hexadecimal digits, which is what genhash and md5sum print", w)
		return
	}
	u.set(t, "digest", w)
}

// regex reads a regular expression, which is one word. With more words keepalived drops
// the whole of it.
func (u *httpURL) regex(t *statement) {
	w, ok := u.text(t)
	if !ok {
		return
	}
	if t.more() {
		u.errorf(t.place, "the regex has blanks, so that keepalived drops it: put it in double quotes")
		t.next = len(t.words)
		return
	}
	u.set(t, "regex", w)
}

func (u *httpURL) options(t *statement) {
	var all []string
	for t.more() {
		if w, ok := u.text(t); ok {
			all = append(all, w)
		}
	}
	if len(all) == 0 {
		u.errorf(t.place, "regex_options has no value: write one after it")
		return
	}
	u.set(t, "regex_options", all)
}

// finish tells what does not fit together, and drops it as keepalived does.
func (u *httpURL) finish() {
	p := u.parameters
	if _, ok := p["regex"]; !ok {
		for _, name := range []string{"regex_no_match", "regex_options", "regex_min_offset", "regex_max_offset"} {
			if _, ok := p[name]; ok {
				u.warnf(u.at.place, "%s of the url has no effect without a regex", name)
				delete(p, name)
			}
		}
	}
	least, _ := p["regex_min_offset"].(uint64)
	most, limited := p["regex_max_offset"].(uint64)
	if limited && least > most {
		u.warnf(u.at.place, "regex_min_offset %d is more than regex_max_offset %d: both are ignored, as in keepalived", least, most)
		delete(p, "regex_min_offset")
		delete(p, "regex_max_offset")
	}
	if least == 0 {
		delete(p, "regex_min_offset")
	}
	if codes := u.codes.ranges(); len(codes) > 0 && !(len(codes) == 1 && codes[0] == "200-299") {
		p["status"] = codes
	}
}

// finish makes the parameters. What is not set here is handed down.
func (h *httpGet) finish(c *checker, of surroundings) bool {
	switch {
	case len(h.urls) > 0:
	case h.told:
		return false
	case h.blocks > 0:
		c.errorf(c.at, "%s has no url with a path, and keepalived 2.2 dies of that: write path / into the url", string(c.kind.context))
		return false
	default:
		c.errorf(c.at, "%s has no url, and keepalived 2.2 dies of that: write url { path / } into it", string(c.kind.context))
		return false
	}
	h.hand(c, of)
	if h.tls {
		h.secure(c, of)
	}
	if len(h.urls) == 1 && len(h.urls[0].parameters) == 1 && h.urls[0].parameters["path"] == "/" {
		return true
	}
	var urls []any
	for i, u := range h.urls {
		urls = append(urls, u.parameters)
		c.mark(u.at, index("/urls", i))
		for p, line := range u.lines {
			c.lines[index("/urls", i)+p] = line
		}
	}
	c.parameters["urls"] = urls
	return true
}

// hand gives the check what is not the plugin's default, and the nearest virtualhost.
func (h *httpGet) hand(c *checker, of surroundings) {
	if h.version == "" {
		h.version = "1.0"
	}
	if h.version == "1.1" {
		// keepalived asks with 1.1 and reads as if it were 1.0.
		c.parameters["raw_body"] = true
	} else {
		c.parameters["http_protocol"] = h.version
	}
	for _, name := range []string{h.virtualHost, of.real.virtualHost, of.server.virtualHost} {
		if name != "" {
			c.parameters["virtualhost"] = name
			break
		}
	}
}

// statusCodes are a set of them; a map of none is the default.
type statusCodes map[uint16]bool

const (
	leastStatus = 100
	mostStatus  = 599
)

// read adds the codes and ranges of a statement; a second statement adds to the first.
func (s *statusCodes) read(k *keepalived, t *statement) {
	if *s == nil {
		*s = statusCodes{}
	}
	if !t.more() {
		k.word(t)
	}
	for t.more() {
		w, ok := k.word(t)
		if !ok {
			continue
		}
		from, to, isRange := strings.Cut(w, "-")
		if !isRange {
			to = from
		}
		least, err1 := strconv.ParseUint(from, 10, 16)
		most, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil || least < leastStatus || most > mostStatus || least > most {
			k.errorf(t.place, "status_code %s: neither a code nor a range of codes in %d..%d", w, leastStatus, mostStatus)
			continue
		}
		for ; least <= most; least++ {
			(*s)[uint16(least)] = true
		}
	}
}

// ranges are the codes in order, as few ranges as there can be.
func (s statusCodes) ranges() []string {
	var out []string
	for c := uint16(leastStatus); c <= mostStatus; c++ {
		if !s[c] {
			continue
		}
		last := c
		for s[last+1] {
			last++
		}
		text := strconv.Itoa(int(c))
		if last > c {
			text += "-" + strconv.Itoa(int(last))
		}
		out = append(out, text)
		c = last
	}
	return out
}

package config

import (
	"strings"
	"time"
)

// smtpCheck is what only SMTP_CHECK has.
type smtpCheck struct {
	helo string
	all  []*checker
}

// defaultHelo is what both keepalived and the plugin say by default.
const defaultHelo = "smtpchecker.keepalived.org"

func (s *smtpCheck) keyword(c *checker, t *statement) {
	switch t.keyword() {
	case "helo_name":
		s.helo, _ = c.text(t)
		c.mark(t, "/helo_name")
	case "host":
		if len(s.all) == 0 {
			c.warnf(t.place, "host in SMTP_CHECK is an old spelling: write an SMTP_CHECK for each")
		}
		h := c.newChecker(c.kind, t.place)
		h.own = s
		c.each(inSMTPHost, t.body, h.keyword)
		s.all = append(s.all, h)
	}
}

// hosts makes a check of each host block. They share what is not about connections, and
// the check around them is one of its own only if it says itself how to connect.
func (s *smtpCheck) hosts(around *checker, checks []*checker) []*checker {
	if len(s.all) > 0 && !around.connects {
		checks = checks[:len(checks)-1]
	}
	for _, h := range s.all {
		h.down = h.down.orElse(inherited{
			delayLoop: around.down.delayLoop, retryDelay: around.down.retryDelay, warmup: around.down.warmup,
			retry: around.down.retry, alpha: around.down.alpha,
		})
	}
	return append(checks, s.all...)
}

func (s *smtpCheck) finish(c *checker, _ surroundings) bool {
	if s.helo != "" && s.helo != defaultHelo {
		c.parameters["helo_name"] = s.helo
	}
	return true
}

// dnsCheck is what only DNS_CHECK has.
type dnsCheck struct{}

// dnsTypes are the types of queries that keepalived knows.
var dnsTypes = words("A NS CNAME SOA MX TXT AAAA RRSIG DNSKEY")

func (dnsCheck) keyword(c *checker, t *statement) {
	w, ok := c.text(t)
	if !ok {
		return
	}
	plain := "."
	if t.keyword() == "type" {
		plain = "SOA"
		w = strings.ToUpper(w)
		if !dnsTypes[w] {
			c.warnf(t.place, "unknown type %s of a DNS query: the line is ignored, as in keepalived, which knows A NS CNAME SOA MX TXT AAAA RRSIG DNSKEY", w)
			return
		}
	}
	delete(c.parameters, t.keyword())
	if w != plain {
		c.set(t, t.keyword(), w)
	}
}

func (dnsCheck) finish(*checker, surroundings) bool { return true }

// miscCheck is what only MISC_CHECK has.
type miscCheck struct {
	command []string
	as      scriptUser
	// told: what is wrong with the command is told already.
	told bool
}

// scriptUser is who runs scripts; empty: the plugin's default.
type scriptUser struct{ user, group string }

func (m *miscCheck) keyword(c *checker, t *statement) {
	switch t.keyword() {
	case "misc_path":
		m.path(c, t)
	case "misc_timeout":
		// 0 is as if it were not set.
		if n, ok := c.number(t, 0, 4294967295); ok && n > 0 {
			d := time.Duration(n) * time.Second
			c.timeout = &d
		}
	case "misc_dynamic":
		c.set(t, "dynamic", true)
	case "user":
		m.as = c.user(t)
		c.mark(t, "/user")
		c.mark(t, "/group")
	}
}

// path reads a command. Only its first word is one, which is cut again at its blanks:
// arguments stand in the same quotes.
func (m *miscCheck) path(c *checker, t *statement) {
	m.told = true
	w, ok := c.text(t)
	if !ok {
		return
	}
	if t.more() {
		c.warnf(t.place, "what stands after %s is ignored, as in keepalived: put the command and its arguments in double quotes, and write the user that runs it as user NAME", program(w))
		t.next = len(t.words)
	}
	command, ok := cutCommand(w)
	switch {
	case !ok:
		c.errorf(t.place, "misc_path %s: a quote is not closed", program(w))
	case len(command) == 0:
		c.errorf(t.place, "misc_path is empty: write the command into it")
	default:
		m.command = command
		c.mark(t, "/command")
	}
}

// program is a command without its arguments, which may hold a password and are told to
// nobody.
func program(command string) string {
	words := strings.Fields(command)
	if len(words) < 2 {
		return command
	}
	return words[0] + " ..."
}

// user reads USER [GROUP].
func (k *keepalived) user(t *statement) scriptUser {
	var u scriptUser
	u.user, _ = k.text(t)
	if t.more() {
		u.group, _ = k.text(t)
	}
	return u
}

func (m *miscCheck) finish(c *checker, of surroundings) bool {
	if len(m.command) == 0 && m.told {
		return false
	}
	if len(m.command) == 0 {
		c.warnf(c.at, `MISC_CHECK has no misc_path: it is left out, as in keepalived, and does not check real server %s; write misc_path "COMMAND ARGUMENTS"`, of.real.addr)
		return false
	}
	p := c.parameters
	p["command"] = m.command
	as := m.as
	if as == (scriptUser{}) {
		as = c.scripts
	}
	if as.user != "" {
		p["user"] = as.user
	}
	if as.group != "" {
		p["group"] = as.group
	}
	if c.scriptSecurity {
		return true
	}
	p["secure"] = false
	if !c.insecure[c.at.file] {
		c.insecure[c.at.file] = true
		c.warnf(c.at, "scripts are run even if others than root can write to them, as in keepalived: write enable_script_security in global_defs")
	}
	return true
}

// cutCommand cuts a command at its blanks. Quotes of both kinds keep them; ok is false if
// one is not closed.
func cutCommand(s string) (out []string, ok bool) {
	var word []byte
	in := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ' ' || c == '\t':
			if in {
				out = append(out, string(word))
			}
			word, in = word[:0], false
		case c == '"' || c == '\'':
			end := strings.IndexByte(s[i+1:], c)
			if end < 0 {
				return nil, false
			}
			word = append(word, s[i+1:i+1+end]...)
			i += end + 1
			in = true
		case c == '\\' && i+1 < len(s):
			i++
			word, in = append(word, s[i]), true
		default:
			word, in = append(word, c), true
		}
	}
	if in {
		out = append(out, string(word))
	}
	return out, true
}

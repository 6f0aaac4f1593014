package config

import "strings"

// Bounds of a UDP reply, where UDP_CHECK does not set them.
const (
	defaultMinReply = 0
	defaultMaxReply = 255
)

// udpCheck is what only UDP_CHECK has.
type udpCheck struct {
	payload, reply string
	require        bool
	least, most    uint64
	limits         []*statement
}

func newUDPCheck() ownKeywords { return &udpCheck{least: defaultMinReply, most: defaultMaxReply} }

func (u *udpCheck) keyword(c *checker, t *statement) {
	switch t.keyword() {
	case "payload":
		if !t.more() {
			c.word(t)
			return
		}
		u.payload = c.hex(t, false)
		c.mark(t, "/payload")
	case "require_reply":
		u.require = true
		c.mark(t, "/require_reply")
		if t.more() {
			u.reply = c.hex(t, true)
			c.mark(t, "/reply")
		}
	case "min_reply_length", "max_reply_length":
		n, ok := c.number(t, 0, 65535)
		if !ok {
			return
		}
		if t.keyword() == "min_reply_length" {
			u.least = n
		} else {
			u.most = n
		}
		c.mark(t, "/"+t.keyword())
		u.limits = append(u.limits, t)
	}
}

// hex reads what is left of a statement as keepalived does: pairs of hexadecimal digits,
// with blanks wherever one likes, where one digit alone is a byte. With wild an X is any
// digit.
func (k *keepalived) hex(t *statement, wild bool) string {
	digits := "0123456789ABCDEF"
	if wild {
		digits += "X"
	}
	var out strings.Builder
	for _, word := range t.words[t.next:] {
		for _, part := range strings.Fields(word) {
			if strings.Trim(strings.ToUpper(part), digits) != "" {
				k.errorf(t.place, "%s %s: not hexadecimal", t.keyword(), part)
			}
			part = strings.ToUpper(part)
			if len(part)%2 == 1 {
				part = part[:len(part)-1] + "0" + part[len(part)-1:]
			}
			out.WriteString(part)
		}
	}
	t.next = len(t.words)
	return out.String()
}

func (u *udpCheck) finish(c *checker, _ surroundings) bool {
	p := c.parameters
	if u.payload != "" {
		p["payload"] = u.payload
	}
	switch {
	case u.reply != "":
		p["reply"] = u.reply
	case u.require:
		p["require_reply"] = true
	}
	if u.reply == "" {
		// keepalived looks at the length only where it looks at the reply.
		for _, t := range u.limits {
			c.warnf(t.place, "%s has no effect without a reply to compare with, as in keepalived: write require_reply HEX", t.keyword())
		}
		return true
	}
	if u.least != defaultMinReply {
		p["min_reply_length"] = u.least
	}
	if u.most != defaultMaxReply {
		p["max_reply_length"] = u.most
	}
	return true
}

// pingCheck is what only PING_CHECK has: nothing, and no port.
type pingCheck struct{}

func (pingCheck) keyword(*checker, *statement) {}

func (pingCheck) finish(c *checker, _ surroundings) bool {
	if c.target.Addr.Port() != 0 || c.port != 0 {
		c.warnf(c.at, "connect_port and bind_port have no effect in PING_CHECK: a ping has no ports")
		c.port = 0
	}
	return true
}

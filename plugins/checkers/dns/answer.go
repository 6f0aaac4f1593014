package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// errNoAnswer is what a datagram is that is no answer to the query.
var errNoAnswer = errors.New("no answer to the query")

type noAnswer struct{ why string }

func (e noAnswer) Error() string        { return e.why }
func (e noAnswer) Is(target error) bool { return target == errNoAnswer }

// Bits of the second half of the first four bytes (RFC 1035, section 4.1.1).
const (
	isAnswer = 1 << 15
	codeMask = 0xF
)

// judge gives the code of an answer to the query with this id; other datagrams are
// errNoAnswer.
func judge(b []byte, id uint16) (code int, err error) {
	if len(b) < 4 {
		return 0, noAnswer{fmt.Sprintf("%d bytes are too short for an answer", len(b))}
	}
	flags := binary.BigEndian.Uint16(b[2:])
	switch got := binary.BigEndian.Uint16(b); {
	case got != id:
		return 0, noAnswer{fmt.Sprintf("id %d, not %d", got, id)}
	case flags&isAnswer == 0:
		return 0, noAnswer{"a query, not an answer"}
	}
	return int(flags & codeMask), nil
}

// summary shows an answer in a transcript; it is made when it is asked for.
type summary []byte

func (s summary) String() string {
	var m dns.Msg
	if err := m.Unpack(s); err != nil {
		return fmt.Sprintf("%s, %d bytes that cannot be read whole: %s", codeName(int(s[3]&codeMask)), len(s), err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s, %d bytes", codeName(m.Rcode), len(s))
	for _, f := range []struct {
		set  bool
		name string
	}{{m.Authoritative, "authoritative"}, {m.Truncated, "truncated"}, {m.RecursionAvailable, "recursion available"}} {
		if f.set {
			out.WriteString(", " + f.name)
		}
	}
	fmt.Fprintf(&out, ", %d answers, %d of authority, %d additional", len(m.Answer), len(m.Ns), len(m.Extra))
	for i, rr := range m.Answer {
		if i == traced {
			break
		}
		out.WriteString("; " + strings.Join(strings.Fields(rr.String()), " "))
	}
	return out.String()
}

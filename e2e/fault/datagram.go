package fault

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// reply is what a datagram is answered with. The steps of UDP:
//
//	good          the same datagram
//	silent        nothing
//	reply:HEX     this
//	slow:DURATION the same, late
//	big           1,000 bytes
//
// and of DNS, beside silent, slow and reply:
//
//	good       one answer to the question: an SOA, or an address
//	empty      no answer, no error
//	rcode:N    an error: 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED
//	id         another id
//	query      the query itself
//	question   the answer to another question
//	garbage    bytes that mean nothing
//	truncated  the TC flag
//	twice      a wrong id first, then the answer
func (p *port) reply(b []byte, step string) [][]byte {
	verb, arg, _ := strings.Cut(step, ":")
	switch verb {
	case "silent", "drop":
		return nil
	case "reply":
		text, err := hex.DecodeString(arg)
		if err != nil {
			return nil
		}
		return [][]byte{text}
	case "slow":
		time.Sleep(period(arg))
	case "garbage":
		return [][]byte{nonsense[:100]}
	case "big":
		return [][]byte{make([]byte, 1000)}
	}
	if p.Kind != DNS {
		return [][]byte{b}
	}
	return answer(b, verb, number(arg, 0))
}

// answer is a DNS server's.
func answer(b []byte, verb string, code int) [][]byte {
	const header = 12
	if len(b) < header+5 {
		return nil
	}
	end := header
	for end < len(b) && b[end] != 0 {
		end += int(b[end]) + 1
	}
	end += 5 // the root, the type, the class
	if end > len(b) {
		return nil
	}
	kind := binary.BigEndian.Uint16(b[end-4:])
	out := append([]byte(nil), b[:end]...)
	out[2], out[3] = 0x84|b[2]&1, 0 // a response, with authority
	binary.BigEndian.PutUint16(out[6:], 1)
	clear(out[8:header])
	// A name that points to the question's.
	record := []byte{0xc0, header, byte(kind >> 8), byte(kind), 0, 1, 0, 0, 0, 60}
	switch kind {
	case 1: // A
		record = append(record, 0, 4, 192, 0, 2, 80)
	case 28: // AAAA
		record = append(record, 0, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 80)
	case 6: // SOA: the names are the root
		record = append(append(record, 0, 22, 0, 0), make([]byte, 20)...)
	default:
		verb = "empty"
	}
	switch verb {
	case "empty":
		record = nil
		binary.BigEndian.PutUint16(out[6:], 0)
	case "rcode":
		record = nil
		binary.BigEndian.PutUint16(out[6:], 0)
		out[3] = byte(code)
	case "id":
		out[0] ^= 0xff
	case "query":
		return [][]byte{b}
	case "question":
		if end > header+5 {
			out[header+1] ^= 1
		} else {
			out[end-3] ^= 1
		}
	case "truncated":
		out[2] |= 2
	case "twice":
		whole := append(out, record...)
		wrong := append([]byte(nil), whole...)
		wrong[0] ^= 0xff
		return [][]byte{wrong, whole}
	}
	return [][]byte{append(out, record...)}
}

package ping

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	headerSize = 8
	cookieSize = 8
	// dataSize is what ping(8) sends.
	dataSize = 56
	// ipv6Header is the size of the fixed header.
	ipv6Header = 40
	protoICMP  = 1
	protoICMP6 = 58
)

type cookie [cookieSize]byte

// request makes an echo request.
func request(six bool, id, seq uint16, c cookie) ([]byte, error) {
	data := make([]byte, dataSize)
	copy(data, c[:])
	copy(data[cookieSize:], "poise check - poise check - poise check - poise ")
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(id), Seq: int(seq), Data: data}}
	if six {
		// The kernel computes the checksum, which the addresses are part of.
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	return m.Marshal(nil)
}

// kind of a message that was received.
type kind uint8

const (
	other kind = iota
	// echoed: a reply.
	echoed
	// failed: an error that somebody on the way met, about a request.
	failed
)

// message is what matters of a message that was received.
type message struct {
	kind    kind
	id, seq uint16
	cookie  cookie
	// ttl of a reply; 0: not known.
	ttl uint8
	// target is whom the request went to, and what is said of it; of errors only.
	target netip.Addr
	what   string
}

// parse4 reads a packet with its IPv4 header.
func parse4(b []byte) (m message) {
	header, body, ok := strip4(b)
	if !ok || len(body) < headerSize {
		return m
	}
	switch t := ipv4.ICMPType(body[0]); t {
	case ipv4.ICMPTypeEchoReply:
		m = reply(body)
		m.ttl = header[8]
	case ipv4.ICMPTypeDestinationUnreachable, ipv4.ICMPTypeTimeExceeded, ipv4.ICMPTypeParameterProblem:
		inner, quoted, ok := strip4(body[headerSize:])
		if !ok || inner[9] != protoICMP || len(quoted) < headerSize || ipv4.ICMPType(quoted[0]) != ipv4.ICMPTypeEcho {
			return m
		}
		m.target, _ = netip.AddrFromSlice(inner[16:20])
		m.fail(quoted, describe4(t, body[1]))
	}
	return m
}

// strip4 splits an IPv4 packet.
func strip4(b []byte) (header, body []byte, ok bool) {
	if len(b) < ipv4.HeaderLen || b[0]>>4 != 4 {
		return nil, nil, false
	}
	size := int(b[0]&0xF) * 4
	if size < ipv4.HeaderLen || len(b) < size {
		return nil, nil, false
	}
	return b[:size], b[size:], true
}

// parse6 reads an ICMPv6 message, which has no IP header in front.
func parse6(b []byte) (m message) {
	if len(b) < headerSize {
		return m
	}
	switch t := ipv6.ICMPType(b[0]); t {
	case ipv6.ICMPTypeEchoReply:
		m = reply(b)
	case ipv6.ICMPTypeDestinationUnreachable, ipv6.ICMPTypeTimeExceeded, ipv6.ICMPTypeParameterProblem:
		inner := b[headerSize:]
		if len(inner) < ipv6Header+headerSize || inner[0]>>4 != 6 || inner[6] != protoICMP6 || ipv6.ICMPType(inner[ipv6Header]) != ipv6.ICMPTypeEchoRequest {
			return m
		}
		m.target, _ = netip.AddrFromSlice(inner[24:40])
		m.fail(inner[ipv6Header:], describe6(t, b[1]))
	}
	return m
}

func reply(b []byte) message {
	m := message{kind: echoed, id: binary.BigEndian.Uint16(b[4:]), seq: binary.BigEndian.Uint16(b[6:])}
	if copy(m.cookie[:], b[headerSize:]) < cookieSize {
		m.kind = other
	}
	return m
}

// fail makes an error of the request that it quotes.
func (m *message) fail(quoted []byte, what string) {
	m.kind, m.what = failed, what
	m.id, m.seq = binary.BigEndian.Uint16(quoted[4:]), binary.BigEndian.Uint16(quoted[6:])
}

func describe4(t ipv4.ICMPType, code byte) string {
	if t == ipv4.ICMPTypeDestinationUnreachable {
		switch code {
		case 0, 6, 11:
			return "network unreachable"
		case 1, 5, 7, 8, 12:
			return "host unreachable"
		case 2:
			return "protocol unreachable"
		case 3:
			return "port unreachable"
		case 4:
			return "fragmentation needed"
		case 9, 10, 13:
			return "administratively prohibited"
		}
	}
	return fmt.Sprintf("%s, code %d", t, code)
}

func describe6(t ipv6.ICMPType, code byte) string {
	if t == ipv6.ICMPTypeDestinationUnreachable {
		switch code {
		case 0:
			return "no route to the target"
		case 1, 5, 6:
			return "administratively prohibited"
		case 2, 3:
			return "address unreachable"
		case 4:
			return "port unreachable"
		}
	}
	return fmt.Sprintf("%s, code %d", t, code)
}

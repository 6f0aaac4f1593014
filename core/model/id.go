package model

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
)

// ID gives the check's identity: a short hash of all it says, the same in every
// process and on every machine. Checks that are equal have equal ids; a check that
// differs in anything has another one, and so starts anew.
func (c Check) ID() CheckID {
	b := make([]byte, 0, 256)
	b = appendText(b, c.Type)
	b = appendText(b, c.Parameters)
	b = appendAddrPort(b, c.Target.Addr)
	b = appendAddrPort(b, c.Target.Source)
	b = appendText(b, c.Target.Interface)
	b = binary.BigEndian.AppendUint32(b, c.Target.FWMark)
	s := c.Schedule
	b = binary.BigEndian.AppendUint64(b, uint64(s.Interval))
	b = binary.BigEndian.AppendUint64(b, uint64(s.Timeout))
	b = binary.BigEndian.AppendUint32(b, s.Retries)
	b = binary.BigEndian.AppendUint64(b, uint64(s.RetryDelay))
	b = binary.BigEndian.AppendUint64(b, uint64(s.Warmup))
	if c.OnUnknown != KeepVerdict {
		b = append(b, byte(c.OnUnknown))
	}
	sum := sha256.Sum256(b)
	return CheckID(hex.EncodeToString(sum[:8]))
}

// appendText puts the length first, so that no two sequences of texts read the same.
func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// appendAddrPort keeps the port of an invalid address: a source port with any address.
func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	b = appendText(b, a.Addr().String())
	return binary.BigEndian.AppendUint16(b, a.Port())
}

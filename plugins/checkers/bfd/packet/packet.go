package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Size of a control packet without authentication.
const Size = 24

// State of a session.
type State uint8

// States, with their numbers on the wire.
const (
	AdminDown State = iota
	Down
	Init
	Up
)

func (s State) String() string {
	return [...]string{"administratively down", "down", "init", "up"}[s&3]
}

// Diag says why a session left Up.
type Diag uint8

// Diagnostics that are used here.
const (
	NoDiagnostic         Diag = 0
	DetectionTimeExpired Diag = 1
	NeighborSaidDown     Diag = 3
	AdministrativelyDown Diag = 7
)

var diags = [...]string{
	"no diagnostic", "control detection time expired", "echo function failed", "neighbor signaled session down",
	"forwarding plane reset", "path down", "concatenated path down", "administratively down", "reverse concatenated path down",
}

func (d Diag) String() string {
	if int(d) < len(diags) {
		return diags[d]
	}
	return fmt.Sprintf("diagnostic %d", d)
}

// Packet is a control packet of version 1.
type Packet struct {
	Diag  Diag
	State State
	// Bits: poll, final, control plane independent, authentication present, demand.
	Poll, Final, Independent, Authenticated, Demand bool
	DetectMult                                      uint8
	// Mine is the sender's discriminator, Yours the receiver's, 0 if it is not known.
	Mine, Yours uint32
	// Times are whole microseconds, less than 2^32 of them.
	DesiredMinTx, RequiredMinRx, RequiredMinEchoRx time.Duration
}

// ErrMalformed is wrapped by every error of Parse.
var ErrMalformed = errors.New("malformed BFD packet")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

const (
	bitPoll = 1 << (5 - iota)
	bitFinal
	bitIndependent
	bitAuthenticated
	bitDemand
	bitMultipoint
)

// Parse reads a packet, and refuses what no session may take. An authentication section
// is not looked into.
func Parse(b []byte) (Packet, error) {
	var p Packet
	if len(b) < Size {
		return p, malformed("%d bytes", len(b))
	}
	if version := b[0] >> 5; version != 1 {
		return p, malformed("version %d", version)
	}
	flags := b[1]
	length := int(b[3])
	least := Size
	if flags&bitAuthenticated != 0 {
		least += 2
	}
	switch {
	case length < least || length > len(b):
		return p, malformed("length %d of %d bytes", length, len(b))
	case b[2] == 0:
		return p, malformed("detection multiplier 0")
	case flags&bitMultipoint != 0:
		return p, malformed("multipoint")
	}
	p = Packet{
		Diag: Diag(b[0] & 31), State: State(flags >> 6),
		Poll: flags&bitPoll != 0, Final: flags&bitFinal != 0, Independent: flags&bitIndependent != 0,
		Authenticated: flags&bitAuthenticated != 0, Demand: flags&bitDemand != 0,
		DetectMult: b[2], Mine: binary.BigEndian.Uint32(b[4:]), Yours: binary.BigEndian.Uint32(b[8:]),
		DesiredMinTx: micros(b[12:]), RequiredMinRx: micros(b[16:]), RequiredMinEchoRx: micros(b[20:]),
	}
	switch {
	case p.Mine == 0:
		return p, malformed("no discriminator")
	case p.Yours == 0 && p.State != Down && p.State != AdminDown:
		return p, malformed("state %s without our discriminator", p.State)
	}
	return p, nil
}

func micros(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}

// Append writes a packet, without authentication.
func (p Packet) Append(b []byte) []byte {
	flags := byte(p.State) << 6
	for _, f := range []struct {
		bit byte
		set bool
	}{{bitPoll, p.Poll}, {bitFinal, p.Final}, {bitIndependent, p.Independent}, {bitDemand, p.Demand}} {
		if f.set {
			flags |= f.bit
		}
	}
	b = append(b, 1<<5|byte(p.Diag)&31, flags, p.DetectMult, Size)
	for _, v := range []uint32{p.Mine, p.Yours, toMicros(p.DesiredMinTx), toMicros(p.RequiredMinRx), toMicros(p.RequiredMinEchoRx)} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func toMicros(d time.Duration) uint32 { return uint32(d / time.Microsecond) }

package session

import (
	"errors"
	"fmt"
	"time"

	"github.com/poise-lb/poise/plugins/checkers/bfd/packet"
)

// Config of a session. Times are whole microseconds, more than 0 and less than 2^32.
type Config struct {
	// MinRx is the least time between packets that the neighbor may send.
	MinRx time.Duration
	// MinTx is the time between packets that we want to send while the session is up,
	// IdleTx while it is not.
	MinTx, IdleTx time.Duration
	// Multiplier, 1 to 255: so many missed packets of ours are a failure.
	Multiplier uint8
	// Passive sessions wait until the neighbor speaks.
	Passive bool
}

// Status is what a session is like.
type Status struct {
	State State
	// Diag is why it last left Up, or could not be.
	Diag Diag
	// Remote is the neighbor's state and diagnostic as it last told, while it is heard.
	Remote     State
	RemoteDiag Diag
	// Heard: the neighbor is heard, in whatever state.
	Heard bool
	// Interval is the time between packets that we send, before jitter; Detection after
	// how much silence the neighbor is given up, 0 while it is not heard.
	Interval, Detection time.Duration
}

// State and Diag are the wire's.
type (
	State = packet.State
	Diag  = packet.Diag
)

// Session is one session. It is not safe for concurrent use.
type Session struct {
	config Config
	local  uint32
	random func() float64

	state State
	diag  Diag
	// remote is the neighbor's discriminator, 0 if it is not known; the rest is what it
	// last told.
	remote                   uint32
	remoteState              State
	remoteDiag               Diag
	remoteMinRx, remoteMinTx time.Duration
	remoteMult               uint8
	heard                    bool
	lastHeard                time.Time

	// desired is what we tell as our interval; used is what counts: more than before only
	// when the neighbor has confirmed it.
	desired, used time.Duration
	polling       bool
	lastSent      time.Time
	nextSend      time.Time
}

// New makes a session that is down and speaks first at now. local is its discriminator,
// not 0 and not another session's; random gives numbers in [0, 1) for the jitter.
func New(config Config, local uint32, now time.Time, random func() float64) *Session {
	return &Session{
		config: config, local: local, random: random, state: packet.Down, remoteState: packet.Down,
		remoteMinRx: time.Microsecond, desired: config.IdleTx, used: config.IdleTx, lastSent: now, nextSend: now,
	}
}

// Errors of Receive.
var (
	ErrAuthentication = errors.New("authentication is not supported: the packet is ignored")
	ErrDemand         = errors.New("demand mode is not supported: the packet is ignored")
)

// Status says what the session is like.
func (s *Session) Status() Status {
	out := Status{State: s.state, Diag: s.diag, Heard: s.heard, Interval: s.interval(), Detection: s.detection()}
	if s.heard {
		out.Remote, out.RemoteDiag = s.remoteState, s.remoteDiag
	}
	return out
}

// Receive takes a packet that was parsed and is meant for this session. A packet to be
// sent in answer is returned; Tick is to be called then. An error says why the packet was
// ignored.
func (s *Session) Receive(now time.Time, p packet.Packet) (*packet.Packet, error) {
	switch {
	case p.Authenticated:
		return nil, ErrAuthentication
	case p.Demand:
		return nil, ErrDemand
	case p.Yours != 0 && p.Yours != s.local:
		return nil, fmt.Errorf("the packet is for session %d and not %d", p.Yours, s.local)
	case s.state == packet.AdminDown:
		return nil, nil
	}
	s.remote, s.remoteState, s.remoteDiag = p.Mine, p.State, p.Diag
	s.remoteMinTx, s.remoteMult = p.DesiredMinTx, p.DetectMult
	s.heard, s.lastHeard = true, now
	if p.Final && s.polling {
		s.polling = false
		s.use(s.desired)
	}
	if s.remoteMinRx != p.RequiredMinRx {
		before := s.interval()
		s.remoteMinRx = p.RequiredMinRx
		s.reschedule(before)
	}
	s.follow(now, p.State)
	if !p.Poll {
		return nil, nil
	}
	answer := s.packet()
	answer.Poll, answer.Final = false, true
	return &answer, nil
}

// follow is the state machine of section 6.8.6.
func (s *Session) follow(now time.Time, told State) {
	switch {
	case told == packet.AdminDown:
		if s.state != packet.Down {
			s.become(now, packet.Down, packet.NeighborSaidDown)
		}
	case s.state == packet.Down && told == packet.Down:
		s.become(now, packet.Init, s.diag)
	case s.state == packet.Down && told == packet.Init, s.state == packet.Init && told != packet.Down:
		s.become(now, packet.Up, packet.NoDiagnostic)
	case s.state == packet.Up && told == packet.Down:
		s.become(now, packet.Down, packet.NeighborSaidDown)
	}
}

// become changes the state, and with it the interval; the neighbor is to know at once.
func (s *Session) become(now time.Time, state State, diag Diag) {
	s.state, s.diag = state, diag
	desired := s.config.IdleTx
	if state == packet.Up {
		desired = s.config.MinTx
	}
	if desired != s.desired {
		s.desired = desired
		s.polling = s.remote != 0
	}
	if state != packet.Up || desired < s.used || !s.polling {
		s.use(desired)
	}
	s.nextSend = now
}

// use changes the interval that counts.
func (s *Session) use(d time.Duration) {
	before := s.interval()
	s.used = d
	s.reschedule(before)
}

// reschedule moves the next packet if the interval is not what it was.
func (s *Session) reschedule(before time.Duration) {
	if after := s.interval(); after != before && s.nextSend.After(s.lastSent) {
		s.nextSend = s.lastSent.Add(s.jitter(after))
	}
}

// interval is the time between packets, before jitter.
func (s *Session) interval() time.Duration { return max(s.used, s.remoteMinRx) }

// jitter shortens a time by up to a quarter; with multiplier 1 by at least a tenth, so
// that the neighbor's detection time does not run out (section 6.8.7).
func (s *Session) jitter(d time.Duration) time.Duration {
	least, most := 0.75, 1.0
	if s.config.Multiplier == 1 {
		most = 0.9
	}
	return time.Duration(float64(d) * (least + (most-least)*s.random()))
}

// speaks: packets are sent by the clock.
func (s *Session) speaks() bool {
	return s.state != packet.AdminDown && s.remoteMinRx != 0 && (!s.config.Passive || s.remote != 0)
}

// detection is after how much silence the neighbor is given up.
func (s *Session) detection() time.Duration {
	if !s.heard {
		return 0
	}
	return time.Duration(s.remoteMult) * max(s.config.MinRx, s.remoteMinTx)
}

// DetectionDue says that Tick will give the neighbor up: the time to look whether a packet
// of it is waiting.
func (s *Session) DetectionDue(now time.Time) bool {
	return s.heard && !now.Before(s.lastHeard.Add(s.detection()))
}

// Tick does what is due, and gives the packet to be sent now, if there is one.
func (s *Session) Tick(now time.Time) *packet.Packet {
	if s.DetectionDue(now) {
		s.heard, s.remote, s.polling = false, 0, false
		s.remoteMinRx = time.Microsecond
		if s.state == packet.Up || s.state == packet.Init {
			s.become(now, packet.Down, packet.DetectionTimeExpired)
		}
	}
	if !s.speaks() || now.Before(s.nextSend) {
		return nil
	}
	s.lastSent = now
	s.nextSend = now.Add(s.jitter(s.interval()))
	p := s.packet()
	return &p
}

// Next is when Tick has something to do; zero: not before the next packet.
func (s *Session) Next() time.Time {
	var next time.Time
	if s.speaks() {
		next = s.nextSend
	}
	if s.heard {
		if at := s.lastHeard.Add(s.detection()); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// Disable ends the session, and gives the packet that tells the neighbor so, unless there
// is none to tell.
func (s *Session) Disable() *packet.Packet {
	quiet := s.config.Passive && s.remote == 0
	s.state, s.diag, s.polling, s.heard = packet.AdminDown, packet.AdministrativelyDown, false, false
	if quiet {
		return nil
	}
	p := s.packet()
	return &p
}

// packet is what the session has to say.
func (s *Session) packet() packet.Packet {
	return packet.Packet{
		Diag: s.diag, State: s.state, Poll: s.polling, DetectMult: s.config.Multiplier, Mine: s.local, Yours: s.remote,
		DesiredMinTx: s.desired, RequiredMinRx: s.config.MinRx,
	}
}

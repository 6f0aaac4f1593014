package speaker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/plugins/checkers/bfd/packet"
	"github.com/poise-lb/poise/plugins/checkers/bfd/session"
)

var native = binary.NativeEndian

// reopenAfter is the least time between attempts to make a session's socket again.
const reopenAfter = time.Second

// Peer is all that makes a session what it is.
type Peer struct {
	Neighbor netip.Addr
	// Source is the local address, invalid for any.
	Source netip.Addr
	// Interface to speak through; empty: any. A link-local neighbor needs it.
	Interface string
	FWMark    uint32
	Multihop  bool
	// TTL of what is sent; MaxHops, how much less than 255 that of what is received may
	// be: 255 for anything.
	TTL, MaxHops int
	Session      session.Config
}

// path is what two sessions cannot both have.
type path struct {
	neighbor, source netip.Addr
	device           string
	multihop         bool
}

func (p Peer) path() path { return path{p.Neighbor, p.Source, p.Interface, p.Multihop} }

// Speaker runs sessions. The zero value is ready.
type Speaker struct {
	// opening is held while sockets are opened and closed, and taken before mu: closing one
	// waits for its reader, which takes mu.
	opening sync.Mutex
	mu      sync.Mutex
	// sessions by their discriminators, and by where they go.
	sessions  map[uint32]*running
	paths     map[path]*running
	listeners map[endpoint]*shared
}

// endpoint is a port and family to listen on.
type endpoint struct {
	port int
	v6   bool
}

// shared is a listener and how many sessions need it.
type shared struct {
	*listener
	users int
}

// running is a session that is run.
type running struct {
	peer     Peer
	local    uint32
	session  *session.Session
	sender   *sender
	endpoint endpoint
	timer    *time.Timer
	// reopened is when the sender was last made.
	reopened time.Time
	// failed is why the last packet was not sent, ignored why the last one that came was
	// not taken.
	failed, ignored error
	users           map[*Subscription]bool
}

// Subscription is one's interest in a session.
type Subscription struct {
	// News has something when Take has.
	News    chan struct{}
	speaker *Speaker
	session *running
	queue   []session.Status
}

// ErrBusy: the path to the neighbor is in use by a session of other parameters.
var ErrBusy = errors.New("there is a BFD session with this neighbor already that has other parameters")

// Subscribe joins the session with a peer, and starts it if there is none. With any it
// joins one of other parameters, too. Its errors are this machine's, and may pass.
func (s *Speaker) Subscribe(p Peer, any bool) (*Subscription, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.paths[p.path()]
	switch {
	case r == nil:
		var err error
		if r, err = s.start(p); err != nil {
			return nil, err
		}
	case r.peer != p && !any:
		return nil, ErrBusy
	}
	sub := &Subscription{News: make(chan struct{}, 1), speaker: s, session: r}
	r.users[sub] = true
	return sub, nil
}

// start makes a session, with its sockets.
func (s *Speaker) start(p Peer) (*running, error) {
	if s.sessions == nil {
		s.sessions, s.paths, s.listeners = map[uint32]*running{}, map[path]*running{}, map[endpoint]*shared{}
	}
	if p.Neighbor.Is6() && p.Neighbor.IsLinkLocalUnicast() && p.Interface == "" {
		return nil, fmt.Errorf("the neighbor %s is link-local: name the interface", p.Neighbor)
	}
	out, err := newSender(p)
	if err != nil {
		return nil, err
	}
	at := endpoint{singleHopPort, p.Neighbor.Is6()}
	if p.Multihop {
		at.port = multihopPort
	}
	if s.listeners[at] == nil {
		l, err := listen(at.port, at.v6)
		if err != nil {
			out.close()
			return nil, err
		}
		s.listeners[at] = &shared{listener: l}
		go s.read(l)
	}
	s.listeners[at].users++
	local := rand.Uint32()
	for local == 0 || s.sessions[local] != nil {
		local = rand.Uint32()
	}
	now := time.Now()
	r := &running{
		peer: p, local: local, session: session.New(p.Session, local, now, rand.Float64), sender: out, endpoint: at,
		reopened: now, users: map[*Subscription]bool{},
	}
	s.sessions[local], s.paths[p.path()] = r, r
	r.timer = time.AfterFunc(0, func() { s.tick(r) })
	return r, nil
}

// read takes what arrives until the listener is closed.
func (s *Speaker) read(l *listener) {
	var buffer [256]byte
	var control [128]byte
	_ = l.raw.Read(func(fd uintptr) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drain(l, int(fd), buffer[:], control[:])
		return false
	})
}

// drain takes all that is waiting.
func (s *Speaker) drain(l *listener, fd int, buffer, control []byte) {
	for {
		a, ok := l.receive(fd, buffer, control)
		if !ok {
			return
		}
		s.arrived(a)
	}
}

// arrived gives a packet to its session.
func (s *Speaker) arrived(a arrival) {
	p, err := packet.Parse(a.data)
	if err != nil {
		return
	}
	r := s.find(a, p)
	if r == nil {
		return
	}
	if least := 255 - r.peer.MaxHops; least > 0 && a.ttl < least {
		r.ignored = fmt.Errorf("packets come with TTL %d, less than %d: more than max_hops away", a.ttl, least)
		return
	}
	now := time.Now()
	before := r.session.Status()
	answer, err := r.session.Receive(now, p)
	if r.ignored = err; err != nil {
		return
	}
	if answer != nil {
		s.send(r, now, *answer)
	}
	s.advance(r, now, before)
}

// find gives the session that a packet is for.
func (s *Speaker) find(a arrival, p packet.Packet) *running {
	fits := func(r *running) bool {
		return r.peer.Neighbor.WithZone("") == a.from && (r.sender.device == 0 || r.sender.device == a.device)
	}
	if p.Yours != 0 {
		if r := s.sessions[p.Yours]; r != nil && fits(r) {
			return r
		}
		return nil
	}
	var found *running
	for _, r := range s.sessions {
		if !fits(r) || r.peer.Source.IsValid() && r.peer.Source.WithZone("") != a.to {
			continue
		}
		// The one that says more about the path is meant.
		if found == nil || exact(r.peer) > exact(found.peer) {
			found = r
		}
	}
	return found
}

func exact(p Peer) int {
	n := 0
	if p.Source.IsValid() {
		n++
	}
	if p.Interface != "" {
		n += 2
	}
	return n
}

// tick does what is due for a session.
func (s *Speaker) tick(r *running) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[r.local] != r {
		return
	}
	if r.session.DetectionDue(time.Now()) {
		// This process may have been stopped: what is waiting counts.
		l := s.listeners[r.endpoint].listener
		var buffer [256]byte
		var control [128]byte
		_ = l.raw.Control(func(fd uintptr) { s.drain(l, int(fd), buffer[:], control[:]) })
	}
	s.advance(r, time.Now(), r.session.Status())
}

// advance ticks a session, tells what has changed since before, and sets its timer.
func (s *Speaker) advance(r *running, now time.Time, before session.Status) {
	if out := r.session.Tick(now); out != nil {
		s.send(r, now, *out)
	}
	if after := r.session.Status(); after.State != before.State {
		for sub := range r.users {
			sub.queue = append(sub.queue, after)
			select {
			case sub.News <- struct{}{}:
			default:
			}
		}
	}
	if next := r.session.Next(); next.IsZero() {
		r.timer.Stop()
	} else {
		r.timer.Reset(time.Until(next))
	}
}

// send sends a packet. A socket whose address or interface has gone is made again.
func (s *Speaker) send(r *running, now time.Time, p packet.Packet) {
	r.failed = r.sender.send(p.Append(make([]byte, 0, packet.Size)))
	switch {
	case r.failed == nil, errors.Is(r.failed, unix.EAGAIN), now.Sub(r.reopened) < reopenAfter:
		return
	}
	r.reopened = now
	again, err := newSender(r.peer)
	if err != nil {
		r.failed = err
		return
	}
	r.sender.close()
	r.sender = again
}

// Take gives the states that the session has gone through since the last call.
func (s *Subscription) Take() []session.Status {
	s.speaker.mu.Lock()
	defer s.speaker.mu.Unlock()
	out := s.queue
	s.queue = nil
	return out
}

// Status says what the session is like now, and what is in its way: why its last packet
// could not be sent, or the neighbor's was not taken.
func (s *Subscription) Status() (session.Status, error) {
	s.speaker.mu.Lock()
	defer s.speaker.mu.Unlock()
	obstacle := s.session.failed
	if obstacle == nil {
		obstacle = s.session.ignored
	}
	return s.session.session.Status(), obstacle
}

// Close ends the interest; the last to do so ends the session, which tells the neighbor.
func (s *Subscription) Close() {
	s.speaker.opening.Lock()
	defer s.speaker.opening.Unlock()
	if unused := s.leave(); unused != nil {
		unused.file.Close()
	}
}

// leave gives a listener that nobody needs any more.
func (s *Subscription) leave() *listener {
	s.speaker.mu.Lock()
	defer s.speaker.mu.Unlock()
	r := s.session
	if !r.users[s] {
		return nil
	}
	if delete(r.users, s); len(r.users) > 0 {
		return nil
	}
	return s.speaker.end(r)
}

func (s *Speaker) end(r *running) *listener {
	r.timer.Stop()
	if out := r.session.Disable(); out != nil {
		_ = r.sender.send(out.Append(nil))
	}
	r.sender.close()
	delete(s.sessions, r.local)
	delete(s.paths, r.peer.path())
	l := s.listeners[r.endpoint]
	if l.users--; l.users > 0 {
		return nil
	}
	delete(s.listeners, r.endpoint)
	return l.listener
}

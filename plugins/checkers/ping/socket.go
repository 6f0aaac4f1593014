package ping

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

const (
	// buffer is for the replies of many thousands of probes that were sent at one moment.
	buffer = 16 << 20
	// most probes wait at a socket at once; a sequence number has 16 bits.
	most = 60000
	// readErrors in a row are one too many.
	readErrors = 100
)

// socket is a raw socket and the probes that wait for what comes on it.
type socket struct {
	key  key
	id   uint16
	file *os.File
	raw  syscall.RawConn
	// users is the pool's.
	users int

	mu      sync.Mutex
	pending map[uint16]*waiting
	next    uint16
	// broken says why it cannot be used any more.
	broken error
}

// waiting is a probe whose request was sent.
type waiting struct {
	ctx    context.Context
	target sdk.Target
	start  time.Time
	cookie cookie
	done   func(sdk.Result)
	// forget ends the watch of the context.
	forget func() bool
}

// open makes a socket and starts its reader.
func open(k key) (*socket, error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if k.six {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("open a raw socket (takes CAP_NET_RAW): %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	s := &socket{key: k, id: uint16(rand.Uint32()), pending: map[uint16]*waiting{}}
	err = errors.Join(dial.Prepare(fd, sdk.Target{Interface: k.device, FWMark: k.mark}), attach(fd, filter(k.six, s.id)), enlarge(fd))
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	s.file = os.NewFile(uintptr(fd), "ping")
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	go s.read()
	return s, nil
}

// enlarge makes room for many packets; without the right to it, as much as may be.
func enlarge(fd int) error {
	for force, option := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, buffer) == nil {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, buffer); err != nil {
			return fmt.Errorf("enlarge the socket's buffers: %w", err)
		}
	}
	return nil
}

// ping sends a request, and calls done once.
func (s *socket) ping(ctx context.Context, target sdk.Target, done func(sdk.Result)) {
	w := &waiting{ctx: ctx, target: target, start: time.Now(), done: done}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		const late = "the deadline had passed before the request could be sent: this machine is too slow"
		target.Trace(late)
		done(sdk.Result{Outcome: sdk.Unknown, Reason: late})
		return
	}
	_, _ = crand.Read(w.cookie[:])
	seq, err := s.enlist(w)
	if err == nil {
		err = s.send(target, seq, w.cookie)
		if err == nil {
			return
		}
		if !s.remove(seq, w) {
			return
		}
	}
	w.finish(dial.Failed(ctx, target, w.start, "send", err))
}

// enlist gives a probe a sequence number.
func (s *socket) enlist(w *waiting) (uint16, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return 0, dial.Local(s.broken)
	}
	if len(s.pending) >= most {
		return 0, dial.Local(fmt.Errorf("%d probes wait for replies already", most))
	}
	for s.pending[s.next] != nil {
		s.next++
	}
	seq := s.next
	s.next++
	s.pending[seq] = w
	w.forget = context.AfterFunc(w.ctx, func() {
		if s.remove(seq, w) {
			w.finish(dial.Failed(w.ctx, w.target, w.start, "wait for the reply", w.ctx.Err()))
		}
	})
	return seq, nil
}

// remove strikes a probe off, and says whether it was there: who removes it finishes it.
func (s *socket) remove(seq uint16, w *waiting) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending[seq] != w {
		return false
	}
	delete(s.pending, seq)
	return true
}

func (w *waiting) finish(r sdk.Result) {
	if w.forget != nil {
		w.forget()
	}
	w.done(r)
}

// send sends a request.
func (s *socket) send(t sdk.Target, seq uint16, c cookie) error {
	packet, err := request(s.key.six, s.id, seq, c)
	if err != nil {
		return dial.Local(err)
	}
	to, control, err := s.route(t)
	if err != nil {
		return err
	}
	var sent error
	if err := s.raw.Control(func(fd uintptr) { sent = unix.Sendmsg(int(fd), packet, control, to, unix.MSG_DONTWAIT) }); err != nil {
		return dial.Local(err)
	}
	switch {
	case sent == nil:
		t.Trace("sent %d bytes to %s: id %d, sequence %d", len(packet), t.Addr.Addr(), s.id, seq)
		return nil
	case errors.Is(sent, unix.ENODEV), errors.Is(sent, unix.ENXIO):
		// The interface is gone; one of its name may come back, with another number.
		s.fail(fmt.Errorf("interface %s: %w", s.key.device, sent))
	case t.Source.Addr().IsValid():
		if err := assigned(t); err != nil {
			return dial.Local(fmt.Errorf("from %s: %w", t.Source.Addr(), err))
		}
	}
	return sent
}

// assigned says whether the source address can be used here: that it cannot is told by
// send with the error of a route that is not there.
func assigned(t sdk.Target) error {
	source := t.Source.Addr()
	family := unix.AF_INET
	var at unix.Sockaddr
	if source.Is4() {
		at = &unix.SockaddrInet4{Addr: source.As4()}
	} else {
		scope, err := dial.Scope(source, t.Interface)
		if err != nil {
			return err
		}
		in := &unix.SockaddrInet6{Addr: source.As16()}
		if source.IsLinkLocalUnicast() {
			in.ZoneId = scope
		}
		family, at = unix.AF_INET6, in
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Bind(fd, at)
}

// route gives the target's address, and a control message with the source.
func (s *socket) route(t sdk.Target) (to unix.Sockaddr, control []byte, err error) {
	addr, source := t.Addr.Addr(), t.Source.Addr()
	if !s.key.six {
		if source.IsValid() {
			control = (&ipv4.ControlMessage{Src: source.AsSlice()}).Marshal()
		}
		return &unix.SockaddrInet4{Addr: addr.As4()}, control, nil
	}
	scope, err := dial.Scope(addr, t.Interface)
	if err != nil {
		return nil, nil, err
	}
	in := &unix.SockaddrInet6{Addr: addr.As16()}
	if addr.IsLinkLocalUnicast() {
		in.ZoneId = scope
	}
	if source.IsValid() {
		m := &ipv6.ControlMessage{Src: source.WithZone("").AsSlice()}
		if source.IsLinkLocalUnicast() {
			m.IfIndex = int(scope)
		}
		control = m.Marshal()
	}
	return in, control, nil
}

// read gives what comes to the probes until the socket is closed or broken.
func (s *socket) read() {
	buf := make([]byte, 1500)
	for bad := 0; bad < readErrors; {
		var n int
		var from unix.Sockaddr
		var err error
		if closed := s.raw.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			return !errors.Is(err, unix.EAGAIN)
		}); closed != nil {
			s.fail(fmt.Errorf("the socket is closed: %w", closed))
			return
		}
		switch {
		case err == nil:
			bad = 0
			s.receive(buf[:n], addrOf(from))
		case !errors.Is(err, unix.EINTR):
			bad++
		}
	}
	s.fail(fmt.Errorf("%d errors one after the other while reading", readErrors))
}

func addrOf(from unix.Sockaddr) netip.Addr {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr)
	}
	return netip.Addr{}
}

// receive gives a packet to the probe that it is for.
func (s *socket) receive(b []byte, from netip.Addr) {
	m := parse4
	if s.key.six {
		m = parse6
	}
	if w, r := s.match(m(b), from); w != nil {
		w.finish(r)
	}
}

// match finds the probe that a message is for and strikes it off.
func (s *socket) match(m message, from netip.Addr) (*waiting, sdk.Result) {
	if m.kind == other || m.id != s.id {
		return nil, sdk.Result{}
	}
	s.mu.Lock()
	w := s.pending[m.seq]
	if w == nil || m.kind == echoed && m.cookie != w.cookie || m.kind == failed && m.target != w.target.Addr.Addr().WithZone("") {
		s.mu.Unlock()
		return nil, sdk.Result{}
	}
	delete(s.pending, m.seq)
	s.mu.Unlock()
	took := time.Since(w.start).Round(time.Microsecond)
	if m.kind == failed {
		w.target.Trace("%s says after %s: %s", from, took, m.what)
		return w, sdk.Result{Outcome: sdk.Down, Reason: fmt.Sprintf("%s (said by %s)", m.what, from)}
	}
	if m.ttl > 0 {
		w.target.Trace("reply from %s after %s, ttl %d", from, took, m.ttl)
	} else {
		w.target.Trace("reply from %s after %s", from, took)
	}
	return w, sdk.Result{Outcome: sdk.Up}
}

func (s *socket) isBroken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken != nil
}

// fail makes the socket unusable; what waits at it could not be probed.
func (s *socket) fail(err error) {
	s.mu.Lock()
	if s.broken != nil {
		s.mu.Unlock()
		return
	}
	s.broken = err
	left := s.pending
	s.pending = map[uint16]*waiting{}
	s.mu.Unlock()
	for _, w := range left {
		w.target.Trace("%s", err)
		w.finish(sdk.Result{Outcome: sdk.Unknown, Reason: "wait for the reply: " + err.Error()})
	}
}

// close ends the reader.
func (s *socket) close() { s.file.Close() }

package conform

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// mode is what a relay does to who connects.
type mode int

const (
	// forward passes on to the target.
	forward mode = iota
	// refuse has nobody listen.
	refuse
	// hang lets nobody in: the backlog is full, so that a connection does not complete.
	hang
	// silent accepts and says nothing.
	silent
	// nonsense accepts and says what no protocol knows.
	nonsense
)

// relay stands in front of a target, TCP and UDP on one port of the loopback, and
// counts. It is below the ports that connections take for themselves, so that nobody has
// it while nobody listens.
type relay struct {
	to, at netip.AddrPort

	mu       sync.Mutex
	mode     mode
	listener net.Listener
	packets  *net.UDPConn
	conns    map[net.Conn]struct{}
	flows    map[netip.AddrPort]*net.UDPConn
	// fillers keep the backlog full.
	fillers []net.Conn
	full    int
	// count of connections and flows begun, and how many were open at once at most.
	count, open, most int
	// times of the last beginnings.
	times []time.Time
}

// newRelay makes one.
func newRelay(to netip.AddrPort, m mode) (*relay, error) {
	var err error
	for range 50 {
		// Below the ephemeral ports of Linux, which begin at 32768.
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(20000+rand.IntN(12000)))
		l := &relay{to: to, at: at, mode: refuse, conns: map[net.Conn]struct{}{}, flows: map[netip.AddrPort]*net.UDPConn{}, full: -1}
		if err = l.set(silent); err != nil {
			continue
		}
		return l, l.set(m)
	}
	return nil, fmt.Errorf("find a port for a relay: %w", err)
}

// set changes what it does; connections that are there are broken.
func (l *relay) set(m mode) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
	l.mode = m
	if m == refuse {
		return nil
	}
	var err error
	for range 40 {
		if err = l.listen(m); err == nil {
			return nil
		}
		l.drop()
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("listen on %s: %w", l.at, err)
}

func (l *relay) listen(m mode) error {
	packets, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(l.at))
	if err != nil {
		return err
	}
	l.packets = packets
	go l.receive(packets, m)
	if m == hang {
		return l.fill()
	}
	listener, err := net.Listen("tcp", l.at.String())
	if err != nil {
		return err
	}
	l.listener = listener
	go l.accept(listener, m)
	return nil
}

// fill listens without accepting and takes all places of the backlog itself: what comes
// then is not answered.
func (l *relay) fill() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	l.full = fd
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: int(l.at.Port()), Addr: l.at.Addr().As4()}); err != nil {
		return err
	}
	if err := syscall.Listen(fd, 0); err != nil {
		return err
	}
	for range 16 {
		c, err := net.DialTimeout("tcp", l.at.String(), 100*time.Millisecond)
		if err != nil {
			return nil
		}
		l.fillers = append(l.fillers, c)
	}
	return errors.New("the backlog of a socket that nobody accepts from does not fill")
}

// drop closes everything; the caller holds the lock.
func (l *relay) drop() {
	if l.listener != nil {
		_ = l.listener.Close()
	}
	if l.packets != nil {
		_ = l.packets.Close()
	}
	if l.full >= 0 {
		_ = syscall.Close(l.full)
	}
	for _, c := range l.fillers {
		_ = c.Close()
	}
	for c := range l.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // no TIME_WAIT in the way of the next listener
		}
		_ = c.Close()
	}
	for _, c := range l.flows {
		_ = c.Close()
	}
	l.listener, l.packets, l.full, l.fillers = nil, nil, -1, nil
	clear(l.conns)
	clear(l.flows)
}

func (l *relay) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

// begun counts; the caller holds the lock.
func (l *relay) begun() {
	l.count++
	l.times = append(l.times, time.Now())
}

// seen is how many have come, and when.
func (l *relay) seen() (int, []time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count, append([]time.Time(nil), l.times...)
}

// together is how many were open at once at most.
func (l *relay) together() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.most
}

func (l *relay) accept(listener net.Listener, m mode) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		if l.listener != listener {
			l.mu.Unlock()
			_ = c.Close()
			return
		}
		l.begun()
		l.conns[c] = struct{}{}
		l.open++
		l.most = max(l.most, l.open)
		l.mu.Unlock()
		go func() {
			l.serve(c, m)
			_ = c.Close()
			l.mu.Lock()
			delete(l.conns, c)
			l.open--
			l.mu.Unlock()
		}()
	}
}

func (l *relay) serve(c net.Conn, m mode) {
	switch m {
	case silent:
		_, _ = io.Copy(io.Discard, c)
	case nonsense:
		noise := make([]byte, 16<<10)
		random := rand.NewChaCha8([32]byte{1})
		_, _ = random.Read(noise)
		copy(noise, "\x00\xff\xfe poise \r\n\r\n")
		_, _ = c.Write(noise)
	case forward:
		to, err := net.DialTimeout("tcp", l.to.String(), 5*time.Second)
		if err != nil {
			return
		}
		defer to.Close()
		go func() {
			_, _ = io.Copy(to, c)
			if t, ok := to.(*net.TCPConn); ok {
				_ = t.CloseWrite()
			}
		}()
		_, _ = io.Copy(c, to)
	}
}

func (l *relay) receive(packets *net.UDPConn, m mode) {
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := packets.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		l.mu.Lock()
		if l.packets != packets {
			l.mu.Unlock()
			return
		}
		to := l.flows[from]
		if _, ok := l.flows[from]; !ok {
			l.begun()
			if m == forward {
				if to, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(l.to)); err == nil {
					go l.answer(packets, to, from)
				}
			}
			l.flows[from] = to
			if to == nil {
				delete(l.flows, from)
			}
		}
		l.mu.Unlock()
		switch {
		case m == forward && to != nil:
			_, _ = to.Write(buffer[:n])
		case m == nonsense:
			_, _ = packets.WriteToUDPAddrPort([]byte("\x00\xff\xfe"+strconv.Itoa(n)), from)
		}
	}
}

// answer passes back what the target says, for a while.
func (l *relay) answer(packets, to *net.UDPConn, from netip.AddrPort) {
	buffer := make([]byte, 64<<10)
	for {
		_ = to.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := to.Read(buffer)
		if err != nil {
			break
		}
		_, _ = packets.WriteToUDPAddrPort(buffer[:n], from)
	}
	_ = to.Close()
	l.mu.Lock()
	if l.flows[from] == to {
		delete(l.flows, from)
	}
	l.mu.Unlock()
}

package fault

import (
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// port is one that is served.
type port struct {
	Port
	server *server
	steps  []string

	mu sync.Mutex
	// seen counts probes; ready is the number of those that the socket is ready for.
	seen, ready int
	// probes by their source port.
	probes map[uint16]probe
	// dropped are source ports whose SYNs are dropped; the next ones of late are not.
	dropped, late []uint16
	listener      *net.TCPListener
	datagram      *net.UDPConn
}

type probe struct {
	index int
	seq   uint32
}

// step is what is done to a probe; they count from 1.
func (p *port) step(index int) string { return p.steps[min(index, len(p.steps))-1] }

// taken says whether a step takes the connection, so that its probe needs the port open
// until it has come to its end.
func taken(step string) bool { return step != "refuse" && step != "drop" }

// arrive counts a packet of a client.
func (p *port) arrive(k packet, at time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	old, known := p.probes[k.from]
	if k.over && !k.syn {
		if known {
			return p.prepare(old.index + 1)
		}
		return nil
	}
	stream := k.key.protocol == unix.IPPROTO_TCP
	if stream && known && old.seq == k.seq {
		return nil // the SYN again
	}
	p.seen++
	p.probes[k.from] = probe{p.seen, k.seq}
	step := p.step(p.seen)
	p.server.tell(p.Port.Port, p.seen, at, step)
	if p.Kind == Watch || p.Kind == WatchUDP {
		return nil
	}
	if stream {
		switch step {
		case "drop":
			p.dropped = append(p.dropped, k.from)
		case "late":
			p.late = append(p.late, k.from)
		}
	}
	if !stream && p.Kind != Ping && taken(step) {
		return nil // the answer comes first
	}
	if stream && taken(step) && step != "late" {
		return nil
	}
	return p.prepare(p.seen + 1)
}

// prepare makes the port ready for a probe, unless it is already for a later one.
func (p *port) prepare(index int) error {
	if index <= p.ready {
		return nil
	}
	p.ready = index
	step := p.step(index)
	switch p.Kind {
	case Watch, WatchUDP:
		return nil
	case Ping:
		return p.setPing(step)
	case DNS, UDP:
		return p.setDatagram(step)
	}
	return p.setListener(step)
}

// answered is called when a connection has been taken or a datagram answered.
func (p *port) answered(index int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.prepare(index + 1); err != nil {
		p.server.fail(err)
	}
}

// index waits for the number of the probe with this source port: the packet may be
// here before its copy.
func (p *port) index(from uint16) (int, bool) {
	for range 2000 {
		p.mu.Lock()
		x, ok := p.probes[from]
		p.mu.Unlock()
		if ok {
			return x.index, true
		}
		time.Sleep(time.Millisecond)
	}
	return 0, false
}

func (p *port) setListener(step string) error {
	if step == "refuse" {
		if p.listener != nil {
			_ = p.listener.Close()
			p.listener = nil
		}
		return nil
	}
	if p.listener == nil {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{Port: int(p.Port.Port)})
		if err != nil {
			return err
		}
		p.listener = l
		go p.accept(l)
	}
	return p.filter(step == "drop" || step == "late")
}

// filter drops SYNs of the source ports that shall have no answer, and, if all, of every
// port that has not been seen. A connection that is there is not filtered by its listener.
func (p *port) filter(all bool) error {
	const drop, keep = 0, math.MaxUint32
	f := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 0}}
	exception, list, otherwise := uint32(drop), p.dropped, uint32(keep)
	if all {
		exception, list, otherwise = keep, p.late, drop
	}
	for _, from := range list {
		f = append(f, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(from), Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: exception})
	}
	return attach(p.listener, append(f, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: otherwise}))
}

// attach puts a filter before a socket.
func attach(c syscall.Conn, f []unix.SockFilter) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	err2 := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program(f))
	})
	return errors.Join(err, err2)
}

func (p *port) accept(l *net.TCPListener) {
	for {
		conn, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.server.fail(fmt.Errorf("accept on %d: %w", p.Port.Port, err))
			return
		}
		go p.connection(conn)
	}
}

func (p *port) connection(conn *net.TCPConn) {
	defer conn.Close()
	index, ok := p.index(uint16(conn.RemoteAddr().(*net.TCPAddr).Port))
	if !ok {
		return // nobody of the network
	}
	p.answered(index)
	p.stream(conn, p.step(index))
}

func (p *port) setDatagram(step string) error {
	if step == "refuse" {
		if p.datagram != nil {
			_ = p.datagram.Close()
			p.datagram = nil
		}
		return nil
	}
	if p.datagram != nil {
		return nil
	}
	c, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(p.Port.Port)})
	if err != nil {
		return err
	}
	p.datagram = c
	go p.datagrams(c)
	return nil
}

func (p *port) datagrams(c *net.UDPConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an answer to a client that is gone
		}
		index, ok := p.index(from.Port())
		if !ok {
			continue
		}
		step := p.step(index)
		for _, answer := range p.reply(buf[:n], step) {
			_, _ = c.WriteToUDPAddrPort(answer, from)
		}
		p.mu.Lock()
		// The next one may come from the same port.
		delete(p.probes, from.Port())
		p.mu.Unlock()
		p.answered(index)
	}
}

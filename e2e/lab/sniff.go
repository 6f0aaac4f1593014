package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Packet is a VRRP advert or an ARP packet on the switch.
type Packet struct {
	At time.Time
	// Host that sent it.
	Host string
	// Advert: it is a VRRP advert of virtual router ID with Priority; else it is ARP.
	Advert       bool
	ID, Priority uint8
	// Sender and Target are ARP's protocol addresses, Reply its operation.
	Sender, Target netip.Addr
	Reply          bool
}

// String is a line for people.
func (p Packet) String() string {
	if p.Advert {
		return fmt.Sprintf("%s %s: advert of %d, priority %d", clock(p.At), p.Host, p.ID, p.Priority)
	}
	return fmt.Sprintf("%s %s: ARP %s for %s, reply %v", clock(p.At), p.Host, p.Sender, p.Target, p.Reply)
}

// Capture listens on the switch.
type Capture struct {
	fd    int
	done  chan struct{}
	ports map[int]string
	mu    sync.Mutex
	list  []Packet
}

// keepFilter lets ARP and IP protocol 112 in.
var keepFilter = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 12},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_ARP, Jt: 3},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_IP, Jf: 3},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 23},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 112, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 65535},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// Listen starts to listen to what hosts send.
func (l *Lab) Listen() *Capture {
	l.t.Helper()
	c := &Capture{done: make(chan struct{}), ports: map[int]string{}}
	var err error
	l.Switch.Do(func() { err = c.open() })
	if err != nil {
		l.t.Fatalf("listen on the switch: %v", err)
	}
	go c.read()
	l.t.Cleanup(c.Close)
	return c
}

func (c *Capture) open() error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range links {
		if host, _, ok := strings.Cut(i.Name, "-"); ok {
			c.ports[i.Index] = host
		}
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	// Not bound to a protocol, so that it hears nothing before the filter stands.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(keepFilter)), Filter: &keepFilter[0]}
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all}))
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	c.fd = fd
	return nil
}

func (c *Capture) read() {
	defer unix.Close(c.fd)
	buf := make([]byte, 2048)
	for {
		n, from, err := unix.Recvfrom(c.fd, buf, 0)
		at := time.Now()
		select {
		case <-c.done:
			return
		default:
		}
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if !ok || ll.Pkttype == unix.PACKET_OUTGOING || c.ports[ll.Ifindex] == "" {
			continue
		}
		if p, ok := parsePacket(buf[:n]); ok {
			p.At, p.Host = at, c.ports[ll.Ifindex]
			c.mu.Lock()
			c.list = append(c.list, p)
			c.mu.Unlock()
		}
	}
}

// parsePacket reads an Ethernet frame.
func parsePacket(b []byte) (Packet, bool) {
	const ethernet = 14
	if len(b) < ethernet+28 {
		return Packet{}, false
	}
	kind, b := binary.BigEndian.Uint16(b[12:]), b[ethernet:]
	if kind == unix.ETH_P_ARP {
		return Packet{
			Reply:  binary.BigEndian.Uint16(b[6:]) == 2,
			Sender: netip.AddrFrom4([4]byte(b[14:18])), Target: netip.AddrFrom4([4]byte(b[24:28])),
		}, true
	}
	header := int(b[0]&0xf) * 4
	if len(b) < header+8 || b[9] != 112 {
		return Packet{}, false
	}
	return Packet{Advert: true, ID: b[header+1], Priority: b[header+2]}, true
}

// Packets are those heard at t or later.
func (c *Capture) Packets(t time.Time) []Packet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.list), func(p Packet) bool { return p.At.Before(t) })
}

// Adverts are the adverts heard at t or later with a priority, which a master that
// resigns has not.
func (c *Capture) Adverts(t time.Time) []Packet {
	return slices.DeleteFunc(c.Packets(t), func(p Packet) bool { return !p.Advert || p.Priority == 0 || p.ID != 51 })
}

// Reigns are the hosts in the order in which they sent adverts, each named once for as
// long as no other sent one. With one master at a time, a take-over adds one name.
func (c *Capture) Reigns(t time.Time) []string {
	var out []string
	for _, p := range c.Adverts(t) {
		if len(out) == 0 || out[len(out)-1] != p.Host {
			out = append(out, p.Host)
		}
	}
	return out
}

// Close stops it; it may be called again.
func (c *Capture) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.done:
	default:
		close(c.done)
	}
}

package main

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/e2e/lab"
)

const (
	// receiveBuffer holds what comes between two looks.
	receiveBuffer = 32 << 20
	// look is how often packets are fetched; the kernel has stamped them with their time.
	look = 50 * time.Millisecond
)

// firstPackets lets the first packet of a TCP connection to port 80 in: SYN without ACK.
var firstPackets = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 12},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_IP, Jf: 8},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 23},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_TCP, Jf: 6},
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 36},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 80, Jf: 4},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 47},
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0x12},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x02, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 64},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// first is the first packet of a connection.
type first struct {
	at time.Time
	to [4]byte
}

// listener hears the connections that are begun on a host, whoever begins them: the same
// measure for every daemon, taken outside of it.
type listener struct {
	t    lab.TB
	fd   int
	end  chan struct{}
	done chan struct{}
	seen []first
	err  error
}

func capture(t lab.TB, host *lab.Host) *listener {
	l := &listener{t: t, end: make(chan struct{}), done: make(chan struct{})}
	var err error
	host.Do(func() { l.fd, err = openCapture() })
	if err != nil {
		t.Fatalf("listen for connections: %v", err)
	}
	go l.read()
	return l
}

func openCapture() (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	const ip = unix.ETH_P_IP<<8&0xff00 | unix.ETH_P_IP>>8
	program := unix.SockFprog{Len: uint16(len(firstPackets)), Filter: &firstPackets[0]}
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program),
		// On the loopback every packet is seen going out and coming in.
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ip}))
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (l *listener) read() {
	defer close(l.done)
	defer unix.Close(l.fd)
	frame, control := make([]byte, 128), make([]byte, 256)
	for {
		n, c, _, _, err := unix.Recvmsg(l.fd, frame, control, 0)
		switch {
		case err == unix.EAGAIN:
			select {
			case <-l.end:
				stats, err := unix.GetsockoptTpacketStats(l.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
				if err == nil && stats.Drops > 0 {
					l.err = errors.New("packets were lost before they were counted")
				}
				return
			case <-time.After(look):
			}
		case err == unix.EINTR:
		case err != nil:
			l.err = err
			return
		case n >= 34:
			if at, ok := stamp(control[:c]); ok {
				l.seen = append(l.seen, first{at, [4]byte(frame[30:34])})
			}
		}
	}
}

// stamp is the time at which the kernel saw a packet.
func stamp(control []byte) (time.Time, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Time{}, false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:]))), true
		}
	}
	return time.Time{}, false
}

// stop gives the number of connections, and how much later than an interval after the one
// before it each came, sorted; less than that is not late.
func (l *listener) stop(interval time.Duration) (n int, late []time.Duration) {
	close(l.end)
	<-l.done
	if l.err != nil {
		l.t.Fatalf("listen for connections: %v", l.err)
	}
	return len(l.seen), lateness(l.seen, interval)
}

// lateness takes the time between two connections to the same address.
func lateness(seen []first, interval time.Duration) []time.Duration {
	before := map[[4]byte]time.Time{}
	var late []time.Duration
	for _, f := range seen {
		if last, ok := before[f.to]; ok {
			late = append(late, max(0, f.at.Sub(last)-interval))
		}
		before[f.to] = f.at
	}
	slices.Sort(late)
	return late
}

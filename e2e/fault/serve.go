package fault

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Device is the interface that probes come in by.
const Device = "eth0"

// Ready is the line that is written when all ports are served. After it there is a line
// for each probe, see Probe.
const Ready = "ready"

// Probe is one that has come.
type Probe struct {
	Port uint16
	// Index counts the port's probes from 1.
	Index int
	At    time.Time
	// Step is what the port did.
	Step string
}

// ParseProbe reads a line that Serve has written.
func ParseProbe(line string) (Probe, error) {
	words := strings.Fields(line)
	if len(words) != 4 {
		return Probe{}, fmt.Errorf("%q is no probe", line)
	}
	port, err := strconv.ParseUint(words[0], 10, 16)
	index, err2 := strconv.Atoi(words[1])
	at, err3 := strconv.ParseInt(words[2], 10, 64)
	return Probe{uint16(port), index, time.Unix(0, at), words[3]}, errors.Join(err, err2, err3)
}

type server struct {
	mu     sync.Mutex
	out    *bufio.Writer
	failed chan error
}

// Serve serves the ports in a file until it is killed.
func Serve(path string) error {
	list, err := load(path)
	if err != nil {
		return err
	}
	s := &server{out: bufio.NewWriter(os.Stdout), failed: make(chan error, 1)}
	fd, err := listenRaw(Device)
	if err != nil {
		return err
	}
	ports := map[key]*port{}
	for _, x := range list {
		p := &port{Port: x, server: s, probes: map[uint16]probe{}}
		if p.steps, err = Parse(x.Steps); err != nil {
			return err
		}
		protocol := uint8(unix.IPPROTO_TCP)
		switch x.Kind {
		case DNS, UDP, WatchUDP:
			protocol = unix.IPPROTO_UDP
		case Ping:
			protocol = unix.IPPROTO_ICMP
		}
		ports[key{protocol, x.Port}] = p
		p.mu.Lock()
		err := p.prepare(1)
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
	s.line(Ready)
	go s.sniff(fd, ports)
	return <-s.failed
}

func (s *server) sniff(fd int, ports map[key]*port) {
	buf, control := make([]byte, headLength), make([]byte, 256)
	for {
		n, extra, _, _, err := unix.Recvmsg(fd, buf, control, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			s.fail(fmt.Errorf("listen on %s: %w", Device, err))
			return
		}
		at := arrival(control[:extra])
		k, ok := parse(buf[:n])
		if !ok {
			continue
		}
		if p := ports[k.key]; p != nil {
			if err := p.arrive(k, at); err != nil {
				s.fail(fmt.Errorf("port %d: %w", p.Port.Port, err))
				return
			}
		}
	}
}

// fail ends the server: a fault that is not as ordered proves nothing.
func (s *server) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

func (s *server) tell(port uint16, index int, at time.Time, step string) {
	s.line(fmt.Sprint(port, " ", index, " ", at.UnixNano(), " ", step))
}

func (s *server) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.out.WriteString(text + "\n")
	_ = s.out.Flush()
}

// setPing makes the kernel answer echo requests, or not.
func (p *port) setPing(step string) error {
	value := "0"
	if step != "good" {
		value = "1"
	}
	path := "/proc/sys/net/ipv4/icmp_echo_ignore_all"
	if p.Port.Port == 6 {
		path = "/proc/sys/net/ipv6/icmp/echo_ignore_all"
	}
	return os.WriteFile(path, []byte(value), 0o644)
}

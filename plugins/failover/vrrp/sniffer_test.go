package vrrp

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/plugins/failover/vrrp/packet"
)

// frame is what a sniffer saw: an advert, or an ARP announcement.
type frame struct {
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	Source   string    `json:"source"`
	Priority uint8     `json:"priority"`
	Router   uint8     `json:"router"`
	// Wrong says why an advert is not what the seed's configuration sends.
	Wrong string `json:"wrong,omitempty"`
}

// sniffer collects the frames on the first bridge of a lab.
type sniffer struct {
	mu     sync.Mutex
	frames []frame
}

func (s *sniffer) start(l *lab) {
	cmd := l.child(0, "sniffer", "br0")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		l.t.Fatal("the sniffer did not start")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines.Scan() {
			var f frame
			if json.Unmarshal(lines.Bytes(), &f) == nil {
				s.mu.Lock()
				s.frames = append(s.frames, f)
				s.mu.Unlock()
			}
		}
		cmd.Wait()
	}()
	l.t.Cleanup(func() {
		stdin.Close()
		cmd.Process.Kill()
		<-done
		if l.t.Failed() {
			var all strings.Builder
			for _, f := range s.seen("") {
				fmt.Fprintf(&all, "%s %s %s %d %s\n", f.At.Format("05.000"), f.Kind, f.Source, f.Priority, f.Wrong)
			}
			l.t.Logf("frames:\n%s", all.String())
		}
	})
}

// seen are the frames of a kind; "" is all.
func (s *sniffer) seen(kind string) (list []frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.frames {
		if kind == "" || f.Kind == kind {
			list = append(list, f)
		}
	}
	return list
}

// adverts are those of a host after a time.
func (s *sniffer) adverts(host int, after time.Time) (list []frame) {
	for _, f := range s.seen("advert") {
		if f.Source == fmt.Sprintf("192.0.2.%d", host) && f.At.After(after) {
			list = append(list, f)
		}
	}
	return list
}

// firstAdvert is when a host first spoke after a time; it waits until the sniffer has told,
// which comes later than the director's own report.
func (l *lab) firstAdvert(host int, after time.Time) time.Time {
	l.t.Helper()
	eventually(l.t, time.Second, fmt.Sprintf("an advert of host %d", host), func() bool { return len(l.adverts(host, after)) > 0 })
	return l.adverts(host, after)[0].At
}

// gap is the longest time between two adverts of a host after a time, and until the
// last.
func (s *sniffer) gap(t *testing.T, host int, after time.Time) (longest time.Duration) {
	t.Helper()
	list := s.adverts(host, after)
	if len(list) < 2 {
		fatal(t, "%d adverts of host %d", len(list), host)
	}
	for i := 1; i < len(list); i++ {
		longest = max(longest, list[i].At.Sub(list[i-1].At))
	}
	return longest
}

// sniff prints the frames on an interface until stdin ends.
func sniff(name string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "sniffer:", err)
		return 1
	}
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, all)
	if err != nil {
		return fail(err)
	}
	link, err := net.InterfaceByName(name)
	if err != nil {
		return fail(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index}); err != nil {
		return fail(err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fail(err)
	}
	go func() {
		bufio.NewReader(os.Stdin).ReadByte()
		os.Exit(0)
	}()
	fmt.Println("ready")
	out := json.NewEncoder(os.Stdout)
	buf, oob := make([]byte, 2048), make([]byte, 256)
	for {
		n, m, _, _, err := unix.Recvmsg(fd, buf, oob, 0)
		if err != nil {
			return fail(err)
		}
		f := parseFrame(buf[:n])
		if f.Kind == "" {
			continue
		}
		f.At = stamp(oob[:m])
		_ = out.Encode(f)
	}
}

func stamp(oob []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) == 0 || len(messages[0].Data) < 16 {
		return time.Now()
	}
	var parts [2]int64
	for i := range parts {
		for j := range 8 {
			parts[i] |= int64(messages[0].Data[i*8+j]) << (8 * j)
		}
	}
	return time.Unix(parts[0], parts[1])
}

func parseFrame(b []byte) (f frame) {
	if len(b) < 14 {
		return f
	}
	switch kind := uint16(b[12])<<8 | uint16(b[13]); {
	case kind == 0x0806 && len(b) >= 42 && string(b[28:32]) == string(b[38:42]):
		return frame{Kind: "arp", Source: netip.AddrFrom4([4]byte(b[28:32])).String()}
	case kind == 0x0800 && len(b) > 34 && b[23] == packet.Protocol:
		f.Kind = "advert"
		d, err := packet.ParseDatagram(b[14:])
		if err == nil {
			f.Source = d.Source.String()
			e := packet.Expect{AuthType: packet.AuthPass, Interval: 1, Addresses: []netip.Addr{netip.MustParseAddr(vip)}}
			copy(e.Password[:], "1111")
			var a packet.Advert
			a, err = e.Verify(d)
			f.Priority, f.Router = a.Priority, a.VirtualRouterID
		}
		if err != nil {
			f.Wrong = err.Error()
		}
	}
	return f
}

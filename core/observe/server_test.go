package observe

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// freePort is one that nobody listens on now.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func scrape(address netip.AddrPort) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + address.String() + "/metrics")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func mustServe(t *testing.T, s *Server, address netip.AddrPort) {
	t.Helper()
	if err := s.Serve(address); err != nil {
		t.Fatal(err)
	}
	body, err := scrape(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\npoise_plugin_up{plugin=\"checkers\"} 1\n", "\ngo_goroutines ", "\nprocess_open_fds "} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q at %s", want, address)
		}
	}
}

func TestServeMoves(t *testing.T) {
	s := NewServer(hclog.NewNullLogger(), example())
	defer s.Close()
	first, second := freePort(t), freePort(t)
	mustServe(t, s, first)
	mustServe(t, s, first)
	mustServe(t, s, second)
	if _, err := scrape(first); err == nil {
		t.Errorf("%s still answers", first)
	}
	// From one address to all addresses of the same port: the old one is in the way.
	mustServe(t, s, netip.AddrPortFrom(netip.IPv4Unspecified(), second.Port()))
	mustServe(t, s, second)
	if err := s.Serve(netip.AddrPort{}); err != nil {
		t.Fatal(err)
	}
	if _, err := scrape(second); err == nil {
		t.Errorf("%s still answers", second)
	}
}

func TestServeStaysWhereItIsWhenItCannotMove(t *testing.T) {
	s := NewServer(hclog.NewNullLogger(), example())
	defer s.Close()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := netip.MustParseAddrPort(taken.Addr().String())
	if err := s.Serve(busy); err == nil || !strings.Contains(err.Error(), "serve metrics at "+busy.String()) {
		t.Errorf("at an address that is taken: %v", err)
	}
	first := freePort(t)
	mustServe(t, s, first)
	if err := s.Serve(busy); err == nil {
		t.Error("moved to an address that is taken")
	}
	if _, err := scrape(first); err != nil {
		t.Errorf("not any more at the old address: %v", err)
	}
}

// One who connects and says nothing keeps nobody from being served.
func TestServeWithASilentClient(t *testing.T) {
	s := NewServer(hclog.NewNullLogger(), example())
	defer s.Close()
	address := freePort(t)
	mustServe(t, s, address)
	conn, err := net.Dial("tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := scrape(address); err != nil {
		t.Error(err)
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "404") {
		t.Errorf("another path: %q, %v", line, err)
	}
}

package dns

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

// server answers each query with the datagrams that a function makes of it.
func server(t testing.TB, address string, answer func(query []byte) [][]byte) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Skipf("this machine cannot listen on %s: %s", address, err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			for i, a := range answer(buf[:n]) {
				if i > 0 {
					time.Sleep(20 * time.Millisecond)
				}
				_, _ = conn.WriteTo(a, from)
			}
		}
	}()
	return netip.MustParseAddrPort(conn.LocalAddr().String())
}

func probe(t testing.TB, parameters string, target sdk.Target, timeout time.Duration) sdk.Result {
	t.Helper()
	p, err := New().Parse([]byte(parameters))
	if err != nil {
		t.Fatal(err)
	}
	if target.Trace == nil {
		target.Trace = t.Logf
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return steady(p.Probe(ctx, target))
}

// steady replaces the time in a reason, which a slow machine makes shorter than the
// timeout.
func steady(r sdk.Result) sdk.Result {
	r.Reason = timeouts.ReplaceAllString(r.Reason, "timeout")
	return r
}

var timeouts = regexp.MustCompile(`timeout after [0-9.]+m?s`)

// header makes a message of a query's id, flags, counts and the rest.
func header(query []byte, flags, questions, answers uint16, rest ...byte) []byte {
	b := append([]byte{}, query[:2]...)
	for _, v := range []uint16{flags, questions, answers, 0, 0} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return append(b, rest...)
}

func one(b []byte) [][]byte { return [][]byte{b} }

func otherID(b []byte) []byte {
	b[0] ^= 1
	return b
}

// TestAsKeepalived is what keepalived 2.2.7 was seen to make of each server.
func TestAsKeepalived(t *testing.T) {
	t.Parallel()
	right := func(q []byte) []byte { return header(q, 0x8180, 1, 0, q[12:]...) }
	code := func(c uint16) func([]byte) [][]byte {
		return func(q []byte) [][]byte { return one(header(q, 0x8180|c, 1, 0, q[12:]...)) }
	}
	tests := []struct {
		name   string
		answer func(q []byte) [][]byte
		up     bool
		reason string
	}{
		{"no records", func(q []byte) [][]byte { return one(right(q)) }, true, ""},
		{"header alone", func(q []byte) [][]byte { return one(header(q, 0x8180, 1, 0)) }, true, ""},
		{"header without a question", func(q []byte) [][]byte { return one(header(q, 0x8180, 0, 0)) }, true, ""},
		{"eleven bytes", func(q []byte) [][]byte { return one(right(q)[:11]) }, true, ""},
		{"truncated", func(q []byte) [][]byte { return one(header(q, 0x8380, 1, 0, q[12:]...)) }, true, ""},
		{"counts that lie", func(q []byte) [][]byte { return one(header(q, 0x8180, 9, 9, q[12:]...)) }, true, ""},
		{"another question", func(q []byte) [][]byte { return one(header(q, 0x8180, 1, 0, 3, 'f', 'o', 'o', 0, 0, 1, 0, 1)) }, true, ""},
		{"broken question", func(q []byte) [][]byte { return one(header(q, 0x8180, 1, 0, 0xff, 0xff)) }, true, ""},
		{"another opcode", func(q []byte) [][]byte { return one(header(q, 0xa980, 1, 0, q[12:]...)) }, true, ""},
		{"4,000 bytes", func(q []byte) [][]byte { return one(append(right(q), make([]byte, 4000)...)) }, true, ""},
		{"FORMERR", code(1), false, "the answer is FORMERR"},
		{"SERVFAIL", code(2), false, "the answer is SERVFAIL"},
		{"NXDOMAIN", code(3), false, "the answer is NXDOMAIN"},
		{"NOTIMP", code(4), false, "the answer is NOTIMP"},
		{"REFUSED", code(5), false, "the answer is REFUSED"},
		{"code 15", code(15), false, "the answer is code 15"},
		{"NXDOMAIN, then right", func(q []byte) [][]byte { return [][]byte{code(3)(q)[0], right(q)} }, false, "the answer is NXDOMAIN"},
		{"another id", func(q []byte) [][]byte { return one(otherID(right(q))) }, false, "wait for the answer: timeout; 1 datagrams were no answer, the last: id "},
		{"another id, then right", func(q []byte) [][]byte { return [][]byte{otherID(right(q)), right(q)} }, true, ""},
		{"NXDOMAIN of another id, then right", func(q []byte) [][]byte { return [][]byte{otherID(code(3)(q)[0]), right(q)} }, true, ""},
		{"echo", func(q []byte) [][]byte { return one(q) }, false, "wait for the answer: timeout; 1 datagrams were no answer, the last: a query, not an answer"},
		{"echo, then right", func(q []byte) [][]byte { return [][]byte{q, right(q)} }, true, ""},
		{"garbage", func([]byte) [][]byte { return one([]byte("no")) }, false, "wait for the answer: timeout; 1 datagrams were no answer, the last: 2 bytes are too short for an answer"},
		{"garbage, then right", func(q []byte) [][]byte { return [][]byte{[]byte("no"), right(q)} }, true, ""},
		{"nothing, then right", func(q []byte) [][]byte { return [][]byte{{}, right(q)} }, true, ""},
		{"silence", func([]byte) [][]byte { return nil }, false, "wait for the answer: timeout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Second
			if test.up {
				timeout = 20 * time.Second
			}
			got := probe(t, "", sdk.Target{Addr: server(t, "127.0.0.1:0", test.answer)}, timeout)
			if (got.Outcome == sdk.Up) != test.up || got.Outcome == sdk.Unknown || !strings.HasPrefix(got.Reason, test.reason) || (got.Reason == "") != test.up {
				t.Errorf("got %v, want up: %t %q", got, test.up, test.reason)
			}
		})
	}
}

// TestQuery: what the server is asked, with ids that differ.
func TestQuery(t *testing.T) {
	asked := make(chan []byte, 1)
	addr := server(t, "[::1]:0", func(q []byte) [][]byte {
		asked <- append([]byte{}, q...)
		return one(header(q, 0x8180, 0, 0))
	})
	ids := map[string]bool{}
	for parameters, want := range map[string]string{
		``:                                     "010000010000000000000000060001",
		`{"type":"aaaa","name":"a.example"}`:   "01000001000000000000" + "0161" + "076578616d706c65" + "00" + "001c0001",
		`{"type":"RRSIG","name":"a.example."}`: "01000001000000000000" + "0161" + "076578616d706c65" + "00" + "002e0001",
	} {
		target := sdk.Target{Addr: addr, Source: netip.AddrPortFrom(addr.Addr(), 0), Interface: "lo"}
		if got := probe(t, parameters, target, 20*time.Second); got.Outcome != sdk.Up {
			t.Fatalf("%s: got %v, want up", parameters, got)
		}
		q := <-asked
		ids[string(q[:2])] = true
		if got := fmt.Sprintf("%x", q[2:]); got != want {
			t.Errorf("%s: asked %s, want %s", parameters, got, want)
		}
	}
	if len(ids) < 2 {
		t.Error("all queries had one id")
	}
}

// TestTypes: every type has a number, keepalived's among them.
func TestTypes(t *testing.T) {
	for _, kind := range types {
		if dns.StringToType[kind] == 0 {
			t.Errorf("the library has no number for %s", kind)
		}
	}
}

func TestTrouble(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(conn.LocalAddr().String())
	conn.Close()
	tests := []struct {
		name    string
		target  sdk.Target
		outcome sdk.Outcome
		reason  string
	}{
		{"port unreachable", sdk.Target{Addr: closed}, sdk.Down, "wait for the answer: connection refused"},
		{"foreign source", sdk.Target{Addr: closed, Source: netip.MustParseAddrPort("192.0.2.77:0")}, sdk.Unknown, "connect: cannot assign requested address"},
		{"no such interface", sdk.Target{Addr: closed, Interface: "none-such0"}, sdk.Unknown, "connect: bind to interface none-such0: no such device"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := probe(t, "", test.target, 5*time.Second); got.Outcome != test.outcome || got.Reason != test.reason {
				t.Errorf("got %v, want %v %q", got, test.outcome, test.reason)
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	addr := server(t, "127.0.0.1:0", func([]byte) [][]byte { return nil })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	time.AfterFunc(50*time.Millisecond, cancel)
	p, err := New().Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	got := p.Probe(ctx, sdk.Target{Addr: addr, Trace: t.Logf})
	if took := time.Since(start); got.Outcome != sdk.Unknown || took > 20*time.Second {
		t.Errorf("got %v after %s, want unknown at once", got, took)
	}
}

// TestRealServer asks a server that other people wrote.
func TestRealServer(t *testing.T) {
	named, err := exec.LookPath("dnsmasq")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("dnsmasq is not installed: apt-get install dnsmasq-base")
		}
		t.Skip("dnsmasq is not installed: apt-get install dnsmasq-base")
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(conn.LocalAddr().String())
	conn.Close()
	cmd := exec.Command(named, "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--bind-interfaces",
		"--listen-address=127.0.0.1", fmt.Sprintf("--port=%d", addr.Port()), "--pid-file="+filepath.Join(t.TempDir(), "pid"),
		"--address=/known.example/192.0.2.1", "--local=/example/", "--user=root")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	deadline := time.Now().Add(20 * time.Second)
	var lines []string
	trace := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for probe(t, `{"type":"A","name":"known.example"}`, sdk.Target{Addr: addr, Trace: trace}, time.Second).Outcome != sdk.Up {
		if time.Now().After(deadline) {
			t.Fatalf("never up: %q", lines)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "answer: NOERROR, ") || !strings.Contains(last, "known.example. 0 IN A 192.0.2.1") {
		t.Errorf("the transcript ends with %q", last)
	}
	if got := probe(t, `{"type":"A","name":"unknown.example"}`, sdk.Target{Addr: addr}, 5*time.Second); got.Reason != "the answer is NXDOMAIN" {
		t.Errorf("got %v, want NXDOMAIN", got)
	}
}

func TestParse(t *testing.T) {
	for parameters, want := range map[string]string{
		`{}`:                                     "",
		`{"type":"DNSKEY","name":"example.com"}`: "",
		`{"type":"ANY"}`:                         `/type: "ANY" is no type`,
		`{"type":""}`:                            `/type: "" is no type`,
		`{"name":""}`:                            `/name: "" is not a domain name`,
		`{"name":"a..b"}`:                        `/name: "a..b" is not a domain name`,
		`{"name":"` + strings.Repeat("a", 64) + `"}`: "/name: ",
		`{"names":"a"}`: `/names: unknown key`,
	} {
		_, err := New().Parse([]byte(parameters))
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", parameters, err, want)
		}
	}
}

func TestConform(t *testing.T) {
	c := plugintest.Serve(t, sdk.Plugin{Name: "checkers", Version: "test", Checkers: map[string]sdk.Checker{Type: New()}})
	c.Configure(t, "")
	plugintest.Conform(t, c, map[string]string{Type: `{"type":"MX","name":"example.com"}`})
}

// FuzzAnswer: no datagram makes a probe panic, and what is taken for an answer has the
// id, the bit and the code.
func FuzzAnswer(f *testing.F) {
	query := new(dns.Msg)
	query.SetQuestion("a.example.", dns.TypeA)
	packed, err := query.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed, query.Id)
	f.Add(header(packed, 0x8180, 9, 9, 0xc0, 0x0c), query.Id)
	f.Add([]byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, id uint16) {
		code, err := judge(data, id)
		if err != nil {
			return
		}
		if binary.BigEndian.Uint16(data) != id || data[2]&0x80 == 0 || code != int(data[3]&0xf) {
			t.Fatalf("%x was taken for an answer to %d with code %d", data, id, code)
		}
		if summary(data).String() == "" {
			t.Fatal("nothing to show")
		}
	})
}

// FuzzParse: no name makes a query that cannot be read back.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{".", "example.com", "a..b", `\000.x`, "*.x-_y.com", strings.Repeat("a.", 130)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		raw := fmt.Appendf(nil, `{"name":%q}`, name)
		p, err := New().Parse(raw)
		if err != nil {
			return
		}
		var m dns.Msg
		if err := m.Unpack(p.(*prober).query); err != nil || len(m.Question) != 1 {
			t.Fatalf("%q makes a query that cannot be read: %v", name, err)
		}
	})
}

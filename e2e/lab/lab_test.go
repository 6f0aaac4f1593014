package lab

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	RunRole()
	os.Exit(m.Run())
}

func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

func TestParseRequest(t *testing.T) {
	r, ok := parseRequest("1000000000000 0 1000900000000 - connect: connection refused")
	if !ok || r.Server != "" || r.Err != "connect: connection refused" || !r.Connected.IsZero() || r.End.Sub(r.Start) != 900*time.Millisecond {
		t.Errorf("a failed request is read as %+v, %v", r, ok)
	}
	r, ok = parseRequest("1000000000000 1000001000000 1000002000000 r1 ")
	if !ok || r.Server != "r1" || r.Err != "" || !r.Connected.Equal(at(1)) {
		t.Errorf("an answered request is read as %+v, %v", r, ok)
	}
	for _, line := range []string{"", "1 2 3", "x 2 3 r1 ", "1 2 3 r1"} {
		if r, ok := parseRequest(line); ok {
			t.Errorf("%q is read as %+v", line, r)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add("1000000000000 0 1000900000000 - connect: connection refused")
	f.Add("1000000000000 1000001000000 1000002000000 r1 ")
	f.Fuzz(func(t *testing.T, line string) {
		if r, ok := parseRequest(line); ok && strings.Count(line, " ") < 4 {
			t.Errorf("%q is read as %+v", line, r)
		}
	})
}

func TestReport(t *testing.T) {
	report := Report{
		{Start: at(0), Connected: at(1), End: at(2), Server: "r1"},
		{Start: at(10), End: at(910), Err: "no answer"},
		{Start: at(20), Connected: at(700), End: at(720), Server: "r2"},
		{Start: at(30), Connected: at(650), End: at(660), Server: "r1"},
	}
	if got := report.Since(at(10)); len(got) != 3 || !got[0].Start.Equal(at(10)) {
		t.Errorf("since 10 ms: %v", got)
	}
	if got := report.Until(at(20)); len(got) != 2 {
		t.Errorf("until 20 ms: %v", got)
	}
	if got := report.Failed(); len(got) != 1 || got[0].Err == "" {
		t.Errorf("failed: %v", got)
	}
	if got := report.Answered(); got["r1"] != 2 || got["r2"] != 1 {
		t.Errorf("answered: %v", got)
	}
	if back, ok := report.Back(at(10)); !ok || back != 650*time.Millisecond {
		t.Errorf("back after %v, %v, want 650ms", back, ok)
	}
	if _, ok := report.Back(at(31)); ok {
		t.Error("back, and no request has started")
	}
	if got := report.Slowest(); got != 700*time.Millisecond {
		t.Errorf("slowest %v, want 700ms", got)
	}
}

// frames are an advert of virtual router 51 with priority 100, and an ARP reply.
func frames() (advert, arp []byte) {
	advert = make([]byte, 14+20+20)
	binary.BigEndian.PutUint16(advert[12:], 0x0800)
	advert[14], advert[14+9] = 0x45, 112
	advert[34], advert[35], advert[36] = 0x21, 51, 100
	arp = make([]byte, 14+28)
	binary.BigEndian.PutUint16(arp[12:], 0x0806)
	arp[14+7] = 2
	copy(arp[14+14:], []byte{192, 168, 1, 100})
	copy(arp[14+24:], []byte{192, 168, 1, 10})
	return advert, arp
}

func TestParsePacket(t *testing.T) {
	advert, arp := frames()
	if p, ok := parsePacket(advert); !ok || !p.Advert || p.ID != 51 || p.Priority != 100 {
		t.Errorf("the advert is read as %+v, %v", p, ok)
	}
	if p, ok := parsePacket(arp); !ok || p.Advert || !p.Reply || p.Sender.String() != VIP || p.Target.String() != clientIP {
		t.Errorf("the ARP reply is read as %+v, %v", p, ok)
	}
	for n := range advert {
		if p, ok := parsePacket(advert[:n]); ok && n < 14+28 {
			t.Errorf("%d bytes of an advert are read as %+v", n, p)
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	advert, arp := frames()
	f.Add(advert)
	f.Add(arp)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, ok := parsePacket(b); ok && len(b) < 42 {
			t.Errorf("%d bytes are a packet", len(b))
		}
	})
}

func TestReigns(t *testing.T) {
	advert := func(ms int, host string, priority uint8) Packet {
		return Packet{At: at(ms), Host: host, Advert: true, ID: 51, Priority: priority}
	}
	c := &Capture{list: []Packet{
		advert(0, "a", 100), advert(1000, "a", 100), {At: at(1001), Host: "b"}, advert(1500, "a", 0),
		advert(2100, "b", 80), advert(3100, "b", 80), advert(3200, "a", 100),
	}}
	if got := strings.Join(c.Reigns(at(0)), " "); got != "a b a" {
		t.Errorf("reigns %s, want a b a", got)
	}
	if got := strings.Join(c.Reigns(at(2000)), " "); got != "b a" {
		t.Errorf("reigns since 2 s: %s, want b a", got)
	}
}

func TestConfig(t *testing.T) {
	c := Config{RouterID: "X", State: "BACKUP", Priority: 80, Method: NAT, Scheduler: "wlc", DelayLoop: 1, Retry: 2, RetryDelay: 3,
		ConnectTimeout: 4, RetryWord: "retry", Reals: []string{"10.0.0.106"}}
	text := c.String()
	for _, want := range []string{"router_id X", "\t\thttp\n\t\tinside\n", "interface eth1", "virtual_router_id 52", Gateway,
		"lvs_sync_daemon_interface eth0", "lb_kind NAT", "real_server 10.0.0.106 80", "retry 2"} {
		if !strings.Contains(text, want) {
			t.Errorf("the configuration lacks %q:\n%s", want, text)
		}
	}
	if strings.Count(text, "{") != strings.Count(text, "}") {
		t.Error("braces do not match")
	}
	c.NoFailover, c.NoServices = true, true
	if text := c.String(); strings.Contains(text, "vrrp") || strings.Contains(text, "virtual_server") {
		t.Errorf("nothing was wanted:\n%s", text)
	}
}

func TestProgram(t *testing.T) {
	var order []string
	ok := Program("p", func(t TB) {
		t.Cleanup(func() { order = append(order, "first") })
		t.Cleanup(func() { order = append(order, "second") })
	})
	if got := strings.Join(order, " "); !ok || got != "second first" {
		t.Errorf("ok %v, cleanups %s", ok, got)
	}
	if Program("p", func(t TB) { t.Fatalf("ends it"); order = nil }) || order == nil {
		t.Error("a program went on after Fatalf, or succeeded")
	}
}

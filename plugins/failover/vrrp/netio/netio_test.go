package netio

import (
	"encoding/hex"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var mac = [6]byte{2, 0, 0, 0, 0, 1}

func TestFrames(t *testing.T) {
	tests := map[string]struct{ got, want string }{
		"ARP request with sender and target the same": {
			hex.EncodeToString(arpFrame(mac, netip.MustParseAddr("192.0.2.100"))),
			"ffffffffffff" + "020000000001" + "0806" + "0001080006040001" +
				"020000000001" + "c0000264" + "ffffffffffff" + "c0000264",
		},
		// The checksum was worked out by hand: 0x0020+0x003a (length, next header),
		// 0x2001+0x0db8+0x0001 (source), 0xff02+0x0001 (destination), 0x8800+0x2000
		// (type, flags), 0x2001+0x0db8+0x0001 (target), 0x0201+0x0200+0x0000+0x0001:
		// 0x206d3, folded 0x06d5, inverted 0xf92a.
		"neighbour advertisement": {
			hex.EncodeToString(neighbourFrame(mac, netip.MustParseAddr("2001:db8::1"))),
			"333300000001" + "020000000001" + "86dd" + "6000000000203aff" +
				"20010db8000000000000000000000001" + "ff020000000000000000000000000001" +
				"8800f92a20000000" + "20010db8000000000000000000000001" + "0201020000000001",
		},
	}
	for name, test := range tests {
		if test.got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", name, test.got, test.want)
		}
	}
}

func TestParseChange(t *testing.T) {
	message := func(kind uint16, data ...byte) syscall.NetlinkMessage {
		return syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind}, Data: data}
	}
	link := append([]byte{0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 9, 0, unix.IFLA_IFNAME, 0, 'e', 't', 'h', '0', 0, 0, 0, 0)
	tests := map[string]struct {
		message syscall.NetlinkMessage
		want    Change
		ok      bool
	}{
		"address":        {message(unix.RTM_DELADDR, 2, 24, 0, 0, 7, 0, 0, 0), Change{Index: 7}, true},
		"link":           {message(unix.RTM_NEWLINK, link...), Change{Index: 3, Name: "eth0"}, true},
		"link cut":       {message(unix.RTM_DELLINK, link[:18]...), Change{Index: 3}, true},
		"short":          {message(unix.RTM_NEWADDR, 2, 24, 0, 0, 7, 0, 0), Change{}, false},
		"something else": {message(unix.RTM_NEWROUTE, link...), Change{}, false},
	}
	for name, test := range tests {
		got, ok := parseChange(test.message)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, ok, test.want, test.ok)
		}
	}
}

func FuzzParseChange(f *testing.F) {
	f.Add(uint16(unix.RTM_NEWLINK), []byte{0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 3, 0, 'e', 't', 'h', '0', 0})
	f.Add(uint16(unix.RTM_NEWADDR), []byte{})
	f.Fuzz(func(t *testing.T, kind uint16, data []byte) {
		if c, ok := parseChange(syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind}, Data: data}); ok && c.Index <= 0 {
			t.Errorf("index %d", c.Index)
		}
	})
}

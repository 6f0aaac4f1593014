package packet

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var (
	vip    = netip.MustParseAddr("192.0.2.100")
	source = netip.MustParseAddr("192.0.2.1")
)

func password(s string) (p [PasswordSize]byte) {
	copy(p[:], s)
	return p
}

func seedAdvert() Advert {
	return Advert{
		VirtualRouterID: 51, Priority: 100, AuthType: AuthPass, Password: password("1111"),
		Interval: 1, Addresses: []netip.Addr{vip},
	}
}

func seedExpect() Expect {
	a := seedAdvert()
	return Expect{AuthType: a.AuthType, Password: a.Password, Interval: a.Interval, Addresses: a.Addresses}
}

// The bytes were worked out by hand from RFC 3768, section 5.1: the sum of the 16-bit
// words but the checksum is 0x2133+0x6401+0x0101+0xc000+0x0264+0x3131+0x3131 = 0x1aafb,
// folded 0xaafc, inverted 0x5503.
const seedMessage = "21336401" + "01015503" + "c0000264" + "3131313100000000"

func TestAppendIsWhatTheRFCSays(t *testing.T) {
	if got := hex.EncodeToString(seedAdvert().Append(nil)); got != seedMessage {
		t.Errorf("advert:\n got %s\nwant %s", got, seedMessage)
	}
}

func TestAppendLeavesOutWhatDoesNotFit(t *testing.T) {
	a := seedAdvert()
	a.Addresses = slices.Repeat([]netip.Addr{vip}, MaxAddresses+1)
	got, err := Parse(a.Append(nil))
	if err != nil || len(got.Addresses) != MaxAddresses {
		t.Errorf("an advert of too many addresses is read as %d addresses, %v", len(got.Addresses), err)
	}
}

func TestVerify(t *testing.T) {
	datagram := func(change func(b []byte)) []byte {
		b := AppendDatagram(nil, source, seedAdvert())
		change(b)
		return b
	}
	advert := func(change func(a *Advert)) []byte {
		a := seedAdvert()
		change(&a)
		return AppendDatagram(nil, source, a)
	}
	const message = ipHeaderSize
	tests := []struct {
		name string
		b    []byte
		want Reason
	}{
		{"good", datagram(func([]byte) {}), ""},
		{"priority 0", advert(func(a *Advert) { a.Priority = 0 }), ""},
		{"ttl 254", datagram(func(b []byte) { b[8] = 254 }), TTLWrong},
		{"version 3", datagram(func(b []byte) { b[message] = 0x31 }), Version},
		{"type 2", datagram(func(b []byte) { b[message] = 0x22 }), Version},
		{"a bit flipped", datagram(func(b []byte) { b[message+2] ^= 1 }), Checksum},
		{"password's bit flipped", datagram(func(b []byte) { b[len(b)-1] ^= 1 }), Checksum},
		{"count says more", datagram(func(b []byte) { b[message+3] = 2 }), Length},
		{"count says less", datagram(func(b []byte) { b[message+3] = 0 }), Length},
		{"other password", advert(func(a *Advert) { a.Password = password("2222") }), Auth},
		{"longer password", advert(func(a *Advert) { a.Password = password("11111") }), Auth},
		{"no authentication", advert(func(a *Advert) { a.AuthType = AuthNone }), Auth},
		{"other interval", advert(func(a *Advert) { a.Interval = 2 }), Interval},
		{"other address", advert(func(a *Advert) { a.Addresses = []netip.Addr{source} }), Addresses},
		{"no address", advert(func(a *Advert) { a.Addresses = nil }), Addresses},
		{"IPv6", datagram(func(b []byte) { b[0] = 0x65 }), Version},
		{"header of 16 bytes", datagram(func(b []byte) { b[0] = 0x44 }), Length},
		{"longer than it came", datagram(func(b []byte) { b[3]++ }), Length},
		{"no header", nil, Length},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, err := ParseDatagram(test.b)
			if err == nil {
				_, err = seedExpect().Verify(d)
			}
			var refused *Error
			errors.As(err, &refused)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (refused == nil || refused.Reason != test.want):
				t.Errorf("got %v, want reason %q", err, test.want)
			case refused != nil && bytes.Contains([]byte(refused.Detail), []byte("1111")):
				t.Errorf("the message tells a password: %s", refused.Detail)
			}
		})
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	whole := AppendDatagram(nil, source, seedAdvert())
	for n := range len(whole) {
		cut := slices.Clone(whole[:n])
		if n > 3 {
			cut[3] = byte(n) // A shorter packet, as opposed to one that was cut on its way.
		}
		d, err := ParseDatagram(cut)
		if err == nil {
			_, err = seedExpect().Verify(d)
		}
		if err == nil {
			t.Errorf("a packet of %d of %d bytes is taken", n, len(whole))
		}
	}
}

func TestAddressesInAnotherOrderAreTheSame(t *testing.T) {
	a, e := seedAdvert(), seedExpect()
	a.Addresses, e.Addresses = []netip.Addr{vip, source}, []netip.Addr{source, vip}
	d, err := ParseDatagram(AppendDatagram(nil, source, a))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Verify(d); err != nil {
		t.Error(err)
	}
}

func TestParseIsTheInverseOfAppend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		four := rapid.Custom(func(t *rapid.T) netip.Addr {
			return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")))
		})
		a := Advert{
			VirtualRouterID: rapid.Byte().Draw(t, "vrid"), Priority: rapid.Byte().Draw(t, "priority"),
			AuthType: rapid.Byte().Draw(t, "auth"), Interval: rapid.Byte().Draw(t, "interval"),
			Password:  password(rapid.StringN(0, 8, 8).Draw(t, "password")),
			Addresses: rapid.SliceOfN(four, 0, MaxAddresses).Draw(t, "addresses"),
		}
		d, err := ParseDatagram(AppendDatagram(nil, source, a))
		if err != nil || d.Source != source || d.Destination != Group || d.TTL != TTL {
			t.Fatalf("datagram %+v, %v", d, err)
		}
		got, err := Parse(d.Message)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Addresses, a.Addresses) {
			t.Fatalf("addresses %v, want %v", got.Addresses, a.Addresses)
		}
		if again := got.Append(nil); !bytes.Equal(again, d.Message) {
			t.Fatalf("encoded again: %x, want %x", again, d.Message)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(seedAdvert().Append(nil))
	f.Add([]byte{})
	f.Add(Advert{}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Parse(b)
		if err != nil {
			return
		}
		if again := a.Append(nil); !bytes.Equal(again[:6], b[:6]) || !bytes.Equal(again[8:], b[8:]) {
			t.Errorf("%x is read and written as %x", b, again)
		}
	})
}

func FuzzVerify(f *testing.F) {
	f.Add(AppendDatagram(nil, source, seedAdvert()))
	f.Add([]byte{0x4f})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDatagram(b)
		if err != nil {
			return
		}
		a, err := seedExpect().Verify(d)
		if err == nil && (a.Interval != 1 || a.Password != password("1111") || d.TTL != TTL) {
			t.Errorf("took %x", b)
		}
	})
}

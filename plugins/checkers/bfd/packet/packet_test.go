package packet

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestWire: the bytes, by hand from RFC 5880, section 4.1.
func TestWire(t *testing.T) {
	p := Packet{
		Diag: DetectionTimeExpired, State: Up, Poll: true, Independent: true, DetectMult: 5, Mine: 0x01020304, Yours: 0xa1a2a3a4,
		DesiredMinTx: 10 * time.Millisecond, RequiredMinRx: time.Second, RequiredMinEchoRx: 50 * time.Microsecond,
	}
	const want = "21e8051801020304a1a2a3a400002710000f424000000032"
	if got := hex.EncodeToString(p.Append(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	b, _ := hex.DecodeString(want)
	got, err := Parse(b)
	if diff := cmp.Diff(p, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestParse(t *testing.T) {
	const good = "20400318000000010000000000002710000f424000000000"
	replace := func(at int, with string) string { return good[:2*at] + with + good[2*at+len(with):] }
	tests := []struct{ name, hex, wrong string }{
		{"good", good, ""},
		{"padded", good + "00000000", ""},
		{"empty", "", "0 bytes"},
		{"short", good[:46], "23 bytes"},
		{"version 0", replace(0, "00"), "version 0"},
		{"version 2", replace(0, "40"), "version 2"},
		{"length too small", replace(3, "17"), "length 23 of 24 bytes"},
		{"length too large", replace(3, "19"), "length 25 of 24 bytes"},
		{"multiplier 0", replace(2, "00"), "detection multiplier 0"},
		{"multipoint", replace(1, "41"), "multipoint"},
		{"no discriminator", replace(4, "00000000"), "no discriminator"},
		{"up without ours", replace(1, "c0"), "state up without our discriminator"},
		{"init without ours", replace(1, "80"), "state init without our discriminator"},
		{"administratively down", replace(1, "00"), ""},
		{"authenticated, no room", replace(1, "44"), "length 24 of 24 bytes"},
		{"authenticated", replace(1, "44")[:6] + "1b" + good[8:] + "010301", ""},
		{"demand", replace(1, "42"), ""},
	}
	for _, test := range tests {
		b, err := hex.DecodeString(test.hex)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(b)
		if test.wrong == "" && err != nil || test.wrong != "" && (!errors.Is(err, ErrMalformed) || !strings.HasSuffix(err.Error(), test.wrong)) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.wrong)
		}
	}
}

func TestNames(t *testing.T) {
	if got := Diag(31).String() + ", " + NeighborSaidDown.String() + ", " + Init.String(); got != "diagnostic 31, neighbor signaled session down, init" {
		t.Error(got)
	}
}

// FuzzParse: what is read and can be written is written so that it is read again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "20400318000000010000000000002710000f424000000000", "21e8051801020304a1a2a3a400002710000f424000000032", "2044031b000000010000000000002710000f424000000000010301"} {
		b, _ := hex.DecodeString(text)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		p.Authenticated = false
		again, err := Parse(p.Append(nil))
		if err != nil || again != p {
			t.Errorf("%+v became %+v, %v", p, again, err)
		}
	})
}

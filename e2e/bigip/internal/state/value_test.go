package state

import (
	"fmt"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, test := range []struct {
		text, want string
	}{
		{"10.0.0.1:80", "10.0.0.1 80 true"},
		{"10.0.0.1%10:80", "10.0.0.1%10 80 true"},
		{"web.example.net:80", "web.example.net 80 true"},
		{"2001:db8::1.80", "2001:db8::1 80 true"},
		{"2001:db8::1%10.80", "2001:db8::1%10 80 true"},
		{"/Common/2001:db8::1.any", "/Common/2001:db8::1 0 true"},
		{"/Common/any6.any", "/Common/any6 0 true"},
		{"/Common/any:0", "/Common/any 0 true"},
		{"10.0.0.1", " 0 false"},
		{"10.0.0.1.80", " 0 false"},
		{"2001:db8::1:80", " 0 false"},
		{"10.0.0.1:http", "10.0.0.1 0 false"},
		{"10.0.0.1:65536", "10.0.0.1 65536 false"},
		{":80", " 0 false"},
		{"", " 0 false"},
	} {
		host, port, ok := split(test.text)
		if got := fmt.Sprint(host, " ", port, " ", ok); got != test.want {
			t.Errorf("%q is %s, want %s", test.text, got, test.want)
		}
	}
}

func TestParseMonitor(t *testing.T) {
	for _, test := range []struct {
		text, want string
	}{
		{"/Common/a", "0 [/Common/a] true"},
		{"/Common/a and /Common/b ", "0 [/Common/a /Common/b] true"},
		{"min 1 of { /Common/a /Common/b }", "1 [/Common/a /Common/b] true"},
		{"min 1 of {/Common/a /Common/b}", "1 [/Common/a /Common/b] true"},
		{"min 1 of  /Common/a /Common/b", "1 [/Common/a /Common/b] true"},
		{"min 3 of { /Common/a /Common/b }", "3 [/Common/a /Common/b] false"},
		{"min 0 of { /Common/a }", "0 [/Common/a] false"},
		{"min 1 of { /Common/a", "1 [/Common/a] false"},
		{"/Common/a or /Common/b", "0 [] false"},
		{"/Common/a and", "0 [/Common/a] false"},
		{"/Common/a /Common/b", "0 [] false"},
	} {
		least, names, ok := ParseMonitor(test.text)
		if got := fmt.Sprint(least, " ", names, " ", ok); got != test.want {
			t.Errorf("%q is %s, want %s", test.text, got, test.want)
		}
	}
}

func TestMask(t *testing.T) {
	for text, want := range map[string]bool{
		"255.255.255.255": true, "255.255.255.0": true, "0.0.0.0": true, "ffff:ffff:ffff:ffff::": true, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": true,
		"255.0.255.0": false, "255.255.255.1": false, "/24": false, "": false,
	} {
		if got := maskOf(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// FuzzSplit shows that nothing makes it panic, and that what it takes apart is there.
func FuzzSplit(f *testing.F) {
	for _, text := range []string{"10.0.0.1:80", "2001:db8::1.80", "/Common/any6.any", ":::.", "."} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		host, port, ok := split(text)
		if ok && (host == "" || port < 0 || port > 65535) {
			t.Errorf("%q is %q and %d", text, host, port)
		}
	})
}

package icontrol_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
)

func TestPath(t *testing.T) {
	pool := icontrol.Name{Partition: "Common", Name: "web"}
	for _, test := range []struct {
		path icontrol.Path
		want string
		kind string
	}{
		{icontrol.Collection("ltm", "pool"), "/mgmt/tm/ltm/pool", "ltm/pool"},
		{icontrol.Collection("ltm", "pool").Object(pool), "/mgmt/tm/ltm/pool/~Common~web", "ltm/pool"},
		{icontrol.Collection("ltm", "pool").Object(icontrol.Name{Partition: "p", Folder: "a/b", Name: "x"}), "/mgmt/tm/ltm/pool/~p~a~b~x", "ltm/pool"},
		{icontrol.Collection("ltm", "pool").Object(pool).Sub("members"), "/mgmt/tm/ltm/pool/~Common~web/members", "ltm/pool/members"},
		{
			icontrol.Collection("ltm", "pool").Object(pool).Sub("members").Object(icontrol.Name{Partition: "Common", Name: "10.0.0.1%10:80"}),
			"/mgmt/tm/ltm/pool/~Common~web/members/~Common~10.0.0.1%2510:80", "ltm/pool/members",
		},
		{
			icontrol.Collection("ltm", "node").Object(icontrol.Name{Partition: "p", Name: "2001:db8::1%3.80"}),
			"/mgmt/tm/ltm/node/~p~2001:db8::1%253.80", "ltm/node",
		},
		{icontrol.Collection("ltm", "pool").Object(icontrol.Name{Partition: "p", Name: "a b?#&é"}), "/mgmt/tm/ltm/pool/~p~a%20b%3F%23%26%C3%A9", "ltm/pool"},
		{icontrol.Collection("auth", "partition").Sub("lab"), "/mgmt/tm/auth/partition/lab", "auth/partition/lab"},
	} {
		if got := test.path.String(); got != test.want || test.path.Err() != nil {
			t.Errorf("path is %q (%v), not %q", got, test.path.Err(), test.want)
		}
		if got := test.path.Kind(); got != test.kind {
			t.Errorf("kind of %s is %q, not %q", test.path, got, test.kind)
		}
		for _, form := range []string{test.want, "https://localhost" + test.want + "?ver=16.1.2", test.want + "/"} {
			if back, err := icontrol.ParsePath(form); err != nil || back != test.path {
				t.Errorf("%q is read as %v (%v)", form, back, err)
			}
		}
	}
}

func TestPathNames(t *testing.T) {
	path, err := icontrol.ParsePath("https://localhost/mgmt/tm/ltm/pool/~Common~f~web/members/~Common~10.0.0.1%2510:80?ver=17.1.2.1")
	if err != nil {
		t.Fatal(err)
	}
	want := []icontrol.Name{{Partition: "Common", Folder: "f", Name: "web"}, {Partition: "Common", Name: "10.0.0.1%10:80"}}
	if got := path.Names(); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("names are %+v", got)
	}
	if got, ok := path.Name(); !ok || got != want[1] {
		t.Errorf("name is %v, %v", got, ok)
	}
	if got, ok := icontrol.Collection("ltm", "pool").Name(); ok {
		t.Errorf("a collection has the name %v", got)
	}
	if got := icontrol.Version("https://localhost/mgmt/tm/ltm/pool?ver=17.1.2.1"); got != "17.1.2.1" {
		t.Errorf("version is %q", got)
	}
}

func TestPathRefuses(t *testing.T) {
	for _, name := range []icontrol.Name{
		{}, {Partition: "p"}, {Name: "n"}, {Partition: "p", Name: "a/b"}, {Partition: "p", Name: "a~b"}, {Partition: "p", Name: ".."},
		{Partition: "p", Name: "a\nb"}, {Partition: "p", Folder: "a//b", Name: "n"}, {Partition: "p", Folder: "/", Name: "n"}, {Partition: "p", Name: "\xff"},
	} {
		path := icontrol.Collection("ltm", "pool").Object(name)
		if path.Err() == nil {
			t.Errorf("%+v became %s", name, path)
		}
		if after := path.Sub("members"); after.Err() == nil {
			t.Errorf("%+v was forgotten in %s", name, after)
		}
	}
	for _, bad := range []string{
		"", "/", "/mgmt", "/mgmt/", "mgmt/tm", "/other/tm", "/mgmt/tm//pool", "/mgmt/tm/../shared", "/mgmt/tm/%2e%2e/shared", "/mgmt/tm/a%2Fb",
		"/mgmt/tm/ltm/pool/~p", "/mgmt/tm/ltm/pool/~~n", "/mgmt/tm/ltm/pool/~p~", "/mgmt/tm/ltm/pool/~p~a%2Fb", "/mgmt/tm/ltm/pool/~p~10.0.0.1%1:80",
		"/mgmt/tm/ltm/pool/~p~10.0.0.1%10:80", "https://localhost", "/mgmt/tm/a%",
	} {
		if path, err := icontrol.ParsePath(bad); err == nil {
			t.Errorf("%q became %s", bad, path)
		}
	}
}

func TestParseName(t *testing.T) {
	for full, want := range map[string]icontrol.Name{
		"/Common/a":     {Partition: "Common", Name: "a"},
		"/p/f/g/a:80":   {Partition: "p", Folder: "f/g", Name: "a:80"},
		"/p/10.0.0.1%1": {Partition: "p", Name: "10.0.0.1%1"},
	} {
		got, err := icontrol.ParseName(full)
		if err != nil || got != want || got.String() != full {
			t.Errorf("%q is %+v (%v)", full, got, err)
		}
	}
	for _, bad := range []string{"", "a", "/a", "/a/", "//a", "/p//a", "p/a", "/p/a~b"} {
		if got, err := icontrol.ParseName(bad); err == nil {
			t.Errorf("%q is %+v", bad, got)
		}
	}
}

func TestPorts(t *testing.T) {
	for _, test := range []struct{ joined, host, port string }{
		{"10.0.0.1:80", "10.0.0.1", "80"}, {"10.0.0.1%5:80", "10.0.0.1%5", "80"}, {"2001:db8::1.80", "2001:db8::1", "80"},
		{"2001:db8::1%5.0", "2001:db8::1%5", "0"}, {"web:8080", "web", "8080"}, {"any6.53", "any6", "53"}, {"any:53", "any", "53"}, {"::.80", "::", "80"},
	} {
		host, port, ok := icontrol.SplitPort(test.joined)
		if !ok || host != test.host || port != test.port {
			t.Errorf("%q is %q and %q, %v", test.joined, host, port, ok)
		}
		number := uint16(0)
		for _, digit := range test.port {
			number = number*10 + uint16(digit-'0')
		}
		if got := icontrol.JoinPort(test.host, number); got != test.joined {
			t.Errorf("%q and %s are %q", test.host, test.port, got)
		}
	}
	for _, bad := range []string{"", "a", ":80", "a:", "2001:db8::1", "2001:db8::1:80"} {
		if host, port, ok := icontrol.SplitPort(bad); ok {
			t.Errorf("%q is %q and %q", bad, host, port)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]struct {
		addr   string
		domain int
	}{
		"10.0.0.1": {"10.0.0.1", icontrol.NoRouteDomain}, "10.0.0.1%0": {"10.0.0.1", 0}, "2001:db8::1%65535": {"2001:db8::1", 65535},
		"any": {"0.0.0.0", icontrol.NoRouteDomain}, "any6%2": {"::", 2},
	} {
		addr, domain, err := icontrol.ParseAddress(text)
		if err != nil || addr != netip.MustParseAddr(want.addr) || domain != want.domain {
			t.Errorf("%q is %v in %d (%v)", text, addr, domain, err)
		}
		if !strings.HasPrefix(text, "any") && icontrol.FormatAddress(addr, domain) != text {
			t.Errorf("%q comes back as %q", text, icontrol.FormatAddress(addr, domain))
		}
	}
	for _, bad := range []string{"", "10.0.0", "10.0.0.1%", "10.0.0.1%x", "10.0.0.1%65536", "fe80::1%eth0", "web"} {
		if addr, domain, err := icontrol.ParseAddress(bad); err == nil {
			t.Errorf("%q is %v in %d", bad, addr, domain)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{
		"/mgmt/tm/ltm/pool/~Common~web", "https://localhost/mgmt/tm/ltm/pool/~Common~web/members/~Common~10.0.0.1%2510:80?ver=16.1.2",
		"/mgmt/tm/ltm/node/~p~f~2001:db8::1", "/mgmt/tm/ltm/pool/~p~a%2Fb", "/mgmt/tm/%2e%2e/x", "/mgmt/tm/ltm/pool/~p~%7Ea",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		path, err := icontrol.ParsePath(s)
		if err != nil {
			return
		}
		sent := path.String()
		back, err := icontrol.ParsePath(sent)
		if err != nil || back != path {
			t.Fatalf("%q is sent as %q, which is read as %v (%v)", s, sent, back, err)
		}
		link, err := url.Parse("https://192.0.2.1:443" + sent)
		if err != nil || link.EscapedPath() != sent || link.Host != "192.0.2.1:443" || link.RawQuery != "" {
			t.Fatalf("%q is sent as %q, which net/url changes to %v (%v)", s, sent, link, err)
		}
		for _, part := range strings.Split(link.Path, "/")[1:] {
			if part == "" || part == "." || part == ".." {
				t.Fatalf("%q leads elsewhere: %q", s, sent)
			}
		}
		for _, name := range path.Names() {
			if again, err := icontrol.ParseName(name.String()); err != nil || again != name {
				t.Fatalf("%q has the name %q, which is read as %+v (%v)", s, name, again, err)
			}
		}
	})
}

func FuzzName(f *testing.F) {
	f.Add("Common", "", "web")
	f.Add("p", "a/b", "10.0.0.1%1:80")
	f.Add("p", "", "a~b")
	f.Fuzz(func(t *testing.T, partition, folder, name string) {
		n := icontrol.Name{Partition: partition, Folder: folder, Name: name}
		path := icontrol.Collection("ltm", "pool").Object(n)
		if path.Err() != nil {
			return
		}
		back, err := icontrol.ParsePath(path.String())
		if err != nil {
			t.Fatalf("%+v is sent as %q: %v", n, path, err)
		}
		if got, ok := back.Name(); !ok || got != n {
			t.Fatalf("%+v is sent as %q and arrives as %+v", n, path, got)
		}
	})
}

func FuzzSplitPort(f *testing.F) {
	f.Add("10.0.0.1%1:80")
	f.Add("2001:db8::1.80")
	f.Fuzz(func(t *testing.T, s string) {
		host, port, ok := icontrol.SplitPort(s)
		if ok && (host == "" || port == "" || len(host)+1+len(port) != len(s) || !strings.HasPrefix(s, host) || !strings.HasSuffix(s, port)) {
			t.Fatalf("%q is %q and %q", s, host, port)
		}
	})
}

package control

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"
)

func TestResolve(t *testing.T) {
	for _, c := range []struct{ virtual, real, want string }{
		{"TCP 192.0.2.100:80", "192.0.2.1:80", "TCP 192.0.2.100:80 192.0.2.1:80"},
		{"tcp 192.0.2.100:80", "192.0.2.1:80", "TCP 192.0.2.100:80 192.0.2.1:80"},
		{"tcp/192.0.2.100:80", "192.0.2.1", "TCP 192.0.2.100:80 192.0.2.1:80"},
		{"192.0.2.100:80", "192.0.2.1", "TCP 192.0.2.100:80 192.0.2.1:80"},
		{" 192.0.2.100 ", " 192.0.2.2:81 ", "TCP 192.0.2.100:80 192.0.2.2:81"},
		{"udp/192.0.2.101", "192.0.2.3", "UDP 192.0.2.101:53 192.0.2.3:53"},
		{"TCP 192.0.2.101:53", "192.0.2.3", "TCP 192.0.2.101:53 192.0.2.3:53"},
		{"[2001:DB8:0::100]:80", "[2001:db8::0:1]:80", "TCP [2001:db8::100]:80 [2001:db8::1]:80"},
		{"2001:db8::100", "[2001:db8::1]", "TCP [2001:db8::100]:80 [2001:db8::1]:80"},
		{"fwm 3", "192.0.2.5", "FWM 3 192.0.2.5:0"},
	} {
		key, err := resolve(exampleSnapshot(), c.virtual, c.real)
		if err != nil || key.String() != c.want {
			t.Errorf("resolve(%q, %q) = %s, %v; want %s", c.virtual, c.real, key, err, c.want)
		}
	}
}

func TestResolveSaysWhatThereIs(t *testing.T) {
	for _, c := range []struct {
		virtual, real string
		code          codes.Code
		want          string
	}{
		{"192.0.2.101:53", "192.0.2.3", codes.InvalidArgument, `virtual server "192.0.2.101:53" may be any of TCP 192.0.2.101:53, UDP 192.0.2.101:53: name one of them in full`},
		{"FWM/3", "192.0.2.5", codes.InvalidArgument, "may be any of FWM 3, FWM 3 inet6"},
		{"192.0.2.100:80", "192.0.2.2", codes.InvalidArgument, `real server "192.0.2.2" of TCP 192.0.2.100:80 may be any of 192.0.2.2:80, 192.0.2.2:81`},
		{"192.0.2.100:81", "192.0.2.1", codes.NotFound, `no virtual server "192.0.2.100:81": there is TCP 192.0.2.100:80, `},
		{"udp 192.0.2.100:80", "192.0.2.1", codes.NotFound, `no virtual server "udp 192.0.2.100:80": there is TCP 192.0.2.100:80, `},
		{"fwm 4", "192.0.2.1", codes.NotFound, `no virtual server "fwm 4": there is FWM 3, `},
		{"fwm x", "192.0.2.1", codes.NotFound, "and 1 more"},
		{"192.0.2.100:80", "192.0.2.7:80", codes.NotFound, `no real server "192.0.2.7:80" of TCP 192.0.2.100:80: there is 192.0.2.1:80, 192.0.2.2:80, 192.0.2.2:81`},
		{"fwm/3/inet6", "192.0.2.1", codes.NotFound, `no real server "192.0.2.1" of FWM 3 inet6: none is configured`},
		{"fwm 3 inet6", "192.0.2.1", codes.NotFound, `no real server "192.0.2.1" of FWM 3 inet6: none is configured`},
		{"", "", codes.NotFound, `no virtual server ""`},
	} {
		_, err := resolve(exampleSnapshot(), c.virtual, c.real)
		if status.Code(err) != c.code || !strings.Contains(status.Convert(err).Message(), c.want) {
			t.Errorf("resolve(%q, %q): %v; want %s: %s", c.virtual, c.real, err, c.code, c.want)
		}
	}
}

// Whatever status names is found by that name.
func TestResolveFindsWhatStatusNames(t *testing.T) {
	snapshot := exampleSnapshot()
	for _, s := range snapshot.Services {
		for _, r := range s.RealServers {
			key, err := resolve(snapshot, s.Config.Key.String(), r.Config.Addr.String())
			if err != nil || key.Service != s.Config.Key || key.Addr != r.Config.Addr {
				t.Errorf("%s %s: found %s, %v", s.Config.Key, r.Config.Addr, key, err)
			}
		}
	}
}

func FuzzResolve(f *testing.F) {
	f.Add("TCP 192.0.2.100:80", "192.0.2.1")
	f.Add("fwm 99999999999999999999", "[")
	f.Add("tcp/", "]:80")
	f.Fuzz(func(t *testing.T, virtual, real string) {
		snapshot := exampleSnapshot()
		key, err := resolve(snapshot, virtual, real)
		if err != nil {
			if c := status.Code(err); c != codes.NotFound && c != codes.InvalidArgument {
				t.Fatalf("resolve(%q, %q): %v", virtual, real, err)
			}
			return
		}
		if again, err := resolve(snapshot, key.Service.String(), key.Addr.String()); err != nil || again != key {
			t.Errorf("resolve(%q, %q) = %s, whose name resolves to %s, %v", virtual, real, key, again, err)
		}
	})
}

func TestDistanceIsAMetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringOfN(rapid.RuneFrom([]rune("ab1.")), 0, 8, -1)
		a, b, c := word.Draw(t, "a"), word.Draw(t, "b"), word.Draw(t, "c")
		if (distance(a, b) == 0) != (a == b) {
			t.Fatalf("distance(%q, %q) = %d", a, b, distance(a, b))
		}
		if distance(a, b) != distance(b, a) {
			t.Fatalf("distance(%q, %q) is not that of (%q, %q)", a, b, b, a)
		}
		if distance(a, c) > distance(a, b)+distance(b, c) {
			t.Fatalf("the way from %q to %q is shorter over %q", a, c, b)
		}
	})
}

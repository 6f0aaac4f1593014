package main

import (
	"strings"
	"testing"
)

func TestCompletion(t *testing.T) {
	f := startFake(t)
	for _, c := range []struct{ args, want string }{
		{"drain ", "tcp/192.168.1.100:80 tcp/192.168.1.102:443 fwm/3 udp/192.168.1.100:53"},
		{"weight fwm/3 ", "[2001:db8::1]:8080"},
		{"ready 192.168.1.100:53 ", ""},
		{"maint tcp/192.168.1.100:80 ", "192.168.1.106:80 192.168.1.107:80 192.168.1.108:80 192.168.1.109:80"},
		{"probe ", "tcp/192.168.1.100:80 tcp/192.168.1.102:443 fwm/3 udp/192.168.1.100:53 tcp misc"},
		{"plugin restart ", "checkers script ipvs vrrp"},
		{"plugin show ", "checkers script ipvs vrrp tcp misc"},
		{"plugin pin x ", ""},
		{"diff ", "ipvs f5:lab f5:new f5:other"},
		{"diff ipvs ", ""},
		{"f5 import ", "lab new other"},
	} {
		args := strings.Split(c.args, " ")
		out, _, err := f.run(t, append([]string{"__complete"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(out) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, ":") && !strings.HasPrefix(line, "Completion ended") {
				got = append(got, line)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
	if out, _, err := run(t.Context(), "--runtime-dir", t.TempDir(), "__complete", "drain", ""); err != nil || strings.Contains(out, "control.sock") {
		t.Errorf("without a daemon: %v\n%s", err, out)
	}
}

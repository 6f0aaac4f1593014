package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
	"github.com/poise-lb/poise/sdk/plugintest/conform"
)

const secret = "correct horse"

// redis runs Debian's server, with a password if there is one.
func redis(t *testing.T, password string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	args := []string{"--port", fmt.Sprint(at.Port()), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir()}
	if password != "" {
		args = append(args, "--requirepass", password)
	}
	cmd := exec.Command("redis-server", args...)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start redis-server (Debian: apt-get install redis-server): %s", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", at.String())
		if err == nil {
			c.Close()
			return at
		}
		if time.Now().After(end) {
			t.Fatalf("redis-server does not listen on %s: %s", at, err)
		}
	}
}

func passwordFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConform(t *testing.T) {
	plugintest.Executable(t, conform.Options{
		Path: plugintest.Build(t, "."),
		Types: map[string]conform.Type{"redis": {
			Target: redis(t, secret), Parameters: fmt.Sprintf(`{"password_file":%q}`, passwordFile(t, secret+"\n")),
		}},
	})
}

// says is a server that answers every command with the next of some lines.
func says(t *testing.T, lines ...string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				commands := bufio.NewScanner(c)
				for _, line := range lines {
					for commands.Scan() && !strings.HasPrefix(commands.Text(), "*") {
					}
					_, _ = c.Write([]byte(line))
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestProbe(t *testing.T) {
	open, locked := redis(t, ""), redis(t, secret)
	good, bad := passwordFile(t, secret), passwordFile(t, "wrong\n")
	tests := []struct {
		name, parameters string
		at               netip.AddrPort
		outcome          sdk.Outcome
		reason           string
	}{
		{"open", "", open, sdk.Up, ""},
		{"locked", fmt.Sprintf(`{"password_file":%q}`, good), locked, sdk.Up, ""},
		{"locked, with a user", fmt.Sprintf(`{"username":"default","password_file":%q}`, good), locked, sdk.Up, ""},
		{"locked, no password", "", locked, sdk.Down, `ping: it answers "-NOAUTH`},
		{"locked, wrong password", fmt.Sprintf(`{"password_file":%q}`, bad), locked, sdk.Down, `log in: it answers "-WRONGPASS`},
		{"no file", `{"password_file":"/nowhere"}`, locked, sdk.Unknown, "read the password: "},
		{"empty file", fmt.Sprintf(`{"password_file":%q}`, passwordFile(t, "")), locked, sdk.Unknown, "read the password: "},
		{"loading", "", says(t, "-LOADING Redis is loading the dataset in memory\r\n"), sdk.Down, `ping: it answers "-LOADING`},
		{"endless", "", says(t, strings.Repeat("x", 1<<16)), sdk.Down, `ping: it answers "xxx`},
		{"hangs up", "", says(t), sdk.Down, "ping: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := checker{}.Parse([]byte(test.parameters))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var told strings.Builder
			got := p.Probe(ctx, sdk.Target{Addr: test.at, Trace: func(f string, a ...any) { fmt.Fprintf(&told, f+"\n", a...) }})
			if got.Outcome != test.outcome || !strings.HasPrefix(got.Reason, test.reason) {
				t.Errorf("got %+v, want outcome %d, %q", got, test.outcome, test.reason)
			}
			if text := told.String() + got.Reason; strings.Contains(text, secret) {
				t.Errorf("the password is told: %s", text)
			}
		})
	}
}

func TestParse(t *testing.T) {
	for parameters, path := range map[string]string{`{"password_file":"x"}`: "/password_file", `{"username":"x"}`: "/username", `{"port":1}`: "/port"} {
		if _, err := (checker{}).Parse([]byte(parameters)); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%s: %v, want an error at %s", parameters, err, path)
		}
	}
}

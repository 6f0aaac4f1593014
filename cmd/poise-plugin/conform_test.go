package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/poise-lb/poise/e2e/bigip"
	"github.com/poise-lb/poise/plugins/forwarders/f5"
	"github.com/poise-lb/poise/sdk/plugintest"
	"github.com/poise-lb/poise/sdk/plugintest/conform"
)

// targets are servers for every type of check, each of which a probe finds up.
var targets = map[string]func(t *testing.T) conform.Type{
	"tcp": func(t *testing.T) conform.Type {
		return conform.Type{Target: serveLines(t, func(net.Conn, string) {}), AnyAnswer: true}
	},
	"http": func(t *testing.T) conform.Type {
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		t.Cleanup(s.Close)
		return conform.Type{Target: addrPort(s.Listener.Addr()), Parameters: `{"urls":[{"path":"/"}]}`}
	},
	"ssl": func(t *testing.T) conform.Type {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // probes that break off are what is tested
		s.StartTLS()
		t.Cleanup(s.Close)
		return conform.Type{Target: addrPort(s.Listener.Addr()), Parameters: `{"urls":[{"path":"/"}],"verify":false}`}
	},
	"smtp": func(t *testing.T) conform.Type {
		return conform.Type{Target: serveLines(t, func(c net.Conn, line string) {
			switch word := strings.ToUpper(line); {
			case line == "":
				fmt.Fprint(c, "220 test ESMTP\r\n")
			case strings.HasPrefix(word, "QUIT"):
				fmt.Fprint(c, "221 bye\r\n")
			default:
				fmt.Fprint(c, "250 fine\r\n")
			}
		})}
	},
	"dns": func(t *testing.T) conform.Type {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			answer := new(dns.Msg).SetReply(q)
			record, err := dns.NewRR(". 60 IN SOA a.example. b.example. 1 2 3 4 5")
			if err != nil {
				return
			}
			answer.Answer = append(answer.Answer, record)
			_ = w.WriteMsg(answer)
		})}
		go func() { _ = s.ActivateAndServe() }()
		t.Cleanup(func() { _ = s.Shutdown() })
		return conform.Type{Target: addrPort(packets.LocalAddr())}
	},
	"udp": func(t *testing.T) conform.Type {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { packets.Close() })
		go func() {
			for b := make([]byte, 1500); ; {
				n, from, err := packets.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = packets.WriteTo(b[:n], from)
			}
		}()
		return conform.Type{Target: addrPort(packets.LocalAddr()), Parameters: `{"payload":"68656c6c6f","reply":"68656c6c6f"}`}
	},
	"ping": func(*testing.T) conform.Type {
		return conform.Type{Target: netip.MustParseAddrPort("127.0.0.1:0")}
	},
	"misc": func(t *testing.T) conform.Type {
		at := serveLines(t, func(net.Conn, string) {})
		return conform.Type{Target: at, AnyAnswer: true, NoSource: true, Parameters: `{"command":["/bin/bash","-c","exec 3<>/dev/tcp/$POISE_ADDRESS/$POISE_PORT"]}`}
	},
	"file": func(t *testing.T) conform.Type {
		path := filepath.Join(t.TempDir(), "weight")
		if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return conform.Type{Watched: true, Parameters: fmt.Sprintf(`{"path":%q}`, path)}
	},
	"grpc": func(t *testing.T) conform.Type {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer()
		healthv1.RegisterHealthServer(s, health.NewServer())
		go func() { _ = s.Serve(l) }()
		t.Cleanup(s.Stop)
		return conform.Type{Target: addrPort(l.Addr())}
	},
	"agent": func(t *testing.T) conform.Type {
		return conform.Type{Advisory: true, Target: serveLines(t, func(c net.Conn, line string) {
			if line == "" {
				fmt.Fprint(c, "up 75%\n")
				_ = c.(*net.TCPConn).CloseWrite()
			}
		})}
	},
}

// untargeted are types whose target is a peer that speaks a protocol with a state: the
// type's own tests have one.
var untargeted = map[string]bool{"bfd": true}

func addrPort(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }

// serveLines calls say when a connection is there, with an empty line, and for each line.
func serveLines(t *testing.T, say func(c net.Conn, line string)) netip.AddrPort {
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
				say(c, "")
				for lines := bufio.NewScanner(c); lines.Scan(); {
					say(c, lines.Text())
				}
			}()
		}
	}()
	return addrPort(l.Addr())
}

// bigipParameters are those of an instance on a simulated BIG-IP. Stop and start are many:
// the administrator may have any number of tokens.
func bigipParameters(t *testing.T) string {
	t.Helper()
	u := bigip.New(bigip.Options{Partitions: []string{"lab"}})
	if err := u.Start(""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	dir := t.TempDir()
	ca, credentials := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "credentials")
	if err := errors.Join(os.WriteFile(ca, u.CA(), 0o644), os.WriteFile(credentials, []byte("admin\nadmin\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"addresses": [%q], "partition": "lab", "ca": %q, "credentials_file": %q, "server_name": "localhost"}`, u.Addr(), ca, credentials)
}

// thorough are the types that go through every requirement in a short run: one of each way
// that the sdk has to run probes. Schedule, sets and verdicts are the sdk's for all; of the
// others it is what their own code does.
var thorough = map[string]bool{"tcp": true, "smtp": true, "misc": true, "ping": true, "file": true}

var ofProbes = []string{"probe", "probe-refused", "nonsense", "local-error", "deadline", "leaks", "bad-check", "hanging-target", "weights"}

// TestConform runs each plugin as the daemon does, through the conformance kit. What
// checkers-net has from checkers is checked there.
func TestConform(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	full := os.Getenv(plugintest.EnvFull) != ""
	checked := map[string]bool{}
	for _, a := range applets {
		o := conform.Options{
			Path: self, Args: []string{a.name}, Env: []string{envRun + "=1"}, Touch: a.name == "null",
			Types: map[string]conform.Type{}, Parallel: 6,
		}
		if a.name == f5.Type {
			o.Parameters, o.Touch = bigipParameters(t), true
		}
		if a.name == "script" {
			o.Parallel = 2 // a process for each probe is work, not waiting
		}
		others := o
		others.Types, others.Only = map[string]conform.Type{}, ofProbes
		for kind := range a.plugin().Checkers {
			if checked[kind] || untargeted[kind] {
				continue
			}
			checked[kind] = true
			serve := targets[kind]
			if serve == nil {
				t.Errorf("there is no target for checks of type %s: add one to targets", kind)
				continue
			}
			if thorough[kind] || full {
				o.Types[kind] = serve(t)
			} else {
				others.Types[kind] = serve(t)
			}
		}
		t.Run(a.name, func(t *testing.T) {
			plugintest.Executable(t, o)
			if len(others.Types) > 0 {
				plugintest.Executable(t, others)
			}
		})
	}
}

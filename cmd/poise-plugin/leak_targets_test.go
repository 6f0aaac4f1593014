package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	gogrpc "google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/poise-lb/poise/plugins/checkers/agent"
	"github.com/poise-lb/poise/plugins/checkers/bfd"
	"github.com/poise-lb/poise/plugins/checkers/dns"
	"github.com/poise-lb/poise/plugins/checkers/file"
	"github.com/poise-lb/poise/plugins/checkers/grpc"
	"github.com/poise-lb/poise/plugins/checkers/http"
	"github.com/poise-lb/poise/plugins/checkers/misc"
	"github.com/poise-lb/poise/plugins/checkers/ping"
	"github.com/poise-lb/poise/plugins/checkers/smtp"
	"github.com/poise-lb/poise/plugins/checkers/ssl"
	"github.com/poise-lb/poise/plugins/checkers/tcp"
	"github.com/poise-lb/poise/plugins/checkers/udp"
	"github.com/poise-lb/poise/sdk"
)

// leakCases are all types of checks.
var leakCases = map[string]func(*testing.T) leakCase{
	tcp.Type: func(t *testing.T) leakCase { return streams(t, tcp.New(), "", func(net.Conn) {}) },
	http.Type: func(t *testing.T) leakCase {
		return streams(t, http.New(), `{"urls":[{"path":"/","regex":"fine"}]}`, answersHTTP)
	},
	ssl.Type: func(t *testing.T) leakCase {
		certificate := selfSigned(t)
		return streams(t, ssl.New(), `{"verify":false}`, func(conn net.Conn) {
			answersHTTP(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}))
		})
	},
	smtp.Type: func(t *testing.T) leakCase {
		return streams(t, smtp.New(), "", func(conn net.Conn) { converse(conn, "220 here\r\n", "250 you\r\n", "221 bye\r\n") })
	},
	agent.Type: func(t *testing.T) leakCase {
		return streams(t, agent.New(), "", func(conn net.Conn) { _, _ = io.WriteString(conn, "ready up 75%\n") })
	},
	grpc.Type: servesHealth,
	dns.Type: func(t *testing.T) leakCase {
		return datagrams(t, dns.New(), "", func(query []byte) []byte {
			answer := slices.Clone(query)
			if len(answer) > 3 {
				answer[2], answer[3] = answer[2]|0x80, answer[3]&0xf0
			}
			return answer
		})
	},
	udp.Type: func(t *testing.T) leakCase {
		return datagrams(t, udp.New(), `{"payload":"0102","reply":"0102"}`, func(b []byte) []byte { return b })
	},
	ping.Type: func(*testing.T) leakCase {
		return leakCase{
			checker: ping.New(), good: []leakTarget{{address: "127.0.0.1"}, {address: "::1"}},
			bad: []leakTarget{{address: unreachableHost}}, silent: []leakTarget{{address: silentHost}},
		}
	},
	bfd.Type: func(*testing.T) leakCase {
		var neighbours []leakTarget
		for i := range leakChecks {
			neighbours = append(neighbours, leakTarget{address: fmt.Sprintf("192.0.2.%d", 10+i)})
		}
		return leakCase{checker: bfd.New(), good: neighbours, brief: true}
	},
	file.Type: func(t *testing.T) leakCase {
		path := filepath.Join(t.TempDir(), "value")
		return leakCase{
			checker: file.New(), good: []leakTarget{{parameters: `{"path":"` + path + `","weight":0}`}},
			drive: func(i int) {
				_ = os.WriteFile(path+".new", []byte{'0' + byte(i%2)}, 0o644)
				_ = os.Rename(path+".new", path)
			},
		}
	},
	misc.Type: func(t *testing.T) leakCase {
		lingers := filepath.Join(t.TempDir(), "lingers")
		if err := os.WriteFile(lingers, []byte("#!/bin/sh\nsleep 60 &\nsleep 60\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		run := func(command string) []leakTarget {
			return []leakTarget{{"127.0.0.1", 80, `{"command":` + command + `,"user":"root","secure":false}`}}
		}
		return leakCase{
			checker: misc.New(), interval: 20 * time.Millisecond,
			good: run(`["/bin/true"]`), bad: slices.Concat(run(`["/bin/false"]`), run(`["/nowhere/script"]`)),
			silent: run(`["` + lingers + `"]`),
		}
	},
}

func leakTypes() []string { return slices.Sorted(maps.Keys(leakCases)) }

func newLeakCase(t *testing.T, kind string) leakCase { return leakCases[kind](t) }

// TestLeakCases: no type of check is left out.
func TestLeakCases(t *testing.T) {
	for _, a := range applets {
		for kind := range a.plugin().Checkers {
			if leakCases[kind] == nil {
				t.Errorf("nobody looks whether check %s of plugin %s leaves something behind", kind, a.name)
			}
		}
	}
}

// streams is the case of a check over TCP: serve answers on a connection. It is down where
// nobody listens, and waits where nobody accepts.
func streams(t *testing.T, c sdk.Checker, parameters string, serve func(net.Conn)) leakCase {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return leakCase{
		checker: c,
		good:    []leakTarget{{"127.0.0.1", portOf(l.Addr()), parameters}},
		bad:     []leakTarget{{"127.0.0.1", closedPort(t), parameters}},
		silent:  []leakTarget{{"127.0.0.1", deaf(t), parameters}},
	}
}

func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return portOf(l.Addr())
}

// datagrams is the case of a check over UDP, in the same way.
func datagrams(t *testing.T, c sdk.Checker, parameters string, answer func([]byte) []byte) leakCase {
	t.Helper()
	listen := func() *net.UDPConn {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	conn, silent := listen(), listen()
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(answer(b[:n]), from)
		}
	}()
	closed := listen()
	closed.Close()
	return leakCase{
		checker: c,
		good:    []leakTarget{{"127.0.0.1", portOf(conn.LocalAddr()), parameters}},
		bad:     []leakTarget{{"127.0.0.1", portOf(closed.LocalAddr()), parameters}},
		silent:  []leakTarget{{"127.0.0.1", portOf(silent.LocalAddr()), parameters}},
	}
}

func answersHTTP(conn net.Conn) {
	defer conn.Close()
	converse(conn, "", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine")
}

// converse says each line after one has been read; the first at once if it is not empty.
func converse(conn net.Conn, lines ...string) {
	in := bufio.NewReader(conn)
	for i, line := range lines {
		if i > 0 {
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
		}
		if _, err := io.WriteString(conn, line); err != nil {
			return
		}
	}
}

func servesHealth(t *testing.T) leakCase {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := gogrpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return leakCase{
		checker: grpc.New(),
		good:    []leakTarget{{"127.0.0.1", portOf(l.Addr()), ""}},
		bad:     []leakTarget{{"127.0.0.1", closedPort(t), ""}, {"127.0.0.1", portOf(l.Addr()), `{"service":"none"}`}},
		silent:  []leakTarget{{"127.0.0.1", deaf(t), ""}},
	}
}

// selfSigned gives a certificate that nobody has signed.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func portOf(a net.Addr) int {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.Port
	case *net.UDPAddr:
		return a.Port
	}
	return 0
}

// deaf gives the port of a listener whose queue is full: it answers nobody.
func deaf(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}
	for range 3 {
		conn, err := net.DialTimeout("tcp", addr.String(), 200*time.Millisecond)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
	}
	return addr.Port
}

package ssl

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/youmark/pkcs8"
	"go.uber.org/goleak"

	"github.com/poise-lb/poise/plugins/checkers/http/faulty"
	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

func TestCertificate(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	good := serve(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t, year)}})
	expired := serve(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t, -time.Hour)}})
	caFile, otherFile := ca.file(t), other.file(t)
	for _, test := range []struct {
		name       string
		addr       netip.AddrPort
		parameters params
		reason     string
	}{
		{"verified by address", good, params{"ca": caFile}, ""},
		{"verified by name", good, params{"ca": caFile, "server_name": "www.example.com"}, ""},
		{"verified by virtual host", good, params{"ca": caFile, "virtualhost": "www.example.com"}, ""},
		{"verified by virtual host with port", good, params{"ca": caFile, "virtualhost": "www.example.com:8443"}, ""},
		{"another name", good, params{"ca": caFile, "server_name": "other.example.com"}, "certificate: certificate is valid for www.example.com, not other.example.com"},
		{"another authority", good, params{"ca": otherFile}, "certificate: certificate signed by unknown authority"},
		{"the system's authorities", good, params{}, "certificate: certificate signed by unknown authority"},
		{"not verified", good, params{"verify": false}, ""},
		{"expired", expired, params{"ca": caFile}, "certificate: certificate has expired"},
		{"expired, not verified", expired, params{"verify": false, "expiry_warning": "0s"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) { verifyResult(t, probe(t, test.parameters, test.addr), test.reason) })
	}
}

func TestVersions(t *testing.T) {
	cert := newAuthority(t).server(t, year)
	limited := func(low, high uint16, suites ...uint16) netip.AddrPort {
		return serve(t, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: low, MaxVersion: high, CipherSuites: suites})
	}
	old := limited(tls.VersionTLS10, tls.VersionTLS10)
	for _, test := range []struct {
		name, min string
		addr      netip.AddrPort
		reason    string
	}{
		{"1.0 by default", "", old, "handshake: "},
		{"1.0 when asked for", "1.0", old, ""},
		{"1.1 by 1.0", "1.1", old, "handshake: "},
		{"1.2", "", limited(tls.VersionTLS12, tls.VersionTLS12), ""},
		{"1.3", "1.3", limited(tls.VersionTLS13, tls.VersionTLS13), ""},
		{"1.3 by 1.2", "1.3", limited(tls.VersionTLS12, tls.VersionTLS12), "handshake: "},
		{"an old cipher", "", limited(tls.VersionTLS12, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := params{"verify": false}
			if test.min != "" {
				p["min_version"] = test.min
			}
			verifyResult(t, probe(t, p, test.addr), test.reason)
		})
	}
}

// TestSNI: keepalived's order of names.
func TestSNI(t *testing.T) {
	cert := newAuthority(t).server(t, year)
	var mu sync.Mutex
	var asked string
	addr := serve(t, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = h.ServerName
		return &cert, nil
	}})
	url := []params{{"path": "/", "virtualhost": "url.example.com"}}
	for _, test := range []struct {
		name       string
		parameters params
		sni        string
	}{
		{"nothing to tell", params{}, ""},
		{"check's", params{"virtualhost": "check.example.com:8443"}, "check.example.com"},
		{"url's", params{"virtualhost": "check.example.com", "urls": url}, "url.example.com"},
		{"sni_name", params{"virtualhost": "check.example.com", "urls": url, "sni_name": "sni.example.com"}, "sni.example.com"},
		{"off", params{"virtualhost": "check.example.com", "sni_name": "sni.example.com", "enable_sni": false}, ""},
		{"an address", params{"virtualhost": "127.0.0.1"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.parameters["verify"] = false
			verifyResult(t, probe(t, test.parameters, addr), "")
			mu.Lock()
			defer mu.Unlock()
			if asked != test.sni {
				t.Errorf("asked for %q, want %q", asked, test.sni)
			}
		})
	}
}

func keyPEM(t testing.TB, cert tls.Certificate) (plain, encrypted []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := pkcs8.MarshalPrivateKey(cert.PrivateKey, []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: secret})
}

func oldKeyPEM(t testing.TB, cert tls.Certificate) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	block, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", der, []byte("secret"), x509.PEMCipherAES128) //nolint:staticcheck // what old keys have
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

func TestClientCertificate(t *testing.T) {
	ca := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	addr := serve(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t, year)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	client := ca.server(t, year)
	plain, encrypted := keyPEM(t, client)
	cert := certPEM(client.Certificate[0])
	certFile, password := write(t, "cert.pem", cert), write(t, "password", []byte("secret\n"))
	for _, test := range []struct {
		name       string
		parameters params
		reason     string
	}{
		{"two files", params{"certificate": certFile, "key": write(t, "key.pem", plain)}, ""},
		{"one file", params{"certificate": write(t, "both.pem", append(append([]byte{}, cert...), plain...))}, ""},
		{"encrypted", params{"certificate": certFile, "key": write(t, "key.pem", encrypted), "key_password_file": password}, ""},
		{"encrypted in the old way", params{"certificate": certFile, "key": write(t, "key.pem", oldKeyPEM(t, client)), "key_password_file": password}, ""},
		{"none", params{}, "reply: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.parameters["verify"] = false
			got := probe(t, test.parameters, addr)
			if test.reason != "" {
				// With TLS 1.3 the refusal comes after the handshake: with the reply, or
				// while the request is sent.
				if got.Outcome != sdk.Down {
					t.Errorf("got %v, want down", got)
				}
				return
			}
			verifyResult(t, got, "")
		})
	}
	if _, err := New().Parse(json.RawMessage(fmt.Sprintf(`{"certificate":%q,"key":%q}`, certFile, write(t, "key.pem", encrypted)))); err == nil || !strings.HasPrefix(err.Error(), "/key: ") || !strings.Contains(err.Error(), "is encrypted: set key_password_file") {
		t.Errorf("encrypted, without a password: %v", err)
	}
	wrong := write(t, "wrong", []byte("wrong"))
	if _, err := New().Parse(json.RawMessage(fmt.Sprintf(`{"certificate":%q,"key":%q,"key_password_file":%q}`, certFile, write(t, "key.pem", encrypted), wrong))); err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), `"wrong"`) {
		t.Errorf("encrypted, with a wrong password: %v", err)
	}
}

// TestFilesChange: a file that changes is read again; one that cannot be used is not.
func TestFilesChange(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	addr := serve(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t, year)}})
	file := other.file(t)
	p := parsed(t, params{"ca": file})
	verifyResult(t, probeIn(t, p, addr, 10*time.Second), "certificate: certificate signed by unknown authority")
	replace := func(text []byte) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		p.files.looked, p.files.stamps = time.Time{}, "another"
	}
	replace(certPEM(ca.cert.Raw))
	verifyResult(t, probeIn(t, p, addr, 10*time.Second), "")
	replace([]byte("nonsense"))
	verifyResult(t, probeIn(t, p, addr, 10*time.Second), "")
}

// TestExpiryWarning: the check stays up and says why it will not for ever; the log is
// told once.
func TestExpiryWarning(t *testing.T) {
	ca := newAuthority(t)
	addr := serve(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t, 72*time.Hour)}})
	var log bytes.Buffer
	checker := New()
	if err := checker.(sdk.Configurer).Configure(context.Background(), sdk.Settings{Logger: hclog.New(&hclog.LoggerOptions{Output: &log})}); err != nil {
		t.Fatal(err)
	}
	p, err := checker.Parse(json.RawMessage(`{"verify":false}`))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := probeIn(t, p, addr, 10*time.Second); got.Outcome != sdk.Up || !strings.HasPrefix(got.Reason, "the certificate expires in 2 days, at ") {
			t.Errorf("got %v, want up with a warning", got)
		}
	}
	if n := strings.Count(log.String(), "the certificate expires in 2 days"); n != 1 || !strings.Contains(log.String(), "CN=www.example.com") {
		t.Errorf("the log was told %d times, want once: %s", n, log.String())
	}
	verifyResult(t, probe(t, params{"verify": false, "expiry_warning": "48h"}, addr), "")
	gone := serve(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t, -time.Hour)}})
	if got := probe(t, params{"verify": false}, gone); got.Outcome != sdk.Up || !strings.Contains(got.Reason, "expired at") {
		t.Errorf("expired: got %v, want up with a warning", got)
	}
}

// TestEnds: how a connection may end.
func TestEnds(t *testing.T) {
	cert := newAuthority(t).server(t, year)
	end := func(how func(conn *tls.Conn, raw net.Conn)) netip.AddrPort {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				raw, err := l.Accept()
				if err != nil {
					return
				}
				conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}})
				if _, err := conn.Read(make([]byte, 4096)); err == nil {
					how(conn, raw)
				}
				raw.Close()
			}
		}()
		return l.Addr().(*net.TCPAddr).AddrPort()
	}
	reply := "HTTP/1.0 200 OK\r\n\r\n" + faulty.Body
	proper := end(func(c *tls.Conn, _ net.Conn) { _, _ = io.WriteString(c, reply); c.Close() })
	silent := end(func(c *tls.Conn, _ net.Conn) { _, _ = io.WriteString(c, reply) })
	reset := end(func(c *tls.Conn, raw net.Conn) {
		_, _ = io.WriteString(c, reply)
		time.Sleep(200 * time.Millisecond)
		_ = raw.(*net.TCPConn).SetLinger(0)
	})
	for _, test := range []struct {
		name       string
		addr       netip.AddrPort
		parameters params
		reason     string
	}{
		{"proper", proper, params{}, ""},
		{"proper, compliant", proper, params{"tls_compliant": true}, ""},
		{"silent", silent, params{}, ""},
		{"silent, compliant", silent, params{"tls_compliant": true}, "read the body, of which 12 bytes have come: the connection was closed without a close_notify"},
		{"silent, compliant url", silent, params{"urls": []params{{"path": "/", "tls_compliant": true}}}, "read the body, of which 12 bytes have come: the connection was closed without a close_notify"},
		{"reset, as keepalived reads", reset, params{"http_protocol": "1.0"}, ""},
		{"reset", reset, params{}, "read the body, of which 12 bytes have come: connection reset by peer"},
		{"reset, compliant", reset, params{"http_protocol": "1.0", "tls_compliant": true}, "read the body, of which 12 bytes have come: connection reset by peer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.parameters["verify"] = false
			verifyResult(t, probe(t, test.parameters, test.addr), test.reason)
		})
	}
}

// TestFaults: what misbehaves before the first byte of a reply, and over TLS as well.
func TestFaults(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{newAuthority(t).server(t, year)}}
	for _, test := range []struct {
		name, reason string
		plain        bool
	}{
		{"right", "handshake: not TLS: the server's answer begins with", true},
		{"never answers", "handshake: timeout after", true},
		{"closed at once", "handshake: ", true},
		{"right", "", false},
		{"chunked", "", false},
		{"not found", "reply: status 404, not in 200-299", false},
		{"empty reply", "reply: empty reply", false},
		{"a byte a second", "read the headers: timeout after", false},
		{"headers without end", "reply: headers longer than 65536 bytes", false},
		{"chunks closed early", "reply: connection closed after 9 bytes, before the last chunk", false},
		{"garbage", "reply: ", false},
	} {
		t.Run(fmt.Sprintf("%s/plain %t", test.name, test.plain), func(t *testing.T) {
			t.Parallel()
			of := config
			if test.plain {
				of = nil
			}
			f := faulty.Find(t, test.name)
			if test.plain {
				// Something that a server says without being asked.
				f = map[string]faulty.Fault{"right": faulty.Find(t, "answer before the request"), "never answers": faulty.Find(t, "never answers"), "closed at once": faulty.Find(t, "closed at once")}[test.name]
			}
			verifyResult(t, probeIn(t, parsed(t, params{"verify": false}), faulty.Start(t, f, of), 3*time.Second), test.reason)
		})
	}
}

func TestHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.ProtoMajor != 2 || r.Host != "www.example.com" {
			w.WriteHeader(500)
		}
		_, _ = io.WriteString(w, faulty.Body)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	addr := server.Listener.Addr().(*net.TCPAddr).AddrPort()
	url := []params{{"path": "/", "regex": "^hello"}}
	verifyResult(t, probe(t, params{"verify": false, "http_protocol": "2", "virtualhost": "www.example.com", "urls": url}, addr), "")
	old := serve(t, &tls.Config{Certificates: []tls.Certificate{newAuthority(t).server(t, year)}})
	verifyResult(t, probe(t, params{"verify": false, "http_protocol": "2"}, old), "handshake: the server does not speak HTTP/2 (ALPN)")
}

func TestParameters(t *testing.T) {
	nonsense := write(t, "nonsense", []byte("nonsense"))
	for _, test := range []struct{ parameters, want string }{
		{`{"min_version":"2.0"}`, `/min_version: must be 1.0, 1.1, 1.2 or 1.3, not "2.0"`},
		{`{"ca":"/none/such"}`, "/ca: read the authorities: open /none/such: no such file or directory"},
		{fmt.Sprintf(`{"ca":%q}`, nonsense), "/ca: no certificate in PEM in " + nonsense},
		{`{"certificate":"/none/such"}`, "/certificate: read the client certificate: open /none/such: no such file or directory"},
		{fmt.Sprintf(`{"certificate":%q,"key":"/none/such"}`, nonsense), "/key: read the key: open /none/such: no such file or directory"},
		{fmt.Sprintf(`{"certificate":%q}`, nonsense), "/certificate: client certificate in " + nonsense},
		{`{"key":"/k"}`, "/key: has no meaning without a certificate"},
		{`{"key_password_file":"/k"}`, "/key_password_file: has no meaning without a certificate"},
		{`{"verify":false,"ca":"/k"}`, "/ca: has no meaning where nothing is verified"},
		{`{"verify":false,"server_name":"x"}`, "/server_name: has no meaning where nothing is verified"},
		{`{"sni_name":"192.0.2.1"}`, "/sni_name: must be a name"},
		{`{"server_name":"a b"}`, "/server_name: must be a name"},
		{`{"expiry_warning":"-1h"}`, "/expiry_warning: must not be negative"},
		{`{"expiry_warning":"soon"}`, "/expiry_warning: "},
		{`{"urls":[{"path":"/","status":["700"]}]}`, "/urls/0/status/0: must be a status"},
		{`{"urls":[{"pth":"/"}]}`, `/urls/0/pth: unknown key "pth"`},
	} {
		if _, err := New().Parse(json.RawMessage(test.parameters)); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.parameters, err, test.want)
		}
	}
}

// TestValidate: a file that may not be read here is a warning only.
func TestValidate(t *testing.T) {
	v := New().(sdk.Validator)
	if got := v.Validate(json.RawMessage(`{"ca":"/none/such"}`)); len(got) != 1 || got[0].Warning || got[0].Path != "/ca" {
		t.Errorf("a file that is missing: %v", got)
	}
	p := &fileError{"/ca", fmt.Errorf("read the authorities: %w", os.ErrPermission)}
	if !forbidden(p) {
		t.Error("a file that may not be read is not told from one that is missing")
	}
	secret := newAuthority(t).file(t)
	if err := os.Chmod(secret, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(secret); err == nil {
		t.Log("this user may read everything")
		return
	}
	if got := v.Validate(json.RawMessage(fmt.Sprintf(`{"ca":%q}`, secret))); len(got) != 1 || !got[0].Warning {
		t.Errorf("a file that may not be read: %v", got)
	}
}

func TestConform(t *testing.T) {
	c := plugintest.Serve(t, sdk.Plugin{Name: "checkers", Version: "test", Checkers: map[string]sdk.Checker{Type: New()}})
	c.Configure(t, "")
	plugintest.Conform(t, c, map[string]string{Type: `{"verify":false,"enable_sni":true,"expiry_warning":"336h"}`})
}

// TestNothingLeft: no goroutine stays after probes that end in every way.
func TestNothingLeft(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	config := &tls.Config{Certificates: []tls.Certificate{newAuthority(t).server(t, year)}}
	for _, test := range []struct {
		fault string
		of    *tls.Config
	}{{"right", config}, {"never answers", config}, {"never answers", nil}, {"reset", config}} {
		addr := faulty.Start(t, faulty.Find(t, test.fault), test.of)
		for range 5 {
			probeIn(t, parsed(t, params{"verify": false}), addr, 100*time.Millisecond)
		}
	}
}

package grpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"

	"github.com/poise-lb/poise/sdk"
)

// identity is a certificate with its key, in files, signed by itself.
type identity struct {
	certificate, key string
	pair             tls.Certificate
	pool             *x509.CertPool
}

func issue(t testing.TB, until time.Time) identity {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
		DNSNames: []string{"health.example"}, IPAddresses: []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP("::1")},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out := identity{certificate: filepath.Join(dir, "certificate.pem"), key: filepath.Join(dir, "key.pem"), pool: x509.NewCertPool()}
	certPEM, keyPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for name, text := range map[string][]byte{out.certificate: certPEM, out.key: keyPEM} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out.pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	out.pool.AppendCertsFromPEM(certPEM)
	return out
}

func TestTLS(t *testing.T) {
	t.Parallel()
	good, expired, client := issue(t, time.Now().Add(time.Hour)), issue(t, time.Now().Add(-time.Hour)), issue(t, time.Now().Add(time.Hour))
	server := func(c *tls.Config) grpc.ServerOption { return grpc.Creds(credentials.NewTLS(c)) }
	plain := serve(t, "127.0.0.1:0", health.NewServer())
	secured := serve(t, "127.0.0.1:0", health.NewServer(), server(&tls.Config{Certificates: []tls.Certificate{good.pair}}))
	stale := serve(t, "[::1]:0", health.NewServer(), server(&tls.Config{Certificates: []tls.Certificate{expired.pair}}))
	old := serve(t, "127.0.0.1:0", health.NewServer(), server(&tls.Config{Certificates: []tls.Certificate{good.pair}, MaxVersion: tls.VersionTLS12}))
	mutual := serve(t, "127.0.0.1:0", health.NewServer(), server(&tls.Config{
		Certificates: []tls.Certificate{good.pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: client.pool, MaxVersion: tls.VersionTLS12,
	}))
	silent := raw(t, hang)
	tests := []struct {
		name       string
		target     sdk.Target
		parameters string
		reason     string
	}{
		{"verified by address", sdk.Target{Addr: secured}, fmt.Sprintf(`{"tls":true,"ca":%q}`, good.certificate), ""},
		{"verified by name", sdk.Target{Addr: secured}, fmt.Sprintf(`{"tls":true,"ca":%q,"server_name":"health.example"}`, good.certificate), ""},
		{"another name", sdk.Target{Addr: secured}, fmt.Sprintf(`{"tls":true,"ca":%q,"server_name":"other.example"}`, good.certificate), "TLS: tls: failed to verify certificate: x509: certificate is valid for health.example, not other.example"},
		{"authority not known", sdk.Target{Addr: secured}, `{"tls":true}`, "TLS: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"not verified", sdk.Target{Addr: secured}, `{"tls":true,"verify":false}`, ""},
		{"expired", sdk.Target{Addr: stale}, fmt.Sprintf(`{"tls":true,"ca":%q}`, expired.certificate), "TLS: the certificate of CN=test is valid from "},
		{"expired, not verified", sdk.Target{Addr: stale}, `{"tls":true,"verify":false}`, ""},
		{"too old a version", sdk.Target{Addr: old}, `{"tls":true,"verify":false,"min_version":"1.3"}`, "TLS: "},
		{"client certificate", sdk.Target{Addr: mutual}, fmt.Sprintf(`{"tls":true,"ca":%q,"certificate":%q,"key":%q}`, good.certificate, client.certificate, client.key), ""},
		{"no client certificate", sdk.Target{Addr: mutual}, fmt.Sprintf(`{"tls":true,"ca":%q}`, good.certificate), "TLS: "},
		{"no TLS there", sdk.Target{Addr: plain}, `{"tls":true,"verify":false}`, "TLS: "},
		{"TLS there", sdk.Target{Addr: secured}, ``, "health check: Unavailable: "},
		{"silence", sdk.Target{Addr: silent}, `{"tls":true}`, "TLS: timeout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			timeout := 20 * time.Second
			if test.name == "silence" {
				timeout = 300 * time.Millisecond
			}
			got := probe(t, test.parameters, test.target, timeout)
			if (got.Outcome == sdk.Up) != (test.reason == "") || got.Outcome == sdk.Unknown || !strings.HasPrefix(got.Reason, test.reason) {
				t.Errorf("got %v, want %q", got, test.reason)
			}
		})
	}
}

// TestFilesChange: authorities are read again when their file has changed, and kept while
// the new one cannot be used.
func TestFilesChange(t *testing.T) {
	first, second := issue(t, time.Now().Add(time.Hour)), issue(t, time.Now().Add(time.Hour))
	addr := serve(t, "127.0.0.1:0", health.NewServer(), grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{second.pair}})))
	file := filepath.Join(t.TempDir(), "ca.pem")
	replace := func(text []byte, at time.Time) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) []byte {
		t.Helper()
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	replace(read(first.certificate), time.Unix(1, 0))
	made, err := New().Parse(fmt.Appendf(nil, `{"tls":true,"ca":%q}`, file))
	if err != nil {
		t.Fatal(err)
	}
	p := made.(*prober)
	once := func() sdk.Outcome {
		p.secure.looked = time.Time{}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		return p.Probe(ctx, sdk.Target{Addr: addr, Trace: t.Logf}).Outcome
	}
	if got := once(); got != sdk.Down {
		t.Fatalf("got %v with another authority, want down", got)
	}
	replace(read(second.certificate), time.Unix(2, 0))
	if got := once(); got != sdk.Up {
		t.Errorf("got %v with the right authority, want up", got)
	}
	replace([]byte("no certificate"), time.Unix(3, 0))
	if got := once(); got != sdk.Up {
		t.Errorf("got %v with a file that cannot be used, want the one before to be kept", got)
	}
}

func TestParse(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := issue(t, time.Now().Add(time.Hour))
	for parameters, want := range map[string]string{
		`{}`:                                                 "",
		`{"service":"a"}`:                                    "",
		`{"tls":true}`:                                       "",
		`{"verify":true}`:                                    "/verify: has no meaning without TLS",
		`{"server_name":"a"}`:                                "/server_name: has no meaning without TLS",
		`{"tls":true,"min_version":"1.4"}`:                   "/min_version: must be 1.0",
		`{"tls":true,"server_name":"a b"}`:                   "/server_name: must be a name",
		`{"tls":true,"verify":false,"ca":"/x"}`:              "/ca: has no meaning where nothing is verified",
		`{"tls":true,"key":"/x"}`:                            "/key: has no meaning without a certificate",
		`{"tls":true,"ca":"/none/such"}`:                     "/ca: read the authorities: open /none/such",
		fmt.Sprintf(`{"tls":true,"ca":%q}`, broken):          "/ca: no certificate in PEM in ",
		fmt.Sprintf(`{"tls":true,"certificate":%q}`, broken): "/certificate: client certificate and key: ",
		fmt.Sprintf(`{"tls":true,"certificate":%q,"key":%q}`, good.certificate, good.key): "",
		`{"tls":"yes"}`:    "/tls: must be true or false",
		`{"timeout":"1s"}`: "/timeout: unknown key",
	} {
		_, err := New().Parse([]byte(parameters))
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", parameters, err, want)
		}
		problems := New().(sdk.Validator).Validate([]byte(parameters))
		if (len(problems) == 0) != (want == "") {
			t.Errorf("%s: validate gives %v, want %q", parameters, problems, want)
		}
	}
}

package ssl

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/plugins/checkers/http/faulty"
	"github.com/poise-lb/poise/sdk"
)

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serial int64

func sign(t testing.TB, template *x509.Certificate, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial++
	template.SerialNumber = big.NewInt(serial)
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-90 * 24 * time.Hour)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	cert, key := sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour * 24 * 365),
	}, nil)
	return &authority{cert, key}
}

// server makes a certificate that expires after a time.
func (a *authority) server(t testing.TB, left time.Duration) tls.Certificate {
	t.Helper()
	cert, key := sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "www.example.com"}, DNSNames: []string{"www.example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(left), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// write puts text into a file of the test's.
func write(t testing.TB, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (a *authority) file(t testing.TB) string { return write(t, "ca.pem", certPEM(a.cert.Raw)) }

// serve answers rightly with a TLS configuration.
func serve(t testing.TB, config *tls.Config) netip.AddrPort {
	t.Helper()
	return faulty.Start(t, faulty.Find(t, "right"), config)
}

func parsed(t testing.TB, parameters map[string]any) *prober {
	t.Helper()
	text, err := json.Marshal(parameters)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New().Parse(text)
	if err != nil {
		t.Fatalf("parse %s: %s", text, err)
	}
	return p.(*prober)
}

func probe(t testing.TB, parameters map[string]any, addr netip.AddrPort) sdk.Result {
	t.Helper()
	return probeIn(t, parsed(t, parameters), addr, 10*time.Second)
}

func probeIn(t testing.TB, p sdk.Prober, addr netip.AddrPort, timeout time.Duration) sdk.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return p.Probe(ctx, sdk.Target{Addr: addr, Trace: t.Logf})
}

type params = map[string]any

func verifyResult(t *testing.T, got sdk.Result, reason string) {
	t.Helper()
	if reason == "" && (got.Outcome != sdk.Up || got.Reason != "") || reason != "" && (got.Outcome != sdk.Down || !strings.HasPrefix(got.Reason, reason)) {
		t.Errorf("got %v, want %q (up if empty)", got, reason)
	}
}

const year = 365 * 24 * time.Hour

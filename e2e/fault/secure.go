package fault

import (
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
	"sync"
	"time"
)

// secure is an HTTPS server. Beside those of web, its steps:
//
//	expired             its certificate is out of date
//	future              its certificate is not valid yet
//	othername           its certificate is for another name
//	tls:1.0 … tls:1.3   no other version
//	sni:NAME            the handshake fails for any other name
//	noclose             the answer without a close_notify
//	client              it wants a certificate of the client
func secure(conn *net.TCPConn, verb, arg string) {
	kind := "good"
	config := &tls.Config{MinVersion: tls.VersionTLS10}
	switch verb {
	case "expired", "future", "othername":
		kind = verb
	case "tls":
		v := map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[arg]
		config.MinVersion, config.MaxVersion = v, v
	case "sni":
		config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			if h.ServerName != arg {
				return nil, fmt.Errorf("the name %q is not %q", h.ServerName, arg)
			}
			return nil, nil
		}
	case "client":
		config.ClientAuth = tls.RequireAnyClientCert
	}
	config.Certificates = []tls.Certificate{certificates()[kind]}
	c := tls.Server(conn, config)
	if err := c.Handshake(); err != nil {
		return
	}
	if serveWeb(c, verb, arg) {
		if verb != "noclose" {
			_ = c.CloseWrite()
		}
		linger(conn)
	} else {
		drain(c)
	}
}

// certificates are made once, each its own authority.
var certificates = sync.OnceValue(func() map[string]tls.Certificate {
	now := time.Now()
	const year = 365 * 24 * time.Hour
	return map[string]tls.Certificate{
		"good":      certificate("lab.test", now.Add(-time.Hour), now.Add(year)),
		"expired":   certificate("lab.test", now.Add(-year), now.Add(-24*time.Hour)),
		"future":    certificate("lab.test", now.Add(24*time.Hour), now.Add(year)),
		"othername": certificate("other.test", now.Add(-time.Hour), now.Add(year)),
	}
})

func certificate(name string, from, until time.Time) tls.Certificate {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(from.Unix()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: from, NotAfter: until, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// PEM gives a key and a certificate for other servers.
func PEM() (key, cert string, err error) {
	c := certificates()["good"]
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return "", "", err
	}
	key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})), nil
}

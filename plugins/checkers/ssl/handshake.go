package ssl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/plugins/checkers/http"
	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

// curves leave out the large key shares against quantum computers: a probe has no
// secrets to keep, and some old servers stumble over a greeting of two packets.
var curves = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}

// config makes what all handshakes of a check have in common.
func (p *prober) config() *tls.Config {
	c := &tls.Config{
		MinVersion: versions[p.parameters.MinVersion], CurvePreferences: curves,
		// What is verified, and against which name, is decided in verify.
		InsecureSkipVerify: true, //nolint:gosec // see verify
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if p.files.pair == nil {
				return &tls.Certificate{}, nil
			}
			return p.files.pair, nil
		},
	}
	if !p.parameters.Verify || c.MinVersion < tls.VersionTLS12 {
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			c.CipherSuites = append(c.CipherSuites, suite.ID)
		}
	}
	if p.parameters.Protocol == http.Version2 {
		c.NextProtos = []string{"h2"}
	}
	return c
}

// connect makes a TCP connection and shakes hands.
func (p *prober) connect(ctx context.Context, target sdk.Target, r http.Request) (net.Conn, string, error) {
	if err := p.files.refresh(time.Now()); err != nil {
		target.Trace("files have changed, but cannot be used: %s; those read before are", err)
		p.owner.logger().Warn("files of a check have changed, but cannot be used: those read before are", "error", err, "target", target.Addr)
	}
	tcp, err := dial.TCP(ctx, target)
	if err != nil {
		return nil, "connect", err
	}
	name := p.name(r)
	config := p.tls.Clone()
	if p.parameters.EnableSNI {
		config.ServerName = name
	}
	under := &watched{Conn: tcp}
	conn := tls.Client(under, config)
	start := time.Now()
	if err := conn.HandshakeContext(ctx); err != nil {
		tcp.Close()
		return nil, "handshake", handshakeError(ctx, err)
	}
	state := conn.ConnectionState()
	target.Trace("%s, %s after %s; SNI %q", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), time.Since(start).Round(time.Microsecond), config.ServerName)
	for _, c := range state.PeerCertificates[:min(1, len(state.PeerCertificates))] {
		target.Trace("certificate of %s, issued by %s, from %s to %s, for %s", c.Subject, c.Issuer, c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339), strings.Join(names(c), " "))
	}
	if err := p.verify(state, name, target); err != nil {
		conn.Close()
		return nil, "certificate", err
	}
	p.expiry.look(state, target)
	if r.HTTP2 {
		if state.NegotiatedProtocol != "h2" {
			conn.Close()
			return nil, "handshake", errors.New("the server does not speak HTTP/2 (ALPN)")
		}
		return conn, "", nil
	}
	return &ending{Conn: conn, under: under, compliant: r.Compliant, raw: r.Raw}, "", nil
}

// name is what is asked for: keepalived's order.
func (p *prober) name(r http.Request) string {
	for _, name := range []string{p.parameters.SNIName, r.URLHost, r.CheckHost} {
		if name == "" {
			continue
		}
		if host, _, err := net.SplitHostPort(name); err == nil {
			name = host
		}
		return strings.Trim(name, "[]")
	}
	return ""
}

// verify says what is wrong with the server's certificate.
func (p *prober) verify(state tls.ConnectionState, name string, target sdk.Target) error {
	if !p.parameters.Verify {
		target.Trace("the certificate is not verified")
		return nil
	}
	if p.parameters.ServerName != "" {
		name = p.parameters.ServerName
	}
	if name == "" {
		name = target.Addr.Addr().WithZone("").String()
	}
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server has none")
	}
	options := x509.VerifyOptions{Roots: p.files.roots, DNSName: name, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	if _, err := state.PeerCertificates[0].Verify(options); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "x509: "))
	}
	target.Trace("the certificate is good for %s", name)
	return nil
}

// names are those a certificate is for.
func names(c *x509.Certificate) []string {
	out := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	if len(out) == 0 {
		return []string{"no names"}
	}
	return out
}

// handshakeError says what a handshake failed of.
func handshakeError(ctx context.Context, err error) error {
	var header tls.RecordHeaderError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &header):
		return fmt.Errorf("not TLS: the server's answer begins with %q", header.RecordHeader[:])
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the server closed the connection")
	}
	return err
}

// watched knows whether the other side has closed the connection.
type watched struct {
	net.Conn
	closed bool
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.closed = w.closed || errors.Is(err, io.EOF)
	return n, err
}

// ending looks at how a connection ends: by TLS's own message, or without a word.
type ending struct {
	*tls.Conn
	under     *watched
	compliant bool
	// raw: a connection that breaks has ended, as it has for keepalived.
	raw bool
}

func (e *ending) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	switch {
	case err == nil:
	case e.compliant && e.under.closed && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		err = errors.New("the connection was closed without a close_notify, which tls_compliant demands")
	case e.compliant:
	case errors.Is(err, io.ErrUnexpectedEOF), e.raw && errors.Is(err, unix.ECONNRESET):
		err = io.EOF
	}
	return n, err
}

package grpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/poise-lb/poise/sdk"
)

// lookAgain is how often files are looked at for a change.
const lookAgain = 10 * time.Second

type tlsParameters struct {
	TLS         bool   `json:"tls" doc:"speak TLS"`
	Verify      bool   `json:"verify" doc:"verify the server's certificate"`
	CA          string `json:"ca" doc:"file with the authorities to trust, in PEM; empty: the system's"`
	ServerName  string `json:"server_name" doc:"name that the certificate must be for, and that is asked for; empty: the target's address"`
	MinVersion  string `json:"min_version" doc:"oldest version of TLS to accept: 1.0, 1.1, 1.2 or 1.3"`
	Certificate string `json:"certificate" doc:"file with the client certificate, in PEM"`
	Key         string `json:"key" doc:"file with its key, in PEM; empty: it is in the certificate's file"`
}

var versions = map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// check says what is wrong with the parameters; raw tells which were given.
func (p tlsParameters) check(raw json.RawMessage) error {
	if !p.TLS {
		var given map[string]json.RawMessage
		_ = json.Unmarshal(raw, &given)
		for _, key := range []string{"verify", "ca", "server_name", "min_version", "certificate", "key"} {
			if _, ok := given[key]; ok {
				return sdk.Errorf("/"+key, "has no meaning without TLS: set tls, or leave it out")
			}
		}
		return nil
	}
	switch {
	case versions[p.MinVersion] == 0:
		return sdk.Errorf("/min_version", "must be 1.0, 1.1, 1.2 or 1.3, not %q", p.MinVersion)
	case strings.ContainsAny(p.ServerName, " \t\r\n/"):
		return sdk.Errorf("/server_name", "must be a name, not %q", p.ServerName)
	case !p.Verify && p.CA != "":
		return sdk.Errorf("/ca", "has no meaning where nothing is verified: set verify, or leave it out")
	case p.Certificate == "" && p.Key != "":
		return sdk.Errorf("/key", "has no meaning without a certificate")
	}
	return nil
}

// fileError is a file that cannot be used, of the parameter at path.
type fileError struct {
	path string
	err  error
}

func (e *fileError) parameter() error { return sdk.Errorf(e.path, "%s", e.err) }

func (e *fileError) problem() sdk.Problem {
	p := sdk.Problem{Path: e.path, Message: e.err.Error()}
	if errors.Is(e.err, fs.ErrPermission) {
		p.Warning = true
		p.Message += ": could not be looked at; the process that probes must be able to read it"
	}
	return p
}

// secure makes connections secure. Files that change are read again; while the new ones
// cannot be used, what was read before is.
type secure struct {
	tlsParameters

	mu     sync.Mutex
	config *tls.Config
	stamps []string
	looked time.Time
}

// load reads the files.
func (s *secure) load() *fileError {
	if !s.TLS {
		return nil
	}
	stamps := s.stamp()
	c := &tls.Config{
		MinVersion: versions[s.MinVersion], NextProtos: []string{"h2"}, ServerName: s.ServerName,
		InsecureSkipVerify: !s.Verify, //nolint:gosec // as configured
	}
	if s.CA != "" {
		text, err := os.ReadFile(s.CA)
		if err != nil {
			return &fileError{"/ca", fmt.Errorf("read the authorities: %w", err)}
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return &fileError{"/ca", fmt.Errorf("no certificate in PEM in %s", s.CA)}
		}
	}
	if s.Certificate != "" {
		key := s.Key
		if key == "" {
			key = s.Certificate
		}
		pair, err := tls.LoadX509KeyPair(s.Certificate, key)
		if err != nil {
			return &fileError{"/certificate", fmt.Errorf("client certificate and key: %w", err)}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	s.config, s.stamps = c, stamps
	return nil
}

// stamp says which files these are, as far as their times and sizes do.
func (s *secure) stamp() []string {
	var out []string
	for _, name := range []string{s.CA, s.Certificate, s.Key} {
		if info, err := os.Stat(name); err == nil {
			out = append(out, fmt.Sprint(name, info.ModTime().UnixNano(), info.Size()))
		} else {
			out = append(out, "")
		}
	}
	return out
}

// current gives the configuration, of files as they are now.
func (s *secure) current(target sdk.Target) *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.looked) >= lookAgain {
		s.looked = now
		if !slices.Equal(s.stamp(), s.stamps) {
			if err := s.load(); err != nil {
				target.Trace("files have changed, but cannot be used: %s; those read before are", err.err)
			}
		}
	}
	return s.config
}

// shake makes a connection secure if it has to be, and gives gRPC its word for it.
func (s *secure) shake(ctx context.Context, target sdk.Target, tcp net.Conn) (net.Conn, credentials.TransportCredentials, error) {
	if !s.TLS {
		return tcp, insecure.NewCredentials(), nil
	}
	config := s.current(target).Clone()
	if config.ServerName == "" {
		config.ServerName = target.Addr.Addr().WithZone("").String()
	}
	conn := tls.Client(tcp, config)
	start := time.Now()
	if err := conn.HandshakeContext(ctx); err != nil {
		var invalid x509.CertificateInvalidError
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			err = ctx.Err()
		case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
			// The library's words have the time of the probe, and would differ with each.
			err = fmt.Errorf("the certificate of %s is valid from %s to %s only", invalid.Cert.Subject,
				invalid.Cert.NotBefore.Format(time.RFC3339), invalid.Cert.NotAfter.Format(time.RFC3339))
		}
		return nil, nil, err
	}
	state := conn.ConnectionState()
	target.Trace("%s, %s after %s, protocol %q", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), time.Since(start).Round(time.Microsecond), state.NegotiatedProtocol)
	for _, c := range state.PeerCertificates[:min(1, len(state.PeerCertificates))] {
		target.Trace("certificate of %s, issued by %s, from %s to %s, for %s", c.Subject, c.Issuer,
			c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339), strings.Join(c.DNSNames, " "))
	}
	if !s.Verify {
		target.Trace("the certificate was not verified")
	}
	return conn, made{insecure.NewCredentials()}, nil
}

// made tells gRPC that the connection is one of TLS already.
type made struct {
	credentials.TransportCredentials
}

func (made) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (m made) Clone() credentials.TransportCredentials { return m }

package ssl

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/poise-lb/poise/plugins/checkers/http"
	"github.com/poise-lb/poise/sdk"
)

// parameters are those of the http checker, and TLS's.
type parameters struct {
	http.Parameters
	EnableSNI       bool         `json:"enable_sni" doc:"tell the server the name that is asked for"`
	SNIName         string       `json:"sni_name" doc:"that name; empty: the virtual host of the url or of the check"`
	Verify          bool         `json:"verify" doc:"verify the server's certificate"`
	CA              string       `json:"ca" doc:"file with the authorities to trust, in PEM; empty: the system's"`
	ServerName      string       `json:"server_name" doc:"name that the certificate must be for; empty: the name for SNI, else the target's address"`
	MinVersion      string       `json:"min_version" doc:"oldest version of TLS to accept: 1.0, 1.1, 1.2 or 1.3"`
	Certificate     string       `json:"certificate" doc:"file with the client certificate, in PEM"`
	Key             string       `json:"key" doc:"file with its key, in PEM; empty: it is in the certificate's file"`
	KeyPasswordFile string       `json:"key_password_file" doc:"file whose first line is the key's password"`
	ExpiryWarning   sdk.Duration `json:"expiry_warning" doc:"warn so long before the server's certificate expires; 0s: never"`
}

func defaults() parameters {
	return parameters{Parameters: http.Defaults(), EnableSNI: true, Verify: true, MinVersion: "1.2", ExpiryWarning: sdk.Duration(14 * 24 * time.Hour)}
}

var versions = map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// check says what is wrong with the parameters of TLS.
func (p *parameters) check() error {
	if versions[p.MinVersion] == 0 {
		return sdk.Errorf("/min_version", "must be 1.0, 1.1, 1.2 or 1.3, not %q", p.MinVersion)
	}
	for _, name := range []struct{ path, value string }{{"/sni_name", p.SNIName}, {"/server_name", p.ServerName}} {
		if strings.ContainsAny(name.value, " \t\r\n/") {
			return sdk.Errorf(name.path, "must be a name, not %q", name.value)
		}
	}
	switch {
	case p.SNIName != "" && net.ParseIP(p.SNIName) != nil:
		return sdk.Errorf("/sni_name", "must be a name: an address cannot be told by SNI")
	case !p.Verify && p.CA != "":
		return sdk.Errorf("/ca", "has no meaning where nothing is verified: set verify, or leave it out")
	case !p.Verify && p.ServerName != "":
		return sdk.Errorf("/server_name", "has no meaning where nothing is verified: set verify, or leave it out")
	case p.Certificate == "" && p.Key != "":
		return sdk.Errorf("/key", "has no meaning without a certificate")
	case p.Certificate == "" && p.KeyPasswordFile != "":
		return sdk.Errorf("/key_password_file", "has no meaning without a certificate")
	case p.ExpiryWarning < 0:
		return sdk.Errorf("/expiry_warning", "must not be negative")
	}
	return nil
}

// fileError is a file that cannot be used, of the parameter at path.
type fileError struct {
	path string
	err  error
}

func (e *fileError) Error() string { return e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// forbidden says that a file may be there and good, for all that this process can see.
func forbidden(err error) bool { return errors.Is(err, fs.ErrPermission) }

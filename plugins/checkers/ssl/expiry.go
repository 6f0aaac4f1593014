package ssl

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/poise-lb/poise/sdk"
)

// logEvery is how often the log is told of a certificate that expires.
const logEvery = 24 * time.Hour

// expiry warns of certificates that are about to expire, or have.
type expiry struct {
	// before is how long before; 0: never.
	before time.Duration
	logger func() hclog.Logger
	// warning of the latest handshake; empty: none.
	warning string
	logged  time.Time
}

// look looks at the certificate of a handshake.
func (e *expiry) look(state tls.ConnectionState, target sdk.Target) {
	e.warning = ""
	if e.before == 0 || len(state.PeerCertificates) == 0 {
		return
	}
	c := state.PeerCertificates[0]
	now := time.Now()
	left := c.NotAfter.Sub(now)
	if left >= e.before {
		return
	}
	e.warning = fmt.Sprintf("the certificate expires in %s, at %s", days(left), c.NotAfter.Format(time.RFC3339))
	if left < 0 {
		e.warning = fmt.Sprintf("the certificate expired at %s, and is not verified", c.NotAfter.Format(time.RFC3339))
	}
	target.Trace("warning: %s", e.warning)
	if now.Sub(e.logged) < logEvery {
		return
	}
	e.logged = now
	e.logger().Warn(e.warning, "target", target.Addr, "subject", c.Subject.String(), "issuer", c.Issuer.String())
}

// days writes a time as people count it.
func days(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	}
	return d.Round(time.Minute).String()
}

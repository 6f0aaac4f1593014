package config

// clientTLS is the root block SSL: how SSL_GET shows itself to servers.
type clientTLS struct {
	certificate, key string
	read             bool
}

// ssl reads the root block SSL, which holds for all SSL_GET of the file.
func (k *keepalived) ssl(t *statement) {
	if k.tls.read {
		k.warnf(t.place, "there is a second SSL block: it takes the place of the first, as in keepalived")
	}
	k.tls = clientTLS{read: true}
	k.each(inSSL, t.body, func(t *statement) {
		switch t.keyword() {
		case "password":
			// Not a word of it is told.
			t.next = len(t.words)
			k.errorf(t.place, "poise takes no password from a configuration that many may read: write it into a file that only root can read, and name that as key_password_file in the parameters of the check (type ssl) in YAML, or use a key without a password")
		case "certificate":
			k.tls.certificate, _ = k.text(t)
		case "key":
			k.tls.key, _ = k.text(t)
		case "ca":
			if w, ok := k.text(t); ok {
				k.warnf(t.place, "ca has no effect, as in keepalived, whose SSL_GET verifies nothing; to verify write the check in YAML with ca: %s", w)
			}
		}
	})
	if k.tls.key != "" && k.tls.certificate == "" {
		k.warnf(t.place, "key in SSL has no effect without a certificate: write certificate FILE")
		k.tls.key = ""
	}
}

// secure gives an SSL_GET what is not the plugin's default, and what the root block SSL
// says.
func (h *httpGet) secure(c *checker, of surroundings) {
	p := c.parameters
	p["verify"] = false
	p["min_version"] = "1.0"
	if !c.unverified[c.at.file] {
		c.unverified[c.at.file] = true
		c.warnf(c.at, "SSL_GET takes every certificate, as in keepalived: expired ones, and those of others; to verify it write the check in YAML (poise config convert) without verify: false")
	}
	for name, path := range map[string]string{"certificate": c.tls.certificate, "key": c.tls.key} {
		if path != "" {
			p[name] = path
		}
	}
	h.serverName(c, of)
	h.closeNotify(c)
}

// serverName is what the handshake names (SNI): of a url's virtualhost and the check's, the
// nearest. keepalived passes over the real server's.
func (h *httpGet) serverName(c *checker, of surroundings) {
	p := c.parameters
	switch {
	case !h.sni:
		p["enable_sni"] = false
		if h.sniName != "" {
			c.warnf(h.sniNameAt.place, "sni_name has no effect without enable_sni: write enable_sni")
		}
	case h.sniName != "":
		c.set(h.sniNameAt, "sni_name", h.sniName)
	case h.virtualHost == "" && of.real.virtualHost != "" && of.real.virtualHost != of.server.virtualHost:
		h.passOver(c, of)
	}
}

// passOver keeps the real server's virtualhost out of the handshake.
func (h *httpGet) passOver(c *checker, of surroundings) {
	named := 0
	for _, u := range h.urls {
		if u.parameters["virtualhost"] != nil {
			named++
		}
	}
	const remedy = "write virtualhost into SSL_GET"
	switch {
	case named == len(h.urls):
	case named > 0:
		c.warnf(c.at, "enable_sni sends virtualhost %s of the real server for a url that has none, which keepalived does not: %s", of.real.virtualHost, remedy)
	case of.server.virtualHost != "":
		c.parameters["sni_name"] = of.server.virtualHost
		c.warnf(c.at, "enable_sni sends virtualhost %s of the virtual server, not that of the real server, as in keepalived: %s", of.server.virtualHost, remedy)
	default:
		c.parameters["enable_sni"] = false
		c.warnf(c.at, "enable_sni does not send virtualhost %s of the real server, as in keepalived, and so sends nothing: %s", of.real.virtualHost, remedy)
	}
}

// closeNotify says which urls demand a proper end of TLS.
func (h *httpGet) closeNotify(c *checker) {
	all := true
	for _, u := range h.urls {
		all = all && value(either(u.compliant, h.compliant), false)
	}
	if all {
		c.parameters["tls_compliant"] = true
		return
	}
	for _, u := range h.urls {
		if value(either(u.compliant, h.compliant), false) {
			u.parameters["tls_compliant"] = true
		}
	}
}

package config

// clientTLS is the root block SSL: how SSL_GET shows itself to servers.
type clientTLS struct {
	certificate, key, ca string
	read                 bool
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
			k.tls.ca, _ = k.text(t)
		}
	})
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
	for name, path := range map[string]string{"certificate": c.tls.certificate, "key": c.tls.key, "ca": c.tls.ca} {
		if path != "" {
			p[name] = path
		}
	}
	h.serverName(c)
	h.closeNotify(c)
}

// serverName is what the handshake names (SNI).
func (h *httpGet) serverName(c *checker) {
	if !h.sni {
		c.parameters["enable_sni"] = false
	}
	if h.sniName == "" {
		return
	}
	if !h.sni {
		c.warnf(h.sniNameAt.place, "sni_name has no effect without enable_sni: write enable_sni")
		return
	}
	c.set(h.sniNameAt, "sni_name", h.sniName)
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

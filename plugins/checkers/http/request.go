package http

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/poise-lb/poise/sdk"
)

// agents are who asks: what keepalived says of itself where a check is made as
// keepalived makes it, for the servers that go by it.
const (
	agent    = "poise"
	rawAgent = "KeepAliveClient"
)

// host is what a request for the url says of the host.
func (c *Check) host(u *url, target sdk.Target) string {
	switch {
	case u.host != "":
		return u.host
	case c.virtualHost != "":
		return c.virtualHost
	}
	// A zone means nothing to others.
	return netip.AddrPortFrom(target.Addr.Addr().WithZone(""), target.Addr.Port()).String()
}

// request gives the bytes of an HTTP/1 request, which nobody changes.
func (c *Check) request(u *url, target sdk.Target) []byte {
	if u.request == nil || u.target != target.Addr {
		u.request, u.target = c.makeRequest(u, target, c.headers), target.Addr
		hidden := make(map[string]string, len(c.headers))
		for name := range c.headers {
			hidden[name] = "..."
		}
		u.shown = string(c.makeRequest(u, target, hidden))
	}
	return u.request
}

func (c *Check) makeRequest(u *url, target sdk.Target, headers map[string]string) []byte {
	var b strings.Builder
	version := "1.0"
	if c.protocol == Version11 {
		version = "1.1"
	}
	b.WriteString(c.method + " " + u.path + " HTTP/" + version + "\r\n")
	if !c.hasHeader("User-Agent") {
		b.WriteString("User-Agent: " + c.agent() + "\r\n")
	}
	if c.protocol != Version10 {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("Host: " + c.host(u, target) + "\r\n")
	for _, name := range sortedKeys(headers) {
		b.WriteString(name + ": " + headers[name] + "\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

func (c *Check) agent() string {
	if c.raw {
		return rawAgent
	}
	return agent
}

func (c *Check) hasHeader(name string) bool {
	for have := range c.headers {
		if strings.EqualFold(have, name) {
			return true
		}
	}
	return false
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// escapePointer is RFC 6901, section 3.
func escapePointer(s string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
}

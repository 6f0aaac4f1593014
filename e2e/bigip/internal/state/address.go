package state

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/e2e/bigip/internal/schema"
)

// where is an address in a route domain.
type where struct {
	ip     netip.Addr
	domain int
}

// domain is the route domain that addresses of a partition are in when they name none.
func (c *Config) domain(partition string) int {
	if p := c.Get("auth/partition", "", partition); p != nil {
		n, _ := whole(p.Values["defaultRouteDomain"])
		return n
	}
	return 0
}

func (c *Config) domainExists(id int) bool {
	for _, o := range c.kinds["net/route-domain"] {
		if n, _ := whole(o.Values["id"]); n == id {
			return true
		}
	}
	return false
}

// parse reads an address with or without %N.
func (c *Config) parse(partition, text string) (where, bool) {
	w := where{domain: c.domain(partition)}
	host, suffix, found := strings.Cut(text, "%")
	if found {
		n, err := strconv.Atoi(suffix)
		if err != nil || !c.domainExists(n) {
			return w, false
		}
		w.domain = n
	}
	switch host {
	case "any":
		w.ip = netip.IPv4Unspecified()
		return w, true
	case "any6":
		w.ip = netip.IPv6Unspecified()
		return w, true
	}
	ip, err := netip.ParseAddr(host)
	w.ip = ip
	return w, err == nil && ip.Zone() == ""
}

// show writes an address as objects of a partition have it.
func (c *Config) show(partition string, w where) string {
	text := w.ip.String()
	if w.ip.IsUnspecified() {
		text = wildcard(w.ip)
	}
	if w.domain != c.domain(partition) {
		text += "%" + strconv.Itoa(w.domain)
	}
	return text
}

func wildcard(ip netip.Addr) string {
	if ip.Is6() {
		return "any6"
	}
	return "any"
}

// split takes host and port apart: "10.0.0.1:80", "name:80", "2001:db8::1.80". Port "any"
// and "0" are the same. The host is not looked at further than its family.
func split(text string) (host string, port int, ok bool) {
	at := strings.LastIndex(text, ":")
	name := text[strings.LastIndex(text, "/")+1:]
	if strings.Count(name, ":") > 1 || strings.HasPrefix(name, "any6") {
		at = strings.LastIndex(text, ".")
	}
	if at <= 0 {
		return "", 0, false
	}
	host = text[:at]
	if text[at+1:] == "any" {
		return host, 0, true
	}
	port, err := strconv.Atoi(text[at+1:])
	return host, port, err == nil && port >= 0 && port <= 65535
}

func suffix(six bool, port int) string {
	switch {
	case six && port == 0:
		return ".any"
	case six:
		return "." + strconv.Itoa(port)
	}
	return ":" + strconv.Itoa(port)
}

// fullMask is the mask of a single address.
func fullMask(ip netip.Addr) string {
	switch {
	case ip.IsUnspecified():
		return wildcard(ip)
	case ip.Is6():
		return "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	}
	return "255.255.255.255"
}

// maskOf reads a mask in the form of an address.
func maskOf(text string) bool {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	ended := false
	for _, b := range ip.AsSlice() {
		for bit := 7; bit >= 0; bit-- {
			set := b>>bit&1 == 1
			if set && ended {
				return false
			}
			ended = ended || !set
		}
	}
	return true
}

// protocols are the names that numbers of ipProtocol are shown with.
var protocols = map[int]string{
	0: "any", 1: "icmp", 4: "ipencap", 6: "tcp", 17: "udp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah",
	58: "ipv6-icmp", 89: "ospf", 97: "etherip", 132: "sctp", 136: "udplite",
}

func protocol(v any) (string, bool) {
	if n, ok := whole(v); ok {
		name, known := protocols[n]
		return name, known
	}
	for _, name := range protocols {
		if v == name {
			return name, true
		}
	}
	return "", false
}

// setSpecial writes what the table has no type for.
func (e *Edit) setSpecial(o *Object, f *schema.Field, values map[string]any, v any) *Error {
	if f.Name == "members" {
		_, err := list(f, v)
		return err
	}
	text, isText := v.(string)
	switch f.Name {
	case "ipProtocol":
		name, ok := protocol(v)
		if !ok {
			return invalid(f.Name, v)
		}
		values[f.Name] = name
		return nil
	case "userDefined":
		return nil
	case "address":
		w, ok := e.parse(o.Partition, text)
		if !ok {
			return invalid(f.Name, v)
		}
		values[f.Name] = e.show(o.Partition, w)
		return nil
	case "mask":
		if text == "any" || text == "any6" || text == "none" || maskOf(text) {
			if ip, err := netip.ParseAddr(text); err == nil {
				text = ip.String()
			}
			values[f.Name] = text
			return nil
		}
	case "source":
		return e.setSource(o, f, values, v, text)
	case "destination":
		if strings.HasPrefix(o.Kind.Path, "ltm/monitor/") {
			if !monitorDestination(text) {
				return invalid(f.Name, v)
			}
		}
		if isText && text != "" {
			values[f.Name] = text
			return nil
		}
	}
	return invalid(f.Name, v)
}

func (e *Edit) setSource(o *Object, f *schema.Field, values map[string]any, v any, text string) *Error {
	host, bits, found := strings.Cut(text, "/")
	w, ok := e.parse(o.Partition, host)
	if !ok {
		return invalid(f.Name, v)
	}
	if !found {
		bits = strconv.Itoa(w.ip.BitLen())
	}
	n, err := strconv.Atoi(bits)
	if err != nil || n < 0 || n > w.ip.BitLen() {
		return invalid(f.Name, v)
	}
	shown := w.ip.String()
	if w.domain != e.domain(o.Partition) {
		shown += "%" + strconv.Itoa(w.domain)
	}
	values[f.Name] = shown + "/" + bits
	return nil
}

// monitorDestination takes "*:*", "*:80", "10.0.0.1:80", "*.80" and "2001:db8::1.80".
func monitorDestination(text string) bool {
	at := strings.LastIndexAny(text, ":.")
	if at < 0 {
		return false
	}
	host, port := text[:at], text[at+1:]
	if port != "*" {
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return false
		}
	}
	host, _, _ = strings.Cut(host, "%")
	if host == "*" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Is6() == (text[at] == '.')
}

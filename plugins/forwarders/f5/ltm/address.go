package ltm

import (
	"net/netip"
	"strconv"
	"strings"
)

// Address is an address in a route domain. It is comparable.
type Address struct {
	IP netip.Addr
	// Domain is the route domain; a partition has one that goes without saying.
	Domain int
}

// Endpoint is an address and a port, 0 for every port. It is comparable.
type Endpoint struct {
	Address
	Port uint16
}

// parseAddress reads "10.0.0.1", "10.0.0.1%10", "2001:db8::1", "any", "any6". What names
// no route domain is in the one given.
func parseAddress(text string, domain int) (Address, bool) {
	host, suffix, found := strings.Cut(text, "%")
	a := Address{Domain: domain}
	if found {
		n, err := strconv.ParseUint(suffix, 10, 16)
		if err != nil {
			return a, false
		}
		a.Domain = int(n)
	}
	switch host {
	case "any":
		a.IP = netip.IPv4Unspecified()
		return a, true
	case "any6":
		a.IP = netip.IPv6Unspecified()
		return a, true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Zone() != "" {
		return a, false
	}
	a.IP = ip.Unmap()
	return a, true
}

// text is an address as the device writes it in a partition with the given domain.
func (a Address) text(domain int) string {
	text := a.IP.String()
	switch {
	case a.IP.IsUnspecified() && a.IP.Is6():
		text = "any6"
	case a.IP.IsUnspecified():
		text = "any"
	}
	if a.Domain != domain {
		text += "%" + strconv.Itoa(a.Domain)
	}
	return text
}

func (e Endpoint) text(domain int) string {
	return withPort(e.Address.text(domain), e.Port)
}

// withPort joins a node or an address and a port: a dot goes before the port of an IPv6
// address, a colon before that of everything else.
func withPort(host string, port uint16) string {
	separator := ":"
	if isIPv6(host) {
		separator = "."
	}
	return host + separator + strconv.Itoa(int(port))
}

func isIPv6(host string) bool {
	return strings.Count(host, ":") > 1 || host == "any6" || strings.HasPrefix(host, "any6%")
}

// splitPort takes a node or an address and its port apart. The port may be a number or
// "any".
func splitPort(text string) (host string, port uint16, ok bool) {
	at := strings.LastIndexByte(text, ':')
	if strings.Count(text, ":") > 1 || strings.HasPrefix(text, "any6") {
		at = strings.LastIndexByte(text, '.')
	}
	if at <= 0 {
		return "", 0, false
	}
	if text[at+1:] == "any" {
		return text[:at], 0, true
	}
	n, err := strconv.ParseUint(text[at+1:], 10, 16)
	return text[:at], uint16(n), err == nil
}

// baseName is the last part of a full path.
func baseName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// partitionOf is the first part of a full path: "Common" of "/Common/web".
func partitionOf(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first
}

// full makes a full path of what may be a bare name.
func full(partition, name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return "/" + partition + "/" + name
}

// maskText is a prefix length as the device writes masks.
func maskText(six bool, bits int) string {
	size := 32
	if six {
		size = 128
	}
	raw := make([]byte, size/8)
	for i := 0; i < bits && i < size; i++ {
		raw[i/8] |= 0x80 >> (i % 8)
	}
	ip, _ := netip.AddrFromSlice(raw)
	return ip.String()
}

// maskBits reads a mask; all is the number of bits of a mask that leaves nothing out.
func maskBits(text string) (bits, all int, ok bool) {
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" {
		return 0, 0, false
	}
	ended := false
	for _, b := range ip.AsSlice() {
		for m := byte(0x80); m != 0; m >>= 1 {
			switch {
			case b&m == 0:
				ended = true
			case ended:
				return 0, 0, false
			default:
				bits++
			}
		}
	}
	return bits, ip.BitLen(), true
}

// normalMask gives masks that mean the same the same text.
func normalMask(text string) string {
	text = strings.TrimSpace(text)
	if text == "" || text == "none" || text == "any" || text == "any6" {
		return text
	}
	if ip, err := netip.ParseAddr(text); err == nil {
		return ip.String()
	}
	return text
}

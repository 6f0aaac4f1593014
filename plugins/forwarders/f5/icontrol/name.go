package icontrol

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Name is the identity of an object: its full path, "/partition/folder/name".
type Name struct {
	Partition string
	// Folder is below the partition, "a" or "a/b"; mostly empty.
	Folder string
	Name   string
}

// ParseName reads a full path.
func ParseName(full string) (Name, error) {
	rest, rooted := strings.CutPrefix(full, "/")
	parts := strings.Split(rest, "/")
	if !rooted || len(parts) < 2 {
		return Name{}, fmt.Errorf("%q is not the full path of an object: write it as /partition/name", full)
	}
	return nameOf(parts)
}

// nameOf makes a name of partition, folders and name.
func nameOf(parts []string) (Name, error) {
	last := len(parts) - 1
	n := Name{Partition: parts[0], Folder: strings.Join(parts[1:last], "/"), Name: parts[last]}
	return n, n.validate(len(parts) > 2)
}

// String gives the full path.
func (n Name) String() string { return "/" + strings.Join(n.parts(), "/") }

// Validate says why a device cannot have an object of this name.
func (n Name) Validate() error { return n.validate(n.Folder != "") }

func (n Name) validate(folder bool) error {
	if err := validSegment(n.Partition); err != nil {
		return fmt.Errorf("partition of %q: %w", n.String(), err)
	}
	if err := validSegment(n.Name); err != nil {
		return fmt.Errorf("name of %q: %w", n.String(), err)
	}
	if folder {
		for _, f := range strings.Split(n.Folder, "/") {
			if err := validSegment(f); err != nil {
				return fmt.Errorf("folder of %q: %w", n.String(), err)
			}
		}
	}
	return nil
}

func (n Name) parts() []string {
	if n.Folder == "" {
		return []string{n.Partition, n.Name}
	}
	return append(append([]string{n.Partition}, strings.Split(n.Folder, "/")...), n.Name)
}

// validSegment is about what stands between two slashes. A tilde stands for a slash in
// addresses, so that a name with one could be read as another name.
func validSegment(s string) error {
	switch {
	case s == "":
		return errors.New("it is empty")
	case s == "." || s == "..":
		return fmt.Errorf("%q is no name", s)
	case !utf8.ValidString(s):
		return errors.New("it is not UTF-8")
	case strings.ContainsAny(s, "/~"):
		return errors.New("it contains a slash or a tilde")
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("it contains a character that cannot be printed")
	}
	return nil
}

// JoinPort puts a port behind a node's name or address, as members and destinations are
// named: after a dot behind an IPv6 address, else after a colon.
func JoinPort(host string, port uint16) string {
	separator := ":"
	if strings.Contains(host, ":") || host == anyIPv6 {
		separator = "."
	}
	return host + separator + strconv.Itoa(int(port))
}

// SplitPort undoes JoinPort. The port is text: a device may name it.
func SplitPort(s string) (host, port string, ok bool) {
	at := strings.LastIndexByte(s, ':')
	if strings.Count(s, ":") > 1 || strings.HasPrefix(s, anyIPv6+".") {
		at = strings.LastIndexByte(s, '.')
		if at < 0 {
			return "", "", false
		}
		if addr, _, err := ParseAddress(s[:at]); err != nil || !addr.Is6() {
			return "", "", false
		}
	}
	if at <= 0 || at == len(s)-1 {
		return "", "", false
	}
	return s[:at], s[at+1:], true
}

// What the wildcard addresses read back as.
const (
	anyIPv4 = "any"
	anyIPv6 = "any6"
)

// NoRouteDomain stands for an address without a route domain's number: it is in the one
// that the partition implies.
const NoRouteDomain = -1

// ParseAddress reads an address that may end in a route domain's number, "192.0.2.1%10".
func ParseAddress(s string) (addr netip.Addr, routeDomain int, err error) {
	routeDomain = NoRouteDomain
	text, domain, has := strings.Cut(s, "%")
	if has {
		number, err := strconv.ParseUint(domain, 10, 16)
		if err != nil {
			return netip.Addr{}, 0, fmt.Errorf("route domain of address %q: %q is not a number up to 65535", s, domain)
		}
		routeDomain = int(number)
	}
	switch text {
	case anyIPv4:
		return netip.IPv4Unspecified(), routeDomain, nil
	case anyIPv6:
		return netip.IPv6Unspecified(), routeDomain, nil
	}
	if addr, err = netip.ParseAddr(text); err != nil {
		return netip.Addr{}, 0, fmt.Errorf("%q is not an address", s)
	}
	return addr, routeDomain, nil
}

// FormatAddress undoes ParseAddress; a zone is left out, because its sign means a route
// domain to a device.
func FormatAddress(addr netip.Addr, routeDomain int) string {
	text := addr.WithZone("").String()
	if routeDomain != NoRouteDomain {
		text += "%" + strconv.Itoa(routeDomain)
	}
	return text
}

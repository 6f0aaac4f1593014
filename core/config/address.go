package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/poise-lb/poise/core/model"
)

var (
	errAddress = errors.New("not an IPv4 or IPv6 address (names are not resolved)")
	errZone    = errors.New("an address with a zone cannot be used here: remove the % and what follows")
	errMapped  = errors.New("an IPv4 address written as IPv6: write it as IPv4")
)

// parseAddress reads a literal address without a zone.
func parseAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Addr{}, errAddress
	case a.Zone() != "":
		return netip.Addr{}, errZone
	case a.Is4In6():
		return netip.Addr{}, errMapped
	}
	return a, nil
}

// parseMethod reads a forwarding method, in capitals as keepalived has it.
func parseMethod(s string) (model.Method, error) {
	for _, m := range []model.Method{model.NAT, model.DR, model.TUN} {
		if m.String() == s {
			return m, nil
		}
	}
	if u := strings.ToUpper(s); u != s && slices.Contains([]string{"NAT", "DR", "TUN"}, u) {
		return 0, fmt.Errorf("unknown forwarding method %s: write %s in capitals", s, u)
	}
	return 0, fmt.Errorf("unknown forwarding method %s: it is NAT, DR or TUN", s)
}

// checkScheduler tells what is wrong with the name of a scheduler.
func checkScheduler(s string) error {
	if slices.Contains(model.Schedulers, s) {
		return nil
	}
	return fmt.Errorf("unknown scheduler %s%s (known: %s)", s, meant(s, model.Schedulers), schedulerNames())
}

// checkTunnel tells what is wrong with a tunnel of the method TUN.
func checkTunnel(t model.Tunnel) error {
	switch t.Type {
	case "":
		if t.Port != 0 || t.Checksum != "" {
			return errors.New("an IP-in-IP tunnel has neither port nor checksum: remove them")
		}
	case "gue":
		if t.Port == 0 {
			return errors.New("a gue tunnel needs a port")
		}
		if t.Checksum != "" && t.Checksum != "csum" && t.Checksum != "remcsum" {
			return fmt.Errorf("unknown checksum %s: it is csum or remcsum", t.Checksum)
		}
	case "gre":
		if t.Port != 0 {
			return errors.New("a gre tunnel has no port: remove it")
		}
		if t.Checksum != "" && t.Checksum != "csum" {
			return fmt.Errorf("unknown checksum %s of a gre tunnel: it is csum", t.Checksum)
		}
	default:
		return fmt.Errorf("unknown tunnel %s: it is ipip, gue or gre", t.Type)
	}
	return nil
}

// scopes are rtnetlink's names of an address's scope.
var scopes = map[string]uint8{"global": 0, "universe": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}

// broadcastOf gives the address of a prefix with all host bits set (one) or clear.
func broadcastOf(p netip.Prefix, one bool) netip.Addr {
	b := p.Masked().Addr().As4()
	if one {
		for i := p.Bits(); i < 32; i++ {
			b[i/8] |= 0x80 >> (i % 8)
		}
	}
	return netip.AddrFrom4(b)
}

// netmaskBits reads a dotted netmask.
func netmaskBits(a netip.Addr) (uint8, bool) {
	if !a.Is4() {
		return 0, false
	}
	bits, ended := uint8(0), false
	for _, b := range a.As4() {
		for i := 7; i >= 0; i-- {
			switch one := b>>i&1 == 1; {
			case one && ended:
				return 0, false
			case one:
				bits++
			default:
				ended = true
			}
		}
	}
	return bits, true
}

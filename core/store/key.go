package store

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/core/model"
)

// parseKey reads what model.ServiceKey's String writes: "TCP 192.0.2.100:80", "FWM 3",
// "FWM 3 inet6".
func parseKey(text string) (model.ServiceKey, error) {
	kind, rest, _ := strings.Cut(text, " ")
	if kind == "FWM" {
		number, family, hasFamily := strings.Cut(rest, " ")
		mark, err := strconv.ParseUint(number, 10, 32)
		if err != nil || mark == 0 || hasFamily && family != "inet6" {
			return model.ServiceKey{}, fmt.Errorf("virtual server %q is not a firewall mark", text)
		}
		return model.ServiceKey{FWMark: uint32(mark), IPv6: hasFamily}, nil
	}
	protocols := map[string]model.Protocol{"TCP": model.TCP, "UDP": model.UDP, "SCTP": model.SCTP}
	protocol, ok := protocols[kind]
	if !ok {
		return model.ServiceKey{}, fmt.Errorf("virtual server %q has no protocol that is known", text)
	}
	addr, err := netip.ParseAddrPort(rest)
	if err != nil {
		return model.ServiceKey{}, fmt.Errorf("virtual server %q: %w", text, err)
	}
	return model.ServiceKey{Addr: addr.Addr(), Port: addr.Port(), Protocol: protocol, IPv6: addr.Addr().Is6()}, nil
}

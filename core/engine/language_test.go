package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// parseConfig reads a scenario's configuration.
func parseConfig(t *testing.T, text string) *model.Config {
	c := &model.Config{GraceTime: 3 * time.Second}
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		switch words[0] {
		case "virtual":
			v := model.VirtualServer{Key: parseServiceKey(t, words[1], words[2]), Scheduler: words[3],
				Forwarding: model.Forwarding{Method: methods[words[4]]}, Quorum: 1}
			for _, option := range words[5:] {
				name, value, _ := strings.Cut(option, "=")
				switch name {
				case "quorum":
					v.Quorum = uint32(number(t, value))
				case "hysteresis":
					v.Hysteresis = uint32(number(t, value))
				case "persistence":
					v.Persistence.Timeout = duration(t, value)
				case "sorry":
					v.Sorry = &model.SorryServer{Addr: netip.MustParseAddrPort(value), Forwarding: v.Forwarding}
				case "sorry-inhibit":
					v.Sorry.Inhibit = true
				default:
					t.Fatalf("%q: option %q is not known", line, option)
				}
			}
			c.VirtualServers = append(c.VirtualServers, v)
		case "real":
			v := &c.VirtualServers[len(c.VirtualServers)-1]
			v.RealServers = append(v.RealServers, parseRealServer(t, v, words[1:]))
		case "group":
			c.FailoverGroups = append(c.FailoverGroups, model.FailoverGroup{Name: words[1], Instances: []model.Instance{{Name: words[1], Priority: 100}}})
		case "sync":
			c.ConnectionSync = &model.ConnectionSync{Group: words[1], Interface: words[2], ID: uint8(number(t, words[3]))}
		default:
			t.Fatalf("%q is not known", line)
		}
	}
	return c
}

func parseRealServer(t *testing.T, v *model.VirtualServer, words []string) model.RealServer {
	r := model.RealServer{Addr: netip.MustParseAddrPort(words[0]), Weight: uint32(number(t, words[1])), Forwarding: v.Forwarding}
	retries := uint32(0)
	for _, option := range words[2:] {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "inhibit":
			r.InhibitOnFailure = true
		case "alpha":
			r.Alpha = true
		case "retries":
			retries = uint32(number(t, value))
		case "check":
			port := r.Addr.Port()
			if value != "" {
				port = uint16(number(t, value))
			}
			r.Checks = append(r.Checks, model.Check{Type: "tcp", Target: model.Target{Addr: netip.AddrPortFrom(r.Addr.Addr(), port)}})
		default:
			t.Fatalf("real server option %q is not known", option)
		}
	}
	for i := range r.Checks {
		r.Checks[i].Schedule = model.Schedule{Interval: 6 * time.Second, Timeout: 3 * time.Second, Retries: retries}
	}
	return r
}

func realServers(c *model.Config) map[model.RealServerKey]bool {
	out := map[model.RealServerKey]bool{}
	for _, v := range c.VirtualServers {
		for _, r := range v.RealServers {
			out[model.RealServerKey{Service: v.Key, Addr: r.Addr}] = true
		}
	}
	return out
}

var methods = map[string]model.Method{"NAT": model.NAT, "DR": model.DR, "TUN": model.TUN}

// parseServiceKey reads "TCP 192.0.2.100:80" or "FWM 3".
func parseServiceKey(t *testing.T, protocol, server string) model.ServiceKey {
	if protocol == "FWM" {
		return model.ServiceKey{FWMark: uint32(number(t, server))}
	}
	addr := netip.MustParseAddrPort(server)
	return model.ServiceKey{Addr: addr.Addr(), Port: addr.Port(), IPv6: addr.Addr().Is6(),
		Protocol: map[string]model.Protocol{"TCP": model.TCP, "UDP": model.UDP}[protocol]}
}

// The options of ipvsadm.
var (
	serviceOptions = map[model.Protocol]string{model.TCP: "-t", model.UDP: "-u", model.NoProtocol: "-f"}
	methodOptions  = map[model.Method]string{model.NAT: "-m", model.DR: "-g", model.TUN: "-i"}
)

// showTable writes a table as ipvsadm -Sn does.
func showTable(services []model.Service) []string {
	var out []string
	for _, s := range services {
		name := serviceOptions[s.Key.Protocol] + " " + strings.TrimPrefix(strings.TrimPrefix(s.Key.String(), s.Key.Protocol.String()), " ")
		line := "-A " + name + " -s " + s.Scheduler
		if s.Persistence.Timeout > 0 {
			line += fmt.Sprintf(" -p %d", int(s.Persistence.Timeout.Seconds()))
		}
		out = append(out, line)
		for _, d := range s.Destinations {
			out = append(out, fmt.Sprintf("-a %s -r %s %s -w %d", name, d.Addr, methodOptions[d.Forwarding.Method], d.Weight))
		}
	}
	return out
}

// parseTable reads what showTable writes.
func parseTable(t *testing.T, lines []string) []model.Service {
	var out []model.Service
	for _, line := range lines {
		words := strings.Fields(line)
		protocol := map[string]string{"-t": "TCP", "-u": "UDP", "-f": "FWM"}[words[1]]
		switch {
		case words[0] == "-A" && len(words) == 5:
			out = append(out, model.Service{Key: parseServiceKey(t, protocol, words[2]), Scheduler: words[4]})
		case words[0] == "-a" && len(words) == 8:
			s := &out[len(out)-1]
			d := model.Destination{Addr: netip.MustParseAddrPort(words[4]), Weight: uint32(number(t, words[7]))}
			for method, option := range methodOptions {
				if option == words[5] {
					d.Forwarding.Method = method
				}
			}
			s.Destinations = append(s.Destinations, d)
		default:
			t.Fatalf("%q is not a line of a table", line)
		}
	}
	return out
}

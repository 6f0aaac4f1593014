package control

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poise-lb/poise/core/model"
)

const (
	// maxNamed bounds the names that an error lists.
	maxNamed = 5
	// maxCompared bounds the part of a name that is compared with those there are.
	maxCompared = 64
)

// resolve finds the real server that an operator names. A virtual server may be named
// as status names it ("TCP 192.0.2.100:80", "FWM 3"), with a slash for the space, or by
// its address with or without port where that is only one; a real server by its address
// with or without port.
func resolve(s *model.Snapshot, virtualServer, realServer string) (model.RealServerKey, error) {
	service, err := findService(s, virtualServer)
	if err != nil {
		return model.RealServerKey{}, err
	}
	addr, err := findRealServer(service, realServer)
	return model.RealServerKey{Service: service.Config.Key, Addr: addr}, err
}

func findService(s *model.Snapshot, name string) (*model.ServiceStatus, error) {
	var all, found []string
	var service *model.ServiceStatus
	matches := serviceMatcher(name)
	for i := range s.Services {
		candidate := &s.Services[i]
		text := candidate.Config.Key.String()
		// With a slash for the first space only the family of a mark is in full.
		full := strings.TrimSpace(name)
		if strings.Count(full, "/") == 2 {
			full = strings.ReplaceAll(full, "/", " ")
		}
		if strings.EqualFold(text, full) {
			return candidate, nil
		}
		all = append(all, text)
		if matches(candidate.Config.Key) {
			found, service = append(found, text), candidate
		}
	}
	if err := onlyOne("virtual server", "", name, found, all); err != nil {
		return nil, err
	}
	return service, nil
}

func findRealServer(s *model.ServiceStatus, name string) (netip.AddrPort, error) {
	var all, found []string
	var addr netip.AddrPort
	matches := addressMatcher(name)
	for i := range s.RealServers {
		a := s.RealServers[i].Config.Addr
		all = append(all, a.String())
		if matches(a) {
			found, addr = append(found, a.String()), a
		}
	}
	return addr, onlyOne("real server", " of "+s.Config.Key.String(), name, found, all)
}

// onlyOne is nil when exactly one was found.
func onlyOne(what, where, name string, found, all []string) error {
	switch {
	case len(found) == 1:
		return nil
	case len(found) > 1:
		return status.Errorf(codes.InvalidArgument, "%s %q%s may be any of %s: name one of them in full", what, name, where, list(found))
	case len(all) == 0:
		return status.Errorf(codes.NotFound, "no %s %q%s: none is configured", what, name, where)
	}
	return status.Errorf(codes.NotFound, "no %s %q%s: there is %s", what, name, where, list(nearest(name, all)))
}

// nearest sorts names by how little they differ from the one that was wanted.
func nearest(wanted string, names []string) []string {
	wanted = strings.ToLower(wanted[:min(len(wanted), maxCompared)])
	distances := make(map[string]int, len(names))
	for _, n := range names {
		distances[n] = distance(wanted, strings.ToLower(n))
	}
	slices.SortStableFunc(names, func(a, b string) int { return distances[a] - distances[b] })
	return names
}

func list(names []string) string {
	if len(names) <= maxNamed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
}

func serviceMatcher(name string) func(model.ServiceKey) bool {
	protocol, rest := splitProtocol(name)
	if protocol == "FWM" {
		mark, err := strconv.ParseUint(rest, 10, 32)
		return func(k model.ServiceKey) bool { return err == nil && k.FWMark != 0 && k.FWMark == uint32(mark) }
	}
	matches := addressMatcher(rest)
	return func(k model.ServiceKey) bool {
		return k.FWMark == 0 && (protocol == "" || protocol == k.Protocol.String()) && matches(netip.AddrPortFrom(k.Addr, k.Port))
	}
}

// splitProtocol takes "tcp/", "TCP " and the like from the front.
func splitProtocol(name string) (protocol, rest string) {
	name = strings.TrimSpace(name)
	if i := strings.IndexAny(name, " /"); i > 0 {
		for _, p := range []model.Protocol{model.NoProtocol, model.TCP, model.UDP, model.SCTP} {
			if strings.EqualFold(name[:i], p.String()) {
				return p.String(), strings.TrimSpace(name[i+1:])
			}
		}
	}
	return "", name
}

func addressMatcher(name string) func(netip.AddrPort) bool {
	name = strings.TrimSpace(name)
	if want, err := netip.ParseAddrPort(name); err == nil {
		return func(a netip.AddrPort) bool { return a == want }
	}
	want, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return func(a netip.AddrPort) bool { return err == nil && a.Addr() == want }
}

// distance is how many letters have to be changed, added or removed to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

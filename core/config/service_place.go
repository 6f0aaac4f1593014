package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/core/model"
)

// LocateForwarder tells where an instance of Config.Forwarders stands: id is its ID
// ("f5:lab"), pointer a JSON pointer into its parameters ("/addresses/0"; "/type" and
// "/group" too), empty for the instance as a whole. For an instance that is not in the
// configuration it gives line 1 of the file.
func (r Result) LocateForwarder(id, pointer string) (file string, line int) {
	return r.locate(r.forwarders[id], pointer)
}

// LocateVirtualServer tells where a part of a virtual server stands, in poise's own format
// or in the keepalived.conf. The key is that of the configuration, not that on a carrier.
// forwarder is the ID of the carrier that is asked about ("f5:lab"), or empty. pointer is
// in the field names of poise.forward.v1.VirtualServer: "/scheduler", "/key/address",
// "/real_servers/2/method", "/parameters_json/snat"; empty for the virtual server as a
// whole. Real servers are numbered as in model.VirtualServer, and the number after the last
// one is the sorry server.
//
// Of what is not known it gives the nearest part around it, at last the virtual server; of
// a virtual server that is not in the configuration line 1 of the file.
func (r Result) LocateVirtualServer(key model.ServiceKey, forwarder, pointer string) (file string, line int) {
	s, ok := r.services[key]
	if !ok {
		return r.path, 1
	}
	at := s.locate(forwarder, pointer)
	return at.file, at.line
}

// parts gives the place of a part by its pointer in the keys of poise's own format.
type parts func(pointer string) (place, bool)

// nearest gives the place of the innermost part around a pointer.
func (p parts) nearest(pointer string) (place, bool) {
	for pointer != "" {
		if at, ok := p(pointer); ok {
			return at, true
		}
		pointer = pointer[:max(strings.LastIndexByte(pointer, '/'), 0)]
	}
	return place{}, false
}

// servicePlace is where a virtual server stands.
type servicePlace struct {
	place
	parts parts
	// real are the indices, among those of the file, of its real servers.
	real []int
	// carried is where its forwarders are written; of line 0 where they are not.
	carried place
	// carriers are the blocks of its carriers, by forwarder.
	carriers map[string]carrierPlace
}

// carrierPlace is where the settings of a virtual server for one forwarder stand, or
// where the forwarder is named if there are none.
type carrierPlace struct {
	place
	parts parts
	// shared: directors serve the same address.
	shared bool
	// broken: they could not be read, which is told already.
	broken bool
}

// part is the place of a key of a carrier's settings.
func (c carrierPlace) part(pointer string) place {
	if c.parts != nil {
		if at, ok := c.parts.nearest(pointer); ok {
			return at
		}
	}
	return c.place
}

func (s servicePlace) locate(forwarder, pointer string) place {
	c, carried := s.carriers[forwarder]
	if p, ok := strings.CutPrefix(pointer, "/parameters_json"); ok && carried {
		return c.part(p)
	}
	if pointer == "/key/address" && carried && c.parts != nil {
		if at, ok := c.parts("/address"); ok {
			return at
		}
	}
	for _, key := range s.keys(pointer) {
		if at, ok := s.parts(key); ok {
			return at
		}
	}
	return s.place
}

// fieldKeys are the keys of poise's own format, the best first, that a field of
// poise.forward.v1.VirtualServer comes from, where it has another name.
var fieldKeys = map[string][]string{
	"/key/address":         {"/address"},
	"/key/port":            {"/address"},
	"/key/protocol":        {"/protocol", "/address"},
	"/key/fwmark":          {"/fwmark"},
	"/key/family":          {"/family", "/address", "/fwmark"},
	"/key":                 {"/address", "/fwmark"},
	"/persistence_timeout": {"/persistence/timeout", "/persistence"},
	"/persistence_prefix":  {"/persistence/prefix", "/persistence"},
	"/persistence_engine":  {"/persistence/engine", "/persistence"},
}

// keys gives where to look for a field, the best first.
func (s servicePlace) keys(pointer string) []string {
	if keys, ok := fieldKeys[pointer]; ok {
		return keys
	}
	words := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	if words[0] != "real_servers" || len(words) < 2 {
		return []string{"/" + words[0]}
	}
	at := "/sorry_server"
	if i, err := strconv.Atoi(words[1]); err == nil && i >= 0 && i < len(s.real) {
		at = fmt.Sprintf("/real_servers/%d", s.real[i])
	}
	if len(words) == 2 {
		return []string{at}
	}
	switch field := words[2]; field {
	case "port":
		return []string{at + "/address", at}
	case "weight":
		return []string{at + "/weight", "/weight", at}
	case "method", "tunnel_type", "tunnel_port", "tunnel_checksum":
		return []string{at + "/forwarding", "/forwarding", at}
	default:
		return []string{at + "/" + field, at}
	}
}

// parts of a value of poise's own format.
func (v node) parts() parts {
	return func(pointer string) (place, bool) {
		l, ok := v.n.lines[v.pointer+pointer]
		return place{v.n.path, l}, ok
	}
}

// directives are the places of keepalived's directives by what they are called in poise's
// own format.
type directives map[string]place

func (d directives) find(pointer string) (place, bool) {
	at, ok := d[pointer]
	return at, ok
}

// note remembers a directive of the part at a pointer; of several the last counts.
func (d directives) note(at string, keys map[string]string, t *statement) {
	if key, ok := keys[t.keyword()]; ok {
		d[at+key] = t.place
	}
}

// virtualServerKeys and realServerKeys are the keys of poise's own format by keepalived's.
var (
	virtualServerKeys = map[string]string{
		"lb_algo": "/scheduler", "lvs_sched": "/scheduler",
		"lb_kind": "/forwarding", "lvs_method": "/forwarding",
		"ops":    "/one_packet",
		"flag-1": "/scheduler_flags", "flag-2": "/scheduler_flags", "flag-3": "/scheduler_flags",
		"sh-port": "/scheduler_flags", "sh-fallback": "/scheduler_flags",
		"mh-port": "/scheduler_flags", "mh-fallback": "/scheduler_flags",
		"persistence_timeout":     "/persistence/timeout",
		"persistence_granularity": "/persistence/prefix",
		"persistence_engine":      "/persistence/engine",
		"protocol":                "/protocol", "ip_family": "/family", "weight": "/weight",
		"sorry_server": "/sorry_server", "sorry_server_inhibit": "/sorry_server/inhibit",
		"sorry_server_lvs_method": "/sorry_server/forwarding",
	}
	realServerKeys = map[string]string{
		"weight": "/weight", "lvs_method": "/forwarding",
		"uthreshold": "/upper_threshold", "lthreshold": "/lower_threshold",
	}
)

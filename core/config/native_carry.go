package config

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/core/model"
)

// carriage is what a virtual server, or an entry of `carry`, says of the forwarders that
// carry it.
type carriage struct {
	// at is of line 0 where nothing is said.
	at       place
	carriers []model.Carrier
	places   map[string]carrierPlace
}

// load gives a virtual server its carriers.
func (c carriage) load(v *model.VirtualServer, at *servicePlace) {
	if c.at.line != 0 {
		v.Carriers, at.carried, at.carriers = c.carriers, c.at, c.places
	}
}

// carriage reads `forwarders`, and the blocks of settings for them: `f5` for all of a type,
// `f5:lab` for one. needed tells that forwarders must be there.
func (n *native) carriage(o *object, needed bool) carriage {
	names, told := n.carrierNames(o, needed)
	c := carriage{places: map[string]carrierPlace{}}
	if len(names) > 0 {
		f, _ := o.get("forwarders")
		c.at = f.place()
	}
	blocks := n.blocks(o, names, told)
	for name, at := range names {
		carrier, where := model.Carrier{Forwarder: name}, carrierPlace{place: at}
		if b, ok := blocks[name]; ok {
			where = b.carrierPlace
			carrier.Addr, carrier.Parameters = b.addr, b.parameters
		}
		c.carriers, c.places[name] = append(c.carriers, carrier), where
	}
	slices.SortFunc(c.carriers, func(a, b model.Carrier) int { return strings.Compare(a.Forwarder, b.Forwarder) })
	if len(c.carriers) == 1 && c.carriers[0].Forwarder == n.config.Forwarder {
		c.carriers = nil
	}
	return c
}

// carrierNames gives the forwarders that are named, with their places. told: what is wrong
// with them is told, and what follows from it need not be.
func (n *native) carrierNames(o *object, needed bool) (names map[string]place, told bool) {
	list, ok := o.get("forwarders")
	_, there := o.values["forwarders"]
	switch {
	case !ok && !there && !needed:
		return nil, false
	case !ok && !there:
		o.errorf("the entry names no forwarders: write forwarders: [%s, f5:NAME]", quoted(n.config.Forwarder))
		return nil, true
	case !ok || len(list.items()) == 0:
		list.errorf("forwarders is empty: write which carry the virtual server: forwarders: [%s, f5:NAME]", quoted(n.config.Forwarder))
		return nil, true
	}
	names = map[string]place{}
	for _, v := range list.items() {
		name, ok := v.text()
		if !ok {
			told = true
			continue
		}
		if _, twice := names[name]; twice {
			v.errorf("forwarder %s stands twice", name)
			continue
		}
		if n.isForwarder(v, name) {
			names[name] = v.place()
		} else {
			told = true
		}
	}
	return names, told
}

// isForwarder tells whether there is a forwarder of that name, and says so if there is none.
func (n *native) isForwarder(v node, name string) bool {
	own := n.config.Forwarder
	if _, ok := n.draft.forwarders[name]; ok || name == own {
		return true
	}
	if name == "ipvs" || name == "null" {
		v.errorf("forwarder %s is not the one of this configuration, which is %s (forwarder at the top of the file)", name, own)
		return false
	}
	known := []string{own}
	for _, f := range n.config.Forwarders {
		if f.Name == name {
			v.errorf("forwarders at the top of the file has no %s; write %s", name, f.ID())
			return false
		}
		known = append(known, f.ID())
	}
	v.errorf("forwarders at the top of the file has no %s%s", name, meant(name, known))
	return false
}

// quoted is the name of the configuration's own forwarder as YAML has it.
func quoted(forwarder string) string {
	if forwarder == "null" {
		return `"null"`
	}
	return forwarder
}

// block is what is set for one forwarder of a virtual server.
type block struct {
	carrierPlace
	addr       netip.Addr
	parameters string
}

// blocks reads the settings for forwarders. The block of an instance stands in the place of
// that of its type.
func (n *native) blocks(o *object, names map[string]place, told bool) map[string]block {
	out := map[string]block{}
	for _, kind := range forwarderTypes {
		for _, key := range o.keysOf(kind + ":") {
			v, ok := o.get(key)
			if _, named := names[key]; !named && !told {
				v.errorf("%s has settings, but is not among the forwarders of the virtual server%s", key, meant(key, slices.Sorted(maps.Keys(names))))
			}
			if ok {
				out[key] = n.block(v)
			}
		}
		if v, ok := o.get(kind); ok {
			n.blockOfAll(v, kind, names, told, out)
		}
	}
	return out
}

// blockOfAll reads the settings for all forwarders of a type that have none of their own.
func (n *native) blockOfAll(v node, kind string, names map[string]place, told bool, out map[string]block) {
	b := n.block(v)
	used, carried := false, false
	for name := range names {
		if !strings.HasPrefix(name, kind+":") {
			continue
		}
		carried = true
		if _, ok := out[name]; !ok {
			out[name], used = b, true
		}
	}
	switch {
	case told || used:
	case !carried:
		v.errorf("%s has settings, but no forwarder of that type carries the virtual server: write forwarders: [%s, %s:NAME]", kind, quoted(n.config.Forwarder), kind)
	default:
		n.warnf(v.place(), "%s has no effect: each forwarder of that type has a block of its own", kind)
	}
}

func (n *native) block(v node) block {
	b := block{carrierPlace: carrierPlace{place: v.place(), parts: v.parts()}}
	o, ok := v.object()
	if !ok {
		b.broken = true
		return b
	}
	if a, ok := o.get("address"); ok {
		b.addr, ok = a.address()
		b.broken = !ok
	}
	b.shared, _ = o.values["same_address"].(bool)
	if !o.hasPassword() {
		b.parameters = v.json(o.without("address"))
	}
	return b
}

// keysOf gives the keys of a map that begin alike.
func (o *object) keysOf(prefix string) []string {
	var out []string
	for key := range o.values {
		if strings.HasPrefix(key, prefix) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// carry reads an entry of `carry`, which sends a virtual server to forwarders that is
// configured elsewhere.
func (n *native) carry(at node) {
	o, ok := at.object()
	if !ok {
		return
	}
	key, found := n.carried(o)
	c := n.carriage(o, true)
	o.done()
	if !found {
		return
	}
	i := slices.IndexFunc(n.config.VirtualServers, func(v model.VirtualServer) bool { return v.Key == key })
	if before := n.services[i].carried; before.line != 0 {
		o.errorf("the forwarders of virtual server %s are set already (%s:%d): remove one", key, before.file, before.line)
		return
	}
	c.load(&n.config.VirtualServers[i], &n.services[i])
}

// carried reads which virtual server is meant.
func (n *native) carried(o *object) (model.ServiceKey, bool) {
	v, ok := o.get("virtual_server")
	if !ok {
		o.errorf("the entry names no virtual server: write virtual_server: TCP 192.0.2.1:80")
		return model.ServiceKey{}, false
	}
	s, ok := v.text()
	if !ok {
		return model.ServiceKey{}, false
	}
	key, err := parseServiceKey(s)
	if err != nil {
		v.errorf("virtual_server %s: %v", s, err)
		return model.ServiceKey{}, false
	}
	var known []string
	for _, x := range n.config.VirtualServers {
		if x.Key == key {
			return key, true
		}
		known = append(known, x.Key.String())
	}
	v.errorf("there is no virtual server %s%s", key, meant(key.String(), known))
	return model.ServiceKey{}, false
}

var errServiceKey = errors.New("not a virtual server: write TCP 192.0.2.1:80, UDP 192.0.2.1:53 or FWM 3")

// parseServiceKey reads a key as poise writes it. Without a protocol it is TCP.
func parseServiceKey(s string) (model.ServiceKey, error) {
	words := strings.Fields(s)
	if len(words) > 1 && strings.EqualFold(words[0], "FWM") {
		mark, err := strconv.ParseUint(words[1], 10, 32)
		if err != nil || mark == 0 || len(words) > 3 || len(words) == 3 && words[2] != "inet6" && words[2] != "inet" {
			return model.ServiceKey{}, errors.New("not a firewall mark: write FWM 3 or FWM 3 inet6")
		}
		return model.ServiceKey{FWMark: uint32(mark), IPv6: len(words) == 3 && words[2] == "inet6"}, nil
	}
	key := model.ServiceKey{Protocol: model.TCP}
	if len(words) == 2 {
		key.Protocol = model.NoProtocol
		for _, p := range []model.Protocol{model.TCP, model.UDP, model.SCTP} {
			if strings.EqualFold(words[0], p.String()) {
				key.Protocol = p
			}
		}
		words = words[1:]
	}
	if len(words) != 1 || key.Protocol == model.NoProtocol {
		return key, errServiceKey
	}
	a, err := netip.ParseAddrPort(words[0])
	if err != nil {
		host, bad := parseAddress(words[0])
		if bad != nil {
			return key, errServiceKey
		}
		a = netip.AddrPortFrom(host, 0)
	}
	if a.Addr().Zone() != "" || a.Addr().Is4In6() {
		return key, errServiceKey
	}
	key.Addr, key.Port, key.IPv6 = a.Addr(), a.Port(), a.Addr().Is6()
	return key, nil
}

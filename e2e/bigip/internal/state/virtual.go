package state

import (
	"slices"
	"strings"
)

// virtualAddress is the path of the virtual address that a virtual server is on.
func virtualAddress(v *Object) string {
	destination, _ := v.Values["destination"].(string)
	host, _, _ := split(destination)
	return host
}

func (e *Edit) settleVirtual(old, o *Object) *Error {
	text, ok := o.Values["destination"].(string)
	if !ok {
		return refuse("virtual server %s must have a destination", o.Path())
	}
	w, err := e.destination(o, text)
	if err != nil {
		return err
	}
	if err := e.masks(old, o, w); err != nil {
		return err
	}
	if err := e.translation(o); err != nil {
		return err
	}
	if err := e.protocolProfile(o); err != nil {
		return err
	}
	if err := e.shared(o); err != nil {
		return err
	}
	if err := e.hold(o, w); err != nil {
		return err
	}
	if old == nil {
		e.index++
		o.Values["vsIndex"] = e.index
		return nil
	}
	if was := virtualAddress(old); was != virtualAddress(o) {
		e.put(o)
		e.release(was)
	}
	return nil
}

// destination brings a destination into the form that it is read in: virtual address and
// port.
func (e *Edit) destination(o *Object, text string) (where, *Error) {
	folder, rest := o.folder(), text
	if strings.HasPrefix(text, "/") {
		at := strings.LastIndex(text, "/")
		folder, rest = text[:at], text[at+1:]
	}
	partition, _, _ := strings.Cut(strings.TrimPrefix(folder, "/"), "/")
	if partition != o.Partition && partition != "Common" {
		return where{}, coded("01070726:3: Virtual Server %s in partition %s cannot reference Virtual Address %s in partition %s", o.Path(), o.Partition, text, partition)
	}
	host, port, ok := split(rest)
	if !ok {
		return where{}, noPort(text)
	}
	w, isAddress := e.parse(partition, host)
	if !isAddress {
		va := e.Get("ltm/virtual-address", "", folder+"/"+host)
		if va == nil {
			return where{}, invalid("destination", text)
		}
		w, _ = e.parse(partition, va.Values["address"].(string))
		o.Values["destination"] = va.Path() + ":" + strings.TrimPrefix(suffix(false, port), ":")
		return w, nil
	}
	o.Values["destination"] = folder + "/" + e.show(partition, w) + suffix(w.ip.Is6(), port)
	return w, nil
}

// masks fills in mask and source, which depend on the family.
func (e *Edit) masks(old, o *Object, w where) *Error {
	moved := old != nil && virtualAddress(old) != virtualAddress(o) && old.Values["mask"] == o.Values["mask"]
	if o.Values["mask"] == nil || moved || w.ip.IsUnspecified() {
		o.Values["mask"] = fullMask(w.ip)
	}
	if o.Values["source"] == nil {
		o.Values["source"] = "0.0.0.0/0"
		if w.ip.Is6() {
			o.Values["source"] = "::/0"
		}
		if w.domain != e.domain(o.Partition) {
			return e.set(o, o.Kind.Field("source"), o.Values, strings.Replace(o.Values["source"].(string), "/", suffixDomain(w.domain)+"/", 1))
		}
		return nil
	}
	host, _, _ := strings.Cut(o.Values["source"].(string), "/")
	if from, _ := e.parse(o.Partition, host); from.ip.Is6() != w.ip.Is6() {
		return refuse("source %s and destination %s of virtual server %s are of different families", o.Values["source"], o.Values["destination"], o.Path())
	}
	return nil
}

func suffixDomain(n int) string { return strings.Replace(suffix(false, n), ":", "%", 1) }

func (e *Edit) translation(o *Object) *Error {
	group, _ := o.Values["sourceAddressTranslation"].(map[string]any)
	switch {
	case group["type"] == "snat" && group["pool"] == nil:
		return refuse("source address translation of virtual server %s must have a pool", o.Path())
	case group["type"] != "snat" && group["pool"] != nil:
		o.Values["sourceAddressTranslation"] = map[string]any{"type": group["type"]}
	}
	return nil
}

// carriers are the protocol profiles that each protocol can have. Others have those of any.
var carriers = map[string][]string{
	"tcp":  {"ltm/profile/fastl4", "ltm/profile/tcp", "ltm/profile/fasthttp"},
	"udp":  {"ltm/profile/fastl4", "ltm/profile/udp", "ltm/profile/dhcpv4", "ltm/profile/dhcpv6"},
	"sctp": {"ltm/profile/fastl4", "ltm/profile/sctp"},
	"any":  {"ltm/profile/fastl4", "ltm/profile/ipother"},
}

func (e *Edit) protocolProfile(o *Object) *Error {
	name, _ := o.Values["ipProtocol"].(string)
	fit, ok := carriers[name]
	if !ok {
		fit = carriers["any"]
	}
	items, _ := o.Values["profiles"].([]any)
	var found []string
	for _, item := range items {
		p := e.Resolve([]string{"ltm/profile/"}, "", EntryPath(item))
		carries := false
		for _, kinds := range carriers {
			carries = carries || slices.Contains(kinds, p.Kind.Path)
		}
		switch {
		case carries && !slices.Contains(fit, p.Kind.Path):
			return coded("01070097:3: Virtual server %s lists incompatible profiles: %s does not carry %s.", o.Path(), p.Path(), name)
		case carries:
			found = append(found, p.Kind.Path+" "+item.(map[string]any)["context"].(string))
		}
	}
	switch {
	case len(found) == 0:
		return refuse("virtual server %s must have a protocol profile", o.Path())
	case len(found) == 2 && found[0] != found[1] && !strings.HasSuffix(found[0], " all") && !strings.HasSuffix(found[1], " all"):
	case len(found) > 1:
		return coded("01070097:3: Virtual server %s lists incompatible profiles.", o.Path())
	}
	if o.Values["stateless"] == true {
		group, _ := o.Values["sourceAddressTranslation"].(map[string]any)
		if name != "udp" || o.Values["persist"] != nil || group["type"] == "automap" {
			return refuse("stateless virtual server %s must be UDP without persistence and SNAT automap", o.Path())
		}
	}
	return nil
}

// shared refuses a virtual server that takes the traffic of another.
func (e *Edit) shared(o *Object) *Error {
	for _, other := range e.List("ltm/virtual", "") {
		if other.Path() == o.Path() || !overlap(o, other) {
			continue
		}
		alike := true
		for _, name := range []string{"destination", "mask", "source", "ipProtocol"} {
			alike = alike && o.Values[name] == other.Values[name]
		}
		if alike {
			return coded("01070333:3: Virtual Server %s illegally shares destination address, source address, service port, ip-protocol, and vlan with Virtual Server %s.", o.Path(), other.Path())
		}
	}
	return nil
}

// overlap tells whether two virtual servers listen on a common VLAN.
func overlap(a, b *Object) bool {
	if a.Values["vlansEnabled"] != true || b.Values["vlansEnabled"] != true {
		return true
	}
	ours, _ := a.Values["vlans"].([]any)
	theirs, _ := b.Values["vlans"].([]any)
	return slices.ContainsFunc(ours, func(v any) bool { return slices.Contains(theirs, v) })
}

// hold makes the virtual address of a virtual server unless it is there.
func (e *Edit) hold(o *Object, w where) *Error {
	at := virtualAddress(o)
	if e.Get("ltm/virtual-address", "", at) != nil {
		return nil
	}
	body := map[string]any{"name": at, "address": e.show(o.Partition, w), "mask": o.Values["mask"]}
	if w.ip.IsUnspecified() {
		body["arp"], body["icmpEcho"] = "disabled", "disabled"
	}
	_, err := e.Create("ltm/virtual-address", "", body)
	return err
}

// release removes a virtual address that no virtual server is on, if it goes by itself.
func (e *Edit) release(at string) {
	va := e.Get("ltm/virtual-address", "", at)
	if va == nil || va.Values["autoDelete"] != "true" || e.referrer(va) != nil {
		return
	}
	e.drop(va)
	e.generation++
}

func (e *Edit) settleVirtualAddress(old, o *Object) *Error {
	if old != nil {
		return nil
	}
	text, ok := o.Values["address"].(string)
	if !ok {
		text = o.Name
	}
	w, ok := e.parse(o.Partition, text)
	if !ok {
		return refuse("virtual address %s must have an address", o.Path())
	}
	for _, other := range e.kinds["ltm/virtual-address"] {
		has, _ := other.Values["address"].(string)
		if at, ok := e.parse(other.Partition, has); ok && at == w {
			return coded("0107176c:3: Invalid Virtual Address, the IP address %s%s already exists.", w.ip, suffixDomain(w.domain))
		}
	}
	o.Values["address"] = e.show(o.Partition, w)
	if o.Values["mask"] == nil {
		o.Values["mask"] = fullMask(w.ip)
	}
	return nil
}

// NodeAndPort is the path of a member's node and its port.
func NodeAndPort(member *Object) (node string, port int) {
	_, port, _ = split(member.Name)
	return nodePath(member), port
}

package ltm

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Kind of objects, by the part of their path below /mgmt/tm/ltm.
type Kind string

// Kinds that a State is made of.
const (
	KindPool           Kind = "pool"
	KindVirtual        Kind = "virtual"
	KindVirtualAddress Kind = "virtual-address"
	KindPersistence    Kind = "persistence/source-addr"
	KindFastL4         Kind = "profile/fastl4"
	KindUDP            Kind = "profile/udp"
	KindNode           Kind = "node"
)

// Kinds are all kinds that a State needs, in an order to read them in.
func Kinds() []Kind {
	return []Kind{KindPool, KindVirtual, KindVirtualAddress, KindNode, KindPersistence, KindFastL4, KindUDP}
}

// Collection is the path to read a kind from; pools and virtual servers are read with
// expandSubcollections=true.
func (k Kind) Collection() string { return root + string(k) }

// Expanded tells whether the collection has to be read with expandSubcollections=true.
func (k Kind) Expanded() bool { return k == KindPool || k == KindVirtual }

// Add takes in a collection, or a page of one, as read from the device; a single object
// is taken too. What can be read is taken in even if there is an error.
func (s *State) Add(kind Kind, body []byte) error {
	c, err := newObject(body, string(kind))
	if err != nil {
		return err
	}
	items := c.items()
	if c.has("fullPath") {
		items = []json.RawMessage{body}
	}
	var first error
	for _, raw := range items {
		o, err := newObject(raw, string(kind))
		if err == nil {
			o.what += " " + o.path(s.Partition)
			s.take(kind, o)
			err = *o.err
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = *c.err
	}
	return first
}

func (s *State) take(kind Kind, o object) {
	switch kind {
	case KindPool:
		s.Pools = append(s.Pools, s.pool(o))
	case KindVirtual:
		s.Virtuals = append(s.Virtuals, s.virtual(o))
	case KindVirtualAddress:
		s.VirtualAddresses = append(s.VirtualAddresses, s.virtualAddress(o))
	case KindPersistence:
		s.Persistences = append(s.Persistences, s.persistence(o))
	case KindFastL4:
		s.FastL4s = append(s.FastL4s, s.fastL4(o))
	case KindUDP:
		s.UDPs = append(s.UDPs, UDP{
			Path: o.path(s.Partition), IdleTimeout: o.text("idleTimeout", "60"),
			DatagramLoadBalancing: o.on("datagramLoadBalancing", false), Mark: mark(o),
		})
	case KindNode:
		n := Node{Path: o.path(s.Partition), FQDN: o.child("fqdn").name("tmName"), Mark: mark(o)}
		n.Address, _ = parseAddress(o.text("address", ""), s.DefaultDomain)
		s.Nodes = append(s.Nodes, n)
	default:
		*o.err = fmt.Errorf("read %s: no such kind is known", kind)
	}
}

func mark(o object) Mark {
	m := Mark{Description: o.name("description")}
	for _, raw := range o.list("metadata") {
		item, err := newObject(raw, o.what+": metadata")
		if err != nil {
			o.fail("metadata", "a list of objects")
			return m
		}
		if m.Metadata == nil {
			m.Metadata = map[string]string{}
		}
		m.Metadata[item.text("name", "")] = item.text("value", "")
		if *o.err == nil {
			*o.err = *item.err
		}
	}
	return m
}

func (s *State) pool(o object) Pool {
	p := Pool{
		Path: o.path(s.Partition), LoadBalancingMode: o.text("loadBalancingMode", "round-robin"),
		MinActiveMembers: o.number("minActiveMembers", 0), ServiceDownAction: o.text("serviceDownAction", "none"),
		SlowRampTime: o.number("slowRampTime", 10), ReselectTries: o.number("reselectTries", 0),
		QueueOnConnectionLimit: o.on("queueOnConnectionLimit", false),
		AllowNAT:               o.on("allowNat", true), AllowSNAT: o.on("allowSnat", true),
		Monitor: o.name("monitor"), Mark: mark(o),
	}
	partition := partitionOf(p.Path)
	p.Profiles = o.references("profiles", partition)
	members := o.child("membersReference").items()
	if members == nil {
		members = o.list("members")
	}
	for _, raw := range members {
		m, err := newObject(raw, o.what+": member")
		if err != nil {
			o.fail("membersReference", "a collection of objects")
			continue
		}
		m.what += " " + m.path(partition)
		p.Members = append(p.Members, s.member(m, partition))
		if *o.err == nil {
			*o.err = *m.err
		}
	}
	return p
}

func (s *State) member(o object, partition string) Member {
	state := o.text("state", "unchecked")
	m := Member{
		Path: o.path(partition), Ratio: o.number("ratio", 1), PriorityGroup: o.number("priorityGroup", 0),
		ConnectionLimit: o.number("connectionLimit", 0), Intent: intentOf(o.text("session", "user-enabled"), state),
		Monitor: o.text("monitor", "default"), Description: o.name("description"),
		FQDN: o.child("fqdn").name("tmName"), RateLimit: o.text("rateLimit", "disabled"), Status: state,
	}
	host, port, ok := splitPort(baseName(m.Path))
	if address, valid := parseAddress(o.text("address", host), s.DefaultDomain); ok && valid && m.FQDN == "" {
		m.Endpoint = Endpoint{Address: address, Port: port}
	}
	return m
}

func (s *State) virtual(o object) Virtual {
	v := Virtual{
		Path: o.path(s.Partition), DestinationText: o.text("destination", ""), Mask: normalMask(o.text("mask", "")),
		Source: s.source(o.text("source", "")), Protocol: o.text("ipProtocol", "any"), FallbackPersistence: o.name("fallbackPersistence"),
		TranslateAddress: o.on("translateAddress", true), TranslatePort: o.on("translatePort", true),
		SourcePort: o.text("sourcePort", "preserve"), ConnectionLimit: o.number("connectionLimit", 0),
		Mirror: o.on("mirror", false), Stateless: o.on("stateless", false),
		ServiceDownImmediateAction: o.text("serviceDownImmediateAction", "none"),
		Enabled:                    o.on("enabled", !o.on("disabled", false)), RateLimit: o.text("rateLimit", "disabled"),
		VLANsEnabled: o.on("vlansEnabled", false), Mark: mark(o),
	}
	partition := partitionOf(v.Path)
	host, port, ok := splitPort(baseName(v.DestinationText))
	if address, valid := parseAddress(host, s.DefaultDomain); ok && valid {
		v.Destination = Endpoint{Address: address, Port: port}
	}
	if pool := o.name("pool"); pool != "" {
		v.Pool = full(partition, pool)
	}
	v.VLANs, v.Rules = o.references("vlans", partition), o.references("rules", partition)
	v.Persist = o.references("persist", partition)
	v.Policies = o.references("policies", partition)
	for _, raw := range o.child("policiesReference").items() {
		if item, err := newObject(raw, o.what+": policy"); err == nil {
			v.Policies = append(v.Policies, item.path(partition))
		}
	}
	snat := o.child("sourceAddressTranslation")
	v.SNATType, v.SNATPool = snat.text("type", "none"), snat.name("pool")
	if v.SNATPool != "" {
		v.SNATPool = full(partition, v.SNATPool)
	}
	v.Profiles = profiles(o, partition)
	for _, key := range []string{"ipForward", "l2Forward", "reject", "internal", "dhcpRelay", "clonePools", "trafficMatchingCriteria", "fwEnforcedPolicy", "securityLogProfiles", "lastHopPool", "rateClass"} {
		if o.has(key) {
			v.Other = append(v.Other, key)
		}
	}
	return v
}

// source gives networks that are the same the same text.
func (s *State) source(text string) string {
	host, bits, ok := strings.Cut(text, "/")
	a, valid := parseAddress(host, s.DefaultDomain)
	if !ok || !valid {
		return text
	}
	out := a.IP.String()
	if a.Domain != s.DefaultDomain {
		out += fmt.Sprintf("%%%d", a.Domain)
	}
	return out + "/" + bits
}

func profiles(o object, partition string) []ProfileReference {
	items := o.child("profilesReference").items()
	if items == nil {
		items = o.list("profiles")
	}
	var out []ProfileReference
	for _, raw := range items {
		if text, ok := scalar(raw); ok {
			out = append(out, ProfileReference{Path: full(partition, text), Context: "all"})
			continue
		}
		item, err := newObject(raw, o.what+": profile")
		if err != nil {
			o.fail("profilesReference", "a collection of objects")
			continue
		}
		link := item.child("nameReference").text("link", "")
		kind := ""
		if _, rest, ok := strings.Cut(link, "/ltm/profile/"); ok {
			kind = path.Dir(rest)
		}
		out = append(out, ProfileReference{Path: item.path(partition), Context: item.text("context", "all"), Kind: kind})
	}
	slices.SortFunc(out, func(a, b ProfileReference) int {
		return strings.Compare(a.Path+" "+a.Context, b.Path+" "+b.Context)
	})
	return out
}

func (s *State) virtualAddress(o object) VirtualAddress {
	v := VirtualAddress{
		Path: o.path(s.Partition), Mask: normalMask(o.text("mask", "")), ARP: o.on("arp", true),
		ICMPEcho: o.text("icmpEcho", "enabled"), RouteAdvertisement: o.text("routeAdvertisement", "disabled"),
		AutoDelete: o.on("autoDelete", true), Enabled: o.on("enabled", true), Mark: mark(o),
	}
	v.Address, _ = parseAddress(o.text("address", baseName(v.Path)), s.DefaultDomain)
	return v
}

func (s *State) persistence(o object) Persistence {
	return Persistence{
		Path: o.path(s.Partition), Timeout: o.text("timeout", "180"), Mask: normalMask(o.text("mask", "none")),
		HashAlgorithm: o.text("hashAlgorithm", "default"), MatchAcrossServices: o.on("matchAcrossServices", false),
		MatchAcrossVirtuals: o.on("matchAcrossVirtuals", false), MatchAcrossPools: o.on("matchAcrossPools", false),
		Mirror: o.on("mirror", false), OverrideConnectionLimit: o.on("overrideConnectionLimit", false), Mark: mark(o),
	}
}

func (s *State) fastL4(o object) FastL4 {
	return FastL4{
		Path: o.path(s.Partition), IdleTimeout: o.text("idleTimeout", "300"), TCPCloseTimeout: o.text("tcpCloseTimeout", "5"),
		LooseClose: o.on("looseClose", false), LooseInitialization: o.on("looseInitialization", false),
		PVAAcceleration: o.text("pvaAcceleration", "full"), ResetOnTimeout: o.on("resetOnTimeout", true), Mark: mark(o),
	}
}

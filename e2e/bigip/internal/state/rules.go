package state

import (
	"maps"
	"net/netip"
	"path"
	"strings"

	"github.com/poise-lb/poise/e2e/bigip/internal/schema"
)

// settle does what goes beyond single fields, before an object is put in place. old is
// nil for a new one.
func (e *Edit) settle(old, o *Object, body map[string]any) *Error {
	switch o.Kind.Path {
	case "ltm/node":
		return e.settleNode(old, o, body)
	case "ltm/pool":
		return e.settlePool(old, o, body)
	case "ltm/pool/members":
		return e.settleMember(old, o, body)
	case "ltm/virtual":
		return e.settleVirtual(old, o)
	case "ltm/virtual-address":
		return e.settleVirtualAddress(old, o)
	case "ltm/snatpool":
		if o.Values["members"] == nil {
			return refuse("snatpool %s must have at least one member", o.Path())
		}
	case "ltm/data-group/internal":
		if o.Values["type"] == nil {
			return refuse("value list %s must have a type", o.Path())
		}
	case "ltm/snat-translation":
		if o.Values["address"] == nil {
			return e.set(o, o.Kind.Field("address"), o.Values, o.Name)
		}
	case "auth/partition":
		return e.settlePartition(old, o)
	case "net/route-domain":
		id, ok := whole(o.Values["id"])
		if !ok || old == nil && e.domainExists(id) {
			return refuse("route domain %s must have an id of its own", o.Path())
		}
	}
	return nil
}

// removable refuses the removal of what is not empty.
func (e *Edit) removable(o *Object) *Error {
	for _, kind := range schema.Paths() {
		for _, other := range e.kinds[kind] {
			switch {
			case other == o, o.Kind.Path == "auth/partition" && kind == "sys/folder" && other.folder() == "":
			case o.Kind.Path == "auth/partition" && other.Partition == o.Name:
				return coded("0107082a:3: You must remove all objects from a partition before removing the partition, type ID (%s)", other.Path())
			case o.Kind.Path == "sys/folder" && o.Partition == "":
				return refuse("folder %s belongs to a partition", o.Path())
			case o.Kind.Path == "sys/folder" && other.folder() == o.Path():
				return refuse("folder %s is not empty", o.Path())
			}
		}
	}
	return nil
}

// removed does what the removal of an object entails.
func (e *Edit) removed(o *Object) {
	switch o.Kind.Path {
	case "auth/partition":
		if f := e.Get("sys/folder", "", "/"+o.Name); f != nil {
			e.drop(f)
		}
	case "ltm/virtual":
		e.release(virtualAddress(o))
	}
}

func (e *Edit) settlePartition(old, o *Object) *Error {
	domain, _ := whole(o.Values["defaultRouteDomain"])
	if !e.domainExists(domain) {
		return refuse("route domain %d was not found", domain)
	}
	if old == nil {
		k := schema.Kinds["sys/folder"]
		e.generation++
		e.put(&Object{Kind: k, Name: o.Name, Generation: e.generation, Values: defaults(k.Fields)})
	}
	return nil
}

func (e *Edit) settleNode(old, o *Object, body map[string]any) *Error {
	if old != nil {
		return nil
	}
	// A device takes a forced-offline node only as a second step.
	if body["state"] == "user-down" {
		return invalid("state", body["state"])
	}
	if fqdn, _ := o.Values["fqdn"].(map[string]any); fqdn["tmName"] != nil {
		o.Values["address"] = "any6"
		return nil
	}
	text, _ := o.Values["address"].(string)
	w, ok := e.parse(o.Partition, text)
	if !ok {
		return refuse("node %s must have an address", o.Path())
	}
	if other := e.nodeAt(w); other != nil {
		return exists("Node", o.Path(), other.Partition)
	}
	return nil
}

// nodeAt finds the node with an address, which is unique on a device.
func (e *Edit) nodeAt(w where) *Object {
	if e.nodes == nil {
		e.nodes = map[where]*Object{}
		for _, n := range e.kinds["ltm/node"] {
			e.remember(n)
		}
	}
	return e.nodes[w]
}

func (e *Edit) remember(node *Object) {
	text, _ := node.Values["address"].(string)
	if w, ok := e.parse(node.Partition, text); ok && text != "any6" {
		e.nodes[w] = node
	}
}

func nodePath(member *Object) string {
	host, _, _ := split(member.Name)
	return join(member.Partition, member.SubPath, host)
}

// settleMember finds the member's node, or makes it.
func (e *Edit) settleMember(old, o *Object, _ map[string]any) *Error {
	if old != nil {
		return nil
	}
	pool := e.Get("ltm/pool", "", o.Owner)
	if o.Partition != pool.Partition && o.Partition != "Common" {
		return coded("01070726:3: Pool %s in partition %s cannot reference Node %s in partition %s", pool.Path(), pool.Partition, nodePath(o), o.Partition)
	}
	host, _, ok := split(o.Name)
	if !ok {
		return noPort(o.Name)
	}
	address, given := o.Values["address"].(string)
	if node := e.Get("ltm/node", "", nodePath(o)); node != nil {
		if has := node.Values["address"]; given && has != address && address != "any6" {
			return refuse("node %s has the address %s, not %s", node.Path(), has, address)
		}
		o.Values["address"] = node.Values["address"]
		return nil
	}
	body := map[string]any{"name": host, "partition": o.Partition, "address": address}
	if o.SubPath != "" {
		body["subPath"] = o.SubPath
	}
	fqdn, _ := o.Values["fqdn"].(map[string]any)
	switch {
	case fqdn["tmName"] != nil:
		delete(body, "address")
		body["fqdn"] = map[string]any{"tmName": fqdn["tmName"], "autopopulate": fqdn["autopopulate"]}
	case !given:
		body["address"] = host
	}
	node, err := e.Create("ltm/node", "", body)
	if err != nil {
		return err
	}
	o.Values["address"] = node.Values["address"]
	return nil
}

// settlePool makes the members of a pool those of an inline list.
func (e *Edit) settlePool(old, o *Object, body map[string]any) *Error {
	given, ok := body["members"]
	if !ok {
		return nil
	}
	items, err := list(o.Kind.Field("members"), given)
	if err != nil {
		return err
	}
	// Members look for their pool.
	if old == nil {
		e.put(o)
	}
	k := schema.Kinds["ltm/pool/members"]
	keep := map[string]bool{}
	for _, item := range items {
		if name, ok := item.(string); ok {
			item = map[string]any{"name": name}
		}
		m, ok := item.(map[string]any)
		if !ok {
			return invalid("members", given)
		}
		draft := &Object{Kind: k, Owner: o.Path()}
		if err := e.identify(draft, m); err != nil {
			return err
		}
		if keep[draft.Path()] {
			return exists(k.Title, draft.Path(), draft.Partition)
		}
		keep[draft.Path()] = true
		if err := e.member(e.Get(k.Path, o.Path(), draft.Path()), o.Path(), m); err != nil {
			return err
		}
	}
	for _, m := range e.List(k.Path, o.Path()) {
		if !keep[m.Path()] {
			e.drop(m)
			e.generation++
		}
	}
	return nil
}

// member makes one member as an inline list has it.
func (e *Edit) member(old *Object, pool string, body map[string]any) *Error {
	if old == nil {
		_, err := e.Create("ltm/pool/members", pool, body)
		return err
	}
	o := *old
	o.Values = maps.Clone(old.Values)
	if !e.store.KeepOmitted {
		o.Values = defaults(o.Kind.Fields)
	}
	if address, ok := body["address"].(string); ok {
		w, ok := e.parse(o.Partition, address)
		if !ok || e.show(o.Partition, w) != old.Values["address"] {
			return readOnly("address")
		}
	}
	o.Values["address"] = old.Values["address"]
	if _, err := e.apply(&o, without(body, "address"), false); err != nil {
		return err
	}
	e.keep(old, &o)
	return nil
}

func without(body map[string]any, name string) map[string]any {
	out := maps.Clone(body)
	delete(out, name)
	return out
}

// translate makes the translation that a member of a snatpool names by address.
func (e *Edit) translate(o *Object, name string) *Error {
	full := name
	if !strings.HasPrefix(name, "/") {
		full = join(o.Partition, name)
	}
	if e.Get("ltm/snat-translation", "", full) != nil {
		return nil
	}
	host, _, _ := strings.Cut(path.Base(full), "%")
	if _, err := netip.ParseAddr(host); err != nil {
		return nil
	}
	_, err := e.Create("ltm/snat-translation", "", map[string]any{"name": full})
	return err
}

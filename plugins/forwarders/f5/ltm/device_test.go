package ltm_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
)

// device is a small model of a BIG-IP: objects by kind and full path, as JSON values. It
// refuses what a device refuses: what is there already, what is absent, what is in use,
// changes of nothing.
type device struct {
	objects map[string]map[string]map[string]any
	// members by path of the pool.
	members map[string]map[string]map[string]any
	// before is what the transaction found: what was attached then is still seen in use.
	before *device
}

func newDevice() *device {
	return &device{objects: map[string]map[string]map[string]any{}, members: map[string]map[string]map[string]any{}}
}

func (d *device) clone() *device {
	raw, _ := json.Marshal([]any{d.objects, d.members})
	out := newDevice()
	if err := json.Unmarshal(raw, &[]any{&out.objects, &out.members}); err != nil {
		panic(err)
	}
	return out
}

func (d *device) kind(kind string) map[string]map[string]any {
	if d.objects[kind] == nil {
		d.objects[kind] = map[string]map[string]any{}
	}
	return d.objects[kind]
}

// run commits transactions one after the other.
func (d *device) run(plan ltm.Plan) error {
	names := map[string]bool{}
	for _, t := range plan.Transactions {
		if n := len(t.Commands()); n == 0 || n > ltm.MaxCommands {
			return fmt.Errorf("a transaction of %d commands", n)
		}
		next := d.clone()
		next.before = d
		for _, p := range t.Parts {
			if names[p.Name] {
				return fmt.Errorf("two parts are called %s", p.Name)
			}
			names[p.Name] = true
			for _, c := range p.Commands {
				if c.Why == "" {
					return fmt.Errorf("%s %s says not why", c.Verb, c.Path)
				}
				if err := next.do(c); err != nil {
					return fmt.Errorf("%s %s %v: %w", c.Verb, c.Path, c.Body, err)
				}
			}
		}
		*d, d.before = *next, nil
	}
	return nil
}

func (d *device) do(c ltm.Command) error {
	rest, ok := strings.CutPrefix(c.Path, "/mgmt/tm/ltm/")
	if !ok {
		return fmt.Errorf("no such path")
	}
	raw, err := json.Marshal(c.Body)
	if err != nil {
		return err
	}
	var body map[string]any
	if err := json.Unmarshal(raw, &body); err != nil {
		return err
	}
	if c.Verb == "POST" {
		return d.create(rest, body)
	}
	if pool, member, ok := strings.Cut(rest, "/members/"); ok {
		m := d.members[path(strings.TrimPrefix(pool, "pool/"))][path(member)]
		if m == nil {
			return fmt.Errorf("no such member")
		}
		return merge(m, body)
	}
	at := strings.LastIndexByte(rest, '/')
	kind, name := rest[:at], path(rest[at+1:])
	o := d.kind(kind)[name]
	if o == nil {
		return fmt.Errorf("no such object")
	}
	if c.Verb == "DELETE" {
		return d.remove(kind, name)
	}
	if members, ok := body["members"]; ok {
		delete(body, "members")
		if err := d.setMembers(name, members.([]any)); err != nil {
			return err
		}
		if len(body) == 0 {
			return nil
		}
	}
	if err := merge(o, body); err != nil {
		return err
	}
	return d.check(kind, name)
}

func path(segment string) string {
	text, err := url.PathUnescape(segment)
	if err != nil {
		panic(err)
	}
	return strings.ReplaceAll(text, "~", "/")
}

var opposites = map[string]string{"enabled": "disabled", "disabled": "enabled", "vlansEnabled": "vlansDisabled", "vlansDisabled": "vlansEnabled"}

func merge(o, body map[string]any) error {
	if len(body) == 0 {
		return fmt.Errorf("one or more properties must be specified")
	}
	for key, value := range body {
		if value == true {
			delete(o, opposites[key])
		}
		if value == "none" && (key == "monitor" || key == "description") {
			delete(o, key)
			continue
		}
		o[key] = value
	}
	return nil
}

func (d *device) create(kind string, body map[string]any) error {
	name := "/" + body["partition"].(string) + "/" + body["name"].(string)
	if d.kind(kind)[name] != nil {
		return fmt.Errorf("already exists")
	}
	members, _ := body["members"].([]any)
	delete(body, "members")
	body["fullPath"] = name
	d.kind(kind)[name] = body
	if kind == "pool" {
		if err := d.setMembers(name, members); err != nil {
			return err
		}
	}
	if kind == "virtual-address" {
		for other, o := range d.kind(kind) {
			if other != name && o["address"] == body["address"] {
				return fmt.Errorf("the address exists")
			}
		}
	}
	if kind == "virtual" {
		va := d.addressOf(body)
		if d.kind("virtual-address")[va] == nil {
			d.kind("virtual-address")[va] = map[string]any{"fullPath": va, "address": va[strings.LastIndex(va, "/")+1:],
				"arp": "enabled", "icmpEcho": "enabled", "autoDelete": "true", "mask": body["mask"]}
		}
	}
	return d.check(kind, name)
}

// addressOf is the path of the virtual address of a virtual server.
func (d *device) addressOf(v map[string]any) string {
	text := v["destination"].(string)
	separator := ":"
	if strings.Count(text, ":") > 1 {
		separator = "."
	}
	return text[:strings.LastIndex(text, separator)]
}

// check looks for what an object refers to, and for two with one destination.
func (d *device) check(kind, name string) error {
	o := d.kind(kind)[name]
	if kind != "virtual" {
		return nil
	}
	if pool, _ := o["pool"].(string); pool != "" && d.kind("pool")[pool] == nil {
		return fmt.Errorf("pool %s was not found", pool)
	}
	for _, p := range o["profiles"].([]any) {
		if ref := referred(p); d.kind("profile/fastl4")[ref] == nil && d.kind("profile/udp")[ref] == nil {
			return fmt.Errorf("profile %s was not found", ref)
		}
	}
	persist, _ := o["persist"].([]any)
	for _, p := range persist {
		if ref := referred(p); d.kind("persistence/source-addr")[ref] == nil {
			return fmt.Errorf("persistence %s was not found", ref)
		}
	}
	for other, v := range d.kind("virtual") {
		if other != name && v["destination"] == o["destination"] && v["ipProtocol"] == o["ipProtocol"] {
			return fmt.Errorf("%s illegally shares its destination", other)
		}
	}
	return nil
}

func referred(v any) string {
	m := v.(map[string]any)
	return "/" + m["partition"].(string) + "/" + m["name"].(string)
}

func (d *device) setMembers(pool string, items []any) error {
	old := d.members[pool]
	d.members[pool] = map[string]map[string]any{}
	for _, item := range items {
		m := maps.Clone(item.(map[string]any))
		name := referred(m)
		if d.members[pool][name] != nil {
			return fmt.Errorf("member %s is there twice", name)
		}
		for _, key := range []string{"session", "state", "ratio", "connectionLimit", "priorityGroup"} {
			if m[key] == nil {
				return fmt.Errorf("member %s has no %s", name, key)
			}
		}
		if old[name] != nil {
			if m["address"] != nil {
				return fmt.Errorf("address is read-only")
			}
			m["address"] = old[name]["address"]
		} else {
			node := nodeOf(name)
			if d.kind("node")[node] == nil {
				for other, n := range d.kind("node") {
					if n["address"] == m["address"] {
						return fmt.Errorf("node %s has the address", other)
					}
				}
				d.kind("node")[node] = map[string]any{"fullPath": node, "address": m["address"], "session": "user-enabled", "state": "unchecked"}
			}
		}
		m["fullPath"] = name
		d.members[pool][name] = m
	}
	return nil
}

func nodeOf(member string) string {
	separator := ":"
	if strings.Count(member, ":") > 1 {
		separator = "."
	}
	return member[:strings.LastIndex(member, separator)]
}

func (d *device) remove(kind, name string) error {
	if strings.Contains(kind, "/") && d.before != nil {
		if err := d.before.clone().remove(kind, name); err != nil {
			return fmt.Errorf("when the transaction began: %w", err)
		}
	}
	for other, v := range d.kind("virtual") {
		var refs []string
		for _, key := range []string{"profiles", "persist"} {
			items, _ := v[key].([]any)
			for _, item := range items {
				refs = append(refs, referred(item))
			}
		}
		switch {
		case kind == "pool" && v["pool"] == name,
			kind == "virtual-address" && d.addressOf(v) == name,
			strings.Contains(kind, "/") && slices.Contains(refs, name):
			return fmt.Errorf("in use by %s", other)
		}
	}
	if kind == "node" {
		for pool, members := range d.members {
			for member := range members {
				if nodeOf(member) == name {
					return fmt.Errorf("referenced by a member of pool %s", pool)
				}
			}
		}
	}
	gone := d.kind(kind)[name]
	delete(d.kind(kind), name)
	switch kind {
	case "pool":
		delete(d.members, name)
	case "virtual":
		d.release(d.addressOf(gone))
	}
	return nil
}

// release removes a virtual address that no virtual server is on, if it goes by itself.
func (d *device) release(va string) {
	for _, v := range d.kind("virtual") {
		if d.addressOf(v) == va {
			return
		}
	}
	if o := d.kind("virtual-address")[va]; o != nil && o["autoDelete"] == "true" {
		delete(d.kind("virtual-address"), va)
	}
}

// state reads the device as it answers.
func (d *device) state(partition string, domain int) (ltm.State, error) {
	s := ltm.State{Partition: partition, DefaultDomain: domain}
	for _, kind := range ltm.Kinds() {
		if err := s.Add(kind, d.body(string(kind))); err != nil {
			return s, err
		}
	}
	return s, nil
}

// body is a collection as the device answers.
func (d *device) body(kind string) []byte {
	var items []any
	for _, name := range slices.Sorted(maps.Keys(d.kind(kind))) {
		items = append(items, d.read(kind, name))
	}
	raw, err := json.Marshal(map[string]any{"kind": "tm:ltm:collection", "items": items})
	if err != nil {
		panic(err)
	}
	return raw
}

func (d *device) read(kind, name string) map[string]any {
	o := maps.Clone(d.kind(kind)[name])
	if kind == "pool" {
		var items []any
		for _, m := range slices.Sorted(maps.Keys(d.members[name])) {
			member := maps.Clone(d.members[name][m])
			if member["session"] == "user-enabled" && len(name)%2 == 0 {
				// A pool that somebody gave a monitor.
				member["session"], member["state"] = "monitor-enabled", "down"
			} else if member["state"] == "user-up" {
				member["state"] = "unchecked"
			}
			items = append(items, member)
		}
		o["membersReference"] = map[string]any{"isSubcollection": true, "items": items}
	}
	if kind == "virtual" {
		profiles := []any{}
		for _, p := range o["profiles"].([]any) {
			item := maps.Clone(p.(map[string]any))
			item["fullPath"] = referred(item)
			profiles = append(profiles, item)
		}
		o["profilesReference"] = map[string]any{"isSubcollection": true, "items": profiles}
		delete(o, "profiles")
	}
	return o
}

// differs says which of the objects of before are no longer the same.
func (d *device) differs(before *device) []string {
	var out []string
	for kind, objects := range before.objects {
		for name, o := range objects {
			was, _ := json.Marshal([]any{o, before.members[name]})
			is, _ := json.Marshal([]any{d.kind(kind)[name], d.members[name]})
			if string(was) != string(is) {
				out = append(out, fmt.Sprintf("%s %s was %s and is %s", kind, name, was, is))
			}
		}
	}
	return out
}

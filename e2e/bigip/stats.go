package bigip

import (
	"maps"
	"strings"

	"github.com/poise-lb/poise/e2e/bigip/internal/schema"
	"github.com/poise-lb/poise/e2e/bigip/internal/state"
)

// Counters of each kind; all start at 0.
var counters = map[string][]string{
	"ltm/virtual": {
		"clientside.bitsIn", "clientside.bitsOut", "clientside.curConns", "clientside.evictedConns", "clientside.maxConns",
		"clientside.pktsIn", "clientside.pktsOut", "clientside.slowKilled", "clientside.totConns",
		"csMaxConnDur", "csMeanConnDur", "csMinConnDur",
		"ephemeral.bitsIn", "ephemeral.bitsOut", "ephemeral.curConns", "ephemeral.evictedConns", "ephemeral.maxConns",
		"ephemeral.pktsIn", "ephemeral.pktsOut", "ephemeral.slowKilled", "ephemeral.totConns",
		"fiveMinAvgUsageRatio", "fiveSecAvgUsageRatio", "oneMinAvgUsageRatio",
		"syncookie.accepts", "syncookie.hwAccepts", "syncookie.hwSyncookies", "syncookie.hwsyncookieInstance", "syncookie.rejects",
		"syncookie.swsyncookieInstance", "syncookie.syncacheCurr", "syncookie.syncacheOver", "syncookie.syncookies",
		"totRequests",
	},
	"ltm/pool": append([]string{
		"activeMemberCnt", "availableMemberCnt", "connqAll.ageEdm", "connqAll.ageEma", "connqAll.ageHead", "connqAll.ageMax",
		"connqAll.depth", "connqAll.serviced", "curPriogrp", "highestPriogrp", "lowestPriogrp", "memberCnt", "minActiveMembers",
	}, served...),
	"ltm/pool/members": append([]string{"port"}, append(messages, served...)...),
	"ltm/node":         append(messages, served...),
}

var messages = []string{"mr.msgIn", "mr.msgOut", "mr.reqIn", "mr.reqOut", "mr.respIn", "mr.respOut"}

var served = []string{
	"connq.ageEdm", "connq.ageEma", "connq.ageHead", "connq.ageMax", "connq.depth", "connq.serviced", "curSessions",
	"serverside.bitsIn", "serverside.bitsOut", "serverside.curConns", "serverside.maxConns", "serverside.pktsIn",
	"serverside.pktsOut", "serverside.totConns", "totRequests",
}

// SetStats sets statistics of an object: kind is the path of the kind ("ltm/virtual",
// "ltm/pool", "ltm/pool/members", "ltm/node"), object its full path, for a member that of
// the pool, a space, and the member's. Numbers are counters, strings descriptions.
func (u *Unit) SetStats(kind, object string, values map[string]any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	id := address(kind, object)
	if u.stats[id] == nil {
		u.stats[id] = map[string]any{}
	}
	maps.Copy(u.stats[id], values)
}

// SetHealth says what the monitors of a node or pool member find: "up", "down" or
// "checking", which is what it is at first. kind and object are those of SetStats. Where
// nothing monitors it, it changes nothing.
func (u *Unit) SetHealth(kind, object, health string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.health[address(kind, object)] = health
}

func address(kind, object string) string {
	owner, path, found := strings.Cut(object, " ")
	if !found {
		return kind + "/" + state.Escape(object)
	}
	k := schema.Kinds[kind]
	return k.Owner + "/" + state.Escape(owner) + strings.TrimPrefix(kind, k.Owner) + "/" + state.Escape(path)
}

// readStats answers GET of statistics of an object or of all in a collection.
func (u *Unit) readStats(c *call, t target) *reply {
	if counters[t.kind.Path] == nil {
		return notRegistered(c.path, c.entry)
	}
	if t.owner != "" && u.store.Config.Get(t.kind.Owner, "", t.owner) == nil {
		return refusal(state.NotFound("Pool", t.owner))
	}
	view := u.view()
	objects := u.store.Config.List(t.kind.Path, t.owner)
	kind, self := t.kind.CollectionStats(), t.kind.Path+"/stats"
	if t.owner != "" {
		self = t.kind.Owner + "/" + state.Escape(t.owner) + strings.TrimPrefix(t.kind.Path, t.kind.Owner) + "/stats"
	}
	if t.path != "" {
		o := u.store.Config.Get(t.kind.Path, t.owner, t.path)
		if o == nil {
			return refusal(state.Absent(t.kind, t.owner, t.path, c.method))
		}
		objects, kind, self = []*state.Object{o}, t.kind.Stats(), o.Address()+"/stats"
	}
	out := map[string]any{"kind": kind, "selfLink": view.Link(self, shownQuery(c.rawQuery))}
	entries := map[string]any{}
	for _, o := range objects {
		entries["https://localhost/mgmt/tm/"+o.Address()+"/stats"] = map[string]any{"nestedStats": map[string]any{
			"kind": o.Kind.Stats(), "selfLink": view.Link(o.Address()+"/stats", ""), "entries": u.leaves(o, view),
		}}
	}
	if len(entries) > 0 {
		out["entries"] = entries
	}
	return ok(out)
}

func (u *Unit) leaves(o *state.Object, view state.View) map[string]any {
	values := map[string]any{}
	for _, name := range counters[o.Kind.Path] {
		values[name] = 0
	}
	maps.Copy(values, u.described(o, view))
	maps.Copy(values, u.stats[o.Address()])
	out := map[string]any{}
	for name, v := range values {
		if text, isText := v.(string); isText {
			out[name] = map[string]any{"description": text}
			continue
		}
		out[name] = map[string]any{"value": v}
	}
	return out
}

// described is what the configuration says in the statistics of an object.
func (u *Unit) described(o *state.Object, view state.View) map[string]any {
	config := u.store.Config
	out := map[string]any{"status.enabledState": "enabled"}
	body := config.Body(o, view)
	switch o.Kind.Path {
	case "ltm/virtual":
		out["actualPvaAccel"], out["cmpEnableMode"], out["cmpEnabled"], out["syncookieStatus"] = "none", "all-cpus", "enabled", "not-activated"
		destination := body["destination"].(string)
		out["destination"], out["tmName"] = destination[strings.LastIndex(destination, "/")+1:], o.Path()
		out["status.availabilityState"], out["status.statusReason"] = "unknown", "The children pool member(s) either don't have service checking enabled, or service check results are not available yet"
		if body["disabled"] == true {
			out["status.enabledState"] = "disabled"
		}
	case "ltm/pool":
		members := config.List("ltm/pool/members", o.Path())
		available := 0
		state, reason := "unknown", "The children pool member(s) either don't have service checking enabled, or service check results are not available yet"
		for _, m := range members {
			switch availability, _ := reading(config.Body(m, view)); availability {
			case "available":
				available++
				state, reason = "available", "The pool is available"
			case "unknown":
				available++
			}
		}
		if len(members) > 0 && available == 0 {
			state, reason = "offline", "The children pool member(s) are down"
		}
		out["memberCnt"], out["availableMemberCnt"], out["minActiveMembers"] = len(members), available, o.Values["minActiveMembers"]
		out["tmName"], out["monitorRule"] = o.Path(), rule(body["monitor"], "")
		out["status.availabilityState"], out["status.statusReason"] = state, reason
	case "ltm/pool/members", "ltm/node":
		out["addr"] = body["address"]
		out["monitorStatus"], out["sessionStatus"] = body["state"], "enabled"
		if body["session"] == "user-disabled" {
			out["sessionStatus"], out["status.enabledState"] = "disabled", "disabled"
		}
		out["status.availabilityState"], out["status.statusReason"] = reading(body)
		if o.Kind.Path == "ltm/node" {
			out["tmName"], out["monitorRule"] = o.Path(), rule(body["monitor"], "")
			break
		}
		node, port := state.NodeAndPort(o)
		out["nodeName"], out["poolName"], out["port"] = node, o.Owner, port
		out["monitorRule"] = rule(body["monitor"], "")
		if body["monitor"] == "default" {
			pool := config.Get("ltm/pool", "", o.Owner)
			out["monitorRule"] = rule(pool.Values["monitor"], " (pool monitor)")
		}
	}
	return out
}

func rule(monitor any, suffix string) string {
	text, _ := monitor.(string)
	if text == "" || text == "default" || text == "none" {
		return "none"
	}
	return strings.TrimSpace(text) + suffix
}

// reading is availability and its reason for a member or node.
func reading(body map[string]any) (availability, reason string) {
	what := "Pool member"
	if body["kind"] == "tm:ltm:node:nodestate" {
		what = "Node address"
	}
	switch body["state"] {
	case "up", "fqdn-up":
		return "available", what + " is available"
	case "down":
		return "offline", what + " has been marked down by a monitor"
	case "user-down":
		return "offline", "Forced down"
	case "checking":
		return "unknown", what + " has not been checked yet"
	}
	return "unknown", what + " does not have service checking enabled"
}

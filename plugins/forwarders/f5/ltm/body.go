package ltm

import (
	"maps"
	"reflect"
	"slices"
)

// The bodies hold the fields that are ours to decide. Both what is wanted and what is
// there are written this way, and the difference of the two is what has to be changed: so
// a difference of spelling is none.

func onOff(on bool, yes, no string) string {
	if on {
		return yes
	}
	return no
}

func able(on bool) string { return onOff(on, "enabled", "disabled") }

// named writes full paths as the device reads lists of names.
func named(paths []string, extra ...string) []any {
	out := make([]any, 0, len(paths))
	for _, path := range paths {
		out = append(out, reference(path, extra...))
	}
	return out
}

func reference(path string, extra ...string) map[string]any {
	r := map[string]any{"name": path[len(partitionOf(path))+2:], "partition": partitionOf(path)}
	for i := 0; i+1 < len(extra); i += 2 {
		r[extra[i]] = extra[i+1]
	}
	return r
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func poolBody(p Pool) map[string]any {
	return map[string]any{
		"loadBalancingMode": p.LoadBalancingMode, "minActiveMembers": p.MinActiveMembers, "serviceDownAction": p.ServiceDownAction,
		"slowRampTime": p.SlowRampTime, "reselectTries": p.ReselectTries, "queueOnConnectionLimit": able(p.QueueOnConnectionLimit),
		"allowNat": onOff(p.AllowNAT, "yes", "no"), "allowSnat": onOff(p.AllowSNAT, "yes", "no"),
		"profiles": named(p.Profiles), "monitor": orNone(p.Monitor), "description": orNone(p.Description),
	}
}

// memberBody always has session and state together: one without the other means
// something else.
func memberBody(m Member) map[string]any {
	return map[string]any{
		"session": m.Intent.session(), "state": m.Intent.state(), "ratio": m.Ratio, "connectionLimit": m.ConnectionLimit,
		"priorityGroup": m.PriorityGroup, "monitor": m.Monitor, "rateLimit": m.RateLimit, "description": orNone(m.Description),
	}
}

// memberChange is what has to be sent to make one member the other.
func memberChange(there, wanted Member) map[string]any {
	if there.Intent == wanted.Intent && there.Ratio == wanted.Ratio && there.ConnectionLimit == wanted.ConnectionLimit &&
		there.PriorityGroup == wanted.PriorityGroup && there.Monitor == wanted.Monitor && there.RateLimit == wanted.RateLimit &&
		there.Description == wanted.Description {
		return nil
	}
	return change(memberBody(there), memberBody(wanted))
}

// virtualBody leaves out destination and protocol: a virtual server with another is
// another.
func virtualBody(v Virtual) map[string]any {
	profiles := make([]any, 0, len(v.Profiles))
	for _, p := range v.Profiles {
		profiles = append(profiles, reference(p.Path, "context", p.Context))
	}
	snat := map[string]any{"type": v.SNATType}
	if v.SNATPool != "" {
		snat["pool"] = v.SNATPool
	}
	b := map[string]any{
		"mask": v.Mask, "source": v.Source, "pool": orNone(v.Pool), "profiles": profiles, "persist": named(v.Persist, "tmDefault", "yes"),
		"sourceAddressTranslation": snat, "translateAddress": able(v.TranslateAddress), "translatePort": able(v.TranslatePort),
		"sourcePort": v.SourcePort, "connectionLimit": v.ConnectionLimit, "mirror": able(v.Mirror),
		"serviceDownImmediateAction": v.ServiceDownImmediateAction, "vlans": append([]string{}, v.VLANs...), "description": orNone(v.Description),
	}
	b[onOff(v.Enabled, "enabled", "disabled")] = true
	b[onOff(v.VLANsEnabled, "vlansEnabled", "vlansDisabled")] = true
	return b
}

func virtualAddressBody(v VirtualAddress, wanted VirtualAddress) map[string]any {
	b := map[string]any{
		"arp": able(v.ARP), "icmpEcho": v.ICMPEcho, "autoDelete": onOff(v.AutoDelete, "true", "false"),
		"enabled": onOff(v.Enabled, "yes", "no"), "description": orNone(v.Description),
	}
	// Announcing routes is the operator's choice, unless the address must not be announced.
	if wanted.RouteAdvertisement != "" {
		b["routeAdvertisement"] = v.RouteAdvertisement
	}
	return b
}

func persistenceBody(p Persistence) map[string]any {
	return map[string]any{
		"timeout": p.Timeout, "mask": p.Mask, "hashAlgorithm": p.HashAlgorithm, "matchAcrossServices": able(p.MatchAcrossServices),
		"matchAcrossVirtuals": able(p.MatchAcrossVirtuals), "matchAcrossPools": able(p.MatchAcrossPools), "mirror": able(p.Mirror),
		"overrideConnectionLimit": able(p.OverrideConnectionLimit), "description": orNone(p.Description),
	}
}

func fastL4Body(p FastL4) map[string]any {
	return map[string]any{
		"idleTimeout": p.IdleTimeout, "tcpCloseTimeout": p.TCPCloseTimeout, "looseClose": able(p.LooseClose),
		"looseInitialization": able(p.LooseInitialization), "pvaAcceleration": p.PVAAcceleration,
		"resetOnTimeout": able(p.ResetOnTimeout), "description": orNone(p.Description),
	}
}

func udpBody(p UDP) map[string]any {
	return map[string]any{
		"idleTimeout": p.IdleTimeout, "datagramLoadBalancing": able(p.DatagramLoadBalancing), "description": orNone(p.Description),
	}
}

// change is what has to be sent to make there wanted; empty: nothing.
func change(there, wanted map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range wanted {
		if !reflect.DeepEqual(there[key], value) {
			out[key] = value
		}
	}
	for _, pair := range [][2]string{{"session", "state"}, {"vlans", "vlansEnabled"}, {"vlans", "vlansDisabled"}} {
		_, first := out[pair[0]]
		_, second := out[pair[1]]
		for _, key := range pair {
			if value, ok := wanted[key]; ok && (first || second) {
				out[key] = value
			}
		}
	}
	return out
}

// creation is a body for a new object: what says "none" is left out.
func creation(path string, body map[string]any) map[string]any {
	out := reference(path)
	for key, value := range body {
		switch list, isList := value.([]any); {
		case isList && len(list) == 0, key == "monitor" && value == "none", reflect.DeepEqual(value, []string{}):
		default:
			out[key] = value
		}
	}
	return out
}

// metadata is our mark as an entry.
func (o Owner) metadata() []any {
	return []any{map[string]any{"name": o.Mark, "persist": "true", "value": o.Instance}}
}

// fields names what a body changes.
func fields(body map[string]any) []string { return slices.Sorted(maps.Keys(body)) }

package ltm

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/poise-lb/poise/sdk"
)

// What becomes of a real server that is down.
const (
	OnFailureOffline = "offline"
	OnFailureRemove  = "remove"
)

// Parameters are the forwarder's own of a virtual server.
type Parameters struct {
	// Approximate names near mappings that are accepted, beside those of the instance.
	Approximate []string `json:"approximate,omitempty"`
	// SNAT is "none", "automap" or the path of a SNAT pool.
	SNAT string `json:"snat,omitempty"`
	// OnFailure is "offline" or "remove".
	OnFailure string `json:"on_failure,omitempty"`
	// SameAddress: a director serves the address too, so the device does not announce it.
	SameAddress bool `json:"same_address,omitempty"`
	// Mirror connections and persistence to the other unit.
	Mirror bool `json:"mirror,omitempty"`
	// ConnectionLimit of the virtual server; 0: none.
	ConnectionLimit int `json:"connection_limit,omitempty"`
	// VLANs that it listens on; empty: all.
	VLANs []string `json:"vlans,omitempty"`
	// ScaleWeights lets weights be rounded to 1..100.
	ScaleWeights bool `json:"scale_weights,omitempty"`
}

// legalPath is what names of objects that parameters point at look like.
var legalPath = regexp.MustCompile(`^/[A-Za-z0-9_.:%-]+(/[A-Za-z0-9_.:%-]+)+$`)

// maxLimit is the device's largest connection limit.
const maxLimit = 1<<31 - 1

// ParseParameters reads the parameters of a virtual server; empty: the defaults. Refusals
// have paths below "/parameters_json" and no key.
func ParseParameters(raw []byte, partition string) (Parameters, []Refusal) {
	p := Parameters{SNAT: "none", OnFailure: OnFailureOffline}
	const base = "/parameters_json"
	if err := sdk.Decode(json.RawMessage(raw), &p); err != nil {
		path, message := "", err.Error()
		var e *sdk.ParameterError
		if errors.As(err, &e) {
			path, message = e.Path, e.Message
		}
		return p, []Refusal{{Path: base + path, Message: message}}
	}
	var out []Refusal
	bad := func(path, format string, args ...any) {
		out = append(out, Refusal{Path: base + path, Message: fmt.Sprintf(format, args...)})
	}
	reachable := func(path string) bool {
		return legalPath.MatchString(path) && slices.Contains([]string{partition, "Common"}, partitionOf(path))
	}
	for i, name := range p.Approximate {
		if !KnownApproximation(name) {
			bad(fmt.Sprintf("/approximate/%d", i), "no near mapping is called %q: they are %s", name, strings.Join(Approximations, ", "))
		}
	}
	if p.SNAT != "none" && p.SNAT != "automap" && !reachable(p.SNAT) {
		bad("/snat", "must be none, automap or the path of a SNAT pool in /%s or /Common, not %q", partition, p.SNAT)
	}
	if p.OnFailure != OnFailureOffline && p.OnFailure != OnFailureRemove {
		bad("/on_failure", "must be %s or %s, not %q", OnFailureOffline, OnFailureRemove, p.OnFailure)
	}
	if p.ConnectionLimit < 0 || p.ConnectionLimit > maxLimit {
		bad("/connection_limit", "must be 0 (none) to %d, not %d", maxLimit, p.ConnectionLimit)
	}
	for i, name := range p.VLANs {
		p.VLANs[i] = full("Common", name)
		switch {
		case !reachable(p.VLANs[i]):
			bad(fmt.Sprintf("/vlans/%d", i), "must be the name of a VLAN in /Common, or the path of one there or in /%s, not %q", partition, name)
		case slices.Contains(p.VLANs[:i], p.VLANs[i]):
			bad(fmt.Sprintf("/vlans/%d", i), "%s is there twice", p.VLANs[i])
		}
	}
	slices.Sort(p.VLANs)
	return p, out
}

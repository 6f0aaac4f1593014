package ltm

import (
	"slices"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// Options of an instance, which hold for all its virtual servers.
type Options struct {
	// Partition that the objects are in.
	Partition string
	Owner
	// RouteDomain of virtual addresses and real servers.
	RouteDomain int
	// DefaultDomain is the partition's own default route domain: addresses in it are
	// written without suffix.
	DefaultDomain int
	// Approximate names the near mappings that are accepted for every virtual server.
	Approximate []string
}

// Approximations are the near mappings that have to be asked for, by the name of the
// directive.
var Approximations = []string{"sed", "nq", "sh", "mh", "ovf", "ops", "persistence_port_0"}

// KnownApproximation tells whether a near mapping of that name exists.
func KnownApproximation(name string) bool { return slices.Contains(Approximations, name) }

// Refusal says what the device cannot do of a virtual server, or what is in its way.
type Refusal struct {
	// Key of the virtual server; nil: it is about an object that no virtual server of the
	// request has.
	Key *forwardv1.ServiceKey
	// Path is a JSON pointer in the field names of poise.forward.v1.VirtualServer: see
	// sdk.ServiceValidator. Empty: the whole.
	Path string
	// Message names the directive, the reason and what to do.
	Message string
	// Warning: it is done, near to what was asked for.
	Warning bool
}

// Error gives "/scheduler: lblc has no equivalent".
func (r Refusal) Error() string {
	if r.Path == "" {
		return r.Message
	}
	return r.Path + ": " + r.Message
}

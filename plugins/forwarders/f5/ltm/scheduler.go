package ltm

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// scheduler says how the pool chooses a member: its mode, ratios and priority groups.
func (b *builder) scheduler() {
	p, name := &b.out.Pool, b.from.GetScheduler()
	if len(b.from.GetSchedulerFlags()) > 0 {
		b.refuse("/scheduler_flags", "%s of scheduler %s has no equivalent on a BIG-IP: leave it out", strings.Join(b.from.GetSchedulerFlags(), ", "), name)
	}
	const path = "/scheduler"
	switch name {
	case "rr":
		p.LoadBalancingMode = "round-robin"
	case "lc":
		p.LoadBalancingMode = "least-connections-member"
	case "wrr":
		p.LoadBalancingMode = "ratio-member"
		b.ratios()
	case "wlc":
		p.LoadBalancingMode = "ratio-least-connections-member"
		b.ratios()
	case "sed", "nq":
		p.LoadBalancingMode = "ratio-least-connections-member"
		b.near(name, path, "scheduler %s has no equivalent on a BIG-IP; nearest is ratio-least-connections-member, which is wlc", name)
		b.ratios()
	case "sh", "mh":
		p.LoadBalancingMode = "round-robin"
		b.near(name, path, "scheduler %s is source address persistence with the CARP hash on a BIG-IP: clients get other real servers than from IPVS, and weights other than 0 do not count", name)
	case "fo":
		p.LoadBalancingMode = "round-robin"
		b.failover(false)
	case "ovf":
		p.LoadBalancingMode = "round-robin"
		b.near(name, path, "scheduler ovf is priority groups with the weight as connection limit on a BIG-IP: whether a member at its limit gives way to the next group was not tried on a device")
		b.failover(true)
	case "lblc", "lblcr", "dh":
		b.refuse(path, "scheduler %s chooses by the client's destination, which on a BIG-IP is the virtual server's own address: leave the virtual server to IPVS or take wlc", name)
	case "":
		b.refuse(path, "the scheduler is missing")
	default:
		b.refuse(path, "scheduler %s has no equivalent on a BIG-IP: there are rr, wrr, lc, wlc and fo, and near ones of sed, nq, sh, mh and ovf", name)
	}
	b.sorry()
	b.drop()
}

// weight is what the member's description says of it.
func (b *builder) weight(m Member) uint64 {
	n, _ := strconv.ParseUint(b.options.note(m.Description, "weight"), 10, 32)
	return n
}

func (b *builder) isSorry(m Member) bool { return b.options.note(m.Description, "sorry") != "" }

// ratios reduces weights to ratios. Those of members that are offline count: they come
// back with them.
func (b *builder) ratios() {
	members := b.out.Pool.Members
	weights := make([]uint64, len(members))
	for i, m := range members {
		if !b.isSorry(m) {
			weights[i] = b.weight(m)
		}
	}
	ratios, most := reduce(weights)
	if most > maxRatio && !b.parameters.ScaleWeights {
		b.refuse("/real_servers", "the weights reduce to %d for the heaviest and a BIG-IP takes ratios of 1 to %d: choose weights that reduce to that, or say `scale_weights: true` to have them rounded", most, maxRatio)
	}
	for i := range members {
		members[i].Ratio = ratios[i]
	}
}

// reduce divides weights by their greatest common divisor; most is the largest quotient.
// Where that is too large for a ratio, they are scaled, and rounded up so that 1 never
// becomes 0. A weight of 0 has ratio 1, which is the device's default.
func reduce(weights []uint64) (ratios []int, most uint64) {
	var divisor uint64
	for _, w := range weights {
		divisor, most = gcd(divisor, w), max(most, w)
	}
	ratios = make([]int, len(weights))
	divisor = max(divisor, 1)
	most /= divisor
	for i, w := range weights {
		w /= divisor
		if most > maxRatio {
			w = (w*maxRatio + most - 1) / most
		}
		ratios[i] = int(max(w, 1))
	}
	return ratios, most
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// failover gives each member a priority group of its own, in the order of the weights;
// of equal weights the lower address comes first. Members with weight 0 share the last.
func (b *builder) failover(overflow bool) {
	p := &b.out.Pool
	p.MinActiveMembers = 1
	var order []*Member
	for i := range p.Members {
		m := &p.Members[i]
		if m.PriorityGroup = realGroup; b.weight(*m) > 0 && !b.isSorry(*m) {
			order = append(order, m)
		}
	}
	slices.SortStableFunc(order, func(a, c *Member) int {
		if n := cmp.Compare(b.weight(*a), b.weight(*c)); n != 0 {
			return n
		}
		return compareEndpoints(c.Endpoint, a.Endpoint)
	})
	for i, m := range order {
		m.PriorityGroup = realGroup + 1 + i
		if limit := int(b.weight(*m)); overflow && (m.ConnectionLimit == 0 || limit < m.ConnectionLimit) {
			m.ConnectionLimit = limit
		}
	}
}

// sorry puts a sorry server behind all others.
func (b *builder) sorry() {
	p := &b.out.Pool
	if !slices.ContainsFunc(p.Members, b.isSorry) {
		return
	}
	p.MinActiveMembers = 1
	for i := range p.Members {
		switch m := &p.Members[i]; {
		case b.isSorry(*m):
			m.PriorityGroup = 0
		case m.PriorityGroup == 0:
			m.PriorityGroup = realGroup
		}
	}
}

// drop leaves out members that are offline, where that was asked for.
func (b *builder) drop() {
	if b.parameters.OnFailure == OnFailureRemove && len(b.refusals) == 0 {
		b.out.Pool.Members = slices.DeleteFunc(b.out.Pool.Members, func(m Member) bool { return m.Intent == Offline })
	}
}

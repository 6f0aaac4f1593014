package bigip

import (
	"fmt"

	"github.com/poise-lb/poise/e2e/bigip/internal/schema"
	"github.com/poise-lb/poise/e2e/bigip/internal/state"
)

type foreignKey struct{ kind, owner, path string }

// AddForeign makes an object of each kind, in each of the partitions, as somebody else
// would have made them: a virtual server with its address and port, its pool, members and
// nodes, monitor, profiles, persistence, a snatpool with a translation, a data group. All
// names begin with "foreign"; addresses are of 198.18.0.0/16. A partition that is not
// there is made. Foreign shows whether they are as they were.
func (u *Unit) AddForeign(partitions ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, partition := range partitions {
		u.addForeign(partition)
	}
	u.saved = u.store.Config
}

// AddForeign makes foreign objects on both units, which stay in sync.
func (p *Pair) AddForeign(partitions ...string) {
	p.A.mu.Lock()
	defer p.A.mu.Unlock()
	p.settle()
	for _, partition := range partitions {
		p.A.addForeign(partition)
	}
	p.B.store.Copy(p.A.store.Config)
	p.B.foreign = append([]foreignKey(nil), p.A.foreign...)
	for _, u := range p.Units() {
		u.saved, u.changed = u.store.Config, false
	}
	p.job = nil
}

func (u *Unit) addForeign(partition string) {
	if u.store.Config.Get("auth/partition", "", partition) == nil {
		u.must("auth/partition", "", map[string]any{"name": partition})
	}
	net := 0
	for _, k := range u.foreign {
		if k.kind == "ltm/pool" {
			net++
		}
	}
	add := func(kind, owner, name string, values map[string]any) {
		body := map[string]any{"name": name, "partition": partition}
		for k, v := range values {
			body[k] = v
		}
		o := u.must(kind, owner, body)
		u.foreign = append(u.foreign, foreignKey{kind, owner, o.Path()})
	}
	in := func(name string) string { return "/" + partition + "/" + name }
	address := func(host int) string { return fmt.Sprintf("198.18.%d.%d", net, host) }
	words := map[string]any{"description": "made by somebody else"}

	add("ltm/monitor/tcp", "", "foreign-monitor", map[string]any{"interval": 7, "timeout": 22})
	add("ltm/profile/fastl4", "", "foreign-fastl4", map[string]any{"idleTimeout": "600"})
	add("ltm/profile/tcp", "", "foreign-tcp", map[string]any{"idleTimeout": 900})
	add("ltm/profile/udp", "", "foreign-udp", map[string]any{"datagramLoadBalancing": "enabled"})
	add("ltm/persistence/source-addr", "", "foreign-persistence", map[string]any{"timeout": "90"})
	add("ltm/node", "", "foreign-node", map[string]any{"address": address(1), "description": words["description"]})
	add("ltm/snat-translation", "", "foreign-translation", map[string]any{"address": address(2)})
	add("ltm/snatpool", "", "foreign-snatpool", map[string]any{"members": []any{in("foreign-translation")}})
	add("ltm/data-group/internal", "", "foreign-records", map[string]any{"type": "string", "records": []any{map[string]any{"name": "key", "data": "value"}}})
	add("ltm/pool", "", "foreign-pool", map[string]any{"monitor": in("foreign-monitor"), "description": words["description"],
		"metadata": []any{map[string]any{"name": "owner", "value": "somebody else", "persist": "true"}}})
	add("ltm/pool/members", in("foreign-pool"), "foreign-node:8080", map[string]any{"ratio": 3})
	add("ltm/pool/members", in("foreign-pool"), address(3)+":8080", map[string]any{"session": "user-disabled"})
	u.foreign = append(u.foreign, foreignKey{"ltm/node", "", in(address(3))})
	add("ltm/virtual", "", "foreign-virtual", map[string]any{
		"destination": address(4) + ":80", "ipProtocol": "tcp", "pool": in("foreign-pool"), "profiles": []any{in("foreign-fastl4")},
		"persist":                  []any{map[string]any{"name": in("foreign-persistence")}},
		"sourceAddressTranslation": map[string]any{"type": "snat", "pool": in("foreign-snatpool")},
	})
	u.foreign = append(u.foreign, foreignKey{"ltm/virtual-address", "", in(address(4))})
	add("ltm/virtual-address", "", "foreign-address", map[string]any{"address": address(5), "icmpEcho": "disabled"})
}

// Foreign is the foreign objects as JSON, with all that belongs to them, values and
// generations: the same bytes as long as nobody touched them. What was deleted is
// missing, what was added to them is there.
func (u *Unit) Foreign() []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.settle()
	var objects []*state.Object
	seen := map[*state.Object]bool{}
	add := func(o *state.Object) {
		if o != nil && !seen[o] {
			seen[o] = true
			objects = append(objects, o)
		}
	}
	for _, k := range u.foreign {
		add(u.store.Config.Get(k.kind, k.owner, k.path))
		for _, path := range schema.Paths() {
			if schema.Kinds[path].Owner == k.kind {
				for _, m := range u.store.Config.List(path, k.path) {
					add(m)
				}
			}
		}
	}
	return state.Encode(objects)
}

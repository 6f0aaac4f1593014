package f5

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// Import tells in poise's words what a partition of the active unit holds; the scope is a
// partition, poise's own if it is empty. Nothing is changed.
func (f *Forwarder) Import(ctx context.Context, r *forwardv1.ImportRequest) (*forwardv1.ImportResponse, error) {
	if err := f.ready(); err != nil {
		return nil, err
	}
	if err := f.acquire(ctx); err != nil {
		return nil, err
	}
	defer f.release()
	active, err := f.pair.active(ctx)
	if err != nil {
		return nil, err
	}
	partition := r.GetScope()
	if partition == "" {
		partition = f.settings.Partition
	}
	state, err := active.read(ctx, partition, ltm.Kinds())
	if err != nil {
		return nil, err
	}
	// Virtual servers may use what is everybody's.
	if partition != common {
		shared, err := active.read(ctx, common, []ltm.Kind{ltm.KindPool, ltm.KindPersistence, ltm.KindFastL4, ltm.KindUDP})
		if err != nil {
			return nil, err
		}
		state.Pools = append(state.Pools, shared.Pools...)
		state.Persistences = append(state.Persistences, shared.Persistences...)
		state.FastL4s = append(state.FastL4s, shared.FastL4s...)
		state.UDPs = append(state.UDPs, shared.UDPs...)
	}
	monitors, err := active.monitors(ctx, used(state))
	if err != nil {
		return nil, err
	}
	out := &forwardv1.ImportResponse{}
	out.VirtualServers, out.Notes = ltm.Import(*state, f.options(active).Owner, monitors)
	return out, nil
}

// common is everybody's partition.
const common = "Common"

// used are the monitors of pools and members, by their paths.
func used(s *ltm.State) map[string]bool {
	out := map[string]bool{}
	add := func(text string) {
		for _, word := range strings.Fields(text) {
			if strings.HasPrefix(word, "/") {
				out[word] = true
			}
		}
	}
	for _, p := range s.Pools {
		add(p.Monitor)
		for _, m := range p.Members {
			add(m.Monitor)
		}
	}
	return out
}

// monitors reads those of the kinds that are known, until all that are used are found.
func (u *unit) monitors(ctx context.Context, used map[string]bool) ([]ltm.Monitor, error) {
	var out []ltm.Monitor
	for _, kind := range ltm.MonitorKinds() {
		if len(used) == 0 {
			break
		}
		path, err := icontrol.ParsePath(ltm.MonitorCollection(kind))
		if err != nil {
			return nil, err
		}
		var body json.RawMessage
		if err := u.client.Get(ctx, path, url.Values{}, &body); err != nil {
			return nil, fmt.Errorf("read the %s monitors of %s: %w", kind, u.address, err)
		}
		list, err := ltm.DecodeMonitors(kind, body)
		if err != nil {
			return nil, fmt.Errorf("the %s monitors of %s: %w", kind, u.address, err)
		}
		for _, m := range list {
			delete(used, m.Path)
		}
		out = append(out, list...)
	}
	return out, nil
}

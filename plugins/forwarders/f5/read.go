package f5

import (
	"context"
	"fmt"
	"net/url"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
)

// look reads the active unit and, with counters, its statistics.
func (f *Forwarder) look(ctx context.Context, counters bool) error {
	active, err := f.pair.active(ctx)
	if err != nil {
		return err
	}
	state, err := f.current(ctx, active)
	if err != nil || !counters {
		return err
	}
	return f.readStats(ctx, active, state)
}

// current is what the partition holds, read again as far as it can have changed by our doing,
// or is old.
func (f *Forwarder) current(ctx context.Context, active *unit) (*ltm.State, error) {
	state := f.recent(active)
	if state == nil {
		return f.read(ctx, active)
	}
	f.mu.Lock()
	stale := f.stale
	f.mu.Unlock()
	if !stale {
		return state, nil
	}
	pools, err := active.read(ctx, state.Partition, []ltm.Kind{ltm.KindPool})
	if err != nil {
		return nil, err
	}
	state.Pools = pools.Pools
	f.mu.Lock()
	f.is, f.stale = state, false
	f.mu.Unlock()
	return state, nil
}

// read reads what the partition of the active unit holds, and keeps it.
func (f *Forwarder) read(ctx context.Context, active *unit) (*ltm.State, error) {
	f.mu.Lock()
	partition, before := f.settings.Partition, f.is
	f.mu.Unlock()
	if err := active.describe(ctx, partition); err != nil {
		return nil, err
	}
	state, err := active.read(ctx, partition, ltm.Kinds())
	if err != nil {
		return nil, err
	}
	if before != nil {
		state.Stats = before.Stats
	}
	f.mu.Lock()
	f.is, f.isOf, f.readAt, f.platform, f.stale = state, active, f.now(), active.platform(), false
	f.mu.Unlock()
	return state, nil
}

// statsPools is of how many pools the members' counters are read at a time.
const statsPools = 10

// readStats reads the counters of the virtual servers, and of the members of some of our
// pools, in turn.
func (f *Forwarder) readStats(ctx context.Context, active *unit, state *ltm.State) error {
	body, err := active.stats(ctx, icontrol.Collection("ltm", "virtual", "stats"), url.Values{"$filter": {"partition eq " + state.Partition}})
	if err != nil {
		return err
	}
	stats := ltm.Stats{Members: state.Stats.Members}
	if err := stats.VirtualStats(body); err != nil {
		return fmt.Errorf("counters of virtual servers: %w", err)
	}
	var pools []string
	owner := f.options(active).Owner
	for _, p := range state.Pools {
		if owner.Owns(p.Mark) {
			pools = append(pools, p.Path)
		}
	}
	for range min(statsPools, len(pools)) {
		pool := pools[f.statsNext%len(pools)]
		f.statsNext++
		body, err := active.memberStats(ctx, pool)
		if err != nil {
			return err
		}
		if err := stats.MemberStats(pool, body); err != nil {
			return fmt.Errorf("counters of pool %s: %w", pool, err)
		}
	}
	f.mu.Lock()
	f.is.Stats = stats
	f.mu.Unlock()
	return nil
}

// options are those of the mapping.
func (f *Forwarder) options(active *unit) ltm.Options {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.settings.options()
	o.DefaultDomain = active.domain
	return o
}

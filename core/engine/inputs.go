package engine

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/plan"
)

// setConfig puts a configuration in force. Verdicts, roles and overrides stay where
// their objects do.
func (c *core) setConfig(config *model.Config, now time.Time) {
	before := c.config
	old, oldIndex := c.servers, c.index
	c.config = config
	c.servers = make([]server, len(config.VirtualServers))
	c.index = make(map[model.ServiceKey]int, len(config.VirtualServers))
	c.users = map[model.CheckID][]user{}
	for i := range config.VirtualServers {
		s := &c.servers[i]
		s.plan = plan.Prepare(&config.VirtualServers[i])
		c.index[config.VirtualServers[i].Key] = i
		for j, r := range s.plan.RealServers {
			for _, id := range r.Checks {
				c.users[id] = append(c.users[id], user{i, j})
			}
		}
		if o, ok := oldIndex[config.VirtualServers[i].Key]; ok {
			s.decision, s.decided = old[o].decision, old[o].decided
			s.memory.QuorumUp = old[o].memory.QuorumUp
			s.memory.Carried = c.carry(&s.plan, &old[o].decision.Status)
			s.memory.Said = c.handDown(&s.plan, &old[o])
		}
		c.touch(i)
	}
	maps.DeleteFunc(c.verdicts, func(id model.CheckID, _ plan.Known) bool { return c.users[id] == nil })
	maps.DeleteFunc(c.roles, func(name string, _ model.RoleState) bool { return !c.hasGroup(name) })
	c.changed, c.newConfig = true, true
	c.tell(now, "reload", "configuration", describeConfig(before, config))
	c.applyAdoption(now)
}

func (c *core) hasGroup(name string) bool {
	return c.config != nil && slices.ContainsFunc(c.config.FailoverGroups, func(g model.FailoverGroup) bool { return g.Name == name })
}

// takeVerdicts folds verdicts in. One of a check that is not configured is ignored: it
// was under way when the configuration changed.
func (c *core) takeVerdicts(verdicts map[model.CheckID]model.Verdict) {
	for id, v := range verdicts {
		users := c.users[id]
		if users == nil {
			continue
		}
		before := c.verdicts[id]
		after := before.Fold(v)
		if after == before {
			continue
		}
		if _, ok := c.flips[id]; !ok {
			c.flips[id] = before
		}
		c.verdicts[id] = after
		for _, u := range users {
			c.touch(u.server)
		}
	}
}

func (c *core) setRole(group string, role model.RoleState, now time.Time) {
	before := c.roles[group]
	if !c.hasGroup(group) || before == role {
		return
	}
	c.roles[group] = role
	c.changed = true
	if before.Role != role.Role {
		c.tell(now, "role", group, describeRole(before.Role, role))
	}
}

// setOverride lays an operator's wish over a real server, or takes it away if it is
// the zero value. It is kept for a real server that is not configured now.
func (c *core) setOverride(key model.RealServerKey, o model.Override, now time.Time) {
	if sameOverride(c.overrides[key], o) {
		return
	}
	if sameOverride(o, model.Override{}) {
		delete(c.overrides, key)
	} else {
		c.overrides[key] = o
	}
	i, ok := c.index[key.Service]
	if !ok {
		return
	}
	c.touch(i)
	c.tell(now, "override", key.String(), describeOverride(o))
}

// setOverrides replaces all operators' wishes.
func (c *core) setOverrides(all map[model.RealServerKey]model.Override, now time.Time) {
	keys := slices.Collect(maps.Keys(all))
	for key := range c.overrides {
		if _, ok := all[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b model.RealServerKey) int { return cmp.Compare(a.String(), b.String()) })
	for _, key := range keys {
		c.setOverride(key, all[key], now)
	}
}

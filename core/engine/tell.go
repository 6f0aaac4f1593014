package engine

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/plan"
)

func (c *core) tell(at time.Time, kind, object, message string) {
	c.events = append(c.events, model.Event{At: at, Kind: kind, Object: object, Message: message})
}

// tellServer tells what a decision changes for people: a line for each real server that
// goes down or comes back, one for each drain that has ended, one for the quorum.
func (c *core) tellServer(decided bool, before *model.ServiceStatus, d *plan.Decision, now time.Time) {
	status := &d.Status
	aligned := before.Config == status.Config
	var old map[netip.AddrPort]*model.RealServerStatus
	if decided && !aligned {
		old = byAddress(before)
	}
	for i := range status.RealServers {
		after := &status.RealServers[i]
		was := &model.RealServerStatus{}
		switch {
		case !decided:
		case aligned:
			was = &before.RealServers[i]
		case old[after.Config.Addr] != nil:
			was = old[after.Config.Addr]
		}
		c.tellRealServer(status.Config.Key, was, after, now)
	}
	c.tellQuorum(decided, before.QuorumUp, d, now)
}

func (c *core) tellRealServer(service model.ServiceKey, was, after *model.RealServerStatus, now time.Time) {
	key := model.RealServerKey{Service: service, Addr: after.Config.Addr}
	message := ""
	switch {
	case after.State == model.Down && was.State != model.Down:
		message = "down"
	case after.State != model.Down && was.State == model.Down,
		after.State == model.Up && was.State == model.Unknown && after.Config.Alpha && len(after.Checks) > 0:
		message = "up"
	}
	if message != "" {
		c.tell(now, "real_server", key.String(), withReason(message, after.Reason))
		for i := range after.Checks {
			c.explained[after.Checks[i].ID] = true
		}
	}
	if was.InTable && !after.InTable && after.Override.Admin == model.Drain && was.Override.Admin == model.Drain && plan.Removed(after.Override, now) {
		c.tell(now, "override", key.String(), "drain has reached its deadline: out of the table")
	}
}

func (c *core) tellQuorum(decided, was bool, d *plan.Decision, now time.Time) {
	v, up := d.Status.Config, d.Status.QuorumUp
	if decided && was == up || !decided && up {
		return
	}
	message := fmt.Sprintf("lost: weight is %d, quorum %d", d.Weight, v.Quorum)
	sorry := "takes over"
	if up {
		message = fmt.Sprintf("gained: weight is %d, quorum %d", d.Weight, v.Quorum)
		sorry = "steps aside"
	}
	if v.Sorry != nil {
		message += fmt.Sprintf("; sorry server %s %s", v.Sorry.Addr, sorry)
	}
	c.tell(now, "quorum", v.Key.String(), message)
}

// tellVerdicts tells of checks that say something else and whose real servers have not
// told it: a second check of one that is down, a probe that could not be made.
func (c *core) tellVerdicts(now time.Time) {
	var ids []model.CheckID
	for id, before := range c.flips {
		after := c.verdicts[id]
		first := before.Said == (model.Verdict{})
		switch {
		case c.users[id] == nil:
		case before.Held.Admin != after.Held.Admin:
			// It may take a real server that is up out of the table.
			ids = append(ids, id)
		case c.explained[id]:
		case first && after.Said.State == model.Up, !first && before.Said.State == after.Said.State:
		default:
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		after := c.verdicts[id]
		check := c.check(c.users[id][0], id)
		message := withReason(after.Said.State.String(), after.Said.Reason)
		if after.Said.State == model.Unknown {
			message += "; its real servers keep their state"
		}
		if asks := after.Held.Admin; asks != c.flips[id].Held.Admin {
			message += fmt.Sprintf("; asks for %s, was %s", asks, c.flips[id].Held.Admin)
		}
		c.tell(now, "verdict", check.String(), message)
	}
}

func (c *core) check(u user, id model.CheckID) *model.Check {
	r := &c.servers[u.server].plan.RealServers[u.real]
	return &r.Config.Checks[slices.Index(r.Checks, id)]
}

func withReason(message, reason string) string {
	if reason == "" {
		return message
	}
	return message + ": " + reason
}

func describeRole(before model.Role, role model.RoleState) string {
	return withReason(fmt.Sprintf("%s, was %s", role.Role, before), role.Reason)
}

func describeOverride(o model.Override) string {
	message := o.Admin.String()
	if o.Admin == model.Drain && !o.Deadline.IsZero() {
		message += " until " + o.Deadline.Format(time.RFC3339)
	}
	if o.Weight != nil {
		message += fmt.Sprintf(", weight %d", *o.Weight)
	}
	return message
}

// describeConfig says what is in force and, if there was one before, what is different.
func describeConfig(before, after *model.Config) string {
	reals := 0
	for i := range after.VirtualServers {
		reals += len(after.VirtualServers[i].RealServers)
	}
	message := fmt.Sprintf("in force: %s, %s, %s", count(len(after.VirtualServers), "virtual server"), count(reals, "real server"),
		count(len(after.FailoverGroups), "failover group"))
	if before == nil {
		return message
	}
	old := make(map[model.ServiceKey]*model.VirtualServer, len(before.VirtualServers))
	for i := range before.VirtualServers {
		old[before.VirtualServers[i].Key] = &before.VirtualServers[i]
	}
	added, changed := 0, 0
	for i := range after.VirtualServers {
		v := &after.VirtualServers[i]
		switch was := old[v.Key]; {
		case was == nil:
			added++
		case !reflect.DeepEqual(was, v):
			changed++
		}
		delete(old, v.Key)
	}
	return message + fmt.Sprintf("; virtual servers: %d added, %d removed, %d changed", added, len(old), changed)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

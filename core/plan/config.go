package plan

import (
	"maps"
	"slices"

	"github.com/poise-lb/poise/core/model"
)

// Checks are all checks of the virtual servers, each once, in the order of their
// identities, with nothing known of them.
func Checks(servers []VirtualServer) []model.DesiredCheck {
	all := map[model.CheckID]*model.Check{}
	for _, v := range servers {
		for _, r := range v.RealServers {
			for i, id := range r.Checks {
				all[id] = &r.Config.Checks[i]
			}
		}
	}
	out := make([]model.DesiredCheck, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		out = append(out, model.DesiredCheck{ID: id, Check: *all[id]})
	}
	return out
}

// Sync is connection sync as it follows the role of its group. As with keepalived, who
// is not master learns: before the first role too, so that a director that becomes
// master has what the other one told.
func Sync(c *model.Config, roles map[string]model.RoleState) *model.DesiredSync {
	if c.ConnectionSync == nil {
		return nil
	}
	role := model.SyncBackup
	if roles[c.ConnectionSync.Group].Role == model.Master {
		role = model.SyncMaster
	}
	return &model.DesiredSync{Role: role, Sync: *c.ConnectionSync}
}

// Masters are the failover groups of appliances that are master here, sorted.
func Masters(c *model.Config, roles map[string]model.RoleState) []string {
	var out []string
	for _, f := range c.Forwarders {
		if f.Group != "" && roles[f.Group].Role == model.Master && !slices.Contains(out, f.Group) {
			out = append(out, f.Group)
		}
	}
	slices.Sort(out)
	return out
}

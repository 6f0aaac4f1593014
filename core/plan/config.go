package plan

import (
	"cmp"
	"slices"

	"github.com/poise-lb/poise/core/model"
)

// Checks are all checks of the virtual servers, each once, in the order of their
// identities, with nothing known of them.
func Checks(servers []VirtualServer) []model.DesiredCheck {
	seen := map[model.CheckID]bool{}
	var out []model.DesiredCheck
	for _, v := range servers {
		for _, r := range v.RealServers {
			for i, id := range r.Checks {
				if !seen[id] {
					seen[id] = true
					out = append(out, model.DesiredCheck{ID: id, Check: r.Config.Checks[i]})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b model.DesiredCheck) int { return cmp.Compare(a.ID, b.ID) })
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

package vrrp

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poise-lb/poise/plugins/failover/vrrp/fsm"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// noticeInterval is the least time between notices of one kind about one instance.
const noticeInterval = 10 * time.Second

// retryInterval is the least time between attempts to add what could not be added.
const retryInterval = time.Second

// suppressed counts notices of one kind.
type suppressed struct {
	told  time.Time
	count int
}

// report sends a message unless nobody is there to take it.
func (r *router) report(m *failoverv1.RunResponse) {
	if !r.lost {
		r.tell(m)
	}
}

// notice tells an operator about an instance, at most once each noticeInterval of a
// kind.
func (r *router) notice(g *group, in *instance, kind, message string) {
	now := time.Now()
	s := in.notices[kind]
	if s == nil {
		s = &suppressed{}
		in.notices[kind] = s
	}
	if !s.told.IsZero() && now.Sub(s.told) < noticeInterval {
		s.count++
		return
	}
	if s.count > 0 {
		message = fmt.Sprintf("%s (and %d like it before)", message, s.count)
	}
	*s = suppressed{told: now}
	r.report(&failoverv1.RunResponse{Message: &failoverv1.RunResponse_Notice{Notice: &failoverv1.Notice{
		Group: g.config.name, Instance: in.config.settings.Name, Message: message, At: timestamppb.New(now),
	}}})
}

// changeRole tells a new role.
func (r *router) changeRole(g *group, role fsm.Role, reason string) {
	g.role, g.reason, g.since = role, reason, time.Now()
	r.logger.Info("role changed", "group", g.config.name, "role", role.String(), "reason", reason)
	r.reportRole(g)
}

func (r *router) reportRole(g *group) {
	if g.role == fsm.Undecided {
		return
	}
	r.report(&failoverv1.RunResponse{Message: &failoverv1.RunResponse_RoleChange{RoleChange: &failoverv1.RoleChange{
		Group: g.config.name, Role: wireRole(g.role), Reason: g.reason, At: timestamppb.New(g.since),
	}}})
}

// beat tells that the loop goes round, and what was counted.
func (r *router) beat() {
	r.progress++
	b := &failoverv1.Beat{Beat: &pluginv1.Beat{Progress: r.progress}}
	for _, g := range r.ordered() {
		for i, in := range g.instances {
			b.Instances = append(b.Instances, status(g, i, in))
		}
	}
	r.report(&failoverv1.RunResponse{Message: &failoverv1.RunResponse_Beat{Beat: b}})
	if now := r.now(); !r.stopped && now-r.retried >= retryInterval {
		r.retried = now
		r.retry()
	}
}

// retry tries again to add what could not be added.
func (r *router) retry() {
	incomplete := func(in *instance) bool { return in.held && len(in.present) < len(in.config.addresses) }
	for _, g := range r.groups {
		if slices.ContainsFunc(g.instances, incomplete) {
			r.refresh(incomplete)
			return
		}
	}
}

func status(g *group, i int, in *instance) *failoverv1.InstanceStatus {
	state := g.machine.Instance(i)
	s := &failoverv1.InstanceStatus{
		Group: g.config.name, Instance: in.config.settings.Name, Role: wireRole(g.machine.Role()),
		AdvertsSent: in.counts.Sent, AdvertsReceived: in.counts.Received, BecameMaster: state.BecameMaster,
		PacketErrors: maps.Clone(in.counts.Errors), AddressesRestored: in.counts.Restored,
	}
	if state.Master.IsValid() && !state.Left {
		s.MasterAddress, s.MasterPriority = state.Master.String(), uint32(state.MasterPriority)
	}
	return s
}

func wireRole(role fsm.Role) failoverv1.Role {
	switch role {
	case fsm.Master:
		return failoverv1.Role_ROLE_MASTER
	case fsm.Backup:
		return failoverv1.Role_ROLE_BACKUP
	case fsm.Fault:
		return failoverv1.Role_ROLE_FAULT
	}
	return failoverv1.Role_ROLE_UNSPECIFIED
}

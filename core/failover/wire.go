package failover

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/core/model"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
)

func encodeSet(set model.GroupSet) *failoverv1.SetGroups {
	out := &failoverv1.SetGroups{Generation: set.Generation, CoreLossGrace: durationpb.New(set.GraceTime)}
	for _, g := range set.Groups {
		group := &failoverv1.Group{Name: g.Name}
		for i := range g.Instances {
			group.Instances = append(group.Instances, encodeInstance(&g.Instances[i]))
		}
		out.Groups = append(out.Groups, group)
	}
	return out
}

func encodeInstance(i *model.Instance) *failoverv1.Instance {
	out := &failoverv1.Instance{
		Name: i.Name, Interface: i.Interface, VirtualRouterId: uint32(i.VirtualRouterID), Priority: uint32(i.Priority),
		AdvertInterval: durationpb.New(i.AdvertInterval), NoPreempt: i.NoPreempt, PreemptDelay: durationpb.New(i.PreemptDelay),
		DownTimerAdverts: uint32(i.DownTimerAdverts), AuthPass: i.AuthPass,
		Addresses: encodeAddresses(i.Addresses), ExcludedAddresses: encodeAddresses(i.Excluded),
		GarpRepeat: uint32(i.GARPRepeat), GarpDelay: durationpb.New(i.GARPDelay), GarpRefresh: durationpb.New(i.GARPRefresh),
	}
	if i.Source.IsValid() {
		out.SourceAddress = i.Source.String()
	}
	return out
}

func encodeAddresses(list []model.VirtualAddress) []*failoverv1.Address {
	out := make([]*failoverv1.Address, 0, len(list))
	for _, a := range list {
		address := &failoverv1.Address{Prefix: a.Prefix.String(), Interface: a.Interface, Label: a.Label, Scope: uint32(a.Scope)}
		if a.Broadcast.IsValid() {
			address.Broadcast = a.Broadcast.String()
		}
		out = append(out, address)
	}
	return out
}

package engine

import (
	"reflect"
	"slices"

	"github.com/poise-lb/poise/core/model"
)

func sameService(a, b *model.Service) bool {
	return a.Key == b.Key && a.Scheduler == b.Scheduler && slices.Equal(a.SchedulerFlags, b.SchedulerFlags) &&
		a.Persistence == b.Persistence && a.OnePacket == b.OnePacket && slices.Equal(a.Destinations, b.Destinations) &&
		slices.Equal(a.Spare, b.Spare) && slices.Equal(a.Carriers, b.Carriers) && a.Parameters == b.Parameters
}

func sameSync(a, b *model.DesiredSync) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// sameGroups compares all but the generation.
func sameGroups(a, b *model.GroupSet) bool {
	return a.GraceTime == b.GraceTime && (len(a.Groups) == 0 && len(b.Groups) == 0 || reflect.DeepEqual(a.Groups, b.Groups))
}

func sameOverride(a, b model.Override) bool {
	if a.Admin != b.Admin || !a.Deadline.Equal(b.Deadline) || (a.Weight == nil) != (b.Weight == nil) {
		return false
	}
	return a.Weight == nil || *a.Weight == *b.Weight
}

package daemon

import (
	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/store"
)

// ownership lets the forwarder's facade write down what we make.
type ownership struct {
	store *store.Store
	// config is the configuration whose set is being applied.
	config func() *model.Config
}

func (o ownership) Owned() ([]model.ServiceKey, bool) {
	owned := o.store.Owned()
	return owned.Services, owned.Sync
}

// Intend adds the set to what is owned: what may be made from now on is ours.
func (o ownership) Intend(set model.ForwardSet) error {
	owned := o.store.Owned()
	have := make(map[model.ServiceKey]bool, len(owned.Services))
	for _, k := range owned.Services {
		have[k] = true
	}
	for i := range set.Services {
		if k := set.Services[i].Key; !have[k] {
			owned.Services = append(owned.Services, k)
		}
	}
	owned.Sync = owned.Sync || set.Sync != nil
	return o.store.SetOwned(owned)
}

// Settle makes the set all that is owned, and remembers which real servers there were
// to choose from, so that the next daemon can tell one that was taken out from one
// that is new.
func (o ownership) Settle(set model.ForwardSet) error {
	owned := store.Owned{Services: make([]model.ServiceKey, len(set.Services)), Sync: set.Sync != nil}
	for i := range set.Services {
		owned.Services[i] = set.Services[i].Key
	}
	owned.RealServers = []model.RealServerKey{}
	for _, v := range o.config().VirtualServers {
		for _, r := range v.RealServers {
			owned.RealServers = append(owned.RealServers, model.RealServerKey{Service: v.Key, Addr: r.Addr})
		}
	}
	return o.store.SetOwned(owned)
}

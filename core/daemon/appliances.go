package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/core/config"
	"github.com/poise-lb/poise/core/control"
	"github.com/poise-lb/poise/core/forwarder"
	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/plan"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// Appliances carry virtual servers beside the director's own forwarder, or in its place.
// They outlive the director: what poise has put there stays when it stops.

// appliance is the facade of one, made when it is first asked for.
func (d *Daemon) appliance(f model.ForwarderInstance) *forwarder.Forwarder {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.applianceLocked(f)
}

func (d *Daemon) applianceLocked(f model.ForwarderInstance) *forwarder.Forwarder {
	if a := d.appliances[f.Process()]; a != nil {
		return a
	}
	id := f.ID()
	a := forwarder.New(d.logger.Named(f.Process()), marked{},
		func() time.Duration { return d.config.Load().ReconcileInterval },
		forwarder.Handlers{
			Adopt: func(services []model.Service) { d.adoptFrom(id, services) },
			Applied: func(r forwarder.Result) {
				if r.Operations > 0 {
					d.tell(r.At, "table", fmt.Sprintf("%s generation %d", id, r.Generation), fmt.Sprintf("applied: %d %s", r.Operations, plural(r.Operations, "change")))
				}
			},
			Repaired: func(repairs []string, at time.Time) {
				for _, r := range repairs {
					d.tell(at, "drift", id, r)
				}
			},
			Failed:    func(object, message string) { d.tell(time.Now(), "table", id+" "+object, message) },
			Recovered: func() { d.tell(time.Now(), "table", id, "nothing is wrong any more") },
		})
	d.appliances[f.Process()] = a
	return a
}

// setAppliance gives an appliance its part of the last set. d.mu is held.
func (d *Daemon) setAppliance(f model.ForwarderInstance) {
	a := d.applianceLocked(f)
	set, held := plan.ForInstance(d.table, f)
	if held {
		a.Hold()
		return
	}
	a.Set(set)
}

// adoptFrom has the engine start from what an appliance holds. What the director's own
// forwarder carries too is adopted from there.
func (d *Daemon) adoptFrom(id string, services []model.Service) {
	c := d.config.Load()
	at := map[model.ServiceKey]*model.Service{}
	for i := range services {
		at[services[i].Key] = &services[i]
	}
	var out []model.Service
	// Who is not in a table may be new: what an appliance has offline was there before.
	known := slices.Clone(d.store.Owned().RealServers)
	settled := needsForwarder(c) && known != nil
	if known == nil {
		known = []model.RealServerKey{}
	}
	for i := range c.VirtualServers {
		v := &c.VirtualServers[i]
		if slices.ContainsFunc(v.Carriers, func(k model.Carrier) bool { return k.Forwarder == c.Forwarder }) {
			continue
		}
		for _, k := range v.Carriers {
			if s := at[plan.CarriedKey(v.Key, k)]; k.Forwarder == id && s != nil && !s.Foreign {
				adopted := *s
				adopted.Key = v.Key
				// What is offline is not in the table, in the words of a director.
				adopted.Destinations = slices.DeleteFunc(slices.Clone(s.Destinations), func(m model.Destination) bool { return m.Offline || m.Sorry })
				out = append(out, adopted)
				for _, m := range s.Destinations {
					if m.Offline {
						known = append(known, model.RealServerKey{Service: v.Key, Addr: m.Addr})
					}
				}
				for _, r := range v.RealServers {
					if !settled {
						known = append(known, model.RealServerKey{Service: v.Key, Addr: r.Addr})
					}
				}
				break
			}
		}
	}
	d.engine.Adopt(id, out, known)
	if !needsForwarder(c) {
		d.adoptedOnce.Do(func() { close(d.adopted) })
	}
}

// marked is the ownership of an appliance: what is ours bears our mark there.
type marked struct{}

func (marked) Owned() ([]model.ServiceKey, bool) { return nil, false }
func (marked) Intend(model.ForwardSet) error     { return nil }
func (marked) Settle(model.ForwardSet) error     { return nil }

// removeAppliance takes down what is ours on an appliance that is not configured any more,
// and ends its process. One that has another name now keeps what it has.
func (d *Daemon) removeAppliance(f model.ForwarderInstance, next *model.Config) {
	name := f.Process()
	d.mu.Lock()
	a := d.appliances[name]
	d.mu.Unlock()
	if a != nil && !slices.ContainsFunc(next.Forwarders, f.SamePlace) {
		ctx, cancel := context.WithTimeout(context.Background(), applianceStop)
		if _, writes := a.Wanted(); writes {
			if err := a.Withdraw(ctx); err != nil {
				d.logger.Error("appliance still has what poise made", "plugin", name, "error", err)
				d.tell(time.Now(), "table", f.ID(), fmt.Sprintf("is not configured any more, and still has what poise made: %v; remove it there, or configure it again for a moment", err))
			}
		}
		cancel()
	}
	_ = d.stopProcess(name, pluginv1.StopMode_STOP_MODE_LEAVE, checkersStop) // told
	d.mu.Lock()
	delete(d.appliances, name)
	d.mu.Unlock()
}

// Appliances are the forwarders beside the director's own.
func (d *Daemon) Appliances() []control.Appliance {
	c := d.config.Load()
	if c == nil {
		return nil
	}
	var out []control.Appliance
	for _, f := range c.Forwarders {
		a := control.Appliance{Instance: f, Held: d.held(f)}
		if d.process(f.Process()) != nil {
			a.Status = d.appliance(f).Status()
		}
		out = append(out, a)
	}
	return out
}

// held says why nothing is written to an appliance now.
func (d *Daemon) held(f model.ForwarderInstance) string {
	d.mu.Lock()
	_, held := plan.ForInstance(model.ForwardSet{Masters: d.table.Masters}, f)
	d.mu.Unlock()
	if held {
		return fmt.Sprintf("failover group %s is not master here", f.Group)
	}
	return ""
}

// Differences compares what forwarders should hold with what they hold.
func (d *Daemon) Differences(_ context.Context, name string) ([]control.Comparison, error) {
	c := d.config.Load()
	if c == nil {
		return nil, &control.RefusedError{Reason: "the configuration has not been read yet: try again"}
	}
	d.mu.Lock()
	table := d.table
	d.mu.Unlock()
	var out []control.Comparison
	var names []string
	if needsForwarder(c) {
		names = append(names, c.Forwarder)
		if name == "" || name == c.Forwarder {
			set := plan.ForPrimary(table, c.Forwarder)
			out = append(out, compare(control.Comparison{Forwarder: c.Forwarder}, set, d.Forwarder()))
		}
	}
	for _, f := range c.Forwarders {
		names = append(names, f.ID())
		if name != "" && name != f.ID() {
			continue
		}
		set, _ := plan.ForInstance(table, f)
		var status forwarder.Status
		if d.process(f.Process()) != nil {
			status = d.appliance(f).Status()
		}
		out = append(out, compare(control.Comparison{Forwarder: f.ID(), Reason: d.held(f)}, set, status))
	}
	if name != "" && len(out) == 0 {
		return nil, &control.RefusedError{Reason: fmt.Sprintf("there is no forwarder %s%s", name, config.Meant(name, names))}
	}
	return out, nil
}

// compare adds what differs, with what this director would write where another one does.
func compare(out control.Comparison, want model.ForwardSet, is forwarder.Status) control.Comparison {
	switch {
	case is.Platform == "":
		out.Reason = "it has not been read yet: poise status says why"
	case want.Generation == 0:
		out.Reason = "there is no set to put in force yet"
	default:
		out.Compared, out.Differences = true, forwarder.Compare(want.Services, is.Services, is.Members, is.Marks)
	}
	return out
}

// Import reads what an appliance forwards and writes it as configuration.
func (d *Daemon) Import(ctx context.Context, name, scope string) (yaml string, notes []string, err error) {
	c := d.config.Load()
	if c == nil {
		return "", nil, &control.RefusedError{Reason: "the configuration has not been read yet: try again"}
	}
	var names []string
	for _, f := range c.Forwarders {
		names = append(names, f.ID())
		if f.ID() != name {
			continue
		}
		servers, notes, err := d.appliance(f).Import(ctx, scope, importedSchedule)
		switch {
		case errors.Is(err, forwarder.ErrNotRunning), errors.Is(err, forwarder.ErrNoImport):
			return "", nil, &control.RefusedError{Reason: fmt.Sprintf("forwarder %s: %v", name, err)}
		case err != nil:
			return "", nil, fmt.Errorf("forwarder %s: %w", name, err)
		}
		out := model.Config{Forwarder: c.Forwarder, GraceTime: c.GraceTime, ReconcileInterval: c.ReconcileInterval, Restart: c.Restart,
			Forwarders: []model.ForwarderInstance{f}}
		for _, s := range servers {
			s.Server.Carriers = []model.Carrier{{Forwarder: name, Parameters: s.Parameters}}
			out.VirtualServers = append(out.VirtualServers, s.Server)
		}
		var text strings.Builder
		if err := config.WriteYAML(&text, out); err != nil {
			return "", nil, fmt.Errorf("write what forwarder %s has: %w", name, err)
		}
		return text.String(), notes, nil
	}
	return "", nil, &control.RefusedError{Reason: fmt.Sprintf("there is no forwarder %s%s", name, config.Meant(name, names))}
}

// importedSchedule is that of checks of which an appliance says nothing.
var importedSchedule = model.Schedule{Interval: 10 * time.Second, Timeout: 5 * time.Second, Retries: 1, RetryDelay: time.Second}

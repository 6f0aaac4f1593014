package vrrp

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poise-lb/poise/plugins/failover/vrrp/fsm"
	"github.com/poise-lb/poise/plugins/failover/vrrp/handover"
	"github.com/poise-lb/poise/plugins/failover/vrrp/netio"
	"github.com/poise-lb/poise/plugins/failover/vrrp/record"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
)

// handedGroup is a group as it goes from one process to the next.
type handedGroup struct {
	// Group is the protobuf message it was made from.
	Group    []byte     `json:"group"`
	State    fsm.State  `json:"state"`
	Counters []counters `json:"counters"`
	Removed  bool       `json:"removed"`
	Role     fsm.Role   `json:"role"`
	Reason   string     `json:"reason"`
	Since    time.Time  `json:"since"`
}

// handOver gives the groups to a successor. The loop stands still meanwhile, for a few
// milliseconds if all goes well and never for more than half a second.
func (r *router) handOver(request *handover.Request) {
	if r.stopped || !r.began {
		request.Refuse()
		return
	}
	var all []handedGroup
	for _, g := range r.ordered() {
		wire, err := proto.Marshal(g.config.wire)
		if err != nil {
			request.Refuse()
			r.logger.Error("cannot hand over", "group", g.config.name, "error", err)
			return
		}
		h := handedGroup{Group: wire, State: g.machine.State(), Removed: g.removed, Role: g.role, Reason: g.reason, Since: g.since}
		for _, in := range g.instances {
			h.Counters = append(h.Counters, in.counts)
		}
		all = append(all, h)
	}
	if err := request.Give(all); err != nil {
		r.logger.Warn("a successor asked for the groups and did not take them; going on", "error", err)
		return
	}
	r.logger.Info("handed over to a successor", "groups", len(all))
	r.gone = true
}

// takeOver takes the groups of a predecessor that is alive, or the records of one that
// was killed, and waits for a successor from then on.
func (r *router) takeOver(configs []groupConfig) ([]record.Saved, error) {
	// What is sent to us during the hand-over waits in our own sockets.
	for _, c := range configs {
		for _, in := range c.instances {
			r.listen(in.intf)
		}
	}
	taken, err := r.takeGroups()
	switch {
	case errors.Is(err, handover.ErrNobody):
	case err != nil:
		r.logger.Warn("the predecessor could not hand over; going on from its records", "error", err)
	}
	var saved []record.Saved
	if !taken {
		if saved, err = record.ReadAll(r.dir, r.boot); err != nil {
			r.logger.Warn("some records of the former process are of no use", "error", err)
		}
		if r.boot == (record.Sum{}) {
			r.logger.Warn("the boot of this machine cannot be told from others; a restart will not be able to go on as master")
			saved = nil
		}
	}
	if r.listener, err = handover.Listen(r.dir); err != nil {
		return nil, fmt.Errorf("run vrrp: %w", err)
	}
	return saved, nil
}

// listen opens the socket of an interface if it can; inspect tells why it cannot.
func (r *router) listen(name string) {
	link, err := r.net.Link(name)
	if err != nil || r.sockets[link.Index] != nil {
		return
	}
	if socket, err := netio.Listen(link.Index, link.Name, r.packets); err == nil {
		r.sockets[link.Index] = socket
	}
}

// takeGroups takes the groups of a predecessor, and says whether it did. After an error
// there is no predecessor any more.
func (r *router) takeGroups() (bool, error) {
	p, err := handover.Ask(r.dir)
	if err != nil {
		return false, err
	}
	groups, err := readHanded(p)
	if err != nil {
		return false, errors.Join(err, p.Evict())
	}
	if err := p.Take(); err != nil {
		return false, err
	}
	// From here on nobody else acts.
	for _, g := range groups {
		r.groups[g.config.name] = g
	}
	v := r.look()
	for _, g := range groups {
		for i, in := range g.instances {
			in.held = g.machine.Holds(i)
		}
		r.createRecords(g, func(i int) record.Header { return r.header(g, i) })
		for i := range g.instances {
			r.step(g, r.inspect(v, g, i))
			if g.machine.Holds(i) {
				r.restore(v, g, i)
			}
		}
	}
	r.logger.Info("took over from a predecessor", "groups", len(groups))
	return true, nil
}

func readHanded(p *handover.Predecessor) ([]*group, error) {
	var all []handedGroup
	if err := p.State(&all); err != nil {
		return nil, err
	}
	groups := make([]*group, 0, len(all))
	for _, h := range all {
		wire := &failoverv1.Group{}
		if err := proto.Unmarshal(h.Group, wire); err != nil {
			return nil, fmt.Errorf("read a group of the predecessor: %w", err)
		}
		config, err := parseGroup(wire)
		if err != nil {
			return nil, fmt.Errorf("read group %q of the predecessor: %w", wire.GetName(), err)
		}
		machine, err := fsm.Restore(config.settings(), h.State)
		if err != nil {
			return nil, fmt.Errorf("group %q of the predecessor: %w", config.name, err)
		}
		if len(h.Counters) != len(config.instances) || h.Role > fsm.Fault {
			return nil, fmt.Errorf("group %q of the predecessor: its state does not fit", config.name)
		}
		g := newGroup(config, machine)
		g.removed, g.role, g.reason, g.since = h.Removed, h.Role, h.Reason, h.Since
		for i, in := range g.instances {
			in.counts = h.Counters[i]
			if in.counts.Errors == nil {
				in.counts.Errors = map[string]uint64{}
			}
		}
		groups = append(groups, g)
	}
	return groups, nil
}

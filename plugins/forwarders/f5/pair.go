package f5

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
)

// alarm is a state of the units in which nothing is written, and which a person has to
// look at.
type alarm struct{ text string }

func (a *alarm) Error() string { return a.text }

// pair is what is known of the units of an instance; one unit alone is one too.
type pair struct {
	units []*unit
	group string
	now   func() time.Time

	// found is the device group as the active unit describes it; nil: not read yet, or there
	// is none.
	found   *icontrol.DeviceGroup
	foundAt time.Time
	// wrote are the units that hold changes of ours that their group may not have yet.
	wrote map[*unit]bool
	// ours: the group was in sync before the first of them.
	ours bool
	// mustLook: a process before this one may have written something that the other unit has
	// not.
	mustLook atomic.Bool
	// waiting since: changes are on their way to the other unit; zero: none are.
	waiting time.Time
	pushed  bool
}

// groupAge is how long a description of the device group is believed.
const groupAge = 5 * time.Minute

func newPair(units []*unit, group string, now func() time.Time) *pair {
	p := &pair{units: units, group: group, now: now, wrote: map[*unit]bool{}}
	p.mustLook.Store(len(units) > 1)
	return p
}

// active finds the unit to write to. An *alarm says that there is none, or two.
func (p *pair) active(ctx context.Context) (*unit, error) {
	type answer struct {
		state string
		err   error
	}
	answers := make([]answer, len(p.units))
	done := make(chan int, len(p.units))
	for i, u := range p.units {
		go func() {
			answers[i].state, answers[i].err = u.client.FailoverState(ctx)
			done <- i
		}()
	}
	for range p.units {
		<-done
	}
	var active *unit
	var states []string
	var failures []error
	for i, u := range p.units {
		a := answers[i]
		switch {
		case a.err != nil:
			failures = append(failures, fmt.Errorf("%s: %w", u.address, a.err))
			states = append(states, u.address+" does not answer")
		case a.state == icontrol.Active && active != nil:
			return nil, &alarm{fmt.Sprintf("both units say that they are active (%s, %s): nothing is written; see why they do not see each other", active.address, u.address)}
		case a.state == icontrol.Active:
			active = u
		default:
			states = append(states, fmt.Sprintf("%s is %s", u.address, a.state))
		}
	}
	switch {
	case active != nil:
		return active, nil
	case len(failures) == len(p.units):
		return nil, errors.Join(failures...)
	}
	text := "no unit is active (" + strings.Join(states, ", ") + "): nothing is written"
	if len(p.units) == 1 {
		text += "; name the management addresses of both units"
	}
	return nil, &alarm{text}
}

// deviceGroup gives the group of the pair as the active unit describes it; nil: it is
// alone.
func (p *pair) deviceGroup(ctx context.Context, active *unit) (*icontrol.DeviceGroup, error) {
	if !p.foundAt.IsZero() && p.now().Sub(p.foundAt) < groupAge {
		return p.found, nil
	}
	groups, err := active.client.DeviceGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the device groups of %s: %w", active.address, err)
	}
	var found *icontrol.DeviceGroup
	for i := range groups {
		g := &groups[i]
		switch {
		case p.group != "" && g.Name != p.group:
		case p.group == "" && !g.SyncFailover:
		case found != nil:
			return nil, &alarm{fmt.Sprintf("%s is in the device groups %s and %s: say which is meant with device_group", active.address, found.Name, g.Name)}
		default:
			found = g
		}
	}
	if found == nil && p.group != "" {
		return nil, &alarm{fmt.Sprintf("%s has no device group %s: nothing gets to the other unit; correct device_group", active.address, p.group)}
	}
	p.found, p.foundAt = found, p.now()
	return found, nil
}

// before looks, before something is written to the active unit, whether all that its group
// does not have in common is ours.
func (p *pair) before(ctx context.Context, active *unit) error {
	if len(p.units) == 1 && p.group == "" {
		return nil
	}
	group, err := p.deviceGroup(ctx, active)
	if err != nil || group == nil {
		return err
	}
	status, err := active.client.SyncStatus(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read the sync status of %s: %w", active.address, err)
	case status.InSync():
		p.settled()
		p.ours = true
	case !p.ours || len(p.wrote) == 0:
		p.ours = false
	}
	return nil
}

// written remembers that a unit has changes that the other one has not.
func (p *pair) written(u *unit) {
	p.wrote[u], p.pushed = true, false
	if p.waiting.IsZero() {
		p.waiting = p.now()
	}
}

// settle takes what was written to the other unit, as far as it takes somebody to do it,
// and says what keeps the pair from being in sync. pending says to come again: it may have
// been put right by hand.
func (p *pair) settle(ctx context.Context, active *unit, timeout time.Duration) (pending bool, err error) {
	group, err := p.deviceGroup(ctx, active)
	if err != nil {
		return true, err
	}
	if group == nil {
		p.settled()
		return false, nil
	}
	status, err := active.client.SyncStatus(ctx)
	if err != nil {
		return true, fmt.Errorf("read the sync status of %s: %w", active.address, err)
	}
	if status.InSync() {
		p.settled()
		return false, nil
	}
	if len(p.wrote) == 0 && p.waiting.IsZero() && status.Status != "Changes Pending" {
		// Not of our making, and nothing of ours waits for it.
		return false, nil
	}
	if !group.AutoSync && !p.pushed {
		if err := p.mayPush(ctx, active, status); err != nil {
			return true, err
		}
		if err := active.client.ConfigSync(ctx, group.Name); err != nil {
			return true, fmt.Errorf("config-sync of %s to group %s: %w", active.address, group.Name, err)
		}
		// What is not in sync from now on may be somebody else's.
		p.pushed, p.ours = true, false
		if p.waiting.IsZero() {
			p.waiting = p.now()
		}
		return true, nil
	}
	if !p.waiting.IsZero() && p.now().Sub(p.waiting) > timeout {
		// Once more: the first may have been lost.
		p.pushed = false
		p.waiting = p.now()
		return true, &alarm{fmt.Sprintf("the pair is not in sync %s after a change: %s: %s %s", timeout, status.Status, status.Summary, strings.Join(status.Details, " "))}
	}
	return !p.waiting.IsZero(), nil
}

func (p *pair) settled() {
	p.wrote, p.ours, p.waiting, p.pushed = map[*unit]bool{}, false, time.Time{}, false
}

// mayPush says why the configuration of the active unit must not be sent over the other
// one's: somebody has changed something there.
func (p *pair) mayPush(ctx context.Context, active *unit, status icontrol.SyncStatus) error {
	if p.ours && len(p.wrote) > 0 {
		return nil
	}
	devices, err := active.client.Devices(ctx)
	if err != nil {
		return fmt.Errorf("read the devices that %s knows: %w", active.address, err)
	}
	// The device says itself whose configuration is the newer one.
	advice := strings.Join(append([]string{status.Summary}, status.Details...), "\n")
	own, others := false, strings.Contains(advice, "conflict")
	for _, d := range devices {
		newer := strings.Contains(advice, "Synchronize "+d.Name+" to group")
		own, others = own || d.Self && newer, others || !d.Self && newer
	}
	if own && !others {
		return nil
	}
	return &alarm{fmt.Sprintf("the other unit may have changes that %s does not have: nothing is sent over them; compare both, and sync by hand the way that is right (%s: %s)",
		active.address, status.Status, strings.ReplaceAll(strings.TrimSpace(advice), "\n", "; "))}
}

// close ends the work with the units; a token that cannot be deleted ends by itself.
func (p *pair) close(ctx context.Context) {
	if p == nil {
		return
	}
	for _, u := range p.units {
		_ = u.client.Close(ctx)
	}
}

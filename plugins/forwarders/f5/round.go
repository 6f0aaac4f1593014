package f5

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// attempts is how often a pass begins anew because the outcome of a commit is not known, the
// active unit is another one, or a plan was the first half of the work.
const attempts = 4

// outcome is what came of a pass.
type outcome struct {
	errors     []*forwardv1.ObjectError
	operations int
	at         time.Time
	// did says what was done, a sentence each.
	did []string
}

// round has the partition hold what is wanted: it finds the active unit, reads, compares
// and writes. The units are held.
func (f *Forwarder) round(ctx context.Context, want *request) outcome {
	var o outcome
	var last error
	for range attempts {
		again, err := f.pass(ctx, want, &o)
		last = err
		if !again || ctx.Err() != nil {
			break
		}
	}
	if last != nil {
		o.errors = append(o.errors, &forwardv1.ObjectError{Message: last.Error()})
	}
	return o
}

// pass is one look and what follows from it. again: there is more to do, or it is not known
// what was done; what is in error then counts if nothing comes after it.
func (f *Forwarder) pass(ctx context.Context, want *request, o *outcome) (again bool, err error) {
	o.errors = nil
	active, err := f.pair.active(ctx)
	if err != nil {
		return errors.Is(err, icontrol.ErrTransient), err
	}
	plan, refusals, err := f.plan(ctx, active, want)
	if err != nil {
		return errors.Is(err, icontrol.ErrTransient), err
	}
	for _, r := range append(refusals, plan.Refusals...) {
		if !r.Warning {
			o.errors = append(o.errors, &forwardv1.ObjectError{Key: r.Key, Message: r.Error()})
		}
	}
	if plan.Count() == 0 {
		return false, nil
	}
	if err := f.pair.before(ctx, active); err != nil {
		return errors.Is(err, icontrol.ErrTransient), err
	}
	failed := map[string]bool{}
	for _, t := range plan.Transactions {
		again, err := f.carryOut(ctx, active, t, failed, o)
		if again || err != nil {
			return again, err
		}
	}
	// What is wrong with one object is no reason to look at all of them again at once.
	return plan.Again && len(failed) == 0, nil
}

// plan works out what is to be done. Most requests change what members should do and
// nothing else: while the rest was read a moment ago, the pools alone are read again.
func (f *Forwarder) plan(ctx context.Context, active *unit, want *request) (ltm.Plan, []ltm.Refusal, error) {
	if state := f.recent(active); state != nil {
		pools, err := active.read(ctx, state.Partition, []ltm.Kind{ltm.KindPool})
		if err != nil {
			return ltm.Plan{}, nil, err
		}
		state.Pools = pools.Pools
		wanted, refusals := ltm.Want(want.services, f.options(active))
		if plan := ltm.Diff(*state, wanted); plan.OnlyPatchesPools() {
			return plan, refusals, nil
		}
	}
	state, err := f.read(ctx, active)
	if err != nil {
		return ltm.Plan{}, nil, err
	}
	wanted, refusals := ltm.Want(want.services, f.options(active))
	return ltm.Diff(*state, wanted), refusals, nil
}

// recent is what was read of a unit, if nobody can have made it old but by hand; nil: it has
// to be read.
func (f *Forwarder) recent(active *unit) *ltm.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.is == nil || f.isOf != active || f.readAt.IsZero() || f.now().Sub(f.readAt) > time.Duration(f.settings.DriftInterval) {
		return nil
	}
	state := *f.is
	return &state
}

// forget has the next pass read everything.
func (f *Forwarder) forget() {
	f.mu.Lock()
	f.readAt = time.Time{}
	f.mu.Unlock()
}

// carryOut commits a transaction. One that is refused for good is committed part by part.
func (f *Forwarder) carryOut(ctx context.Context, active *unit, t ltm.Transaction, failed map[string]bool, o *outcome) (again bool, err error) {
	t, left := t.Without(failed)
	for _, p := range left {
		if p.Key != nil {
			o.errors = append(o.errors, &forwardv1.ObjectError{Key: p.Key, Message: "not done: something that it needs could not be made"})
		}
	}
	if len(t.Parts) == 0 {
		return false, nil
	}
	err = f.commit(ctx, active, t.Commands())
	if err != nil || !(ltm.Plan{Transactions: []ltm.Transaction{t}}).OnlyPatchesPools() {
		f.forget()
	}
	switch {
	case err == nil:
		f.did(t, o)
		return false, nil
	case errors.Is(err, icontrol.ErrUnknownOutcome), errors.Is(err, icontrol.ErrTransient), errors.Is(err, errSwitched), errors.Is(err, icontrol.ErrConflict),
		errors.Is(err, icontrol.ErrNotFound):
		// What was read is not what is there, or it is not known what is.
		return true, err
	case errors.Is(err, icontrol.ErrAuth), errors.Is(err, icontrol.ErrNoPartition), ctx.Err() != nil:
		return false, err
	}
	if len(t.Parts) > 1 {
		for _, one := range t.Alone() {
			if again, err := f.carryOut(ctx, active, one, failed, o); again || err != nil {
				return again, err
			}
		}
		return false, nil
	}
	part := t.Parts[0]
	failed[part.Name] = true
	if !part.Optional {
		o.errors = append(o.errors, &forwardv1.ObjectError{Key: part.Key, Message: fmt.Sprintf("%s: %v", why(part), err)})
	}
	return false, nil
}

// why is what a part does, for people.
func why(p ltm.Part) string {
	if len(p.Commands) > 0 && p.Commands[0].Why != "" {
		return p.Commands[0].Why
	}
	return p.Name
}

// errSwitched says that the unit is not the active one any more.
var errSwitched = errors.New("the unit is not active any more")

// commit carries commands out together, on a unit that is active just before.
func (f *Forwarder) commit(ctx context.Context, active *unit, commands []ltm.Command) error {
	tx, err := active.client.Begin(ctx)
	if err != nil {
		return fmt.Errorf("open a transaction on %s: %w", active.address, err)
	}
	defer func() {
		// What is not abandoned the unit forgets by itself.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		_ = tx.Abandon(ctx)
	}()
	for _, c := range commands {
		path, err := icontrol.ParsePath(c.Path)
		if err != nil {
			return err
		}
		command := icontrol.Command{Verb: c.Verb, Path: path}
		if c.Body != nil {
			command.Body = c.Body
		}
		if err := tx.Add(ctx, command); err != nil {
			return fmt.Errorf("%s on %s: %w", c.Why, active.address, err)
		}
	}
	if len(f.pair.units) > 1 {
		state, err := active.client.FailoverState(ctx)
		if err != nil {
			return fmt.Errorf("read the failover state of %s: %w", active.address, err)
		}
		if state != icontrol.Active {
			return fmt.Errorf("%s is %s: %w", active.address, state, errSwitched)
		}
	}
	f.mark()
	err = tx.Commit(ctx)
	if err == nil || errors.Is(err, icontrol.ErrUnknownOutcome) {
		f.pair.written(active)
		f.mu.Lock()
		f.unsaved, f.syncing, f.stale = true, true, true
		f.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("commit %d commands on %s: %w", len(commands), active.address, err)
	}
	return nil
}

func (f *Forwarder) did(t ltm.Transaction, o *outcome) {
	o.at = f.now()
	for _, c := range t.Commands() {
		o.operations++
		if len(o.did) < maxDid {
			o.did = append(o.did, c.Why)
		}
	}
}

// maxDid bounds how many changes are told one by one.
const maxDid = 100

// finish has the pair synced, and saves, as far as it is time for it.
func (f *Forwarder) finish(ctx context.Context) error {
	f.mu.Lock()
	timeout := time.Duration(f.settings.SyncTimeout)
	f.mu.Unlock()
	active, err := f.pair.active(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	syncing := f.syncing
	f.mu.Unlock()
	if f.pair.mustLook.Load() {
		lacks, lookErr := f.othersLack(ctx, active)
		if lookErr == nil {
			f.pair.mustLook.Store(false)
		}
		if lacks {
			f.pair.written(active)
			syncing = true
		}
	}
	if syncing {
		pending, settleErr := f.pair.settle(ctx, active, timeout)
		err = settleErr
		f.mu.Lock()
		f.syncing = pending
		f.mu.Unlock()
	}
	return errors.Join(err, f.save(ctx, false))
}

// othersLack says that another unit than the active one has not what is wanted.
func (f *Forwarder) othersLack(ctx context.Context, active *unit) (bool, error) {
	f.mu.Lock()
	want, partition := f.want, f.settings.Partition
	f.mu.Unlock()
	if want == nil {
		return false, nil
	}
	wanted, _ := ltm.Want(want.services, f.options(active))
	for _, u := range f.pair.units {
		if u == active {
			continue
		}
		state, err := u.read(ctx, partition, ltm.Kinds())
		if err != nil {
			return false, err
		}
		if ltm.Diff(*state, wanted).Count() > 0 {
			return true, nil
		}
	}
	return false, nil
}

// save writes the configuration of the active unit to its disk, not too often; now: at once.
func (f *Forwarder) save(ctx context.Context, now bool) error {
	f.mu.Lock()
	due := f.unsaved && (now || f.savedAt.IsZero() || f.now().Sub(f.savedAt) >= time.Duration(f.settings.SaveInterval))
	f.mu.Unlock()
	if !due {
		return nil
	}
	active, err := f.pair.active(ctx)
	if err == nil {
		err = active.client.Save(ctx)
	}
	if err != nil {
		return fmt.Errorf("save the configuration of the BIG-IP: %w", err)
	}
	f.mu.Lock()
	f.unsaved, f.savedAt = false, f.now()
	unmark(f.marker)
	f.mu.Unlock()
	return nil
}

package ipvs

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/genl"
	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// rounds is how often one converge reads the table: once more when somebody else changed
// it between the reading and the writing.
const rounds = 2

// converge makes the table what is wanted. It gives what was done and what could not be;
// its error is one of the kernel as a whole.
func (f *Forwarder) converge() (done []table.Op, errs []*forwardv1.ObjectError, err error) {
	for round := 1; ; round++ {
		state, err := f.kernel.Read()
		if err != nil {
			return done, nil, f.lose(err)
		}
		ops := table.Diff(*f.want, state)
		results := f.kernel.Run(ops)
		succeeded, failed, raced := judge(ops, results)
		done = append(done, succeeded...)
		if len(succeeded) > 0 {
			f.changedAt = f.now()
		}
		for _, failure := range failed {
			if errors.Is(failure.err, genl.ErrLost) {
				return done, nil, f.lose(failure.err)
			}
		}
		if raced && round < rounds {
			continue
		}
		f.forget(failed)
		errs = append(errs, f.refused...)
		for _, failure := range failed {
			errs = append(errs, failure.objectError())
		}
		return done, errs, nil
	}
}

// forget drops the claim on what has been removed: whoever makes it again owns it.
func (f *Forwarder) forget(failed []failure) {
	keys, roles := map[table.Key]bool{}, map[table.Role]bool{}
	for _, failure := range failed {
		switch failure.op.Kind {
		case table.RemoveService:
			keys[failure.op.Service.Key] = true
		case table.StopSync:
			roles[failure.op.Sync.Role] = true
		}
	}
	f.want.Owned, f.want.SyncOwned = keys, roles
}

// failure is an operation that the kernel refused.
type failure struct {
	op  table.Op
	err error
}

// judge sorts operations by their results. Operations on a service that could not be added
// are not told apart from it. raced says that something failed because the table was not
// what had been read.
func judge(ops []table.Op, results []error) (done []table.Op, failed []failure, raced bool) {
	missing := map[table.Key]bool{}
	for i, op := range ops {
		err := results[i]
		if err == nil {
			done = append(done, op)
			continue
		}
		if op.Kind == table.AddService {
			missing[op.Service.Key] = true
		} else if missing[op.Service.Key] && errors.Is(err, syscall.ESRCH) {
			continue
		}
		raced = raced || changedMeanwhile(op, err)
		failed = append(failed, failure{op, err})
	}
	return done, failed, raced
}

// changedMeanwhile tells whether an operation failed because an object is there that was
// not, or the other way round.
func changedMeanwhile(op table.Op, err error) bool {
	switch {
	case errors.Is(err, syscall.EEXIST), errors.Is(err, syscall.ESRCH):
		return true
	case errors.Is(err, syscall.ENOENT):
		return op.Kind == table.EditDestination || op.Kind == table.RemoveDestination
	}
	return false
}

// objectError is the failure as the daemon is told.
func (f failure) objectError() *forwardv1.ObjectError {
	e := &forwardv1.ObjectError{Message: fmt.Sprintf("%s %s: %s", f.op.Verb(), f.op.Object(), f.reason())}
	switch f.op.Kind {
	case table.StartSync, table.StopSync:
		return e
	case table.AddDestination, table.EditDestination, table.RemoveDestination:
		e.RealServer = f.op.Destination.Addr.String()
	}
	e.Key = encodeKey(f.op.Service.Key)
	return e
}

// reason says why the kernel refused and what to do.
func (f failure) reason() string {
	service, sync := f.op.Service, f.op.Sync
	switch f.op.Kind {
	case table.AddService, table.EditService:
		switch {
		case errors.Is(f.err, syscall.ENOENT) && service.Engine != "":
			return fmt.Sprintf("the kernel lacks the scheduler %s or the persistence engine %s: load them with `modprobe -a ip_vs_%s ip_vs_pe_%s` (%v)",
				service.Scheduler, service.Engine, service.Scheduler, service.Engine, f.err)
		case errors.Is(f.err, syscall.ENOENT):
			return fmt.Sprintf("the kernel lacks the scheduler %s: load it with `modprobe ip_vs_%s` (%v)", service.Scheduler, service.Scheduler, f.err)
		case errors.Is(f.err, syscall.EAFNOSUPPORT), errors.Is(f.err, syscall.EPROTONOSUPPORT):
			return fmt.Sprintf("the kernel's IPVS was built without this protocol or address family (%v)", f.err)
		}
	case table.AddDestination, table.EditDestination:
		mixed := f.op.Destination.Addr.Addr().Is6() != service.Key.IPv6
		switch {
		case errors.Is(f.err, syscall.EINVAL) && mixed:
			return fmt.Sprintf("an IPv6 real server of an IPv4 virtual server, or the other way round, is not possible while connection sync runs: turn one of them off (%v)", f.err)
		case errors.Is(f.err, syscall.EINVAL):
			return fmt.Sprintf("the kernel refuses its address, which must be a host's, or its forwarding method (%v)", f.err)
		}
	case table.StartSync:
		switch {
		case errors.Is(f.err, syscall.ENODEV):
			return fmt.Sprintf("there is no interface %s: correct its name or create it (%v)", sync.Interface, f.err)
		case errors.Is(f.err, syscall.EADDRNOTAVAIL):
			return fmt.Sprintf("the interface %s has no address: give it one of the group's family (%v)", sync.Interface, f.err)
		case errors.Is(f.err, syscall.EINVAL):
			return fmt.Sprintf("the kernel runs no connection sync beside IPv6 real servers of IPv4 virtual servers, or the other way round: turn one of them off (%v)", f.err)
		}
	}
	switch {
	case errors.Is(f.err, syscall.EPERM):
		return fmt.Sprintf("the process has lost CAP_NET_ADMIN (%v)", f.err)
	case errors.Is(f.err, syscall.EEXIST), errors.Is(f.err, syscall.ESRCH):
		return fmt.Sprintf("somebody else changes the table at the same time: find out who (%v)", f.err)
	}
	return f.err.Error()
}

// describe gives errors as one text, to tell whether they have changed.
func describe(errs []*forwardv1.ObjectError) string {
	messages := make([]string, len(errs))
	for i, e := range errs {
		messages[i] = e.GetMessage()
	}
	return strings.Join(messages, "; ")
}

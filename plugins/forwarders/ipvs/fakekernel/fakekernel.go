package fakekernel

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
)

// Kernel holds a table. Its methods may be called concurrently.
type Kernel struct {
	mu       sync.Mutex
	services map[table.Key]*service
	syncs    map[table.Role]table.Sync
	missing  map[string]bool
	done     []table.Op
	broken   error
	probed   int
}

type service struct {
	table.Service
	reals map[netip.AddrPort]table.Destination
	order []netip.AddrPort
}

// New gives an empty table that has every scheduler and persistence engine.
func New() *Kernel {
	k := &Kernel{missing: map[string]bool{}}
	k.Restart()
	return k
}

// Restart forgets the table, as a reboot does.
func (k *Kernel) Restart() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.services, k.syncs = map[table.Key]*service{}, map[table.Role]table.Sync{}
}

// Lack sets whether the kernel lacks a scheduler, a persistence engine or an interface.
func (k *Kernel) Lack(name string, lacks bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.missing[name] = lacks
}

// Break makes every call fail with err; nil mends it.
func (k *Kernel) Break(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken = err
}

// Done gives the operations that succeeded since the last call.
func (k *Kernel) Done() []table.Op {
	k.mu.Lock()
	defer k.mu.Unlock()
	done := k.done
	k.done = nil
	return done
}

// Read gives a copy of the table. Services and destinations are in no meaningful order,
// as in the kernel; here it is that of their names.
func (k *Kernel) Read() (table.State, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken != nil {
		return table.State{}, k.broken
	}
	var state table.State
	for _, s := range k.services {
		v := table.Virtual{Service: s.Service}
		for _, a := range s.order {
			v.Reals = append(v.Reals, table.Real{Destination: s.reals[a]})
		}
		state.Services = append(state.Services, v)
	}
	slices.SortFunc(state.Services, func(a, b table.Virtual) int {
		return slices.Compare([]byte(a.Service.Key.String()), []byte(b.Service.Key.String()))
	})
	for _, role := range slices.Sorted(maps.Keys(k.syncs)) {
		state.Syncs = append(state.Syncs, k.syncs[role])
	}
	return state, nil
}

// Run carries operations out one after the other and gives the error of each.
func (k *Kernel) Run(ops []table.Op) []error {
	k.mu.Lock()
	defer k.mu.Unlock()
	errs := make([]error, len(ops))
	for i, op := range ops {
		if errs[i] = k.broken; errs[i] != nil {
			continue
		}
		if errs[i] = k.run(op); errs[i] == nil {
			k.done = append(k.done, op)
		}
	}
	return errs
}

// Probe does nothing visible.
func (k *Kernel) Probe() (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.probed++
	return "fake IPVS", k.broken
}

// Probed is how often Probe was called.
func (k *Kernel) Probed() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.probed
}

// Close does nothing.
func (k *Kernel) Close() error { return nil }

func (k *Kernel) run(op table.Op) error {
	switch op.Kind {
	case table.StartSync, table.StopSync:
		return k.runSync(op)
	}
	s, ok := k.services[op.Service.Key]
	if op.Kind == table.AddService {
		if ok {
			return syscall.EEXIST
		}
	} else if !ok {
		return syscall.ESRCH
	}
	switch op.Kind {
	case table.AddService, table.EditService:
		return k.setService(s, op.Service)
	case table.RemoveService:
		delete(k.services, op.Service.Key)
		return nil
	}
	return k.runDestination(s, op)
}

func (k *Kernel) setService(s *service, to table.Service) error {
	switch {
	case k.missing[to.Scheduler], to.Engine != "" && k.missing[to.Engine]:
		return syscall.ENOENT
	case to.Key.IPv6 && (to.Prefix < 1 || to.Prefix > 128), !to.Key.IPv6 && (to.Prefix < 0 || to.Prefix > 32):
		return syscall.EINVAL
	case len(to.Scheduler) > 15 || to.Scheduler == "":
		return syscall.EINVAL
	}
	if s == nil {
		s = &service{reals: map[netip.AddrPort]table.Destination{}}
		k.services[to.Key] = s
	}
	s.Service = to
	return nil
}

func (k *Kernel) runDestination(s *service, op table.Op) error {
	d := op.Destination
	_, ok := s.reals[d.Addr]
	if op.Kind != table.RemoveDestination {
		switch {
		case d.Weight > 1<<31-1, d.UpperThreshold < d.LowerThreshold:
			return syscall.ERANGE
		case d.Addr.Addr().Is4() == s.Key.IPv6 && (d.Method != table.TUN || len(k.syncs) > 0):
			return syscall.EINVAL
		}
	}
	switch {
	case op.Kind == table.AddDestination && ok:
		return syscall.EEXIST
	case op.Kind != table.AddDestination && !ok:
		return syscall.ENOENT
	case op.Kind == table.RemoveDestination:
		delete(s.reals, d.Addr)
		s.order = slices.DeleteFunc(s.order, func(a netip.AddrPort) bool { return a == d.Addr })
		return nil
	case op.Kind == table.AddDestination:
		s.order = append(s.order, d.Addr)
	}
	s.reals[d.Addr] = d
	return nil
}

func (k *Kernel) runSync(op table.Op) error {
	_, ok := k.syncs[op.Sync.Role]
	switch {
	case op.Kind == table.StopSync && !ok:
		return syscall.ESRCH
	case op.Kind == table.StopSync:
		delete(k.syncs, op.Sync.Role)
		return nil
	case ok:
		return syscall.EEXIST
	case k.missing[op.Sync.Interface]:
		return syscall.ENODEV
	case k.mixed():
		return syscall.EINVAL
	}
	sync := op.Sync.Normal()
	if sync.MaxLength == 0 {
		sync.MaxLength = 1472
	}
	k.syncs[sync.Role] = sync
	return nil
}

// mixed tells whether a service has a destination of the other family.
func (k *Kernel) mixed() bool {
	for _, s := range k.services {
		for a := range s.reals {
			if a.Addr().Is4() == s.Key.IPv6 {
				return true
			}
		}
	}
	return false
}

package table

import "net/netip"

// Kind says what an operation does.
type Kind uint8

// Kinds of operations.
const (
	AddService Kind = iota + 1
	EditService
	RemoveService
	AddDestination
	EditDestination
	RemoveDestination
	StartSync
	StopSync
)

// Op is one operation of the kernel's.
type Op struct {
	Kind Kind
	// Service is the service as it should be; of a removal, as it was.
	Service Service
	// Destination likewise, for operations of destinations.
	Destination Destination
	// Sync likewise, for operations of sync daemons.
	Sync Sync
	// WasService and WasDestination are what an edit replaces.
	WasService     Service
	WasDestination Destination
}

// Diff gives the operations that make the table what is wanted, in the order in which
// they disturb least: for each service the service itself, then destinations added, then
// edited (those that get a weight before those that lose it), then removed; then services
// removed; then connection sync, since stopping a sync daemon may take a while. A service
// that is neither wanted nor owned is in no operation. An empty result means that the
// table is what is wanted.
func Diff(want Want, actual State) []Op {
	there := make(map[Key]*Virtual, len(actual.Services))
	for i := range actual.Services {
		there[actual.Services[i].Service.Key] = &actual.Services[i]
	}
	var ops []Op
	wanted := make(map[Key]bool, len(want.Services))
	for i := range want.Services {
		w := &want.Services[i]
		wanted[w.Service.Key] = true
		ops = diffService(ops, w, there[w.Service.Key])
	}
	for i := range actual.Services {
		s := actual.Services[i].Service
		if want.Owned[s.Key] && !wanted[s.Key] {
			ops = append(ops, Op{Kind: RemoveService, Service: s})
		}
	}
	return diffSync(ops, want, actual.Syncs)
}

// diffService adds the operations of one wanted service; is is nil if it is not there.
func diffService(ops []Op, want, is *Virtual) []Op {
	service := want.Service.Normal()
	if is == nil {
		ops = append(ops, Op{Kind: AddService, Service: service})
		is = &Virtual{}
	} else if was := is.Service.Normal(); was != service {
		ops = append(ops, Op{Kind: EditService, Service: service, WasService: was})
	}
	there := make(map[netip.AddrPort]Destination, len(is.Reals))
	for _, r := range is.Reals {
		there[r.Addr] = r.Normal()
	}
	var edits, toZero []Op
	wanted := make(map[netip.AddrPort]bool, len(want.Reals))
	for _, r := range want.Reals {
		d := r.Normal()
		wanted[d.Addr] = true
		was, ok := there[d.Addr]
		switch {
		case !ok:
			ops = append(ops, Op{Kind: AddDestination, Service: service, Destination: d})
		case was == d:
		case d.Weight == 0:
			toZero = append(toZero, Op{Kind: EditDestination, Service: service, Destination: d, WasDestination: was})
		default:
			edits = append(edits, Op{Kind: EditDestination, Service: service, Destination: d, WasDestination: was})
		}
	}
	ops = append(append(ops, edits...), toZero...)
	for _, r := range is.Reals {
		if !wanted[r.Addr] {
			ops = append(ops, Op{Kind: RemoveDestination, Service: service, Destination: r.Destination})
		}
	}
	return ops
}

// diffSync adds the operations of connection sync: what is stopped is stopped before
// anything is started.
func diffSync(ops []Op, want Want, running []Sync) []Op {
	start := want.Sync != nil
	for _, is := range running {
		if want.Sync != nil && is.Role == want.Sync.Role {
			if want.Sync.same(is) {
				start = false
				continue
			}
		} else if !want.SyncOwned[is.Role] {
			continue
		}
		ops = append(ops, Op{Kind: StopSync, Sync: is})
	}
	if start {
		ops = append(ops, Op{Kind: StartSync, Sync: want.Sync.Normal()})
	}
	return ops
}

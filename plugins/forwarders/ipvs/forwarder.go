package ipvs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/kernel"
	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

// Kernel is the table that is programmed.
type Kernel interface {
	// Probe shows by a write and a read that IPVS is there and says what it is.
	Probe() (platform string, err error)
	// Read gives the table as it is.
	Read() (table.State, error)
	// Run carries operations out in order and gives the error of each.
	Run(ops []table.Op) []error
	Close() error
}

// Forwarder implements sdk.Forwarder on the kernel's IPVS.
type Forwarder struct {
	open func() (Kernel, error)
	now  func() time.Time
	// progress counts the rounds of the Watch loop.
	progress atomic.Uint64
	// applied wakes the Watch loop after an Apply.
	applied chan struct{}

	// mu covers what follows, and the kernel.
	mu       sync.Mutex
	logger   hclog.Logger
	beat     time.Duration
	kernel   Kernel
	platform string
	stopped  bool
	// want is what the last request asked for; nil before the first.
	want       *table.Want
	generation uint64
	reconcile  time.Duration
	changedAt  time.Time
	// refused are the objects of the last request that no kernel could take.
	refused []*forwardv1.ObjectError
	// told are the errors that the daemon was told last.
	told string
	// failing is the last error of the kernel as a whole that was logged.
	failing string
}

var errStopped = status.Error(codes.FailedPrecondition, "the forwarder has been stopped")

// New gives the forwarder for the kernel of this machine, in the network namespace of the
// process.
func New() sdk.Forwarder {
	return newForwarder(func() (Kernel, error) { return kernel.Open() })
}

func newForwarder(open func() (Kernel, error)) *Forwarder {
	return &Forwarder{
		open: open, now: time.Now, applied: make(chan struct{}, 1),
		logger: hclog.NewNullLogger(), beat: time.Second,
	}
}

// Schema is that of parameters there are none of.
func (f *Forwarder) Schema() json.RawMessage {
	return json.RawMessage(`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false}`)
}

// Validate refuses parameters: there are none.
func (f *Forwarder) Validate(parameters json.RawMessage) []sdk.Problem {
	if len(parameters) == 0 {
		return nil
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(parameters, &given); err != nil {
		return []sdk.Problem{{Message: fmt.Sprintf("the parameters are no JSON object: %v", err)}}
	}
	var problems []sdk.Problem
	for name := range given {
		problems = append(problems, sdk.Problem{Path: "/" + name, Message: "the ipvs forwarder has no parameters: remove it"})
	}
	return problems
}

// Configure shows that IPVS is there, the first time with a write, and fails with
// FailedPrecondition if it is not.
func (f *Forwarder) Configure(_ context.Context, s sdk.Settings) error {
	if problems := f.Validate(s.Parameters); len(problems) > 0 {
		return status.Errorf(codes.InvalidArgument, "parameters %s: %s", problems[0].Path, problems[0].Message)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.Logger != nil {
		f.logger = s.Logger
	}
	if s.BeatInterval > 0 {
		f.beat = s.BeatInterval
	}
	return f.connect()
}

// connect opens the kernel and shows that it forwards, if that has not been done.
func (f *Forwarder) connect() error {
	if f.stopped {
		return errStopped
	}
	if f.kernel != nil {
		return nil
	}
	k, err := f.open()
	if err != nil {
		return unavailable(err)
	}
	platform, err := k.Probe()
	if err != nil {
		k.Close()
		return unavailable(err)
	}
	f.kernel, f.platform = k, platform
	f.logger.Info("IPVS is there: a trial service was added, read back and removed", "platform", platform)
	return nil
}

// lose gives the connection up after an error of it as a whole; the next call opens
// another.
func (f *Forwarder) lose(err error) error {
	if f.kernel != nil {
		f.kernel.Close()
		f.kernel = nil
	}
	return unavailable(err)
}

// unavailable gives an error of the kernel as a whole its status.
func unavailable(err error) error {
	if errors.Is(err, kernel.ErrNoIPVS) || errors.Is(err, kernel.ErrNotPermitted) {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	return status.Error(codes.Unavailable, err.Error())
}

// Observe reads the table.
func (f *Forwarder) Observe(context.Context) (*forwardv1.ObserveResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.connect(); err != nil {
		return nil, err
	}
	state, err := f.kernel.Read()
	if err != nil {
		return nil, f.lose(err)
	}
	return encodeState(state, f.platform), nil
}

// Apply makes the table what the request says. The request is remembered, and repairs
// follow it, also when the kernel could not be reached.
func (f *Forwarder) Apply(_ context.Context, r *forwardv1.ApplyRequest) (*forwardv1.ApplyResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.GetGeneration() < f.generation {
		return nil, status.Errorf(codes.Aborted, "generation %d is older than %d, which has been applied", r.GetGeneration(), f.generation)
	}
	interval := r.GetReconcileInterval().AsDuration()
	if interval <= 0 {
		return nil, status.Error(codes.InvalidArgument, "reconcile_interval is missing: say how often to compare with the kernel")
	}
	if f.stopped {
		return nil, errStopped
	}
	want, refused := decodeRequest(r)
	f.want, f.refused, f.generation, f.reconcile = want, refused, r.GetGeneration(), interval
	select {
	case f.applied <- struct{}{}:
	default:
	}
	if err := f.connect(); err != nil {
		return nil, err
	}
	done, errs, err := f.converge()
	if err != nil {
		return nil, err
	}
	f.told = describe(errs)
	response := &forwardv1.ApplyResponse{Generation: f.generation, Errors: errs, Operations: uint32(len(done))}
	if !f.changedAt.IsZero() {
		response.AppliedAt = timestamppb.New(f.changedAt)
	}
	return response, nil
}

// Stop ends the work; with withdraw it removes what the last request made or owned.
func (f *Forwarder) Stop(_ context.Context, mode pluginv1.StopMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch mode {
	case pluginv1.StopMode_STOP_MODE_LEAVE:
	case pluginv1.StopMode_STOP_MODE_WITHDRAW:
		if err := f.withdraw(); err != nil {
			return err
		}
	default:
		return status.Errorf(codes.InvalidArgument, "stop mode %s: say leave or withdraw", mode)
	}
	f.stopped, f.want = true, nil
	if f.kernel == nil {
		return nil
	}
	err := f.kernel.Close()
	f.kernel = nil
	return err
}

// withdraw removes all that is ours.
func (f *Forwarder) withdraw() error {
	if f.want == nil || f.stopped {
		return nil
	}
	if err := f.connect(); err != nil {
		return err
	}
	nothing := &table.Want{Owned: map[table.Key]bool{}, SyncOwned: map[table.Role]bool{}}
	for k := range f.want.Owned {
		nothing.Owned[k] = true
	}
	for _, s := range f.want.Services {
		nothing.Owned[s.Service.Key] = true
	}
	for role := range f.want.SyncOwned {
		nothing.SyncOwned[role] = true
	}
	if f.want.Sync != nil {
		nothing.SyncOwned[f.want.Sync.Role] = true
	}
	f.want, f.refused = nothing, nil
	_, errs, err := f.converge()
	if err != nil {
		return err
	}
	if len(errs) > 0 {
		return status.Errorf(codes.Unavailable, "withdraw: %s", describe(errs))
	}
	return nil
}

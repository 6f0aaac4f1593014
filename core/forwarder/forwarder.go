package forwarder

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/core/model"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

const (
	// applyTimeout bounds one Apply; ten thousand real servers take well under a second.
	applyTimeout = 30 * time.Second
	// retryDelay is the time to the next try after an Apply that failed as a whole.
	retryDelay = 500 * time.Millisecond
	// countersInterval is how often counters are asked for.
	countersInterval = time.Second
	// withdrawLook is how often Withdraw looks whether the table is empty.
	withdrawLook = 5 * time.Millisecond
	// observeTimeout bounds one reading of the table.
	observeTimeout = 10 * time.Second
)

// Session is a running forwarder process.
type Session interface {
	Conn() grpc.ClientConnInterface
	// Info is what the plugin says of itself.
	Info() *pluginv1.DescribeResponse
	Beat(progress uint64)
}

// Ownership remembers what we made, over restarts of the daemon.
type Ownership interface {
	// Owned are the keys of services that we made and that may still be there.
	Owned() (keys []model.ServiceKey, sync bool)
	// Intend adds what is about to be made. It is on disk when it returns.
	Intend(set model.ForwardSet) error
	// Settle says that the set is in force and nothing else of ours is left.
	Settle(set model.ForwardSet) error
}

// Handlers take what the facade has to tell. They must not block.
type Handlers struct {
	// Adopt takes what is in the table before the first Apply, once in the life of the
	// daemon. Apply waits for it.
	Adopt func(services []model.Service)
	// Applied tells that a set has been applied.
	Applied func(Result)
	// Repaired tells of something somebody else changed.
	Repaired func(repairs []string, at time.Time)
	// Failed tells of an object that could not be made what it should be, once until it
	// changes.
	Failed func(object, message string)
	// Recovered tells that nothing is wrong any more.
	Recovered func()
}

// Result is what became of one Apply.
type Result struct {
	Generation uint64
	// Operations is how many changes it took; the last of them was made At.
	Operations int
	At         time.Time
	// Wanted virtual servers, and those of them that could not be made.
	Wanted, Failed int
}

// Status is what is known of the forwarder and its table.
type Status struct {
	Platform          string
	AppliedGeneration uint64
	DesiredGeneration uint64
	AppliedAt         time.Time
	// Errors by object; empty if nothing is wrong.
	Errors map[string]string
	// Repairs since the daemon started.
	Repairs uint64
	// Members says that it keeps real servers that are down.
	Members bool
	// Marks says that it knows what is ours by a mark.
	Marks bool
	// Services are what is there, ours and foreign, with counters.
	Services []model.Service
	// Syncs are the sync daemons that run.
	Syncs []model.DesiredSync
}

// Forwarder speaks with one forwarder process at a time.
type Forwarder struct {
	logger    hclog.Logger
	owned     Ownership
	handlers  Handlers
	reconcile func() time.Duration
	changed   chan struct{}

	mu      sync.Mutex
	adopted bool
	want    model.ForwardSet
	ready   bool
	held    bool
	status  Status
	// client of the process that runs; nil: none.
	client forwardv1.ForwardServiceClient
	// features of the process that ran last.
	features []string
}

// Additions to the interface that a plugin announces.
const (
	featureMembers = "members"
	featureHold    = "hold"
	featureMarks   = "marks"
	featureImport  = "import"
)

// New makes the facade. reconcile gives the interval the configuration asks for.
func New(logger hclog.Logger, owned Ownership, reconcile func() time.Duration, handlers Handlers) *Forwarder {
	return &Forwarder{logger: logger, owned: owned, reconcile: reconcile, handlers: handlers, changed: make(chan struct{}, 1)}
}

// Set gives the table that should be. It does not block; the newest set wins.
func (f *Forwarder) Set(set model.ForwardSet) {
	f.mu.Lock()
	f.want, f.ready, f.held = set, true, false
	f.status.DesiredGeneration = set.Generation
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Withdraw empties the table of what is ours, and forgets what we made. It waits for a
// process that is being started. Set puts a table in force again.
func (f *Forwarder) Withdraw(ctx context.Context) error {
	f.mu.Lock()
	generation := f.want.Generation + 1
	f.mu.Unlock()
	f.Set(model.ForwardSet{Generation: generation})
	tick := time.NewTicker(withdrawLook)
	defer tick.Stop()
	for {
		f.mu.Lock()
		applied, errors := f.status.AppliedGeneration, f.status.Errors
		f.mu.Unlock()
		if applied >= generation && len(errors) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("empty the table: %s; what is ours stays in it, and the next poised knows", describe(errors))
		}
	}
}

// Hold has nothing written until the next Set: another director does.
func (f *Forwarder) Hold() {
	f.mu.Lock()
	f.held = true
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Wanted is the table that should be, and whether it is to be put in force.
func (f *Forwarder) Wanted() (set model.ForwardSet, ready bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.want, f.ready && !f.held
}

// Status of now.
func (f *Forwarder) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// Run serves one process until it fails or ctx is done.
func (f *Forwarder) Run(ctx context.Context, s Session) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client := forwardv1.NewForwardServiceClient(s.Conn())
	f.mu.Lock()
	f.client, f.features = client, s.Info().GetFeatures()
	f.status.Members, f.status.Marks = slices.Contains(f.features, featureMembers), slices.Contains(f.features, featureMarks)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.client = nil
		f.mu.Unlock()
	}()
	watched := make(chan error, 1)
	stream, err := client.Watch(ctx, &forwardv1.WatchRequest{CountersInterval: durationpb.New(countersInterval)})
	if err != nil {
		return fmt.Errorf("watch the table: %w", err)
	}
	go func() { watched <- f.watch(stream, s) }()
	if err := f.adopt(ctx, client); err != nil {
		return err
	}
	for {
		again := f.apply(ctx, client)
		select {
		case <-f.changed:
		case <-again:
		case err := <-watched:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// adopt reads the table once in the daemon's life, before anything is applied.
func (f *Forwarder) adopt(ctx context.Context, client forwardv1.ForwardServiceClient) error {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	observed, err := client.Observe(ctx, &forwardv1.ObserveRequest{})
	if err != nil {
		return fmt.Errorf("read the table: %s", status.Convert(err).Message())
	}
	services := f.takeObserved(observed)
	f.mu.Lock()
	first := !f.adopted
	f.adopted = true
	f.mu.Unlock()
	if first {
		f.logger.Info("forwarder is there", "platform", observed.GetPlatform(), "virtual_servers", len(services))
		f.handlers.Adopt(services)
	}
	return nil
}

// apply makes the table what is wanted. It returns a channel that fires when a failed
// Apply should be tried again; nil: when something changes.
func (f *Forwarder) apply(ctx context.Context, client forwardv1.ForwardServiceClient) <-chan time.Time {
	f.mu.Lock()
	set, ready, members, held := f.want, f.ready, f.status.Members, f.held
	f.mu.Unlock()
	if held {
		return f.hold(ctx, client, set)
	}
	if !ready {
		return nil
	}
	if err := f.owned.Intend(set); err != nil {
		f.failed("state file", fmt.Sprintf("not applied: what is about to be made could not be written down: %v", err))
		return time.After(retryDelay)
	}
	request := encodeSet(set, members)
	keys, syncOwned := f.owned.Owned()
	for _, k := range keys {
		request.Owned = append(request.Owned, encodeKey(k))
	}
	request.ConnectionSyncOwned = syncOwned
	request.ReconcileInterval = durationpb.New(f.reconcile())
	applyCtx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	response, err := client.Apply(applyCtx, request)
	if err != nil {
		if ctx.Err() == nil {
			f.failed("table", status.Convert(err).Message())
		}
		return time.After(retryDelay)
	}
	f.takeApplied(set, response)
	return nil
}

// hold has the process forget what it was told to keep so.
func (f *Forwarder) hold(ctx context.Context, client forwardv1.ForwardServiceClient, set model.ForwardSet) <-chan time.Time {
	if !slices.Contains(f.features, featureHold) {
		return nil // it has been sent nothing, or keeps what it was sent
	}
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	_, err := client.Apply(ctx, &forwardv1.ApplyRequest{
		Generation: set.Generation, ReconcileInterval: durationpb.New(f.reconcile()), Hold: true,
	})
	if err != nil {
		f.failed("table", "hold: "+status.Convert(err).Message())
		return time.After(retryDelay)
	}
	f.setErrors(nil)
	return nil
}

func (f *Forwarder) takeApplied(set model.ForwardSet, response *forwardv1.ApplyResponse) {
	f.setErrors(response.GetErrors())
	at := response.GetAppliedAt().AsTime()
	f.mu.Lock()
	f.status.AppliedGeneration = set.Generation
	if response.GetOperations() > 0 {
		f.status.AppliedAt = at
	}
	f.mu.Unlock()
	if len(response.GetErrors()) == 0 {
		if err := f.owned.Settle(set); err != nil {
			f.logger.Warn("could not write down what we made", "error", err)
		}
	}
	failed := 0
	for _, e := range response.GetErrors() {
		if e.GetKey() != nil && e.GetRealServer() == "" {
			failed++
		}
	}
	f.handlers.Applied(Result{set.Generation, int(response.GetOperations()), at, len(set.Services), failed})
}

func (f *Forwarder) watch(stream grpc.ServerStreamingClient[forwardv1.WatchResponse], s Session) error {
	for {
		response, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("watch the table: %w", err)
		}
		switch m := response.GetMessage().(type) {
		case *forwardv1.WatchResponse_Beat:
			s.Beat(m.Beat.GetProgress())
		case *forwardv1.WatchResponse_Observed:
			f.takeObserved(m.Observed)
		case *forwardv1.WatchResponse_Drift:
			f.takeDrift(m.Drift)
		}
	}
}

func (f *Forwarder) takeObserved(o *forwardv1.ObserveResponse) []model.Service {
	services := decodeServices(o.GetVirtualServers())
	syncs := decodeSyncs(o.GetConnectionSyncs())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Platform, f.status.Services, f.status.Syncs = o.GetPlatform(), services, syncs
	return services
}

func (f *Forwarder) takeDrift(d *forwardv1.Drift) {
	if len(d.GetRepairs()) > 0 {
		f.mu.Lock()
		f.status.Repairs += uint64(len(d.GetRepairs()))
		f.mu.Unlock()
		f.handlers.Repaired(d.GetRepairs(), d.GetFoundAt().AsTime())
	}
	f.setErrors(d.GetErrors())
}

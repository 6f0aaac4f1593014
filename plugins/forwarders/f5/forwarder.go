package f5

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

// Type of the forwarder in configurations.
const Type = "f5"

const (
	// roundTime bounds one pass over the units: less than the daemon waits for an Apply.
	roundTime = 25 * time.Second
	// observeTime is how long a unit is waited for before the daemon is told that it is not
	// there: less than the daemon waits.
	observeTime = 8 * time.Second
	// closeTime bounds what is done on the units when the work ends.
	closeTime = 5 * time.Second
	// stopGrace is how long Stop waits for a pass before it ends it.
	stopGrace = time.Second
	// sameAgain is how long the same request again needs no look: any change of any virtual
	// server makes the daemon send all of them, also those that are not ours.
	sameAgain = 5 * time.Second
)

// Forwarder implements sdk.Forwarder on a BIG-IP, or a pair of them.
type Forwarder struct {
	now func() time.Time
	// device is held by whoever speaks to the units: one writer at a time.
	device chan struct{}
	// applied wakes the keeper after an Apply.
	applied chan struct{}

	// mu covers what follows.
	mu       sync.Mutex
	logger   hclog.Logger
	beat     time.Duration
	settings settings
	pair     *pair
	stopped  bool
	// life ends, by end, with passes that would keep Stop waiting.
	life context.Context
	end  context.CancelFunc
	// want is what the last request asked for; nil: nothing is written.
	want       *request
	generation uint64
	// is is what was read last, with counters; nil: nothing yet.
	is       *ltm.State
	platform string
	// isOf is the unit that it was read of, readAt when; zero: it is not what is there now.
	isOf   *unit
	readAt time.Time
	// stale: pools have been changed since they were read.
	stale bool
	// doneAt is when all that is wanted was last found or made so.
	doneAt time.Time
	// errors are those of the last pass, alarm is what keeps what was written from being
	// synced and saved, told is what the daemon was told last of both.
	errors  []*forwardv1.ObjectError
	alarm   string
	told    string
	failing bool
	// unsaved: the active unit's disk does not have what was written.
	unsaved bool
	savedAt time.Time
	// marker is a file that is there while unsaved, for the next process; empty: none.
	marker string
	// syncing: changes are on their way to the other unit.
	syncing bool
	// statsNext is the pool whose members' counters are read next; whoever holds the units
	// has it.
	statsNext int
	// looked are the settings that were validated last, for a process that only validates.
	looked settings
}

// request is what one Apply asked for.
type request struct {
	generation uint64
	services   []*forwardv1.VirtualServer
	// digest is the same for the same virtual servers.
	digest [sha256.Size]byte
}

func newRequest(r *forwardv1.ApplyRequest) (*request, error) {
	out := &request{generation: r.GetGeneration(), services: r.GetVirtualServers()}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(&forwardv1.ApplyRequest{VirtualServers: out.services})
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "the virtual servers cannot be read: %v", err)
	}
	out.digest = sha256.Sum256(text)
	return out, nil
}

// New gives the forwarder; it speaks to nobody before Configure.
func New() sdk.Forwarder {
	life, end := context.WithCancel(context.Background())
	return &Forwarder{
		now: time.Now, life: life, end: end, device: make(chan struct{}, 1), applied: make(chan struct{}, 1),
		logger: hclog.NewNullLogger(), beat: time.Second,
	}
}

// Schema is that of the parameters of an instance.
func (f *Forwarder) Schema() json.RawMessage {
	s := defaults()
	return sdk.Schema(&s)
}

// KeepsMembers says that a real server that is down stays in its pool.
func (f *Forwarder) KeepsMembers() {}

// MarksItsOwn says that objects of ours bear a mark.
func (f *Forwarder) MarksItsOwn() {}

// ValidateSettings says what is wrong with the parameters of an instance.
func (f *Forwarder) ValidateSettings(parameters json.RawMessage) []sdk.Problem {
	s, problems := parseSettings(parameters)
	f.mu.Lock()
	f.looked = s
	f.mu.Unlock()
	if len(problems) == 0 {
		problems = s.fileProblems()
	}
	return problems
}

// ValidateService says what of a virtual server a BIG-IP has no equivalent for, on an
// instance with the settings that were validated last: both come in one call.
func (f *Forwarder) ValidateService(v *forwardv1.VirtualServer) []sdk.Problem {
	f.mu.Lock()
	options := f.looked.options()
	f.mu.Unlock()
	return ltm.Validate(v, options)
}

// Configure takes the settings. The units need not be there: they are waited for.
func (f *Forwarder) Configure(ctx context.Context, s sdk.Settings) error {
	next, problems := parseSettings(s.Parameters)
	if len(problems) > 0 {
		return status.Errorf(codes.InvalidArgument, "parameters %s: %s", problems[0].Path, problems[0].Message)
	}
	if s.Logger == nil {
		s.Logger = hclog.NewNullLogger()
	}
	units, err := next.open(s.Logger, s.RuntimeDir)
	if err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	if err := f.acquire(ctx); err != nil {
		return err
	}
	defer f.release()
	f.mu.Lock()
	before := f.pair
	f.settings, f.logger, f.is = next, s.Logger, nil
	f.pair = newPair(units, next.DeviceGroup, f.now)
	if s.BeatInterval > 0 {
		f.beat = s.BeatInterval
	}
	f.stale, f.doneAt, f.readAt = false, time.Time{}, time.Time{}
	f.marker = markerIn(s.RuntimeDir)
	f.unsaved = f.unsaved || marked(f.marker)
	f.mu.Unlock()
	before.close(ctx)
	return nil
}

// acquire waits for the units to be free.
func (f *Forwarder) acquire(ctx context.Context) error {
	select {
	case f.device <- struct{}{}:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (f *Forwarder) release() { <-f.device }

var (
	errStopped      = status.Error(codes.FailedPrecondition, "the forwarder has been stopped")
	errUnconfigured = status.Error(codes.FailedPrecondition, "the forwarder has not been configured")
)

// ready says why nothing can be done.
func (f *Forwarder) ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.stopped:
		return errStopped
	case f.pair == nil:
		return errUnconfigured
	}
	return nil
}

// Observe reads what the partition holds. A unit that does not answer is not an error: the
// daemon starts with nothing to adopt, and is told when it does.
func (f *Forwarder) Observe(ctx context.Context) (*forwardv1.ObserveResponse, error) {
	if err := f.ready(); err != nil {
		return nil, err
	}
	ctx, cancel := f.bounded(ctx, observeTime)
	defer cancel()
	err := f.acquire(ctx)
	if err == nil {
		f.forget()
		err = f.look(ctx, true)
		f.release()
	}
	if err != nil {
		f.logger.Warn("the BIG-IP cannot be read yet", "error", err)
	}
	return f.observed(), nil
}

// observed is what was read last; without a platform nothing has been.
func (f *Forwarder) observed() *forwardv1.ObserveResponse {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &forwardv1.ObserveResponse{Platform: f.platform}
	if f.is != nil {
		out.VirtualServers = ltm.Observe(*f.is, f.settings.options().Owner)
	}
	return out
}

// Apply has the partition hold what the request says. What cannot be done is told in the
// response and tried again.
func (f *Forwarder) Apply(ctx context.Context, r *forwardv1.ApplyRequest) (*forwardv1.ApplyResponse, error) {
	if err := f.ready(); err != nil {
		return nil, err
	}
	want, err := newRequest(r)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	if r.GetGeneration() < f.generation {
		f.mu.Unlock()
		return nil, status.Errorf(codes.Aborted, "generation %d came after %d", r.GetGeneration(), f.generation)
	}
	f.generation = r.GetGeneration()
	if f.want == nil {
		f.readAt = time.Time{} // another director may have written
	}
	if f.sameAgain(want) {
		f.want = want
		list := f.problems()
		f.mu.Unlock()
		return &forwardv1.ApplyResponse{Generation: r.GetGeneration(), Errors: list}, nil
	}
	f.want = want
	f.mu.Unlock()
	ctx, cancel := f.bounded(ctx, roundTime)
	defer cancel()
	done := outcome{}
	if err := f.acquire(ctx); err != nil {
		done.errors = []*forwardv1.ObjectError{{Message: "an earlier change is still on its way to the BIG-IP: this one follows"}}
	} else {
		done = f.round(ctx, want)
		f.release()
	}
	if r.GetConnectionSync() != nil {
		done.errors = append(done.errors, &forwardv1.ObjectError{Message: "a BIG-IP syncs its connections itself: mirror: true in f5 of a virtual server"})
	}
	list := f.take(done)
	f.wake()
	out := &forwardv1.ApplyResponse{Generation: r.GetGeneration(), Errors: list, Operations: uint32(done.operations)}
	if done.operations > 0 {
		out.AppliedAt = timestamppb.New(done.at)
	}
	return out, nil
}

// sameAgain says that a request asks for what has just been found to be there. f.mu is held.
func (f *Forwarder) sameAgain(want *request) bool {
	if f.want == nil || f.failing || f.doneAt.IsZero() || f.now().Sub(f.doneAt) > min(sameAgain, time.Duration(f.settings.DriftInterval)) {
		return false
	}
	return f.want.digest == want.digest
}

// bounded is a context for what is done on the units: it ends with the work, too.
func (f *Forwarder) bounded(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	stop := context.AfterFunc(f.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// Hold leaves the partition to another director.
func (f *Forwarder) Hold(ctx context.Context) error {
	if err := f.ready(); err != nil {
		return err
	}
	f.mu.Lock()
	f.want = nil
	f.mu.Unlock()
	// A pass that is under way ends before the answer.
	if err := f.acquire(ctx); err != nil {
		return err
	}
	defer f.release()
	f.mu.Lock()
	f.errors, f.alarm, f.failing, f.told = nil, "", false, ""
	f.mu.Unlock()
	return nil
}

// take keeps what came of a pass, and gives all that is wrong now.
func (f *Forwarder) take(o outcome) []*forwardv1.ObjectError {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errors, f.failing, f.doneAt = o.errors, len(o.errors) > 0, time.Time{}
	if !f.failing {
		f.doneAt = f.now()
	}
	list := f.problems()
	f.told = tell(list)
	return list
}

// unsure says that it has to be looked whether the units have the same. f.mu is held.
func (f *Forwarder) unsure() bool { return f.pair.mustLook.Load() }

// problems are all that is wrong now. f.mu is held.
func (f *Forwarder) problems() []*forwardv1.ObjectError {
	if f.alarm == "" || slices.ContainsFunc(f.errors, func(e *forwardv1.ObjectError) bool { return e.GetKey() == nil && e.GetMessage() == f.alarm }) {
		return f.errors
	}
	return append(slices.Clone(f.errors), &forwardv1.ObjectError{Message: f.alarm})
}

func (f *Forwarder) wake() {
	select {
	case f.applied <- struct{}{}:
	default:
	}
}

// Stop ends the work; what is on the BIG-IP stays. The daemon has had removed what it
// wanted removed.
func (f *Forwarder) Stop(ctx context.Context, _ pluginv1.StopMode) error {
	f.mu.Lock()
	f.stopped, f.want = true, nil
	f.mu.Unlock()
	grace := time.AfterFunc(stopGrace, f.end)
	err := f.acquire(ctx)
	grace.Stop()
	if err != nil {
		return err
	}
	defer f.release()
	if f.pair == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	err = f.save(ctx, true)
	f.pair.close(ctx)
	return err
}

// tell is a text of errors, to see whether they have changed.
func tell(list []*forwardv1.ObjectError) string {
	var all []error
	for _, e := range list {
		all = append(all, fmt.Errorf("%s %s %s", e.GetKey(), e.GetRealServer(), e.GetMessage()))
	}
	if err := errors.Join(all...); err != nil {
		return err.Error()
	}
	return ""
}

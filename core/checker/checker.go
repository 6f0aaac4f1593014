package checker

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/poise-lb/poise/core/model"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// Session is a running checker process.
type Session interface {
	Conn() grpc.ClientConnInterface
	Info() *pluginv1.DescribeResponse
	Beat(progress uint64)
}

// Checker speaks with one checker process at a time.
type Checker struct {
	logger   hclog.Logger
	checks   func() model.CheckSet
	mine     func(*model.Check) bool
	verdicts func(map[model.CheckID]model.Verdict)
	changed  chan struct{}

	mu    sync.Mutex
	stats Stats
	// leftOutAt is when a probe was first left out since the last one has ended; longest is
	// the longest timeout of a check.
	leftOutAt time.Time
	longest   time.Duration
	// sent are the checks of the process's set, true, and of the one before, false; strange:
	// the log has it that the process speaks of others.
	sent    map[model.CheckID]bool
	strange bool
	// unserved are checks whose type the process does not offer.
	unserved map[model.CheckID]string
	// conn is the connection to the process that runs; nil: none does.
	conn grpc.ClientConnInterface
}

// New makes the facade. checks gives the set that should be probed now, with what is
// known of each check; verdicts takes what the process says, and must not block.
func New(logger hclog.Logger, checks func() model.CheckSet, mine func(*model.Check) bool, verdicts func(map[model.CheckID]model.Verdict)) *Checker {
	return &Checker{
		logger: logger, checks: checks, mine: mine, verdicts: verdicts, changed: make(chan struct{}, 1),
		stats: Stats{Since: time.Now()},
	}
}

// Changed says that the set of checks is a new one. It does not block.
func (c *Checker) Changed() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Stats of the process that runs now, or ran last.
func (c *Checker) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.stats
	out.HangingSince = c.hangingSince(time.Now())
	if len(c.unserved) > 0 {
		out.Rejected = maps.Clone(c.unserved)
		maps.Copy(out.Rejected, c.stats.Rejected)
	}
	return out
}

// Run serves one process until its stream breaks or ctx is done.
func (c *Checker) Run(ctx context.Context, s Session) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := checkv1.NewCheckServiceClient(s.Conn()).Run(ctx)
	if err != nil {
		return fmt.Errorf("open the stream of checks: %w", err)
	}
	c.mu.Lock()
	c.stats = Stats{Since: c.stats.Since, HeardAt: c.stats.HeardAt, ProbedAt: c.stats.ProbedAt, SessionAt: time.Now()}
	c.conn, c.leftOutAt = s.Conn(), time.Time{}
	c.sent, c.strange = map[model.CheckID]bool{}, false
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.conn = nil
	}()
	received := make(chan error, 1)
	go func() { received <- c.receive(stream, s) }()

	types := map[string]bool{}
	for _, k := range s.Info().GetKinds() {
		if k.GetInterface() == pluginv1.Interface_INTERFACE_CHECK {
			types[k.GetType()] = true
		}
	}
	for {
		unserved, longest := map[model.CheckID]string{}, time.Duration(0)
		set := encodeSet(c.checks(), func(d *model.DesiredCheck) bool {
			if !c.mine(&d.Check) {
				return false
			}
			if !types[d.Check.Type] {
				unserved[d.ID] = fmt.Sprintf("the plugin that runs (%s %s) offers no checks of type %s: restart it if its executable is a newer one", s.Info().GetName(), s.Info().GetVersion(), d.Check.Type)
			}
			longest = max(longest, d.Check.Schedule.Timeout)
			return types[d.Check.Type]
		})
		c.mu.Lock()
		c.stats.Checks, c.unserved, c.longest = len(set.GetChecks()), unserved, longest
		maps.DeleteFunc(c.sent, func(_ model.CheckID, now bool) bool { return !now })
		for id := range c.sent {
			c.sent[id] = false
		}
		for _, check := range set.GetChecks() {
			c.sent[model.CheckID(check.GetId())] = true
		}
		c.mu.Unlock()
		if err := stream.Send(&checkv1.RunRequest{Message: &checkv1.RunRequest_SetChecks{SetChecks: set}}); err != nil {
			return fmt.Errorf("send %d checks: %w", len(set.GetChecks()), firstError(received, err))
		}
		select {
		case <-c.changed:
		case err := <-received:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// firstError prefers why the stream ended to the io.EOF that Send gives.
func firstError(received <-chan error, sent error) error {
	if err := <-received; err != nil {
		return err
	}
	return sent
}

func (c *Checker) receive(stream grpc.BidiStreamingClient[checkv1.RunRequest, checkv1.RunResponse], s Session) error {
	for {
		response, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("receive verdicts: %w", err)
		}
		c.heard(time.Now())
		switch m := response.GetMessage().(type) {
		case *checkv1.RunResponse_Verdicts:
			c.takeVerdicts(m.Verdicts)
		case *checkv1.RunResponse_Beat:
			c.takeBeat(m.Beat, time.Now())
			s.Beat(m.Beat.GetBeat().GetProgress())
		case *checkv1.RunResponse_Applied:
			c.takeRejected(m.Applied)
		}
	}
}

func (c *Checker) takeVerdicts(in *checkv1.Verdicts) {
	verdicts := make(map[model.CheckID]model.Verdict, len(in.GetVerdicts()))
	for _, v := range in.GetVerdicts() {
		if !c.isSent(v.GetCheckId()) {
			continue
		}
		state, ok := decodeState(v.GetState())
		if !ok {
			c.logger.Warn("verdict without a state ignored", "check", v.GetCheckId())
			continue
		}
		verdicts[model.CheckID(v.GetCheckId())] = model.Verdict{
			State: state, Reason: v.GetReason(), Since: v.GetDecidedAt().AsTime(),
			Weight: decodeWeight(v.GetWeightMode(), v.GetWeight()), Admin: decodeAdmin(v.GetAdmin()),
		}
	}
	if len(verdicts) > 0 {
		c.verdicts(verdicts)
	}
}

// isSent says whether a check is one that the process probes: a plugin has no say in what
// others probe. One that is no longer in its set may have been under way.
func (c *Checker) isSent(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, ever := c.sent[model.CheckID(id)]
	if !ever && !c.strange {
		c.strange = true
		c.logger.Warn("verdicts of checks that the plugin was not given are ignored: a fault of the plugin", "check", id)
	}
	return now
}

func (c *Checker) takeRejected(applied *checkv1.Applied) {
	rejected := make(map[model.CheckID]string, len(applied.GetRejected()))
	for _, r := range applied.GetRejected() {
		message := r.GetMessage()
		if r.GetPath() != "" {
			message = r.GetPath() + ": " + message
		}
		rejected[model.CheckID(r.GetCheckId())] = message
		c.logger.Error("check cannot be carried out, its real servers keep their state", "check", r.GetCheckId(), "reason", message)
	}
	c.mu.Lock()
	c.stats.Rejected = rejected
	c.mu.Unlock()
}

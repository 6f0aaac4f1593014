package checker

import (
	"context"
	"fmt"
	"sync"

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

// Stats are what a checker process has done since it started.
type Stats struct {
	Probes, Failures, Overdue uint64
	// Rejected are checks that cannot be carried out, and why.
	Rejected map[model.CheckID]string
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
}

// New makes the facade. checks gives the set that should be probed now, with what is
// known of each check; verdicts takes what the process says, and must not block.
func New(logger hclog.Logger, checks func() model.CheckSet, mine func(*model.Check) bool, verdicts func(map[model.CheckID]model.Verdict)) *Checker {
	return &Checker{logger: logger, checks: checks, mine: mine, verdicts: verdicts, changed: make(chan struct{}, 1)}
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
	return c.stats
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
	c.stats = Stats{}
	c.mu.Unlock()
	received := make(chan error, 1)
	go func() { received <- c.receive(stream, s) }()

	types := map[string]bool{}
	for _, k := range s.Info().GetKinds() {
		if k.GetInterface() == pluginv1.Interface_INTERFACE_CHECK {
			types[k.GetType()] = true
		}
	}
	mine := func(check *model.Check) bool { return types[check.Type] && c.mine(check) }
	for {
		set := c.checks()
		if err := stream.Send(&checkv1.RunRequest{Message: &checkv1.RunRequest_SetChecks{SetChecks: encodeSet(set, mine)}}); err != nil {
			return fmt.Errorf("send %d checks: %w", len(set.Checks), firstError(received, err))
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
		switch m := response.GetMessage().(type) {
		case *checkv1.RunResponse_Verdicts:
			c.takeVerdicts(m.Verdicts)
		case *checkv1.RunResponse_Beat:
			c.mu.Lock()
			c.stats.Probes, c.stats.Failures, c.stats.Overdue = m.Beat.GetProbes(), m.Beat.GetFailures(), m.Beat.GetOverdue()
			c.mu.Unlock()
			s.Beat(m.Beat.GetBeat().GetProgress())
		case *checkv1.RunResponse_Applied:
			c.takeRejected(m.Applied)
		}
	}
}

func (c *Checker) takeVerdicts(in *checkv1.Verdicts) {
	verdicts := make(map[model.CheckID]model.Verdict, len(in.GetVerdicts()))
	for _, v := range in.GetVerdicts() {
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

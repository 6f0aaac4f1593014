package checker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/core/model"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

// ErrNotRunning says that no process runs that a probe could be made by.
var ErrNotRunning = errors.New("its process does not run")

// ParameterError says that a check cannot be carried out as it is.
type ParameterError struct{ Message string }

func (e *ParameterError) Error() string { return e.Message }

// Probed is what one probe found.
type Probed struct {
	// Verdict has no Since.
	Verdict    model.Verdict
	Duration   time.Duration
	Transcript []string
}

// probeSlack is how much longer than its timeout a probe may take, for the process to
// say that it did not end.
const probeSlack = 2 * time.Second

// Probe has the process that runs probe a check once, now. ErrNotRunning: there is none.
func (c *Checker) Probe(ctx context.Context, check *model.Check) (Probed, error) {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn == nil {
		return Probed{}, ErrNotRunning
	}
	return Probe(ctx, conn, check)
}

// Probe has a process probe a check once, now. A *ParameterError is about the check, any
// other error about the process.
func Probe(ctx context.Context, conn grpc.ClientConnInterface, check *model.Check) (Probed, error) {
	timeout := check.Schedule.Timeout
	ctx, cancel := context.WithTimeout(ctx, timeout+probeSlack)
	defer cancel()
	request := &checkv1.ProbeRequest{Type: check.Type, Target: EncodeTarget(check.Target), Timeout: durationpb.New(timeout)}
	if check.Parameters != "" {
		request.ParametersJson = []byte(check.Parameters)
	}
	response, err := checkv1.NewCheckServiceClient(conn).Probe(ctx, request)
	if err != nil {
		said := status.Convert(err)
		if said.Code() == codes.InvalidArgument {
			return Probed{}, &ParameterError{said.Message()}
		}
		if said.Code() == codes.Unimplemented {
			return Probed{}, errors.New("the plugin makes no probes on request: it does not serve Probe")
		}
		return Probed{}, fmt.Errorf("probe %s: %s", check, said.Message())
	}
	state, ok := decodeState(response.GetState())
	if !ok {
		return Probed{}, fmt.Errorf("probe %s: the plugin's answer has the state %s", check, response.GetState())
	}
	return Probed{
		Verdict: model.Verdict{
			State: state, Reason: response.GetReason(),
			Weight: decodeWeight(response.GetWeightMode(), response.GetWeight()), Admin: decodeAdmin(response.GetAdmin()),
		},
		Duration: response.GetDuration().AsDuration(), Transcript: response.GetTranscript(),
	}, nil
}

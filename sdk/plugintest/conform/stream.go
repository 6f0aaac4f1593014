package conform

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

// stream is a Run of the check service with everything that came on it.
type stream struct {
	run    checkv1.CheckService_RunClient
	cancel context.CancelFunc
	// gate is held while nothing is to be read.
	gate sync.Mutex

	mu sync.Mutex
	// sent is when the first set was.
	sent     time.Time
	applied  []*checkv1.Applied
	verdicts []*checkv1.Verdict
	arrived  []time.Time
	latest   map[string]*checkv1.Verdict
	messages []*checkv1.RunResponse
	last     *checkv1.Beat
	beatAt   []time.Time
	progress []uint64
	err      error
}

func openStream(ctx context.Context, client checkv1.CheckServiceClient) (*stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	run, err := client.Run(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &stream{run: run, cancel: cancel, latest: map[string]*checkv1.Verdict{}}
	go s.read()
	return s, nil
}

func (s *stream) close() { s.cancel() }

func (s *stream) read() {
	for {
		s.gate.Lock()
		m, err := s.run.Recv()
		s.gate.Unlock()
		s.mu.Lock()
		if err != nil {
			s.err = err
			s.mu.Unlock()
			return
		}
		now := time.Now()
		if m.GetBeat() == nil {
			s.messages = append(s.messages, m)
		}
		switch m := m.GetMessage().(type) {
		case *checkv1.RunResponse_Applied:
			s.applied = append(s.applied, m.Applied)
		case *checkv1.RunResponse_Verdicts:
			for _, v := range m.Verdicts.GetVerdicts() {
				s.verdicts, s.arrived = append(s.verdicts, v), append(s.arrived, now)
				s.latest[v.GetCheckId()] = v
			}
		case *checkv1.RunResponse_Beat:
			s.last = m.Beat
			s.beatAt, s.progress = append(s.beatAt, now), append(s.progress, m.Beat.GetBeat().GetProgress())
		}
		s.mu.Unlock()
	}
}

// hold stops the reading, after at most one more message, until the function is called.
func (s *stream) hold() (release func()) {
	locked := make(chan struct{})
	released := make(chan struct{})
	go func() {
		s.gate.Lock()
		close(locked)
		<-released
		s.gate.Unlock()
	}()
	<-locked
	return func() { close(released) }
}

func (s *stream) send(generation uint64, checks []*checkv1.Check) error {
	s.mu.Lock()
	if s.sent.IsZero() {
		s.sent = time.Now()
	}
	s.mu.Unlock()
	err := s.run.Send(&checkv1.RunRequest{Message: &checkv1.RunRequest_SetChecks{SetChecks: &checkv1.SetChecks{Generation: generation, Checks: checks}}})
	if errors.Is(err, io.EOF) && s.ended() != nil {
		return s.ended()
	}
	return err
}

// ended is why the stream has ended; nil: it has not.
func (s *stream) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *stream) answers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.applied)
}

func (s *stream) answer(i int) *checkv1.Applied {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied[i]
}

// since is the time from the first set to a check's last verdict.
func (s *stream) since(id string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest[id].GetDecidedAt().AsTime().Sub(s.sent)
}

// state a check was last told to have.
func (s *stream) state(id string) checkv1.VerdictState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest[id].GetState()
}

func (s *stream) reason(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest[id].GetReason()
}

// verdict is a check's last.
func (s *stream) verdict(id string) *checkv1.Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest[id]
}

// told are the verdicts of a check, in order; of all with an empty id.
func (s *stream) told(id string) []*checkv1.Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*checkv1.Verdict
	for _, v := range s.verdicts {
		if id == "" || v.GetCheckId() == id {
			out = append(out, v)
		}
	}
	return out
}

func (s *stream) beats() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.beatAt)
}

// beat is the last.
func (s *stream) beat() *checkv1.Beat {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// beatsSince are the times and progresses of the beats from the n-th on.
func (s *stream) beatsSince(n int) ([]time.Time, []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.beatAt[n:]...), append([]uint64(nil), s.progress[n:]...)
}

// heard are the messages other than beats, from the n-th on.
func (s *stream) heard(n int) []*checkv1.RunResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n >= len(s.messages) {
		return nil
	}
	return append([]*checkv1.RunResponse(nil), s.messages[n:]...)
}

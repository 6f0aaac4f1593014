package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/poise-lb/poise/core/model"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// live runs the process once, from its start to its end. The error says why it has to be
// started again; nil: it was stopped for good. startedAt is zero if it never ran.
func (p *Process) live() (err error, startedAt time.Time) {
	select {
	case <-p.rebeat: // the settings of now are sent anyway
	default:
	}
	interval, timeout := p.beat()
	a, err := newAttempt(p.host.pluginsDir(), p.host.powers, p.spec, p.spawner, p.lines)
	if err != nil {
		return err, time.Time{}
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.host.options.StartTimeout)
	defer cancel()
	if err = a.start(ctx); err == nil {
		err = a.configure(ctx, p.spec.Parameters, interval)
	}
	if err != nil {
		a.end("failed to start")
		return err, time.Time{}
	}
	p.set(func(s *model.PluginStatus) {
		s.State, s.Pid, s.StartedAt = running, a.child.pid(), a.startedAt
		s.Version, s.Kinds = a.info.GetVersion(), kinds(a.info)
		s.User, s.Capabilities, s.SHA256 = a.identity.name, a.identity.capabilities, a.sum
	})
	p.mu.Lock()
	p.info = a.info
	p.mu.Unlock()
	p.logger.Debug("plugin process runs", "pid", a.child.pid(), "version", a.info.GetVersion())
	p.host.options.OnEvent(p.spec.Name, fmt.Sprintf("running: pid %d, version %s", a.child.pid(), a.info.GetVersion()))

	s := &session{attempt: a}
	ctx, cancelSession := context.WithCancel(p.ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.session(ctx, s) }()
	request, reason := p.watch(a, s, interval, timeout, ended)
	if request == nil {
		// Who asks while it is ended is not told that it runs.
		p.set(func(s *model.PluginStatus) { s.State, s.Pid = waiting, 0 })
		cancelSession()
		a.end(reason)
		if reason == "" {
			reason = a.child.ending
		}
		s.wait(ended)
		return errors.New(reason), a.startedAt
	}
	err = p.stopWork(a, *request)
	cancelSession()
	a.finish()
	s.wait(ended)
	request.reply <- err
	return nil, a.startedAt
}

// watch returns when the process is asked to stop, or with the reason why it has to be
// replaced; it is empty if it has ended.
func (p *Process) watch(a *attempt, s *session, interval, timeout time.Duration, ended chan error) (*stopRequest, string) {
	// Until the first beat the session may have to wait for something else.
	quiet := silence{interval: interval, timeout: max(timeout, p.host.options.StartTimeout)}
	quiet.reset(time.Now())
	first := true
	ticker := time.NewTicker(quiet.tick())
	defer ticker.Stop()
	var configured chan error
	rebeat := p.rebeat
	for {
		select {
		case <-a.child.exited:
			return nil, ""
		case err := <-ended:
			s.returned = true
			return nil, p.sessionEnded(a, err)
		case request := <-p.stops:
			return &request, ""
		case <-p.ctx.Done():
			return nil, "the daemon ends"
		case <-rebeat:
			interval, timeout = p.beat()
			quiet.timeout = max(quiet.timeout, timeout)
			// One at a time; what changes meanwhile comes after it.
			configured, rebeat = p.configureAgain(a, interval), nil
		case err := <-configured:
			if err != nil {
				return nil, err.Error()
			}
			configured, rebeat = nil, p.rebeat
			if !first {
				quiet = silence{interval: interval, timeout: timeout}
				quiet.reset(time.Now())
				ticker.Reset(quiet.tick())
			}
		case <-ticker.C:
			now, at := time.Now(), s.lastBeat()
			if first && !at.IsZero() {
				first = false
				quiet = silence{interval: interval, timeout: timeout}
				quiet.reset(now)
				ticker.Reset(quiet.tick())
				continue
			}
			if timeout > 0 && quiet.look(now, at) {
				return nil, fmt.Sprintf("made no progress for %s", quiet.silent.Round(time.Millisecond))
			}
		}
	}
}

// sessionEnded says why a session ended; that the process did is the better reason.
func (p *Process) sessionEnded(a *attempt, err error) string {
	if _, ok := a.child.ended(); ok {
		return ""
	}
	if err == nil {
		return "its session ended"
	}
	return clean(err.Error())
}

// configureAgain tells the process a new beat interval.
func (p *Process) configureAgain(a *attempt, interval time.Duration) chan error {
	result := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(p.ctx, p.host.options.StartTimeout)
		defer cancel()
		result <- a.configure(ctx, p.spec.Parameters, interval)
	}()
	return result
}

// stopWork has the process stop its work in the time the request gives.
func (p *Process) stopWork(a *attempt, r stopRequest) error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	return a.stopWork(ctx, r.mode)
}

// session is the Session of one attempt.
type session struct {
	attempt *attempt
	// returned: its function has, and what it returned has been taken.
	returned bool

	mu       sync.Mutex
	progress uint64
	beatAt   time.Time
}

func (s *session) Conn() grpc.ClientConnInterface   { return s.attempt.conn }
func (s *session) Info() *pluginv1.DescribeResponse { return s.attempt.info }

func (s *session) Beat(progress uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if progress > s.progress || s.beatAt.IsZero() {
		s.progress, s.beatAt = progress, time.Now()
	}
}

func (s *session) lastBeat() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beatAt
}

// wait waits until the session's function has returned.
func (s *session) wait(ended <-chan error) {
	if !s.returned {
		<-ended
	}
}

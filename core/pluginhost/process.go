package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/core/model"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// States of a process in its status.
const (
	starting = "starting"
	running  = "running"
	waiting  = "waiting"
	stopped  = "stopped"
)

// Process is a plugin process that is kept running. Its methods may be called from any
// goroutine.
type Process struct {
	host    *Host
	spec    Spec
	session SessionFunc
	// logger takes the host's lines about the process, lines those of the process.
	logger, lines hclog.Logger
	spawner       *spawner

	// ctx ends with end; done is closed when nothing is left.
	ctx   context.Context
	end   context.CancelFunc
	done  chan struct{}
	stops chan stopRequest
	// rebeat and rewait tell that beat or backoff have changed.
	rebeat, rewait chan struct{}

	mu                sync.Mutex
	backoff           Backoff
	interval, timeout time.Duration
	status            model.PluginStatus
	info              *pluginv1.DescribeResponse
}

type stopRequest struct {
	ctx   context.Context
	mode  pluginv1.StopMode
	reply chan error
}

func newProcess(h *Host, spec Spec, backoff Backoff, session SessionFunc) *Process {
	spec.Args, spec.Capabilities = slices.Clone(spec.Args), slices.Clone(spec.Capabilities)
	p := &Process{
		host: h, spec: spec, session: session,
		logger: h.options.Logger.With("plugin", spec.Name), lines: h.options.Logger.Named(spec.Name),
		done: make(chan struct{}), stops: make(chan stopRequest),
		rebeat: make(chan struct{}, 1), rewait: make(chan struct{}, 1),
		backoff: backoff, interval: spec.BeatInterval, timeout: spec.BeatTimeout,
		status: model.PluginStatus{Name: spec.Name, Path: spec.Path, State: starting},
	}
	p.ctx, p.end = context.WithCancel(context.Background())
	return p
}

// Status is the process as it is now.
func (p *Process) Status() model.PluginStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Info is how the process that runs, or ran last, described itself; nil before the first.
func (p *Process) Info() *pluginv1.DescribeResponse {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.info
}

// SetBackoff changes the back-off, also of a wait that goes on.
func (p *Process) SetBackoff(least, most time.Duration) {
	p.mu.Lock()
	p.backoff = Backoff{Min: least, Max: most}
	p.mu.Unlock()
	wake(p.rewait)
}

// SetBeat changes how often beats are due, and when their absence ends the process. A
// process that runs is told.
func (p *Process) SetBeat(interval, timeout time.Duration) {
	p.mu.Lock()
	changed := p.interval != interval || p.timeout != timeout
	p.interval, p.timeout = interval, timeout
	p.mu.Unlock()
	if changed {
		wake(p.rebeat)
	}
}

// Stop has the process stop its work and end, and does not start it again. ctx bounds
// the first of the two, and has a deadline; when it has passed the process is killed. An
// error says that the process did not stop its work: what it has set up may be there
// still. The session goes on until the work has stopped.
func (p *Process) Stop(ctx context.Context, mode pluginv1.StopMode) error {
	request := stopRequest{ctx: ctx, mode: mode, reply: make(chan error, 1)}
	select {
	case p.stops <- request:
		err := <-request.reply
		<-p.done
		return p.wrap(err)
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.end()
		<-p.done
		return p.wrap(errors.New("it was starting until the time was up"))
	}
}

func (p *Process) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("plugin %s: %w", p.spec.Name, err)
}

// supervise is the life of a Process.
func (p *Process) supervise() {
	defer close(p.done)
	defer p.host.forget(p)
	id := p.prepare()
	p.spawner = newSpawner(func() {
		p.prioritize()
		restrict(id.ambient)
	})
	defer p.spawner.close()
	defer p.set(func(s *model.PluginStatus) { s.State, s.Pid = stopped, 0 })
	failures, last := 0, ""
	for {
		p.set(func(s *model.PluginStatus) { s.State = starting })
		err, startedAt := p.live()
		if err == nil || p.ctx.Err() != nil {
			return
		}
		ran := !startedAt.IsZero()
		if ran && time.Since(startedAt) >= healthyAfter {
			failures = 0
		}
		failures++
		reason := err.Error()
		p.set(func(s *model.PluginStatus) { s.State, s.Pid, s.LastFailure = waiting, 0, reason })
		p.tellFailure(reason, failures, !ran && reason == last)
		last = reason
		if !p.wait(failures) {
			return
		}
		p.set(func(s *model.PluginStatus) { s.Restarts++ })
	}
}

// prepare shows who the process will be, and says once what cannot be had.
func (p *Process) prepare() identity {
	id, err := p.host.powers.identify(p.spec)
	if err != nil {
		return identity{} // said when it is started
	}
	p.set(func(s *model.PluginStatus) { s.User, s.Capabilities = id.name, id.capabilities })
	if !p.host.powers.changesUser() {
		p.host.unprivileged.Do(func() {
			p.host.options.Logger.Warn("poised may not change users: plugins run as its own", "user", id.name)
		})
	}
	if len(id.missing) > 0 {
		p.logger.Warn("poised lacks capabilities that the plugin needs, it runs without: run poised as root or grant them", "capabilities", id.missing)
	}
	return id
}

// prioritize gives the calling thread the process's scheduling priority, to be inherited.
func (p *Process) prioritize() {
	if p.spec.Nice == 0 {
		return
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, p.spec.Nice); err != nil {
		p.logger.Warn("the plugin runs with poised's own scheduling priority: grant poised CAP_SYS_NICE", "nice", p.spec.Nice, "error", err)
	}
}

// tellFailure tells an operator; a start that fails again for the same reason is no news.
func (p *Process) tellFailure(reason string, failures int, again bool) {
	delay := p.delay(failures, 0)
	p.logger.Debug("plugin process failed", "reason", reason, "restart_in", delay)
	if again {
		return
	}
	when := "at once"
	if delay > 0 {
		when = "in " + delay.Round(time.Millisecond).String()
	}
	p.host.options.OnEvent(p.spec.Name, fmt.Sprintf("%s; started again %s", reason, when))
}

func (p *Process) delay(failures int, jitter float64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backoff.delay(failures, jitter)
}

// wait waits for the next start; false: there is none.
func (p *Process) wait(failures int) bool {
	failed, jitter := time.Now(), rand.Float64()
	for {
		timer := time.NewTimer(time.Until(failed.Add(p.delay(failures, jitter))))
		select {
		case <-timer.C:
			return true
		case <-p.rewait:
			timer.Stop()
		case request := <-p.stops:
			timer.Stop()
			request.reply <- errors.New("it was not running: what it has set up stays")
			return false
		case <-p.ctx.Done():
			timer.Stop()
			return false
		}
	}
}

func (p *Process) set(change func(*model.PluginStatus)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.status)
}

func (p *Process) beat() (interval, timeout time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.interval, p.timeout
}

// wake leaves word in a channel of one place.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

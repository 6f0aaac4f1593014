package vrrp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

// New makes the provider.
func New() sdk.Failover {
	return &provider{stops: make(chan stopRequest), ended: make(chan struct{})}
}

// provider is the sdk's view of a router.
type provider struct {
	mu       sync.Mutex
	settings sdk.Settings
	started  bool

	stops chan stopRequest
	// ended is closed when Run has returned.
	ended chan struct{}
}

// stopRequest asks the router to stop; done is closed when it has, and early says that
// it has had no groups.
type stopRequest struct {
	mode  pluginv1.StopMode
	done  chan struct{}
	early chan struct{}
}

// Configure takes the settings. A change of the beat's interval takes effect with the
// next beat; the runtime directory is fixed when Run begins.
func (p *provider) Configure(_ context.Context, s sdk.Settings) error {
	if problems := p.Validate(s.Parameters); len(problems) > 0 {
		return sdk.Errorf(problems[0].Path, "%s", problems[0].Message)
	}
	if s.BeatInterval <= 0 {
		return fmt.Errorf("beat interval %s is not positive", s.BeatInterval)
	}
	if info, err := os.Stat(s.RuntimeDir); err != nil || !info.IsDir() {
		return fmt.Errorf("runtime directory %q cannot be used: %w", s.RuntimeDir, errors.Join(err, errors.New("it must be a directory of this plugin's own")))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings = s
	return nil
}

func (p *provider) current() sdk.Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings
}

// Validate refuses every parameter: there are none.
func (p *provider) Validate(parameters json.RawMessage) []sdk.Problem {
	if len(parameters) == 0 {
		return nil
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(parameters, &keys); err != nil {
		return []sdk.Problem{{Message: "the parameters are not a JSON object"}}
	}
	var problems []sdk.Problem
	for key := range keys {
		problems = append(problems, sdk.Problem{Path: "/" + key, Message: fmt.Sprintf("the vrrp provider has no parameter %q; its groups have settings of their own", key)})
	}
	return problems
}

// Run runs groups until they were stopped, handed over, or given up because the daemon
// did not come back.
func (p *provider) Run(ctx context.Context, sets <-chan *failoverv1.SetGroups, coreLost <-chan struct{}, report func(*failoverv1.RunResponse)) error {
	p.mu.Lock()
	if p.started || p.settings.RuntimeDir == "" {
		p.mu.Unlock()
		return errors.New("run vrrp: it was not configured, or is run a second time")
	}
	p.started = true
	p.mu.Unlock()
	defer close(p.ended)
	r, err := newRouter(p.current, report)
	if err != nil {
		return fmt.Errorf("run vrrp: %w", err)
	}
	defer r.close()
	return r.run(ctx, sets, coreLost, p.stops)
}

// Stop ends the work. It returns when nothing is sent any more and, for a withdrawal,
// the addresses are gone.
func (p *provider) Stop(ctx context.Context, mode pluginv1.StopMode) error {
	if mode != pluginv1.StopMode_STOP_MODE_LEAVE && mode != pluginv1.StopMode_STOP_MODE_WITHDRAW {
		return fmt.Errorf("stop vrrp: mode %s is neither leave nor withdraw", mode)
	}
	p.mu.Lock()
	started := p.started
	p.mu.Unlock()
	if !started {
		return p.withoutGroups(mode)
	}
	request := stopRequest{mode, make(chan struct{}), make(chan struct{}, 1)}
	select {
	case p.stops <- request:
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop vrrp: the router did not answer: %w", ctx.Err())
	}
	select {
	case <-request.early:
		return p.withoutGroups(mode)
	case <-request.done:
		return nil
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop vrrp: the groups had not left: %w", ctx.Err())
	}
}

// withoutGroups is the answer to a stop that comes before any groups: what an earlier
// process holds is not known yet, so it cannot have been withdrawn.
func (p *provider) withoutGroups(mode pluginv1.StopMode) error {
	if mode == pluginv1.StopMode_STOP_MODE_LEAVE {
		return nil
	}
	return errors.New("stop vrrp: it was told to withdraw before it had any groups, and what an earlier process holds stays")
}

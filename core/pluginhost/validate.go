package pluginhost

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// Validate starts a plugin without privileges, only to ask what it thinks of settings,
// and ends it. It needs neither root nor the daemon's runtime directory. ctx has a
// deadline, which bounds all of it. The context's end and a plugin that cannot be asked
// are errors; what is wrong with the settings is not.
func Validate(ctx context.Context, spec Spec, items []*pluginv1.ValidateItem, logger hclog.Logger) ([]*pluginv1.Problem, error) {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	dir, err := os.MkdirTemp("", "poise-")
	if err != nil {
		return nil, fmt.Errorf("validate with plugin %s: %w", spec.Name, err)
	}
	defer os.RemoveAll(dir)
	// The plugin has to reach its own directory in it.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, fmt.Errorf("validate with plugin %s: %w", spec.Name, err)
	}
	spec.Capabilities, spec.KeepsUser, spec.Survives, spec.RuntimeDir = nil, false, false, ""
	forks := newSpawner(func() { restrict(nil) })
	defer forks.close()
	problems, err := ask(ctx, filepath.Join(dir, "plugins"), spec, items, forks, logger.Named(spec.Name))
	if err != nil {
		return nil, fmt.Errorf("validate with plugin %s: %w", spec.Name, err)
	}
	return problems, nil
}

func ask(ctx context.Context, plugins string, spec Spec, items []*pluginv1.ValidateItem, forks *spawner, logger hclog.Logger) ([]*pluginv1.Problem, error) {
	a, err := newAttempt(plugins, currentPowers(), spec, forks, logger)
	if err != nil {
		return nil, err
	}
	defer a.end("has answered")
	if err := a.start(ctx); err != nil {
		return nil, err
	}
	response, err := pluginv1.NewPluginServiceClient(a.conn).Validate(ctx, &pluginv1.ValidateRequest{Items: items})
	if err != nil {
		return nil, a.reason(ctx, "ask what it thinks of the settings", err)
	}
	for _, p := range response.GetProblems() {
		if int64(p.GetItem()) >= int64(len(items)) {
			return nil, fmt.Errorf("it finds a problem in item %d of %d: %s", p.GetItem(), len(items), clean(p.GetMessage()))
		}
	}
	return response.GetProblems(), nil
}

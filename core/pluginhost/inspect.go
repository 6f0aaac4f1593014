package pluginhost

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// Inspection is what a plugin says of itself, and of settings that it was shown.
type Inspection struct {
	Info *pluginv1.DescribeResponse
	// Problems name the index of their item.
	Problems []*pluginv1.Problem
}

// Inspect starts a plugin without privileges, only to ask what it is and what it thinks of
// settings, and ends it. items chooses the settings when the plugin has said what it is;
// none: it is not asked. It needs neither root nor the daemon's runtime directory. ctx has
// a deadline, which bounds all of it. The context's end and a plugin that cannot be asked
// are errors; what is wrong with the settings is not.
func Inspect(ctx context.Context, spec Spec, items func(*pluginv1.DescribeResponse) []*pluginv1.ValidateItem, logger hclog.Logger) (Inspection, error) {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	dir, err := os.MkdirTemp("", "poise-")
	if err != nil {
		return Inspection{}, fmt.Errorf("ask plugin %s: %w", spec.Name, err)
	}
	defer os.RemoveAll(dir)
	// The plugin has to reach its own directory in it.
	if err := os.Chmod(dir, 0o711); err != nil {
		return Inspection{}, fmt.Errorf("ask plugin %s: %w", spec.Name, err)
	}
	spec.Capabilities, spec.KeepsUser, spec.Survives, spec.RuntimeDir = nil, false, false, ""
	forks := newSpawner(func() { restrict(nil) })
	defer forks.close()
	found, err := inspect(ctx, filepath.Join(dir, "plugins"), spec, items, forks, logger.Named(spec.Name))
	if err != nil {
		return Inspection{}, fmt.Errorf("ask plugin %s: %w", spec.Name, err)
	}
	return found, nil
}

func inspect(ctx context.Context, plugins string, spec Spec, items func(*pluginv1.DescribeResponse) []*pluginv1.ValidateItem, forks *spawner, logger hclog.Logger) (Inspection, error) {
	a, err := newAttempt(plugins, currentPowers(), spec, forks, logger)
	if err != nil {
		return Inspection{}, err
	}
	defer a.end("has answered")
	if err := a.start(ctx); err != nil {
		return Inspection{}, err
	}
	found := Inspection{Info: a.info}
	shown := items(a.info)
	if len(shown) == 0 {
		return found, nil
	}
	response, err := pluginv1.NewPluginServiceClient(a.conn).Validate(ctx, &pluginv1.ValidateRequest{Items: shown})
	if err != nil {
		return found, a.reason(ctx, "show it the settings", err)
	}
	for _, p := range response.GetProblems() {
		if int64(p.GetItem()) >= int64(len(shown)) {
			return found, fmt.Errorf("it finds a problem in item %d of %d: %s", p.GetItem(), len(shown), clean(p.GetMessage()))
		}
	}
	found.Problems = response.GetProblems()
	return found, nil
}

package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/poise-lb/poise/core/pluginhost"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// inspector asks a plugin what it is and what it thinks of settings. about holds all that
// items may choose from: what was asked before and found good is not asked again.
type inspector func(ctx context.Context, spec pluginhost.Spec, about any, items items) (pluginhost.Inspection, error)

// items chooses the settings that a plugin is shown, by what it is.
type items func(*pluginv1.DescribeResponse) []*pluginv1.ValidateItem

// inspections asks plugins, and remembers the answers of this configuration and of the
// one before: a reload that changes nothing of a plugin starts no process.
type inspections struct {
	logger hclog.Logger

	mu            sync.Mutex
	known, before map[[sha256.Size]byte]pluginhost.Inspection
}

func newInspections(logger hclog.Logger) *inspections {
	return &inspections{logger: logger, known: map[[sha256.Size]byte]pluginhost.Inspection{}}
}

// turn forgets the answers that the configuration before the last one needed.
func (s *inspections) turn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.known = s.known, map[[sha256.Size]byte]pluginhost.Inspection{}
}

func (s *inspections) inspect(ctx context.Context, spec pluginhost.Spec, about any, show items) (pluginhost.Inspection, error) {
	key, keyed := inspectionKey(spec, about)
	if found, ok := s.find(key); keyed && ok {
		return found, nil
	}
	found, err := pluginhost.Inspect(ctx, spec, show, s.logger)
	// What was wrong may have been put right by something that is not in the key: a file.
	if err == nil && keyed && !slices.ContainsFunc(found.Problems, isError) {
		s.mu.Lock()
		s.known[key] = found
		s.mu.Unlock()
	}
	return found, err
}

func (s *inspections) find(key [sha256.Size]byte) (pluginhost.Inspection, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.known[key]
	if !ok {
		if found, ok = s.before[key]; ok {
			s.known[key] = found
		}
	}
	return found, ok
}

// inspectionKey is the content of a question: to whom, and about what.
func inspectionKey(spec pluginhost.Spec, about any) (key [sha256.Size]byte, ok bool) {
	identity, err := pluginhost.Identity(spec.Path)
	if err != nil {
		return key, false
	}
	content, err := json.Marshal(map[string]any{
		"executable": identity, "name": spec.Name, "path": spec.Path, "args": spec.Args, "user": spec.User,
		"plain_text": spec.PlainText, "about": about,
	})
	if err != nil {
		return key, false
	}
	return sha256.Sum256(content), true
}

func isError(p *pluginv1.Problem) bool { return p.GetSeverity() != pluginv1.Severity_SEVERITY_WARNING }

// inspectionFailure is the message about a plugin that could not be asked.
func inspectionFailure(err error) string {
	return fmt.Sprintf("%v: its checks could not be looked at", err)
}

package daemon

import (
	"maps"
	"slices"
	"sync"

	"github.com/poise-lb/poise/core/model"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// catalog says which process probes which type of check. Every type has one.
type catalog struct {
	mu sync.Mutex
	// offered are the types of the operator's own plugins, with the plugin.
	offered map[string]string
	// unasked are plugins that could not say what they offer when the configuration was
	// read: what they serve once they run is theirs, if it is nobody else's.
	unasked map[string]bool
}

func newCatalog() *catalog {
	return &catalog{offered: map[string]string{}, unasked: map[string]bool{}}
}

// processOf names the process that probes a check; empty: nobody offers its type.
func (c *catalog) processOf(check *model.Check) string {
	if name := processOf(check); name != "" {
		return name
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offered[check.Type]
}

// types are all that checks can have.
func (c *catalog) types() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(union(builtinChecks, c.offered)))
}

// plugin names the operator's own plugin that offers a type.
func (c *catalog) plugin(checkType string) (name string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, ok = c.offered[checkType]
	return name, ok
}

// offer makes a type a plugin's. It fails if the type is another's, and says whose.
func (c *catalog) offer(checkType, plugin string) (other string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, taken := c.offered[checkType]; taken && other != plugin {
		return other, false
	}
	c.offered[checkType] = plugin
	return "", true
}

// runs takes what a plugin serves that could not be asked before.
func (c *catalog) runs(plugin string, info *pluginv1.DescribeResponse) {
	c.mu.Lock()
	unasked := c.unasked[plugin]
	c.mu.Unlock()
	if !unasked {
		return
	}
	for _, checkType := range checkTypes(info) {
		if builtinChecks[checkType] == "" {
			c.offer(checkType, plugin)
		}
	}
}

// lacks tells whether the process that runs does not offer what its executable does now:
// it was replaced meanwhile. info is nil for one that has not said what it is.
func (c *catalog) lacks(process string, info *pluginv1.DescribeResponse) bool {
	if info == nil {
		return false
	}
	served := checkTypes(info)
	c.mu.Lock()
	defer c.mu.Unlock()
	for t, name := range c.offered {
		if name == process && !slices.Contains(served, t) {
			return true
		}
	}
	return false
}

// alike tells whether both have the same plugin for every type.
func (c *catalog) alike(other *catalog) bool {
	other.mu.Lock()
	offered := maps.Clone(other.offered)
	other.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Equal(c.offered, offered)
}

// complete: every plugin has said what it offers.
func (c *catalog) complete() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.unasked) == 0
}

// checkTypes are the types of checks that a plugin offers.
func checkTypes(info *pluginv1.DescribeResponse) []string {
	var out []string
	for _, k := range info.GetKinds() {
		if k.GetInterface() == pluginv1.Interface_INTERFACE_CHECK {
			out = append(out, k.GetType())
		}
	}
	return out
}

func union(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

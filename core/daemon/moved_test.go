package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A type that another plugin offers now is no longer probed by the one that did: the
// process that runs, and could, is told.
func TestTypeMovesToAnotherPlugin(t *testing.T) {
	t.Parallel()
	dir := trustedDir(t)
	first, _ := executableIn(t, dir, "first", "one")
	second, _ := executableIn(t, dir, "second", "two")
	types := filepath.Join(dir, "types")
	offer := func(kinds string) {
		if err := os.WriteFile(types, []byte(kinds), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	offer("cache redis")
	text := redisServices + "plugins:\n  first: {path: " + first + ", args: [types-in=" + types + "]}\n"
	d := startDirector(t, dir, text)
	eventually(t, "the first one has the checks", func() bool { return strings.Count(d.set("first"), "redis") == 2 })
	pid := d.plugin(t, "first").GetPid()

	offer("cache")
	executableIn(t, dir, "first", "three")
	if err := d.reload(t, text+"  second: {path: "+second+", args: [types=redis]}\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second one has the checks", func() bool { return strings.Count(d.set("second"), "redis") == 2 })
	eventually(t, "the first one has none", func() bool { return d.set("first") == "" })
	if now := d.plugin(t, "first").GetPid(); now != pid {
		t.Errorf("the first one was started again: %d, then %d", pid, now)
	}
	if got := d.verdicts(t); got != "192.0.2.1:80 up, 192.0.2.2:80 down as told" {
		t.Errorf("verdicts: %s", got)
	}
}

package f5

import (
	"os"
	"path/filepath"
)

// markerIn names the file that says, over the end of a process that was killed, that a unit's
// disk may not have what was written; empty without a directory.
func markerIn(dir string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "unsaved")
}

func marked(marker string) bool {
	if marker == "" {
		return false
	}
	_, err := os.Stat(marker)
	return err == nil
}

// mark is made before what it stands for.
func (f *Forwarder) mark() {
	f.mu.Lock()
	marker, there := f.marker, f.unsaved
	f.mu.Unlock()
	if marker == "" || there {
		return
	}
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		f.logger.Warn("it cannot be remembered that the BIG-IP has to save: after a crash of this process it may not", "error", err)
	}
}

// unmark is for what has been saved.
func unmark(marker string) {
	if marker != "" {
		_ = os.Remove(marker)
	}
}

package model

import "time"

// PluginStatus is a plugin process as it is now.
type PluginStatus struct {
	Name string
	// State is "running", "starting", "waiting" (for its next start) or "stopped".
	State string
	// Pid is 0 if there is no process.
	Pid     int
	Version string
	// Restarts is how often it was started again.
	Restarts  uint64
	StartedAt time.Time
	// LastFailure is why it was last started again; empty if it was not.
	LastFailure string
	// Kinds are what it does: "check/tcp", "forward/ipvs".
	Kinds []string
	// User it runs as.
	User string
	// Capabilities it has: "NET_ADMIN".
	Capabilities []string
	Path         string
	// SHA256 of the executable that runs, or ran last, in hex; empty for poise's own, unless
	// it is pinned.
	SHA256 string
}

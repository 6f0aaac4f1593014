package model

import "time"

// Snapshot is the engine's view of one moment, immutable: what is configured, what
// is known and what was decided. Control, metrics and notifications read it.
type Snapshot struct {
	At       time.Time
	Services []ServiceStatus
	Groups   []GroupStatus
	// ForwardGeneration is the generation of the table that is wanted now.
	ForwardGeneration uint64
	// Sync is the wanted connection sync; nil: none.
	Sync *DesiredSync
}

// ServiceStatus is a virtual server with what was decided for it.
type ServiceStatus struct {
	Config *VirtualServer
	// QuorumUp: the weight that is up reaches the quorum.
	QuorumUp bool
	// SorryActive: the sorry server is in the table and takes connections.
	SorryActive bool
	RealServers []RealServerStatus
}

// RealServerStatus is a real server with what was decided for it.
type RealServerStatus struct {
	Config *RealServer
	// State folds the verdicts of its checks; Since and Reason are those of the check
	// that decides.
	State  State
	Reason string
	Since  time.Time
	// InTable and Weight are what the forwarder is told.
	InTable  bool
	Weight   uint32
	Override Override
	// Admin is what is in force: the operator's wish, or what the real server asks for
	// itself if that is stronger.
	Admin  Admin
	Checks []CheckStatus
}

// CheckStatus is a check with its verdict.
type CheckStatus struct {
	ID      CheckID
	Check   *Check
	Verdict Verdict
}

// GroupStatus is a failover group with its role.
type GroupStatus struct {
	Config *FailoverGroup
	RoleState
}

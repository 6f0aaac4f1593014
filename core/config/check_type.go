package config

import (
	"time"

	"github.com/poise-lb/poise/core/model"
)

// targetRule says what of a target a type of check has.
type targetRule uint8

const (
	// mayHavePort: an address, and a port if there is one to have. So are types that poise
	// does not know.
	mayHavePort targetRule = iota
	// needsPort: an address and a port.
	needsPort
	// hasNoPort: an address alone.
	hasNoPort
	// hasNoTarget: nothing is probed over the network.
	hasNoTarget
)

// checkType is what reading a check of a type takes to know; its parameters are for its
// plugin to judge.
type checkType struct {
	target targetRule
	// watched: its results come by themselves, it has no schedule.
	watched bool
}

// checkTypes are those that need more said than the zero value.
var checkTypes = map[string]checkType{
	"tcp":   {target: needsPort},
	"http":  {target: needsPort},
	"ssl":   {target: needsPort},
	"smtp":  {target: needsPort},
	"dns":   {target: needsPort},
	"udp":   {target: needsPort},
	"grpc":  {target: needsPort},
	"agent": {target: needsPort},
	"ping":  {target: hasNoPort},
	"file":  {target: hasNoTarget, watched: true},
	"bfd":   {target: hasNoPort, watched: true},
}

// watchedSchedule is that of every check that is watched: nothing of it is used but the
// timeout, when an operator asks for a probe.
var watchedSchedule = model.Schedule{Interval: defaultInterval, Timeout: defaultTimeout, RetryDelay: time.Second}

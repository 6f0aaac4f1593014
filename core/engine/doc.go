// Package engine is the loop in the middle: events in, sets out. Everything that is
// decided is decided here, on one goroutine, by core/plan.
//
// It is level-triggered. An input (a configuration, verdicts, a role, an operator's
// override, the table found at start) changes what is known; then all that is waiting
// in the inbox has been taken in, the virtual servers that are touched are decided anew
// and the whole sets that should be are published, each with a generation that grows
// only when the set differs. Receivers take the newest set and find out themselves
// what there is to do; a lost set or a restarted receiver heals with the next one.
//
// The engine calls nobody and waits for nobody: outputs are functions that must not
// block, and what blocks (plugins, the disk) is behind them. Time is an input of the
// pure part (core.step), so that tests replay days in microseconds.
//
// Sharp edges: a configuration handed over belongs to the engine and to everybody who
// has read a snapshot, and must never change again. SetConfig, SetOverride,
// SetOverrides and Adopt return when their effect is published, so they must not be
// called from an output.
package engine

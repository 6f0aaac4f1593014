// Package checker is the daemon's side of poise.check.v1: it sends a checker process
// the checks it can carry out, and turns its verdicts into the model's.
//
// It keeps no verdicts: those are the engine's, so that a process that dies and comes
// back changes none of them.
package checker

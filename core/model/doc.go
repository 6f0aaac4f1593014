// Package model holds poise's nouns: what is configured, what is wanted and what
// is known, as plain values. It imports the standard library only, so that the
// pure core (plan, engine) knows no file format, no wire format and no kernel.
//
// Configuration types (core/config) and wire types (proto) are different types on
// purpose: a change of a file format or of an interface stops at its own edge.
package model

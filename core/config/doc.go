// Package config turns files into a model.Config and tells every problem with its
// file and line.
//
// Two readers end in the same model: one for keepalived.conf (scan.go cuts it into
// words as keepalived does, tree.go into statements, keepalived*.go gives them their
// meaning), one for poise's own YAML, TOML and JSON (native*.go), which are read
// through koanf and then walked by a decoder that refuses every key it was not asked
// for. koanf keeps no positions: positions_*.go take them from a second look at the
// same bytes.
//
// The two differ in temper. What keepalived puts right by itself in a file that runs
// today is put right here too, with a warning; in poise's own format the same
// mistake is an error. Both go through the same checks (normalise.go).
//
// A configuration is usable only if there is no error: there is no half of one.
// Reading has no side effects and asks nothing of the machine it runs on, so that
// `poised -t` works off-box: interfaces need not exist.
package config

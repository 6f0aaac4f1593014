// Package plugintest runs plugins in tests over the connection the daemon uses, and
// checks that they keep to the contract.
//
// Executable runs the conformance kit (package conform) against an executable, each
// requirement a subtest: what `poise plugin test` does. Serve runs a Plugin inside the
// test and Start an executable, for cases of one's own; Conform checks what every plugin
// has to do, in a moment.
package plugintest

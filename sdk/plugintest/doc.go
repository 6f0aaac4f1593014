// Package plugintest runs plugins in tests over the connection the daemon uses, and
// checks that they keep to the contract.
//
// Serve runs a Plugin inside the test; Start runs an executable, with the encryption
// and the environment that the daemon gives it. Conform checks what every plugin has
// to do.
package plugintest

// Package sdk is what the author of a poise plugin imports. It serves the interfaces
// of proto/poise/*/v1 over go-plugin and does what every plugin has to do: logging,
// settings, heartbeats, the schedule of checks, panics, and a clean end.
//
// A plugin fills a Plugin and calls Serve:
//
//	func main() {
//		sdk.Serve(sdk.Plugin{Name: "redis", Version: "1.0.0", Checkers: map[string]sdk.Checker{"redis": redis{}}})
//	}
//
// A Checker parses the parameters of a check once and gives a Prober, which probes a target
// once; everything else a prober can do is an optional ability (Configurer, Starter,
// Watcher, Closer, Schemer, Validator). Package dial makes its connections, package
// plugintest tests it. docs/plugins.md is the walk through it.
//
// Sharp edges: nothing may be written to os.Stdout (it carries the handshake; use
// the logger), and a probe that ignores its context's deadline is abandoned, not
// stopped: it counts as one that could not be made.
package sdk

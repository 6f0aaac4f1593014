// Package handshake holds what daemon and plugin must agree on before the first call:
// the go-plugin handshake and the names of the environment the daemon gives a plugin.
package handshake

const (
	// ProtocolVersion is go-plugin's: the transport plus poise.plugin.v1. It changes
	// only with the transport; everything else is versioned by its gRPC service name.
	ProtocolVersion = 1
	// CookieKey and CookieValue tell an executable that a daemon started it. They keep
	// people from running it by hand; they are no protection.
	CookieKey   = "POISE_PLUGIN"
	CookieValue = "7f1c2d0e-poise-plugin-v1"
	// PluginName is the one entry of go-plugin's plugin set.
	PluginName = "poise"
	// EnvName carries the name of the plugin process, for its logs before Configure.
	EnvName = "POISE_PLUGIN_NAME"
	// MaxMessageSize is the limit on a gRPC message in bytes, both ways.
	MaxMessageSize = 64 << 20
	// WindowSize is how much of a stream may be on its way, and of a connection.
	WindowSize = 1 << 20
)

// Package hosttest makes a test binary a plugin, for tests on the daemon's side, which
// do not know the sdk: the services are the test's own, with whatever faults it likes.
package hosttest

import (
	"context"
	"os"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/poise-lb/poise/proto/handshake"
)

// Started tells whether a daemon has started this process as a plugin: TestMain then
// serves and runs no test.
func Started() bool { return os.Getenv(handshake.CookieKey) != "" }

// Serve serves what register registers until the daemon ends it. With plainText it is a
// plugin that knows nothing of go-plugin's AutoMTLS.
func Serve(register func(*grpc.Server), plainText bool) {
	if plainText {
		_ = os.Unsetenv("PLUGIN_CLIENT_CERT")
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: handshake.ProtocolVersion, MagicCookieKey: handshake.CookieKey, MagicCookieValue: handshake.CookieValue,
		},
		Plugins: goplugin.PluginSet{handshake.PluginName: &services{register: register}},
		Logger:  hclog.NewNullLogger(), GRPCServer: goplugin.DefaultGRPCServer,
	})
}

// services are go-plugin's idea of a plugin.
type services struct {
	goplugin.NetRPCUnsupportedPlugin
	register func(*grpc.Server)
}

func (s *services) GRPCServer(_ *goplugin.GRPCBroker, server *grpc.Server) error {
	s.register(server)
	return nil
}

func (*services) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

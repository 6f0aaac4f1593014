package plugintest

import (
	"context"
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/proto/handshake"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

// callTimeout bounds the calls this package makes itself.
const callTimeout = 5 * time.Second

// Client is the daemon's side of a plugin under test. Calls to a service that the
// plugin does not serve fail with Unimplemented.
type Client struct {
	Conn     *grpc.ClientConn
	Plugin   pluginv1.PluginServiceClient
	Check    checkv1.CheckServiceClient
	Forward  forwardv1.ForwardServiceClient
	Failover failoverv1.FailoverServiceClient
	// Pid of the plugin's process; the test's own for Serve.
	Pid int
}

// Serve runs a plugin inside the test, which ends it.
func Serve(t testing.TB, p sdk.Plugin) *Client {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	attach, done, err := sdk.ServeTest(ctx, p, logger(t))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(callTimeout):
			t.Error("the plugin did not end when its serving did")
		}
	})
	return dial(t, &goplugin.ClientConfig{Reattach: attach})
}

// Start runs a plugin's executable; the test ends it.
func Start(t testing.TB, cmd *exec.Cmd) *Client {
	t.Helper()
	cmd.Env = append(cmd.Env, goplugin.EnvUnixSocketDir+"="+t.TempDir(), handshake.EnvName+"=test")
	return dial(t, &goplugin.ClientConfig{Cmd: cmd, AutoMTLS: true, SkipHostEnv: true, StartTimeout: 10 * time.Second})
}

func logger(t testing.TB) hclog.Logger {
	if testing.Verbose() {
		return hclog.New(&hclog.LoggerOptions{Name: t.Name(), Level: hclog.Debug})
	}
	return hclog.NewNullLogger()
}

func dial(t testing.TB, config *goplugin.ClientConfig) *Client {
	t.Helper()
	config.HandshakeConfig = goplugin.HandshakeConfig{
		ProtocolVersion: handshake.ProtocolVersion, MagicCookieKey: handshake.CookieKey, MagicCookieValue: handshake.CookieValue,
	}
	config.Plugins = goplugin.PluginSet{handshake.PluginName: &connection{}}
	config.AllowedProtocols = []goplugin.Protocol{goplugin.ProtocolGRPC}
	config.Logger = logger(t)
	client := goplugin.NewClient(config)
	t.Cleanup(client.Kill)
	protocol, err := client.Client()
	if err != nil {
		t.Fatalf("start the plugin: %s", err)
	}
	conn := protocol.(*goplugin.GRPCClient).Conn
	out := &Client{
		Conn: conn, Plugin: pluginv1.NewPluginServiceClient(conn), Check: checkv1.NewCheckServiceClient(conn),
		Forward: forwardv1.NewForwardServiceClient(conn), Failover: failoverv1.NewFailoverServiceClient(conn),
	}
	if r := client.ReattachConfig(); r != nil {
		out.Pid = r.Pid
	}
	return out
}

// connection is go-plugin's idea of our one plugin: a connection.
type connection struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (*connection) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }

func (*connection) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// Configure gives the plugin settings as the daemon does, with a short beat.
func (c *Client) Configure(t testing.TB, parameters string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if _, err := c.Plugin.Configure(ctx, &pluginv1.ConfigureRequest{
		Name: "test", ParametersJson: []byte(parameters), RuntimeDir: t.TempDir(), BeatInterval: durationpb.New(50 * time.Millisecond),
	}); err != nil {
		t.Fatalf("configure: %s", err)
	}
}

// Conform checks what every plugin has to do: a whole description, schemas that are
// JSON, refusal of unknown types and of a Stop without a mode. valid are parameters
// that each type takes, by type; a type that is not in it takes none.
func Conform(t *testing.T, c *Client, valid map[string]string) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	described, err := c.Plugin.Describe(ctx, &pluginv1.DescribeRequest{})
	if err != nil {
		t.Fatalf("describe: %s", err)
	}
	if described.GetName() == "" || described.GetVersion() == "" || len(described.GetKinds()) == 0 {
		t.Errorf("describe: name %q, version %q and %d kinds: none may be missing", described.GetName(), described.GetVersion(), len(described.GetKinds()))
	}
	for _, k := range described.GetKinds() {
		t.Run(k.GetType(), func(t *testing.T) { conformKind(ctx, t, c, k, valid[k.GetType()]) })
	}
	if _, err := c.Plugin.Stop(ctx, &pluginv1.StopRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("stop without a mode: %v, want InvalidArgument", err)
	}
}

func conformKind(ctx context.Context, t *testing.T, c *Client, k *pluginv1.Kind, valid string) {
	if k.GetInterface() == pluginv1.Interface_INTERFACE_UNSPECIFIED || k.GetType() == "" {
		t.Errorf("describe: kind %v has no interface or no type", k)
	}
	if schema := k.GetParametersSchemaJson(); len(schema) > 0 && !json.Valid(schema) {
		t.Errorf("describe: the schema of %s is not JSON: %s", k.GetType(), schema)
	}
	for _, test := range []struct {
		what, kind, parameters string
		problems               bool
	}{
		{"good parameters", k.GetType(), valid, false},
		{"an unknown type", k.GetType() + "-unknown", "", true},
		{"an unknown key", k.GetType(), `{"no such key":1}`, true},
		{"no object", k.GetType(), `[1]`, true},
		{"no JSON", k.GetType(), `{`, true},
	} {
		answer, err := c.Plugin.Validate(ctx, &pluginv1.ValidateRequest{Items: []*pluginv1.ValidateItem{
			{Interface: k.GetInterface(), Type: test.kind, ParametersJson: []byte(test.parameters)},
		}})
		if err != nil {
			t.Errorf("validate %s: %s: problems are an answer, not an error", test.what, err)
			continue
		}
		errors := 0
		for _, p := range answer.GetProblems() {
			if p.GetMessage() == "" || p.GetItem() != 0 {
				t.Errorf("validate %s: problem %v has no message or the wrong item", test.what, p)
			}
			if p.GetSeverity() != pluginv1.Severity_SEVERITY_WARNING {
				errors++
			}
		}
		if (errors > 0) != test.problems {
			t.Errorf("validate %s: %v, want problems: %t", test.what, answer.GetProblems(), test.problems)
		}
	}
}

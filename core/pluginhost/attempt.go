package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/proto/handshake"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

const (
	// endTime is how long a process has to end by itself after it has stopped its work.
	endTime = 2 * time.Second
	// killTime is how long the end of a process is waited for after SIGKILL. One that the
	// kernel cannot end then runs no code of its own any more.
	killTime = 5 * time.Second
	// closeTime bounds go-plugin's own clean-up.
	closeTime = 2 * time.Second
	// defaultBeat is the beat interval of a spec that has none.
	defaultBeat = time.Second
)

// attempt is one life of a plugin process, from fork to the end of its group.
type attempt struct {
	logger     hclog.Logger
	spec       Spec
	identity   identity
	child      *child
	client     *goplugin.Client
	runtimeDir string
	// sum is the executable's sha256; empty for poise's own, unless it is pinned.
	sum string

	conn      *grpc.ClientConn
	info      *pluginv1.DescribeResponse
	startedAt time.Time

	mu sync.Mutex
	// conns are all that go-plugin dialled: it forgets to close some.
	conns map[*grpc.ClientConn]struct{}
}

// newAttempt verifies the executable and makes the directories; nothing runs yet.
func newAttempt(plugins string, powers powers, spec Spec, s *spawner, logger hclog.Logger) (*attempt, error) {
	if !validName.MatchString(spec.Name) {
		return nil, fmt.Errorf("name %q of the plugin process is not made of lower-case letters, digits, '-' and '_'", spec.Name)
	}
	id, err := powers.identify(spec)
	if err != nil {
		return nil, err
	}
	exe, err := openExecutable(spec, powers.privileged() && !spec.Builtin)
	if err != nil {
		return nil, err
	}
	hash := spec.SHA256
	if hash == "" && !spec.Builtin {
		if hash, err = sum(exe); err != nil {
			return nil, errors.Join(fmt.Errorf("hash the executable %s: %w", spec.Path, err), exe.Close())
		}
	}
	socketDir, runtimeDir, err := prepareDirs(plugins, spec, id)
	if err != nil {
		return nil, errors.Join(err, exe.Close())
	}
	out := &output{logger: logger}
	a := &attempt{logger: logger, spec: spec, identity: id, runtimeDir: runtimeDir, sum: hash, conns: map[*grpc.ClientConn]struct{}{}}
	a.child = newChild(spec, id, exe, socketDir, s, out)
	a.client = goplugin.NewClient(a.config(plugins, socketDir, out))
	return a, nil
}

// config is go-plugin's. Its time-out is a backstop behind the one of start.
func (a *attempt) config(plugins, socketDir string, out *output) *goplugin.ClientConfig {
	return &goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: handshake.ProtocolVersion, MagicCookieKey: handshake.CookieKey, MagicCookieValue: handshake.CookieValue,
		},
		Plugins: goplugin.PluginSet{handshake.PluginName: unused{}},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, temporary string) (runner.Runner, error) {
			// A directory for sockets of the daemon's; there are none.
			_ = os.Remove(temporary)
			a.child.env = append(environment(cmd.Env, a.spec.Name, socketDir), a.spec.Env...)
			return a.child, nil
		},
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: plugins},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         !a.spec.PlainText,
		SkipHostEnv:      true,
		StartTimeout:     time.Hour,
		Logger:           quietLogger{a.logger.Named("transport")},
		SyncStdout:       &strayWriter{output: out},
		SyncStderr:       &strayWriter{output: out},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(handshake.MaxMessageSize), grpc.MaxCallSendMsgSize(handshake.MaxMessageSize)),
			grpc.WithChainStreamInterceptor(a.remember),
			// A window that is given is not measured, which takes a ping for every message.
			grpc.WithInitialWindowSize(handshake.WindowSize), grpc.WithInitialConnWindowSize(handshake.WindowSize),
		},
	}
}

// unused is the entry that go-plugin wants for its set of plugins; the connection is
// used without it.
type unused struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (unused) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the daemon serves no plugin")
}

func (unused) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("the daemon uses the connection itself")
}

// environment is all that a plugin process gets: go-plugin's variables, but for the
// directory of sockets, and ours.
func environment(goPlugin []string, name, socketDir string) []string {
	const dir = goplugin.EnvUnixSocketDir + "="
	return append(slices.DeleteFunc(goPlugin, func(v string) bool { return strings.HasPrefix(v, dir) }),
		dir+socketDir,
		handshake.EnvName+"="+name,
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C.UTF-8",
	)
}

// remember keeps hold of the connection that a stream is opened on.
func (a *attempt) remember(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	a.mu.Lock()
	a.conns[cc] = struct{}{}
	a.mu.Unlock()
	return streamer(ctx, desc, cc, method, opts...)
}

// start runs the process up to its description of itself. The context's end kills it.
func (a *attempt) start(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { a.child.kill("did not answer in time") })()
	protocol, err := a.client.Client()
	if err != nil {
		return a.reason(ctx, "start it", err)
	}
	grpcClient, ok := protocol.(*goplugin.GRPCClient)
	if !ok {
		return fmt.Errorf("it speaks %T, not gRPC", protocol)
	}
	a.conn = grpcClient.Conn
	a.startedAt = time.Now()
	info, err := pluginv1.NewPluginServiceClient(a.conn).Describe(ctx, &pluginv1.DescribeRequest{})
	if err != nil {
		return a.reason(ctx, "ask what it is", err)
	}
	a.info = info
	return checkInfo(info)
}

// configure gives the process its settings.
func (a *attempt) configure(ctx context.Context, parameters []byte, beat time.Duration) error {
	if beat <= 0 {
		beat = defaultBeat
	}
	_, err := pluginv1.NewPluginServiceClient(a.conn).Configure(ctx, &pluginv1.ConfigureRequest{
		Name: a.spec.Name, ParametersJson: parameters, RuntimeDir: a.runtimeDir, BeatInterval: durationpb.New(beat),
	})
	if err != nil {
		return a.reason(ctx, "configure it", err)
	}
	return nil
}

// reason says why a call to the process failed: if it has ended, that is why.
func (a *attempt) reason(ctx context.Context, what string, err error) error {
	// The process may see the deadline a moment before we do, and cancel the call.
	if code := status.Code(err); ctx.Err() != nil || code == codes.DeadlineExceeded || code == codes.Canceled {
		return fmt.Errorf("%s: it did not answer in time", what)
	}
	if a.child.pid() != 0 {
		if how, ok := a.child.ended(); ok {
			return fmt.Errorf("%s: it %s", what, how)
		}
	}
	if s, ok := status.FromError(err); ok {
		return fmt.Errorf("%s: %s", what, clean(s.Message()))
	}
	return fmt.Errorf("%s: %s", what, clean(err.Error()))
}

// stopWork has the process stop its work. The context's end gives up.
func (a *attempt) stopWork(ctx context.Context, mode pluginv1.StopMode) error {
	if _, err := pluginv1.NewPluginServiceClient(a.conn).Stop(ctx, &pluginv1.StopRequest{Mode: mode}); err != nil {
		return a.reason(ctx, "stop its work", err)
	}
	return nil
}

// finish lets the process end by itself, but not for long.
func (a *attempt) finish() {
	go a.client.Kill()
	select {
	case <-a.child.exited:
	case <-time.After(endTime):
	}
	a.end("did not end by itself")
}

// end kills what is left of the process, closes the connection and returns when both
// are gone. It comes after every attempt, also one that could not be started.
func (a *attempt) end(why string) {
	a.child.kill(why)
	if a.child.pid() == 0 {
		_ = a.child.exe.Close() // closed already if the fork failed
	} else {
		select {
		case <-a.child.exited:
		case <-time.After(killTime):
			a.logger.Error("plugin process does not end after SIGKILL: the kernel holds it", "pid", a.child.pid())
		}
	}
	a.closeConns()
	sweep(a.child.socketDir)
}

// closeConns ends go-plugin's goroutines, which depend on its connections and on the
// process; they may take longer if the kernel holds the process.
func (a *attempt) closeConns() {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if a.conn != nil {
			a.client.Kill()
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		for c := range a.conns {
			_ = c.Close() // a second time for most
		}
	}()
	select {
	case <-closed:
	case <-time.After(closeTime):
		a.logger.Warn("connection to the plugin takes long to close", "pid", a.child.pid())
	}
}

// checkInfo refuses a description that nothing could be done with.
func checkInfo(info *pluginv1.DescribeResponse) error {
	if info.GetName() == "" || info.GetVersion() == "" {
		return errors.New("its description lacks its name or version")
	}
	if len(info.GetKinds()) == 0 {
		return fmt.Errorf("its description (%s %s) has no kinds: there is nothing it can do", info.GetName(), info.GetVersion())
	}
	for _, k := range info.GetKinds() {
		if interfaces[k.GetInterface()] == "" || k.GetType() == "" {
			return fmt.Errorf("its description (%s %s) has a kind with the interface %s and the type %q", info.GetName(), info.GetVersion(), k.GetInterface(), k.GetType())
		}
	}
	return nil
}

// interfaces by their names in status.
var interfaces = map[pluginv1.Interface]string{
	pluginv1.Interface_INTERFACE_CHECK:    "check",
	pluginv1.Interface_INTERFACE_FORWARD:  "forward",
	pluginv1.Interface_INTERFACE_FAILOVER: "failover",
}

// InterfaceName is "check", "forward" or "failover".
func InterfaceName(i pluginv1.Interface) string { return interfaces[i] }

// kinds gives "check/tcp".
func kinds(info *pluginv1.DescribeResponse) []string {
	out := make([]string, 0, len(info.GetKinds()))
	for _, k := range info.GetKinds() {
		out = append(out, interfaces[k.GetInterface()]+"/"+k.GetType())
	}
	return out
}
